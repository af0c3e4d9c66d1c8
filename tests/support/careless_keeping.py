"""Stores that prune too much, or not at all."""

from datetime import datetime
from typing import Any

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.packed import unpack
from skene.ports.counters import Draft, Notice
from skene.ports.ledger import Wall
from skene.ports.merging import Merged
from skene.ports.retention import KEPT

__all__ = ["CARELESS_WITH_WHAT_IS_OLD"]


class NeverPrunes(MemoryStorage):
    async def prune(self) -> int:
        return 0


class PrunesByTheEndAlone(MemoryStorage):
    async def _prune_counters(self, now: datetime) -> int:
        for table in self._state.counters.values():
            for subject, packed in list(table.items()):
                counter = unpack(packed)
                if counter is not None and counter.end <= now - KEPT:
                    del table[subject]
        return 0


class PrunesByTheBeginning(MemoryStorage):
    async def _prune_counters(self, now: datetime) -> int:
        for table in self._state.counters.values():
            for subject, packed in list(table.items()):
                counter = unpack(packed)
                if counter is not None and counter.start <= now - KEPT:
                    del table[subject]
        return 0


class PrunesTheBill(MemoryStorage):
    async def prune(self) -> int:
        self._state.bills.clear()
        self._state.past.clear()
        return await super().prune()


class PrunesDeadLetters(MemoryStorage):
    def _prune_messages(self, now: datetime) -> int:
        for row in list(self._state.messages.values()):
            if row.settled_at is not None and row.settled_at <= now - KEPT:
                self._state.drop_message(row)
        return 0


class PrunesWhenWritten(MemoryStorage):
    def _prune_messages(self, now: datetime) -> int:
        old = [row for row in self._state.messages.values() if row.created_at <= now - KEPT]
        for row in old:
            self._state.drop_message(row)
        return len(old)


class KnowsPrunedMessages(MemoryStorage):
    def _prune_messages(self, now: datetime) -> int:
        reported = dict(self._state.reported)
        pruned = super()._prune_messages(now)
        self._state.reported.update(reported)
        return pruned


class GuardsWithMessagesAlone(MemoryStorage):
    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...], **how: Any) -> str:
        if any(draft.key not in self._state.draft_keys for draft in drafts):
            self._state.standing.pop(wall.subject, None)
        return await super().open_wall(wall, drafts, **how)

    async def record_notice(self, notice: Notice) -> bool:
        if any(draft.key not in self._state.draft_keys for draft in notice.drafts):
            self._state.post(notice.drafts, self._state.clock.now())
            return True
        return await super().record_notice(notice)


class AsksTheMessagesAlone(MemoryStorage):
    async def merge(self, source: str, target: str, **rest: Any) -> Merged:
        for row in self._state.walls.values():
            row.prompted = False
        return await super().merge(source, target, **rest)


CARELESS_WITH_WHAT_IS_OLD: list[tuple[type[MemoryStorage], str]] = [
    (NeverPrunes, "test_a_counter_that_nobody_uses_goes"),
    (NeverPrunes, "test_windows_that_are_over_go_after_400_days"),
    (NeverPrunes, "test_messages_go_after_400_days"),
    (NeverPrunes, "test_webhooks_go_after_400_days"),
    (PrunesByTheEndAlone, "test_a_use_counts_as_long_as_it_is_in_the_window"),
    (PrunesByTheEndAlone, "test_a_counter_that_nobody_uses_goes"),
    (PrunesByTheEndAlone, "test_what_is_still_to_be_billed_stays"),
    (PrunesByTheBeginning, "test_a_lifetime_is_never_over"),
    (PrunesTheBill, "test_what_is_still_to_be_billed_stays"),
    (PrunesDeadLetters, "test_messages_that_somebody_waits_for_stay"),
    (PrunesWhenWritten, "test_messages_go_after_400_days"),
    (PrunesWhenWritten, "test_messages_that_somebody_waits_for_stay"),
    (KnowsPrunedMessages, "test_messages_go_after_400_days"),
    (GuardsWithMessagesAlone, "test_a_wall_that_stands_asks_once"),
    (GuardsWithMessagesAlone, "test_a_window_that_runs_warns_once"),
    (AsksTheMessagesAlone, "test_who_was_asked_long_ago_is_asked_no_more"),
]

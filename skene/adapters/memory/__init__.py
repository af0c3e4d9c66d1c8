"""A storage that lives as long as the process: for tests, demos and single-process apps that may forget."""

from bisect import bisect_left
from collections import deque
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heapify

from skene.adapters.memory.accounts import MemoryAccounts, digest
from skene.adapters.memory.bills import MemoryBills, forget_bills
from skene.adapters.memory.contacts import MemoryContacts
from skene.adapters.memory.counters import MemoryCounters
from skene.adapters.memory.firings import MemoryFirings
from skene.adapters.memory.grants import MemoryGrants
from skene.adapters.memory.ledger import MemoryLedger
from skene.adapters.memory.outbox import MemoryOutbox
from skene.adapters.memory.overrides import MemoryOverrides
from skene.adapters.memory.queries import MemoryQueries
from skene.adapters.memory.state import Conversion, State
from skene.adapters.system import SystemClock
from skene.ports.clock import Clock

__all__ = ["Conversion", "MemoryStorage"]

KEYS_LAST = timedelta(hours=24)
LOG_LASTS = timedelta(days=90)
LOG_LENGTH = 1_000_000
FIRINGS_LAST = timedelta(days=7)
FIRING_KEYS_LAST = timedelta(days=90)
TICKS_LAST = timedelta(days=400)


class MemoryStorage(
    MemoryCounters,
    MemoryBills,
    MemoryGrants,
    MemoryOverrides,
    MemoryAccounts,
    MemoryLedger,
    MemoryOutbox,
    MemoryFirings,
    MemoryContacts,
):
    """The port `Storage` in plain Python. Exact among one event loop's tasks; nothing outlives the process.

    Args:
        clock: where time comes from; this machine's clock if left out.

    Attributes:
        queries: answers queries as it was told to.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(State(clock or SystemClock()))
        self.queries = MemoryQueries()

    async def start(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        """Nothing to release; what was kept stays."""

    async def forget(self, subject: str) -> int:
        """Erase a person. Goes through everything once, which no other verb does."""
        state = self._state
        erased = sum(table.pop(subject, None) is not None for table in state.counters.values())
        erased += len(state.keys.pop(subject, ())) + len(state.grants.pop(subject, ()))
        erased += len(state.overrides.pop(subject, ())) + forget_bills(state, subject)
        holder = state.holders.pop(subject, None)
        if holder is not None:
            erased += 1
            if holder.customer is not None:
                state.blocked.add(digest(holder.customer))
                erased += state.payers.pop(holder.customer, None) is not None
        for row in [row for row in state.messages.values() if row.draft.subject == subject]:
            del state.messages[row.id]
            state.open.pop(row.id, None)
            state.draft_keys.discard(row.draft.key)
            if row.provider_id is not None:
                state.reported.pop(row.provider_id, None)
            erased += 1
        state.marketing.pop(subject, None)
        state.converted.pop(subject, None)
        state.standing.pop(subject, None)
        for wall in state.walls.values():
            if wall.wall.subject == subject:
                wall.wall = replace(wall.wall, subject="")
                erased += 1
        for index, conversion in enumerate(state.conversions):
            if conversion.subject == subject:
                state.conversions[index] = replace(conversion, subject="")
                erased += 1
        return erased + self._forget_firings(subject)

    def _forget_firings(self, subject: str) -> int:
        """Erase what the other loops know of a person; journeys stay, under no name."""
        state = self._state
        erased = sum(step.pop(subject, None) is not None for step in state.recipients.values())
        for row in [row for row in state.firings.values() if row.new.subject == subject]:
            del state.firings[row.new.key]
            state.open_firings.pop(row.id, None)
            erased += 1
        state.lapses = [entry for entry in state.lapses if entry[1] != subject]
        heapify(state.lapses)
        for reason in [reason for reason in state.suppressions if reason[1] == subject]:
            del state.suppressions[reason]
            erased += 1
        kept = deque(row for row in state.log if row.subject != subject)
        erased += len(state.log) - len(kept)
        state.log = kept
        for way in [way for way in state.ways if way[0] == subject]:
            for name in state.ways.pop(way):
                state.journeys[name] = replace(state.journeys[name], subject="")
                erased += 1
        return erased

    async def prune(self) -> int:
        """Delete what is only needed for a time."""
        now = self._state.clock.now()
        return self._prune_keys(now) + self._prune_log(now) + self._prune_firings(now)

    def _prune_keys(self, now: datetime) -> int:
        pruned = 0
        for subject, keys in list(self._state.keys.items()):
            left = {name: key for name, key in keys.items() if key.at > now - KEYS_LAST}
            pruned += len(keys) - len(left)
            self._state.keys[subject] = left
            if not left:
                del self._state.keys[subject]
        return pruned

    def _prune_log(self, now: datetime) -> int:
        log, pruned = self._state.log, 0
        while log and (len(log) > LOG_LENGTH or log[0].at <= now - LOG_LASTS):
            log.popleft()
            pruned += 1
        return pruned

    def _prune_firings(self, now: datetime) -> int:
        """Firings and ticks, but neither a step's latest nor the last that was read to the end."""
        state, pruned = self._state, 0
        for row in list(state.firings.values()):
            if row.occurred_at > now - FIRING_KEYS_LAST:
                break  # they are in the order they were recorded
            if row.settled_at is not None and row.settled_at <= now - FIRINGS_LAST:
                del state.firings[row.new.key]
                pruned += 1
        for schedule in state.schedules.values():
            ticks, scanned = schedule.ticks, schedule.scanned
            keep = scanned[-1] if scanned else ticks[-1]
            while ticks[0] < keep and ticks[0] <= now - TICKS_LAST:
                ticks.popleft()
                pruned += 1
            del scanned[: bisect_left(scanned, ticks[0])]
        return pruned

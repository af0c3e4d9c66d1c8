"""What memory keeps only for a time."""

from bisect import bisect_left
from collections.abc import Callable
from datetime import datetime

from anyio.lowlevel import checkpoint

from skene.adapters.memory.packed import unpack
from skene.adapters.memory.state import Part
from skene.ports.outbox import MessageState
from skene.ports.retention import (
    FIRINGS_GUARD,
    FIRINGS_LAST,
    KEPT,
    KEYS_LAST,
    LOG_HOLDS,
    LOG_LASTS,
    window_kept,
)

__all__ = ["MemoryPruning"]

SOME = 100
"""How many subjects' keys are looked at before others have their turn: well under a millisecond."""
LEAVES = 4
"""The same for counters: leaves of some thirty each."""

NOTHING_TO_DO = (MessageState.SENT, MessageState.CANCELLED, MessageState.SKIPPED)


class MemoryPruning(Part):
    """`prune` of the port `Storage`."""

    async def prune(self) -> int:
        """Delete what is only needed for a time."""
        now, pruned = self._state.clock.now(), 0
        sorts: tuple[Callable[[datetime], int], ...] = (
            self._prune_log,
            self._prune_firings,
            self._prune_messages,
            self._prune_events,
            self._prune_past,
        )
        for prune in sorts:
            pruned += prune(now)
            await checkpoint()
        return pruned + await self._prune_keys(now) + await self._prune_counters(now)

    async def _prune_keys(self, now: datetime) -> int:
        pruned = 0
        for number, subject in enumerate(list(self._state.keys)):
            if number % SOME == 0:
                await checkpoint()
            keys = self._state.keys.get(subject, {})
            left = {name: key for name, key in keys.items() if key.at > now - KEYS_LAST}
            pruned += len(keys) - len(left)
            if left:
                self._state.keys[subject] = left
            else:
                self._state.keys.pop(subject, None)
        return pruned

    def _prune_log(self, now: datetime) -> int:
        log, pruned = self._state.log, 0
        while log and (len(log) > LOG_HOLDS or log[0].at <= now - LOG_LASTS):
            log.popleft()
            pruned += 1
        return pruned

    def _prune_firings(self, now: datetime) -> int:
        """Firings and ticks, but neither a step's latest nor the last that was read to the end."""
        state, pruned = self._state, 0
        for row in list(state.firings.values()):
            if row.occurred_at > now - FIRINGS_GUARD:
                break  # they are in the order they were recorded
            if row.settled_at is not None and row.settled_at <= now - FIRINGS_LAST:
                del state.firings[row.new.key]
                pruned += 1
        for schedule in state.schedules.values():
            ticks, scanned = schedule.ticks, schedule.scanned
            keep = scanned[-1] if scanned else ticks[-1]
            while ticks[0] < keep and ticks[0] <= now - KEPT:
                ticks.popleft()
                pruned += 1
            del scanned[: bisect_left(scanned, ticks[0])]
        return pruned

    def _prune_messages(self, now: datetime) -> int:
        """Messages that were settled, but none that waits for a person."""
        state, pruned = self._state, 0
        for row in list(state.messages.values()):
            if row.created_at > now - KEPT:
                break  # they are in the order they were written
            if row.state in NOTHING_TO_DO and row.settled_at is not None and row.settled_at <= now - KEPT:
                state.drop_message(row)
                pruned += 1
        return pruned

    def _prune_events(self, now: datetime) -> int:
        events = self._state.events
        old = [event for event, received in events.items() if received <= now - KEPT]
        for event in old:
            del events[event]
        return len(old)

    def _prune_past(self, now: datetime) -> int:
        """Windows that are over, with nothing left to bill."""
        pruned = 0
        for windows in self._state.past.values():
            old = [
                name
                for name, window in windows.items()
                if not window.bill.billable and window.end <= now - KEPT
            ]
            for name in old:
                del windows[name]
            pruned += len(old)
        return pruned

    async def _prune_counters(self, now: datetime) -> int:
        """Counters that nobody has used for long. Calls are decided in between, and look at what there is."""
        pruned = 0
        for where, table in list(self._state.counters.items()):
            bills = self._state.bills.get(where, {})
            number = 0
            while number < len(
                table.leaves
            ):  # what a leaf gives away when it is split is in the last one then
                for subject in list(table.leaves[number]):
                    counter, bill = unpack(table.get(subject)), bills.get(subject)
                    if counter is None or window_kept(counter.start, counter.end, now):
                        continue
                    if bill is None or not bill.billable:
                        del table[subject]
                        bills.pop(subject, None)
                        pruned += 1
                number += 1
                if number % LEAVES == 0:
                    await checkpoint()
        return pruned

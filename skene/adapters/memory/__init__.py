"""A storage that lives as long as the process: for tests, demos and single-process apps that may forget."""

from bisect import bisect_left
from datetime import datetime, timedelta

import anyio.lowlevel

from skene.adapters.memory.bills import MemoryBills
from skene.adapters.memory.contacts import MemoryContacts
from skene.adapters.memory.counters import MemoryCounters
from skene.adapters.memory.firings import MemoryFirings
from skene.adapters.memory.forgetting import MemoryForgetting
from skene.adapters.memory.grants import MemoryGrants
from skene.adapters.memory.ledger import MemoryLedger
from skene.adapters.memory.merging import MemoryMerging
from skene.adapters.memory.outbox import MemoryOutbox
from skene.adapters.memory.queries import MemoryQueries
from skene.adapters.memory.state import Conversion, State
from skene.adapters.memory.syncs import MemorySyncs
from skene.adapters.system import SystemClock
from skene.ports.clock import Clock

__all__ = ["Conversion", "MemoryStorage"]

KEYS_LAST = timedelta(hours=24)
LOG_LASTS = timedelta(days=90)
LOG_LENGTH = 1_000_000
FIRINGS_LAST = timedelta(days=7)
FIRING_KEYS_LAST = timedelta(days=90)
TICKS_LAST = timedelta(days=400)
AT_A_TIME = 100
"""Subjects that are looked at before others have a turn."""


class MemoryStorage(
    MemoryCounters,
    MemoryBills,
    MemoryGrants,
    MemoryMerging,
    MemoryLedger,
    MemoryOutbox,
    MemoryFirings,
    MemoryContacts,
    MemorySyncs,
    MemoryForgetting,
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

    async def prune(self) -> int:
        """Delete what is only needed for a time."""
        now = self._state.clock.now()
        return await self._prune_keys(now) + self._prune_log(now) + self._prune_firings(now)

    async def _prune_keys(self, now: datetime) -> int:
        pruned = 0
        for number, subject in enumerate(list(self._state.keys)):
            if number % AT_A_TIME == 0:
                await anyio.lowlevel.checkpoint()  # decisions come in between
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

"""A storage that lives as long as the process: for tests, demos and single-process apps that may forget."""

from dataclasses import replace
from datetime import timedelta

from skene.adapters.memory.accounts import MemoryAccounts, digest
from skene.adapters.memory.counters import MemoryCounters
from skene.adapters.memory.grants import MemoryGrants
from skene.adapters.memory.ledger import MemoryLedger
from skene.adapters.memory.outbox import MemoryOutbox
from skene.adapters.memory.state import Conversion, State
from skene.adapters.system import SystemClock
from skene.ports.clock import Clock

__all__ = ["Conversion", "MemoryStorage"]

KEYS_LAST = timedelta(hours=24)


class MemoryStorage(MemoryCounters, MemoryGrants, MemoryAccounts, MemoryLedger, MemoryOutbox):
    """The port `Storage` in plain Python. Exact among one event loop's tasks; nothing outlives the process.

    Args:
        clock: where time comes from; this machine's clock if left out.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(State(clock or SystemClock()))

    async def start(self) -> None:
        """Nothing to connect to."""

    async def aclose(self) -> None:
        """Nothing to release; what was kept stays."""

    async def forget(self, subject: str) -> int:
        """Erase a person. Goes through everything once, which no other verb does."""
        state = self._state
        erased = sum(table.pop(subject, None) is not None for table in state.counters.values())
        erased += len(state.keys.pop(subject, ())) + len(state.grants.pop(subject, ()))
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
            erased += 1
        state.standing.pop(subject, None)
        for wall in state.walls.values():
            if wall.wall.subject == subject:
                wall.wall = replace(wall.wall, subject="")
                erased += 1
        for index, conversion in enumerate(state.conversions):
            if conversion.subject == subject:
                state.conversions[index] = replace(conversion, subject="")
                erased += 1
        return erased

    async def prune(self) -> int:
        """Delete idempotency keys after 24 h."""
        oldest = self._state.clock.now() - KEYS_LAST
        pruned = 0
        for subject, keys in list(self._state.keys.items()):
            left = {name: key for name, key in keys.items() if key.at > oldest}
            pruned += len(keys) - len(left)
            self._state.keys[subject] = left
            if not left:
                del self._state.keys[subject]
        return pruned

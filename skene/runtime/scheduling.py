"""The clock as a trigger: each tick of a schedule becomes one firing, over all processes."""

from datetime import datetime

from skene.definitions import ScheduleTrigger
from skene.engine.keys import unique_key
from skene.engine.reactions import Reaction
from skene.engine.schedule import Schedule
from skene.ports.firings import NewFiring
from skene.ports.storage import Storage
from skene.runtime.parts import Parts

__all__ = ["Scheduling"]


class Scheduling:
    """Opens the ticks that are due. Of several that were missed, only the latest counts."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # The latest tick known to be recorded, by step, in one storage; a test may swap it.
        self._known: dict[str, datetime] = {}
        self._storage: Storage | None = None

    async def open_due(self, now: datetime) -> int:
        """Open the latest tick of every schedule that has passed and is not recorded yet.

        Args:
            now: by the storage's clock, so that those of the processes may be wrong.

        Returns:
            How many firings were recorded.
        """
        if self._storage is not self._parts.storage:
            self._known, self._storage = {}, self._parts.storage
        opened = 0
        for reaction, trigger in self._parts.program.reactions.scheduled:
            opened += await self._open(reaction, trigger, now)
        return opened

    async def _open(self, reaction: Reaction, trigger: ScheduleTrigger, now: datetime) -> bool:
        key, storage = reaction.key, self._parts.storage
        known = self._known.get(key) or await storage.last_tick(key)
        if known is None:
            # Where the schedule begins: what lies before is none of its ticks.
            await storage.open_tick(key, now, None)
            self._known[key] = now
            return False
        self._known[key] = known
        tick = Schedule(trigger.cron, trigger.timezone).latest(now)
        if tick is None or tick <= known:
            return False
        firing = NewFiring(unique_key("tick", key, tick.isoformat()), reaction.loop, key, "")
        opened = await storage.open_tick(key, tick, firing)
        self._known[key] = tick
        return opened

"""Overrides in memory."""

from dataclasses import replace
from datetime import datetime

from skene.adapters.memory.state import Holder, Part
from skene.engine.lasting import end_of
from skene.engine.limits import OwnLimit
from skene.ports.counters import Draft
from skene.ports.overrides import Overridden, Override

__all__ = ["MemoryOverrides"]


class MemoryOverrides(Part):
    """The port `Overrides`."""

    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        """Give a subject another limit on a counter."""
        state, now = self._state, self._state.clock.now()
        subject, _ = state.resolve(override.subject)
        self._end_override(subject, override.meter, now)
        made = Overridden(
            subject,
            override.meter,
            override.limit,
            now,
            end_of(override.expires, now),
            None,
            override.reason,
        )
        state.overrides.setdefault(subject, []).append(made)
        state.holders.setdefault(subject, Holder())
        self._hold_overrides(subject, now)
        state.post(drafts, now)
        return made

    async def end_override(self, subject: str, meter: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Take an override back."""
        state, now = self._state, self._state.clock.now()
        subject, _ = state.resolve(subject)
        if not self._end_override(subject, meter, now):
            return False
        self._hold_overrides(subject, now)
        state.post(drafts, now)
        return True

    async def overrides(self, subject: str) -> tuple[Overridden, ...]:
        """All overrides of a subject, oldest first."""
        subject, _ = self._state.resolve(subject)
        return tuple(self._state.overrides.get(subject, ()))

    def _end_override(self, subject: str, meter: str, now: datetime) -> bool:
        """End what is in force for a counter. False: nothing was."""
        rows, ended = self._state.overrides.get(subject, []), False
        for index, row in enumerate(rows):
            if row.meter == meter and row.in_force(now):
                rows[index], ended = replace(row, ended_at=now), True
        return ended

    def _hold_overrides(self, subject: str, now: datetime) -> None:
        """Give counting what is in force."""
        rows = [row for row in self._state.overrides[subject] if row.in_force(now)]
        held = {row.meter: OwnLimit(row.limit, row.expires_at) for row in rows}
        self._state.holders[subject].own_limits = held or None

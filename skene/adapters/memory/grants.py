"""Grants in memory."""

from dataclasses import replace

from skene.adapters.memory.state import GrantRow, Part
from skene.engine.grants import Pot
from skene.engine.lasting import end_of
from skene.ports.counters import Draft
from skene.ports.grants import Grant, Granted

__all__ = ["MemoryGrants"]


class MemoryGrants(Part):
    """The port `Grants`."""

    async def grant(self, grant: Grant, drafts: tuple[Draft, ...] = ()) -> bool:
        """Grant units, once for each subject and key."""
        state = self._state
        grant = replace(grant, subject=state.living(grant.subject))
        rows = state.grants.get(grant.subject, [])
        if any(row.grant.key == grant.key for row in rows):
            return False
        now = state.clock.now()
        state.last_grant += 1
        row = GrantRow(grant, now, Pot(state.last_grant, grant.units, expires_at=end_of(grant.expires, now)))
        state.grants[grant.subject] = [*rows, row]
        state.post(drafts, now)
        return True

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """All grants of a subject, oldest first."""
        return tuple(_told(row) for row in self._state.grants.get(self._state.living(subject), ()))

    def granted(self) -> tuple[Granted, ...]:
        """For tests: all grants of everybody, oldest first."""
        rows = [row for rows in self._state.grants.values() for row in rows]
        return tuple(_told(row) for row in sorted(rows, key=lambda row: row.pot.number))


def _told(row: GrantRow) -> Granted:
    grant, pot = row.grant, row.pot
    return Granted(
        grant.key,
        grant.subject,
        grant.meter,
        grant.units,
        pot.spent,
        row.granted_at,
        pot.expires_at,
        grant.reason,
        grant.loop,
    )

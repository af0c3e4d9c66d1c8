"""What counting must know of subjects, from memory."""

from collections.abc import Sequence

from skene.adapters.memory.state import Holder, Part
from skene.ports.holdings import HeldGrant, Holding

__all__ = ["MemoryHoldings"]

_NOBODY = Holder()


class MemoryHoldings(Part):
    """The port `Holdings`."""

    async def holdings(self, subjects: Sequence[str]) -> tuple[Holding, ...]:
        """What holds for some subjects, in their order."""
        return tuple([self._holding(subject) for subject in subjects])

    def _holding(self, subject: str) -> Holding:
        subject, known = self._state.resolve(subject)
        holder = known or _NOBODY
        standing = holder.standing
        return Holding(
            subject,
            standing.plan if standing else None,
            standing.until if standing else None,
            holder.customer,
            holder.checked_at,
            holder.features,
            holder.cycle,
            dict(holder.own_limits or {}),
            tuple(
                HeldGrant(row.grant.key, row.grant.meter, pot.number, pot.units - pot.spent, pot.expires_at)
                for row in self._state.grants.get(subject, ())
                if (pot := row.pot).spent < pot.units
            ),
        )

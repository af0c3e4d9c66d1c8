"""Walls and conversions in memory."""

from datetime import datetime, timedelta
from itertools import islice

from skene.adapters.memory.funnels import funnel, within
from skene.adapters.memory.state import Conversion as Row
from skene.adapters.memory.state import JourneyRow, Part, WallRow
from skene.ports.counters import Draft
from skene.ports.firings import DecisionRow, Outcome, Phase
from skene.ports.ledger import Conversion, FunnelRow, Span, Wall

__all__ = ["MemoryLedger"]


class MemoryLedger(Part):
    """The port `Ledger`."""

    async def open_wall(
        self, wall: Wall, drafts: tuple[Draft, ...], *, within: timedelta | None = None
    ) -> str:
        """Record a wall and its messages, once per subject, step, plan and window."""
        state, now = self._state, self._state.clock.now()
        latest = state.standing.setdefault(wall.subject, {})
        row = latest.get((wall.step, wall.plan))
        if row is not None and row.wall.window_end > now:
            return row.wall.id
        state.walls[wall.id] = latest[wall.step, wall.plan] = row = WallRow(wall, now)
        state.opened.setdefault(wall.subject, []).append(row)
        state.post(drafts, now)
        outcome = Outcome.SHADOW if wall.shadow else Outcome.REFUSED
        state.log.append(
            DecisionRow(now, wall.loop, wall.step, wall.subject, Phase.GATE, outcome, None, wall.id)
        )
        return wall.id

    async def get_wall(self, wall: str) -> Wall | None:
        """A wall by its id."""
        row = self._state.walls.get(wall)
        return row.wall if row else None

    async def mark_clicked(self, wall: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a wall's link was followed."""
        row, now = self._state.walls.get(wall), self._state.clock.now()
        if row is not None and row.clicked_at is None:
            row.clicked_at = now
            self._state.post(drafts, now)
        return row is not None

    async def mark_checkout(self, wall: str, session: str | None, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a checkout was opened from a wall."""
        row, now = self._state.walls.get(wall), self._state.clock.now()
        if row is not None and row.checkout_at is None:
            row.checkout_at, row.session = now, session
            self._state.post(drafts, now)
        return row is not None

    async def funnel(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        loop: str | None = None,
        by: Span | None = None,
    ) -> tuple[FunnelRow, ...]:
        """One row per loop, then one for conversions that no wall explains; for each period."""
        return funnel(self._state, since, until, loop, by)

    async def conversion_rows(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        subject: str | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> tuple[Conversion, ...]:
        """Conversions, in the order they were recorded."""
        walls = self._state.walls
        who = None if subject is None else self._state.living(subject)
        dated = (
            Conversion(
                one.number,
                one.subject,
                one.wall,
                one.loop,
                one.plan,
                one.amount,
                one.currency,
                one.at,
                walls[one.wall].opened_at if one.wall else None,
                one.again,
                one.ended_at,
                one.refunded,
            )
            for one in self._state.conversions[after or 0 :]
            if within(one.at, since, until) and who in (None, one.subject)
        )
        return tuple(islice(dated, limit))

    @property
    def walls(self) -> tuple[Wall, ...]:
        """For tests: every wall, in the order they were opened."""
        return tuple(row.wall for row in self._state.walls.values())

    @property
    def conversions(self) -> tuple[Row, ...]:
        """For tests: who began to pay, in that order."""
        return tuple(self._state.conversions)

    @property
    def journeys(self) -> tuple[JourneyRow, ...]:
        """For tests: every journey, in the order they began."""
        return tuple(self._state.journeys.values())

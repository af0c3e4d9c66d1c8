"""Walls and conversions in memory."""

from collections import Counter
from datetime import datetime, timedelta
from statistics import median

from skene.adapters.memory.state import Conversion, JourneyRow, Part, WallRow
from skene.ports.counters import Draft
from skene.ports.firings import DecisionRow, Outcome, Phase
from skene.ports.ledger import FunnelRow, Wall

__all__ = ["MemoryLedger"]


class MemoryLedger(Part):
    """The port `Ledger`."""

    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...]) -> str:
        """Record a wall and its messages, once per subject, step, plan and window."""
        state, now = self._state, self._state.clock.now()
        latest = state.standing.setdefault(wall.subject, {})
        row = latest.get((wall.step, wall.plan))
        if row is not None and row.wall.window_end > now:
            return row.wall.id
        state.walls[wall.id] = latest[wall.step, wall.plan] = WallRow(wall, now)
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

    async def mark_clicked(self, wall: str) -> bool:
        """Record that a wall's link was followed."""
        row = self._state.walls.get(wall)
        if row is not None:
            row.clicked_at = row.clicked_at or self._state.clock.now()
        return row is not None

    async def mark_checkout(self, wall: str, session: str | None) -> bool:
        """Record that a checkout was opened from a wall."""
        row = self._state.walls.get(wall)
        if row is not None and row.checkout_at is None:
            row.checkout_at, row.session = self._state.clock.now(), session
        return row is not None

    async def funnel(
        self, *, since: datetime | None = None, until: datetime | None = None, loop: str | None = None
    ) -> tuple[FunnelRow, ...]:
        """One row per loop, then one for conversions that no wall explains."""
        loops: dict[str, list[WallRow]] = {}
        for row in self._state.walls.values():
            if not row.wall.shadow and _within(row.opened_at, since, until) and loop in (None, row.wall.loop):
                loops.setdefault(row.wall.loop, []).append(row)
        ways: dict[str, list[JourneyRow]] = {}
        for way in self._state.journeys.values():
            if not way.shadow and _within(way.begun_at, since, until) and loop in (None, way.loop):
                ways.setdefault(way.loop, []).append(way)
        paid: dict[str, list[Conversion]] = {}
        unexplained = 0
        for conversion in self._state.conversions:
            wall = self._state.walls[conversion.wall].wall if conversion.wall else None
            if wall is not None and not wall.shadow:
                paid.setdefault(wall.id, []).append(conversion)
            elif loop is None and _within(conversion.at, since, until):
                unexplained += 1
        names = sorted({*loops, *ways})
        rows = [_row(name, loops.get(name, []), paid, ways.get(name, [])) for name in names]
        return (*rows, FunnelRow(None, conversions=unexplained)) if unexplained else tuple(rows)

    @property
    def walls(self) -> tuple[Wall, ...]:
        """For tests: every wall, in the order they were opened."""
        return tuple(row.wall for row in self._state.walls.values())

    @property
    def conversions(self) -> tuple[Conversion, ...]:
        """For tests: who began to pay, in that order."""
        return tuple(self._state.conversions)

    @property
    def journeys(self) -> tuple[JourneyRow, ...]:
        """For tests: every journey, in the order they began."""
        return tuple(self._state.journeys.values())


def _within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    return (since is None or at >= since) and (until is None or at < until)


def _row(
    loop: str, walls: list[WallRow], paid: dict[str, list[Conversion]], ways: list[JourneyRow]
) -> FunnelRow:
    pairs = [(row, conversion) for row in walls for conversion in paid.get(row.wall.id, ())]
    times = [(conversion.at - row.opened_at).total_seconds() for row, conversion in pairs]
    begun = [way for way in ways if not way.held_out]
    reaching = [(way.goal_at - way.begun_at).total_seconds() for way in ways if way.goal_at is not None]
    goals = [max(took, 0.0) for took in reaching]  # one before the beginning took no time
    reached = sum(way.goal_at is not None for way in begun)
    revenue: Counter[str] = Counter()
    for _, conversion in pairs:
        if conversion.amount is not None and conversion.currency is not None:
            revenue[conversion.currency] += conversion.amount
    return FunnelRow(
        loop,
        walls=len(walls),
        prompts=sum(row.prompted for row in walls) + sum(way.prompted_at is not None for way in ways),
        clicks=sum(row.clicked_at is not None for row in walls)
        + sum(way.clicked_at is not None for way in ways),
        checkouts=sum(row.checkout_at is not None for row in walls),
        conversions=len(pairs),
        held_out=sum(row.wall.held_out for row in walls),
        held_out_conversions=sum(row.wall.held_out for row, _ in pairs),
        revenue=tuple(sorted(revenue.items())),
        median_time_to_pay=timedelta(seconds=median(times)) if times else None,
        journeys=len(begun),
        goals=reached,
        held_out_journeys=len(ways) - len(begun),
        held_out_goals=len(goals) - reached,
        median_time_to_goal=timedelta(seconds=median(goals)) if goals else None,
    )

"""The report on walls, journeys and conversions, in memory."""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import TypeAlias

from skene.adapters.memory.state import Conversion, JourneyRow, State, WallRow
from skene.ports.ledger import FunnelRow, Span

__all__ = ["funnel", "within"]

Money: TypeAlias = tuple[tuple[str, int], ...]


@dataclass(slots=True)
class _Group:
    """What belongs to one period and loop."""

    walls: list[WallRow] = field(default_factory=list[WallRow])
    ways: list[JourneyRow] = field(default_factory=list[JourneyRow])
    paid: list[tuple[WallRow | None, Conversion]] = field(
        default_factory=list[tuple[WallRow | None, Conversion]]
    )


def funnel(
    state: State, since: datetime | None, until: datetime | None, loop: str | None, by: Span | None
) -> tuple[FunnelRow, ...]:
    """One row per period and loop, by name, then one for conversions that no wall explains."""
    groups: defaultdict[tuple[datetime | None, str | None], _Group] = defaultdict(_Group)
    for row in state.walls.values():
        if not row.wall.shadow and within(row.opened_at, since, until) and loop in (None, row.wall.loop):
            groups[_period(row.opened_at, by), row.wall.loop].walls.append(row)
    for way in state.journeys.values():
        if not way.shadow and within(way.begun_at, since, until) and loop in (None, way.loop):
            groups[_period(way.begun_at, by), way.loop].ways.append(way)
    for one in state.conversions:
        wall = state.walls[one.wall] if one.wall else None
        if wall is None or wall.wall.shadow:
            if loop is None and within(one.at, since, until):
                groups[_period(one.at, by), None].paid.append((None, one))
        elif within(wall.opened_at, since, until) and loop in (None, wall.wall.loop):
            groups[_period(wall.opened_at, by), wall.wall.loop].paid.append((wall, one))
    order = sorted(
        groups, key=lambda key: (key[0].timestamp() if key[0] else 0.0, key[1] is None, key[1] or "")
    )
    return tuple(_row(period, name, groups[period, name]) for period, name in order)


def within(at: datetime, since: datetime | None, until: datetime | None) -> bool:
    """Whether an instant lies in a span, half open."""
    return (since is None or at >= since) and (until is None or at < until)


def _period(at: datetime, by: Span | None) -> datetime | None:
    if by is None:
        return None
    day = at.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if by == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if by == "month" else day


def _row(period: datetime | None, loop: str | None, group: _Group) -> FunnelRow:
    walls, ways, paid = group.walls, group.ways, group.paid
    times = [(one.at - row.opened_at).total_seconds() for row, one in paid if row]
    alone = [row for row in walls if row.wall.held_out]
    explained = [row for row, _ in paid if row]
    paid_alone = [row for row in explained if row.wall.held_out]
    begun, left = [way for way in ways if not way.held_out], [way for way in ways if way.held_out]
    goals, goals_left = ([way for way in some if way.goal_at is not None] for some in (begun, left))
    reaching = [(way.goal_at - way.begun_at).total_seconds() for way in ways if way.goal_at is not None]
    return FunnelRow(
        loop,
        walls=len(walls),
        prompts=sum(row.prompted for row in walls) + sum(way.prompted_at is not None for way in ways),
        clicks=sum(row.clicked_at is not None for row in walls)
        + sum(way.clicked_at is not None for way in ways),
        checkouts=sum(row.checkout_at is not None for row in walls),
        conversions=len(paid),
        held_out=len(alone),
        held_out_conversions=len(paid_alone),
        revenue=_money((one.currency, one.amount) for _, one in paid),
        median_time_to_pay=_median(times),
        journeys=len(begun),
        goals=len(goals),
        held_out_journeys=len(left),
        held_out_goals=len(goals_left),
        median_time_to_goal=_median(max(took, 0.0) for took in reaching),  # one before it took no time
        period=period,
        subjects=_walled(walls),
        held_out_subjects=_walled(alone),
        paid_subjects=_walled(explained),
        held_out_paid_subjects=_walled(paid_alone),
        reconversions=sum(one.again for _, one in paid),
        churned=sum(one.ended_at is not None for _, one in paid),
        refunded=_money((one.currency, one.refunded or None) for _, one in paid),
        journey_subjects=_travelled(begun),
        goal_subjects=_travelled(goals),
        held_out_journey_subjects=_travelled(left),
        held_out_goal_subjects=_travelled(goals_left),
    )


def _walled(rows: Iterable[WallRow]) -> int:
    """How many subjects; of those who were forgotten nobody can tell whether they are the same."""
    return len({row.wall.subject or ("", row.wall.id) for row in rows})


def _travelled(ways: Iterable[JourneyRow]) -> int:
    return len({way.subject or ("", way.id) for way in ways})


def _money(amounts: Iterable[tuple[str | None, int | None]]) -> Money:
    sums: Counter[str] = Counter()
    for currency, amount in amounts:
        if currency is not None and amount is not None:
            sums[currency] += amount
    return tuple(sorted(sums.items()))


def _median(seconds: Iterable[float]) -> timedelta | None:
    lengths = list(seconds)
    return timedelta(seconds=median(lengths)) if lengths else None

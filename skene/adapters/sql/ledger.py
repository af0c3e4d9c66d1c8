"""Walls and what came of them: the verbs of `ports.ledger`, each in the caller's transaction."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.decisions import log
from skene.adapters.sql.dialect import serialise
from skene.adapters.sql.outbox import post
from skene.adapters.sql.tables import conversions, journeys, walls
from skene.ports.counters import Draft
from skene.ports.firings import DecisionRow, Outcome, Phase
from skene.ports.ledger import FunnelRow, Wall

__all__ = ["funnel", "get_wall", "mark_checkout", "mark_clicked", "open_wall"]

_FIELDS = (
    "id loop step subject plan meter limit used window_start window_end held_out shadow".split()  # noqa: SIM905 (fields read best as a line)
)


def open_wall(connection: sa.Connection, now: datetime, wall: Wall, drafts: tuple[Draft, ...]) -> str:
    """Record a wall and its messages, once per subject, step, plan and window."""
    serialise(connection, "wall", wall.subject, wall.step, wall.plan)
    same = (walls.c.subject == wall.subject, walls.c.step == wall.step, walls.c.plan == wall.plan)
    stands = sa.select(walls.c.id).where(*same, walls.c.window_end > now)
    standing: str | None = connection.scalar(stands.order_by(walls.c.window_end.desc()).limit(1))
    if standing is not None:
        return standing
    values = {field: getattr(wall, field) for field in _FIELDS}
    connection.execute(sa.insert(walls).values(opened_at=now, **values))
    post(connection, now, drafts)
    outcome = Outcome.SHADOW if wall.shadow else Outcome.REFUSED
    log(
        connection,
        [DecisionRow(now, wall.loop, wall.step, wall.subject, Phase.GATE, outcome, None, wall.id)],
    )
    return wall.id


def get_wall(connection: sa.Connection, now: datetime, wall: str) -> Wall | None:
    """A wall by its id."""
    columns = [walls.c[field] for field in _FIELDS]
    row = connection.execute(sa.select(*columns).where(walls.c.id == wall)).mappings().one_or_none()
    return Wall(**row) if row else None


def mark_clicked(connection: sa.Connection, now: datetime, wall: str) -> bool:
    """Record that a wall's link was followed; the first time counts."""
    mark = sa.update(walls).where(walls.c.id == wall, walls.c.clicked_at.is_(None)).values(clicked_at=now)
    return connection.execute(mark).rowcount > 0 or get_wall(connection, now, wall) is not None


def mark_checkout(connection: sa.Connection, now: datetime, wall: str, session: str | None) -> bool:
    """Record that a checkout was opened from a wall; the first time counts."""
    mark = (
        sa.update(walls)
        .where(walls.c.id == wall, walls.c.checkout_at.is_(None))
        .values(checkout_at=now, checkout_session=session)
    )
    return connection.execute(mark).rowcount > 0 or get_wall(connection, now, wall) is not None


def funnel(
    connection: sa.Connection, now: datetime, since: datetime | None, until: datetime | None, loop: str | None
) -> tuple[FunnelRow, ...]:
    """One row per loop, by name, then one for conversions that no wall explains."""
    chosen = [walls.c.shadow.is_(False), *_within(walls.c.opened_at, since, until)]
    begun = [journeys.c.shadow.is_(False), *_within(journeys.c.begun_at, since, until)]
    if loop is not None:
        chosen.append(walls.c.loop == loop)
        begun.append(journeys.c.loop == loop)
    counts: dict[str, Counter[str]] = {}
    for counted in (*connection.execute(_counts(chosen)).mappings(), *_ways(connection, begun)):
        numbers = counts.setdefault(counted["loop"], Counter())
        numbers.update({name: number for name, number in counted.items() if name != "loop"})
    paid = _by_loop(connection, _paid(chosen))
    reached = _times_to_goal(connection, begun)
    rows = [_funnel_row(name, counts[name], paid.get(name, []), reached.get(name)) for name in sorted(counts)]
    if loop is None:
        unexplained = connection.execute(_unexplained(since, until)).scalar_one()
        if unexplained:
            rows.append(FunnelRow(None, conversions=unexplained))
    return tuple(rows)


def _within(
    column: sa.Column[Any], since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    return [*([column >= since] if since else []), *([column < until] if until else [])]


def _counts(chosen: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any, *tuple[Any, ...]]:
    return (
        sa.select(
            walls.c.loop,
            sa.func.count().label("walls"),
            sa.func.count(walls.c.prompted_at).label("prompts"),
            sa.func.count(walls.c.clicked_at).label("clicks"),
            sa.func.count(walls.c.checkout_at).label("checkouts"),
            sa.func.count(sa.case((walls.c.held_out, 1))).label("held_out"),
        )
        .where(*chosen)
        .group_by(walls.c.loop)
    )


def _ways(connection: sa.Connection, begun: Sequence[sa.ColumnElement[bool]]) -> Sequence[sa.RowMapping]:
    asked, reached = journeys.c.held_out.is_(False), journeys.c.goal_at.is_not(None)
    counts = (
        sa.select(
            journeys.c.loop,
            sa.func.count(sa.case((asked, 1))).label("journeys"),
            sa.func.count(sa.case((asked & reached, 1))).label("goals"),
            sa.func.count(sa.case((journeys.c.held_out, 1))).label("held_out_journeys"),
            sa.func.count(sa.case((journeys.c.held_out & reached, 1))).label("held_out_goals"),
            sa.func.count(journeys.c.prompted_at).label("prompts"),
            sa.func.count(journeys.c.clicked_at).label("clicks"),
        )
        .where(*begun)
        .group_by(journeys.c.loop)
    )
    return connection.execute(counts).mappings().all()


def _times_to_goal(
    connection: sa.Connection, begun: Sequence[sa.ColumnElement[bool]]
) -> dict[str, timedelta | None]:
    """The median of each loop; a goal before the beginning took no time.

    PostgreSQL finds it: there may be more journeys than can be sent in time.
    """
    reached = (*begun, journeys.c.goal_at.is_not(None))
    if connection.dialect.name == "postgresql":
        begin, goal = (
            sa.type_coerce(column, sa.DateTime(timezone=True))
            for column in (journeys.c.begun_at, journeys.c.goal_at)
        )
        took = sa.type_coerce(sa.func.greatest(goal, begin) - begin, sa.Interval())
        middle = sa.func.percentile_cont(0.5).within_group(took)
        medians = sa.select(journeys.c.loop, middle).where(*reached).group_by(journeys.c.loop)
        return {row[0]: row[1] for row in connection.execute(medians)}
    rows = _by_loop(
        connection, sa.select(journeys.c.loop, journeys.c.begun_at, journeys.c.goal_at).where(*reached)
    )
    took_none = timedelta(0)
    return {
        loop: _median(max(row["goal_at"] - row["begun_at"], took_none) for row in rows[loop]) for loop in rows
    }


def _by_loop(
    connection: sa.Connection, chosen: sa.Select[Any, *tuple[Any, ...]]
) -> dict[str, list[sa.RowMapping]]:
    found: dict[str, list[sa.RowMapping]] = {}
    for row in connection.execute(chosen).mappings():
        found.setdefault(row["loop"], []).append(row)
    return found


def _paid(chosen: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any, *tuple[Any, ...]]:
    columns = (walls.c.loop, walls.c.held_out, walls.c.opened_at)
    paid = (conversions.c.converted_at, conversions.c.amount, conversions.c.currency)
    joined = sa.select(*columns, *paid).join_from(walls, conversions, conversions.c.wall == walls.c.id)
    return joined.where(*chosen)


def _unexplained(since: datetime | None, until: datetime | None) -> sa.Select[int]:
    joined = conversions.outerjoin(walls, conversions.c.wall == walls.c.id)
    nobody_was_asked = sa.or_(walls.c.id.is_(None), walls.c.shadow)
    span = _within(conversions.c.converted_at, since, until)
    return sa.select(sa.func.count()).select_from(joined).where(nobody_was_asked, *span)


def _funnel_row(
    loop: str, counts: Mapping[str, int], paid: Sequence[sa.RowMapping], to_goal: timedelta | None
) -> FunnelRow:
    revenue: Counter[str] = Counter()
    for row in paid:
        if row["amount"] is not None and row["currency"] is not None:
            revenue[row["currency"]] += row["amount"]
    return FunnelRow(
        loop,
        **counts,
        conversions=len(paid),
        held_out_conversions=sum(row["held_out"] for row in paid),
        revenue=tuple(sorted(revenue.items())),
        median_time_to_pay=_median(row["converted_at"] - row["opened_at"] for row in paid),
        median_time_to_goal=to_goal,
    )


def _median(times: Iterable[timedelta]) -> timedelta | None:
    seconds = [time.total_seconds() for time in times]
    return timedelta(seconds=median(seconds)) if seconds else None

"""The report on walls, journeys and conversions: a few statements, however many rows there are."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any, TypeAlias

import sqlalchemy as sa

from skene.adapters.sql.tables import conversions, journeys, walls
from skene.ports.ledger import FunnelRow, Span

__all__ = ["funnel"]

Chosen: TypeAlias = Sequence[sa.ColumnElement[bool]]
Group: TypeAlias = tuple[str | None, str | None]
"""A period, as the database writes it, and a loop."""


@dataclass(slots=True)
class _Figures:
    """What is known of one group."""

    counts: Counter[str] = field(default_factory=Counter[str])
    revenue: dict[str, int] = field(default_factory=dict[str, int])
    refunded: dict[str, int] = field(default_factory=dict[str, int])
    time_to_pay: timedelta | None = None
    time_to_goal: timedelta | None = None

    def row(self, group: Group) -> FunnelRow:
        """As the report has it."""
        period, loop = group
        return FunnelRow(
            loop,
            **self.counts,
            period=None if period is None else datetime.fromisoformat(period).replace(tzinfo=UTC),
            revenue=tuple(sorted(self.revenue.items())),
            refunded=tuple(sorted(self.refunded.items())),
            median_time_to_pay=self.time_to_pay,
            median_time_to_goal=self.time_to_goal,
        )


def funnel(
    connection: sa.Connection,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
    loop: str | None,
    by: Span | None,
) -> tuple[FunnelRow, ...]:
    """One row per period and loop, by name, then one for conversions that no wall explains."""
    report = _Report(connection, by)
    opened = [walls.c.shadow.is_(False), *_within(walls.c.opened_at, since, until)]
    begun = [journeys.c.shadow.is_(False), *_within(journeys.c.begun_at, since, until)]
    if loop is not None:
        opened.append(walls.c.loop == loop)
        begun.append(journeys.c.loop == loop)
    report.count(_of_walls(report.period(walls.c.opened_at), opened))
    report.count(_of_journeys(report.period(journeys.c.begun_at), begun))
    report.times_to_goal(begun)
    report.conversions(report.period(walls.c.opened_at), walls.c.loop, opened, in_time=True)
    if loop is None:
        unexplained = [
            sa.or_(walls.c.id.is_(None), walls.c.shadow),  # nobody was asked
            *_within(conversions.c.converted_at, since, until),
        ]
        period = report.period(conversions.c.converted_at)
        report.conversions(period, sa.null(), unexplained, in_time=False)
    return tuple(report.rows())


class _Report:
    """Gathers figures, statement by statement."""

    def __init__(self, connection: sa.Connection, by: Span | None) -> None:
        self._connection = connection
        self._by = by
        self._whole = connection.dialect.name == "postgresql"
        self._groups: defaultdict[Group, _Figures] = defaultdict(_Figures)

    def rows(self) -> Iterator[FunnelRow]:
        """By period and name, what has none last."""
        for group in sorted(self._groups, key=lambda one: (one[0] or "", one[1] is None, one[1] or "")):
            yield self._groups[group].row(group)

    def period(self, at: sa.Column[datetime]) -> sa.ColumnElement[Any]:
        """The day on which an instant's period begins, as text."""
        if self._by is None:
            return sa.null()
        if self._whole:
            local = sa.func.timezone(sa.literal_column("'UTC'"), at)
            begin = sa.func.date_trunc(sa.literal_column(f"'{self._by}'"), local)
            return sa.func.to_char(begin, sa.literal_column("'YYYY-MM-DD'"))
        text = sa.type_coerce(at, sa.Text())
        if self._by == "month":
            return sa.func.substr(text, 1, 7) + "-01"
        day = sa.func.substr(text, 1, 10)
        # The Sunday that ends the week, and from there six days back.
        return day if self._by == "day" else sa.func.date(day, "weekday 0", "-6 days")

    def count(self, chosen: sa.Select[Any, *tuple[Any, ...]]) -> None:
        """Add what a statement has counted."""
        for row in self._connection.execute(chosen).mappings():
            counts = {name: int(number) for name, number in row.items() if name not in ("period", "called")}
            self._groups[row["period"], row["called"]].counts.update(counts)

    def times_to_goal(self, begun: Chosen) -> None:
        """The median of each group; a goal before the beginning took no time."""
        period = self.period(journeys.c.begun_at)
        reached = (*begun, journeys.c.goal_at.is_not(None))
        times = (period, journeys.c.loop, journeys.c.begun_at, journeys.c.goal_at)
        for group, middle in self._medians(sa.select(journeys).where(*reached), times):
            self._groups[group].time_to_goal = middle

    def conversions(
        self, period: sa.ColumnElement[Any], loop: sa.ColumnElement[Any], chosen: Chosen, *, in_time: bool
    ) -> None:
        """What is known of conversions: how many, what they brought, and how long they took."""
        joined = conversions.outerjoin(walls, conversions.c.wall == walls.c.id)
        columns = (period.label("period"), loop.label("called"))
        paying = sa.select(*columns, *_of_conversions(explained=in_time)).select_from(joined).where(*chosen)
        self.count(_grouped(paying))
        money = (
            sa.select(*columns, *_money())
            .select_from(joined)
            .where(*chosen, conversions.c.currency.is_not(None))
        )
        for period_, loop_, currency, amount, refunded in self._connection.execute(
            _grouped(money, conversions.c.currency)
        ):
            figures = self._groups[period_, loop_]
            if amount is not None:
                figures.revenue[currency] = int(amount)
            if refunded:
                figures.refunded[currency] = int(refunded)
        if in_time:
            times = (period, walls.c.loop, walls.c.opened_at, conversions.c.converted_at)
            theirs = sa.select(conversions).select_from(joined).where(*chosen)
            for group, middle in self._medians(theirs, times):
                self._groups[group].time_to_pay = middle

    def _medians(
        self,
        chosen: sa.Select[Any, *tuple[Any, ...]],
        times: tuple[sa.ColumnElement[Any], sa.ColumnElement[Any], sa.Column[Any], sa.Column[Any]],
    ) -> Iterator[tuple[Group, timedelta | None]]:
        """The median time from one instant to the other, per period and loop.

        PostgreSQL finds it: there may be more rows than can be sent in time.
        """
        period, loop, start, end = times
        if self._whole:
            begin, done = (sa.type_coerce(at, sa.DateTime(timezone=True)) for at in (start, end))
            took = sa.type_coerce(sa.func.greatest(done, begin) - begin, sa.Interval())
            middle = sa.func.percentile_cont(0.5).within_group(took)
            columns = (period.label("period"), loop.label("called"), middle)
            for row in self._connection.execute(_grouped(chosen.with_only_columns(*columns))):
                yield (row[0], row[1]), row[2]
            return
        spans: defaultdict[Group, list[timedelta]] = defaultdict(list)
        for of, name, begin_at, end_at in self._connection.execute(chosen.with_only_columns(*times)):
            spans[of, name].append(max(end_at - begin_at, timedelta(0)))
        for group, lengths in spans.items():
            yield group, _median(lengths)


def _within(
    column: sa.Column[Any], since: datetime | None, until: datetime | None
) -> list[sa.ColumnElement[bool]]:
    return [*([column >= since] if since else []), *([column < until] if until else [])]


def _grouped(
    chosen: sa.Select[Any, *tuple[Any, ...]], *further: sa.ColumnElement[Any]
) -> sa.Select[Any, *tuple[Any, ...]]:
    # By names that no table has: repeated, an expression would be another one to PostgreSQL.
    return chosen.group_by("period", "called", *further)


def _of_walls(period: sa.ColumnElement[Any], chosen: Chosen) -> sa.Select[Any, *tuple[Any, ...]]:
    """Figures of walls: first of each subject, which is quicker than counting distinct ones of a million."""
    held = sa.case((walls.c.held_out, 1), else_=0)
    each = (
        sa.select(
            period.label("period"),
            walls.c.loop.label("called"),
            _somebody(walls).label("who"),
            sa.func.count().label("walls"),
            sa.func.count(walls.c.prompted_at).label("prompts"),
            sa.func.count(walls.c.clicked_at).label("clicks"),
            sa.func.count(walls.c.checkout_at).label("checkouts"),
            sa.func.sum(held).label("held_out"),
        )
        .where(*chosen)
        .group_by("period", "called", "who")
        .subquery()
    )
    names = ("walls", "prompts", "clicks", "checkouts", "held_out")
    return _grouped(
        sa.select(
            each.c.period,
            each.c.called,
            *(sa.func.sum(each.c[name]).label(name) for name in names),
            sa.func.count().label("subjects"),
            _how_many(each.c.held_out > 0).label("held_out_subjects"),
        )
    )


def _of_journeys(period: sa.ColumnElement[Any], chosen: Chosen) -> sa.Select[Any, *tuple[Any, ...]]:
    asked, alone = journeys.c.held_out.is_(False), journeys.c.held_out
    reached = journeys.c.goal_at.is_not(None)
    counted: dict[str, sa.ColumnElement[bool]] = {
        "journeys": asked,
        "goals": asked & reached,
        "held_out_journeys": alone,
        "held_out_goals": alone & reached,
    }
    each = (
        sa.select(
            period.label("period"),
            journeys.c.loop.label("called"),
            _somebody(journeys).label("who"),
            sa.func.count(journeys.c.prompted_at).label("prompts"),
            sa.func.count(journeys.c.clicked_at).label("clicks"),
            *(_how_many(which).label(name) for name, which in counted.items()),
        )
        .where(*chosen)
        .group_by("period", "called", "who")
        .subquery()
    )
    subjects = {
        "journeys": "journey_subjects",
        "goals": "goal_subjects",
        "held_out_journeys": "held_out_journey_subjects",
        "held_out_goals": "held_out_goal_subjects",
    }
    return _grouped(
        sa.select(
            each.c.period,
            each.c.called,
            *(sa.func.sum(each.c[name]).label(name) for name in ("prompts", "clicks", *counted)),
            *(_how_many(each.c[name] > 0).label(label) for name, label in subjects.items()),
        )
    )


def _of_conversions(*, explained: bool) -> Iterator[sa.ColumnElement[Any]]:
    yield sa.func.count().label("conversions")
    yield _how_many(conversions.c.again).label("reconversions")
    yield sa.func.count(conversions.c.ended_at).label("churned")
    if explained:
        who = _somebody(walls)
        yield _how_many(walls.c.held_out).label("held_out_conversions")
        yield sa.func.count(who.distinct()).label("paid_subjects")
        alone = sa.case((walls.c.held_out, who))
        yield sa.func.count(alone.distinct()).label("held_out_paid_subjects")


def _somebody(table: sa.Table) -> sa.ColumnElement[str]:
    """Who it is; of those who were forgotten nobody can tell whether they are the same."""
    return sa.case((table.c.subject == sa.literal_column("''"), table.c.id), else_=table.c.subject)


def _how_many(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((which, sa.literal_column("1", sa.Integer()))))


def _money() -> tuple[sa.ColumnElement[Any], ...]:
    amounts = (conversions.c.amount, conversions.c.refunded)
    sums: list[sa.ColumnElement[Any]] = [sa.func.sum(amount) for amount in amounts]
    return conversions.c.currency, *sums


def _median(times: Iterable[timedelta]) -> timedelta:
    return timedelta(seconds=median(time.total_seconds() for time in times))

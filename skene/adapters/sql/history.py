"""Another limit held against the windows that were used: one statement, however many rows there are."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.tables import conversions, grants, history, overrides, usage, walls
from skene.ports.history import Change, WhatIf

__all__ = ["what_if"]


def what_if(connection: sa.Connection, now: datetime, change: Change, since: datetime) -> WhatIf:
    """What was used of a counter, and how much of it goes beyond a limit."""
    each = _subjects(change, since)
    over, own = each.c.over_windows > 0, each.c.subject.in_(_own_limits(change, since))
    counted = ~own
    paid = sa.exists().where(
        conversions.c.subject == each.c.subject, conversions.c.converted_at >= each.c.first_over
    )
    walled = _walled(change, since)
    figures = {
        "subjects": _count(counted),
        "windows": _sum(counted, each.c.windows),
        "own_limits": _count(own),
        "over_subjects": _count(counted & over),
        "over_windows": _sum(counted, each.c.over_windows),
        "over_units": _sum(counted, each.c.over_units),
        "over_granted": _count(counted & over & each.c.subject.in_(_granted(change))),
        "over_paid": _count(counted & over & paid),
        "walled": sa.select(sa.func.count()).select_from(walled.subquery()).scalar_subquery(),
        "walled_over": _count(counted & over & each.c.subject.in_(walled)),
    }
    chosen = sa.select(*(one.label(name) for name, one in figures.items())).select_from(each)
    row = connection.execute(chosen).mappings().one()
    found: dict[str, Any] = {name: int(row[name] or 0) for name in figures}
    return WhatIf(**found)


def _subjects(change: Change, since: datetime) -> sa.Subquery:
    """A row for each subject: its windows, and those with more units than the limit."""
    each = sa.union_all(*(_windows(table, change, since) for table in (usage, history))).subquery()
    beyond = sa.false() if change.limit is None else each.c.used > change.limit
    more = each.c.used - (change.limit or 0)
    return (
        sa.select(
            each.c.subject,
            sa.func.count().label("windows"),
            sa.func.sum(sa.case((beyond, 1), else_=0)).label("over_windows"),
            sa.func.sum(sa.case((beyond, more), else_=0)).label("over_units"),
            sa.func.min(sa.case((beyond, each.c.window_start))).label("first_over"),
        )
        .group_by(each.c.subject)
        .subquery()
    )


def _windows(table: sa.Table, change: Change, since: datetime) -> sa.Select[Any, *tuple[Any, ...]]:
    """Of counters their latest window, of the history those before it."""
    return sa.select(table.c.subject, table.c.window_start, table.c.used).where(
        _meter(table, change), table.c.plan == change.plan, table.c.window_end > since, table.c.used > 0
    )


def _meter(table: sa.Table, change: Change) -> sa.ColumnElement[bool]:
    if change.by_route:
        return table.c.meter.startswith(f"{change.meter}:/", autoescape=True)
    return table.c.meter == change.meter


def _own_limits(change: Change, since: datetime) -> sa.Select[Any, *tuple[Any, ...]]:
    """Those who had a limit of their own at any time since."""
    kept = overrides.c
    lasted = (kept.ended_at.is_(None) | (kept.ended_at > since)) & (
        kept.expires_at.is_(None) | (kept.expires_at > since)
    )
    return sa.select(kept.subject).where(_meter(overrides, change), lasted)


def _granted(change: Change) -> sa.Select[Any, *tuple[Any, ...]]:
    return sa.select(grants.c.subject).where(_meter(grants, change))


def _walled(change: Change, since: datetime) -> sa.Select[Any, *tuple[Any, ...]]:
    """Those who met a wall; of those who were forgotten nobody can tell."""
    where = (walls.c.step.in_(change.steps), walls.c.plan == change.plan, walls.c.opened_at >= since)
    return sa.select(walls.c.subject).where(*where, walls.c.subject != "").distinct()


def _count(which: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.count(sa.case((which, 1)))


def _sum(which: sa.ColumnElement[bool], column: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    return sa.func.sum(sa.case((which, column), else_=0))

"""The counters and grants of a subject that is merged into another, in the caller's transaction.

Rows are locked as the counting functions lock them: those of skene_usage by subject and meter, then those of
skene_grants by id. Keys come before either, because a call writes its key before it locks a counter.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import grants, history, keys, usage
from skene.engine.bill import Bill
from skene.engine.counter import Counter
from skene.engine.merging import Meter, other_key, unite

__all__ = ["unite_counts", "unite_grants", "unite_keys"]

Row = sa.RowMapping
Name = tuple[str, str]
"""Meter and plan."""


def unite_keys(connection: sa.Connection, source: str, target: str) -> int:
    """Idempotency keys; one that the target has stays the target's."""
    columns = [column for column in keys.c if column.name != "subject"]
    theirs = sa.select(sa.literal(target), *columns).where(keys.c.subject == source).order_by(keys.c.key)
    move = insert(connection, keys).from_select(["subject", *(column.name for column in columns)], theirs)
    connection.execute(move.on_conflict_do_nothing())
    return connection.execute(sa.delete(keys).where(keys.c.subject == source)).rowcount


def unite_counts(connection: sa.Connection, now: datetime, source: str, target: str) -> tuple[int, datetime]:
    """Running windows and those that are over.

    Returns:
        How many there were, and an instant by which all windows had begun that are one now: `now`, or later
        if calls went on since. Give-backs find by it where units have gone.
    """
    moved, latest = _unite_running(connection, now, source, target)
    past = sa.select(history).where(history.c.subject == source)
    rows = connection.execute(past).mappings().all()
    _archive(connection, [{**row, "subject": target} for row in rows])
    connection.execute(sa.delete(history).where(history.c.subject == source))
    return moved + len(rows), latest


def unite_grants(connection: sa.Connection, source: str, target: str, *, again: bool) -> int:
    """Grants, with what is spent of them.

    One under a key that the target has already gets another key; if the source was merged before, it is the
    same grant once more, made by a call that was under way, and goes.
    """
    locked = sa.select(grants.c.id, grants.c.key).where(grants.c.subject == source)
    rows = connection.execute(locked.order_by(grants.c.id).with_for_update()).all()
    if not rows:
        return 0
    names = {name for row in rows for name in (row.key, other_key(source, row.key))}
    known = sa.select(grants.c.key).where(grants.c.subject == target, grants.c.key.in_(names))
    taken = set(connection.scalars(known))
    for row in rows:
        other = other_key(source, row.key)
        this = grants.c.id == row.id
        if (row.key in taken and again) or other in taken:
            connection.execute(sa.delete(grants).where(this))
            continue
        key = other if row.key in taken else row.key
        connection.execute(sa.update(grants).where(this).values(subject=target, key=key))
    return len(rows)


def _unite_running(
    connection: sa.Connection, now: datetime, source: str, target: str
) -> tuple[int, datetime]:
    theirs, ours = _locked(connection, source, target)
    if not theirs:
        return 0, now
    latest = now
    changes: list[dict[str, Any]] = []
    over: list[dict[str, Any]] = []
    for name, row in theirs.items():
        united = unite(_meter(ours[name]), _meter(row), now)
        latest = max(latest, row["window_start"], united.meter.counter.start)
        changes.append({"this_meter": name[0], "this_plan": name[1], **_columns(united.meter)})
        over += [_past(target, name, past) for past in united.over]
    this = (usage.c.meter == sa.bindparam("this_meter"), usage.c.plan == sa.bindparam("this_plan"))
    connection.execute(sa.update(usage).where(usage.c.subject == target, *this), changes)
    # Each by its name: a call may have opened another one meanwhile.
    names = [{name: change[name] for name in ("this_meter", "this_plan")} for change in changes]
    connection.execute(sa.delete(usage).where(usage.c.subject == source, *this), names)
    _archive(connection, over)
    return len(theirs), latest


def _locked(connection: sa.Connection, source: str, target: str) -> tuple[dict[Name, Row], dict[Name, Row]]:
    """The counters that the source has, of both and locked; the target has one for each of them."""
    order = (usage.c.subject, usage.c.meter, usage.c.plan)
    named = sa.tuple_(usage.c.meter, usage.c.plan)
    while True:
        chosen = sa.select(usage.c.meter, usage.c.plan, usage.c.window_start, usage.c.window_end)
        rows = connection.execute(chosen.where(usage.c.subject == source).order_by(*order)).mappings().all()
        # A counter that is not there cannot be locked: two transactions would both find none.
        fresh = [{"subject": target, "used": 0, **row} for row in rows]
        if fresh:
            connection.execute(insert(connection, usage).on_conflict_do_nothing(), fresh)
        other = usage.alias()
        names = sa.select(other.c.meter, other.c.plan).where(other.c.subject == source)
        whose = sa.or_(usage.c.subject == source, sa.and_(usage.c.subject == target, named.in_(names)))
        both = sa.select(usage).where(whose).order_by(*order).with_for_update()
        found = connection.execute(both).mappings().all()
        theirs = {(row["meter"], row["plan"]): row for row in found if row["subject"] == source}
        ours = {(row["meter"], row["plan"]): row for row in found if row["subject"] == target}
        if theirs.keys() <= ours.keys():  # else a counter was opened, or erased, in between
            return theirs, ours


def _meter(row: Row) -> Meter:
    parts = tuple(zip(row["part_starts"], row["part_used"], strict=True))
    # A process of an older release opens windows without naming what grants have paid.
    extra = min(row["extra"], row["used"]) if row["extra_since"] == row["window_start"] else 0
    counter = Counter(
        row["window_start"], row["window_end"], row["used"], parts, tuple(row["notices"]), extra
    )
    return Meter(counter, Bill(row["billable"], row["reported"], row["reported_since"], row["reports"]))


def _columns(meter: Meter) -> dict[str, Any]:
    counter = meter.counter
    return {
        "window_start": counter.start,
        "window_end": counter.end,
        "used": counter.used,
        "part_starts": [at for at, _ in counter.parts],
        "part_used": [used for _, used in counter.parts],
        "notices": list(counter.notices),
        "extra": counter.extra,
        "extra_since": counter.start,
        "reported_since": meter.bill.since,
        **_bill(meter.bill),
    }


def _past(subject: str, name: Name, meter: Meter) -> dict[str, Any]:
    return {
        "subject": subject,
        "meter": name[0],
        "plan": name[1],
        "window_start": meter.counter.start,
        "window_end": meter.counter.end,
        "used": meter.counter.used,
        **_bill(meter.bill),
    }


def _bill(bill: Bill) -> dict[str, Any]:
    return {"billable": bill.billable, "reported": bill.reported, "reports": bill.reports}


def _archive(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Put windows into the history; one that is there already gets the sum of both."""
    if not rows:
        return
    put = insert(connection, history)
    ours, new = history.c, put.excluded
    greater = sa.case((ours.reports > new.reports, ours.reports), else_=new.reports)
    changes: dict[str, Any] = {
        "used": _sum(ours.used, new.used),
        "billable": sa.or_(ours.billable, new.billable, sa.and_(ours.used > 0, new.used > 0)),
        "reported": _sum(ours.reported, new.reported),
        "reports": greater,
        "window_end": new.window_end,
    }
    index = [ours.subject, ours.meter, ours.plan, ours.window_start]
    connection.execute(put.on_conflict_do_update(index_elements=index, set_=changes), rows)


def _sum(one: sa.ColumnElement[int], other: sa.ColumnElement[int]) -> sa.ColumnElement[int]:
    """The sum, or the greatest number that a column holds."""
    most = sa.literal(2**63 - 1, sa.BigInteger())
    return sa.case((one > most - other, most), else_=one + other)

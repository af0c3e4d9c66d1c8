"""Reports of billed use: `report_billed`, in the caller's transaction."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.outbox import post
from skene.adapters.sql.tables import customers, history, usage
from skene.engine.bill import Bill, settled
from skene.ports.bills import BilledWindow, usage_draft
from skene.ports.counters import BilledUse

__all__ = ["report_billed"]


def report_billed(connection: sa.Connection, now: datetime, use: BilledUse, limit: int) -> int:
    """Put reports of billed use into the outbox, and remember what they report."""
    running = _waiting(connection, usage, use, limit)
    current = [_window(row, past=False) for row in running if row["reported_since"] == row["window_start"]]
    _make_up(connection, use, [row for row in running if row["reported_since"] != row["window_start"]])
    over = _waiting(connection, history, use, limit - len(running))
    past = [_window(row, past=True) for row in over]
    drafts = [usage_draft(use, window, now) for window in (*current, *past)]
    post(connection, now, [draft for draft in drafts if draft is not None])
    _settle(connection, usage, use, current)
    _settle(connection, history, use, past)
    return len(running) + len(over)


def _waiting(
    connection: sa.Connection, table: sa.Table, use: BilledUse, limit: int
) -> Sequence[sa.RowMapping]:
    """Rows that may owe something, held. Those of no customer wait, and are in nobody's way."""
    chosen = (
        sa.select(table, customers.c.customer)
        .join(customers, customers.c.subject == table.c.subject)
        .where(
            table.c.meter == use.meter,
            table.c.plan == use.plan,
            sa.literal_column("billable"),  # as the index has it: SQLite would be given `billable = 1`
            customers.c.customer.is_not(None),
        )
        .order_by(table.c.subject, table.c.window_start)
        .limit(limit)
        .with_for_update(of=table, skip_locked=True)
    )
    return connection.execute(chosen).mappings().all() if limit > 0 else ()


def _window(row: sa.RowMapping, *, past: bool) -> BilledWindow:
    start = row["window_start"]
    bill = Bill(True, row["reported"], start, row["reports"])
    return BilledWindow(
        row["subject"], row["customer"], start, row["window_end"], row["used"], bill, past=past
    )


def _settle(
    connection: sa.Connection, table: sa.Table, use: BilledUse, windows: Sequence[BilledWindow]
) -> None:
    after = [settled(one.bill, one.start, one.used, use.included) for one in windows]
    rows = [
        {"whose": one.subject, "start": one.start, "told": bill.reported, "number": bill.reports}
        for one, bill in zip(windows, after, strict=True)
    ]
    write = sa.update(table).where(*_row(table, use), table.c.window_start == sa.bindparam("start"))
    if rows:
        known: dict[str, Any] = {"reported": sa.bindparam("told"), "reports": sa.bindparam("number")}
        connection.execute(write.values(billable=False, **known), rows)


def _make_up(connection: sa.Connection, use: BilledUse, moved: Sequence[sa.RowMapping]) -> None:
    """A process of the release before has moved these windows on, and did not know what was reported."""
    lost = [
        {
            "subject": row["subject"],
            "meter": use.meter,
            "plan": use.plan,
            "window_start": row["reported_since"],
            "window_end": row["window_start"],
            "used": 0,  # where everything was given back, it has kept no window
            "billable": True,
            "reported": row["reported"],
            "reports": row["reports"],
        }
        for row in moved
    ]
    if not lost:
        return
    new = insert(connection, history)
    greatest = sa.func.greatest if connection.dialect.name == "postgresql" else sa.func.max
    change: dict[str, Any] = {
        "billable": True,
        "reported": history.c.reported + new.excluded.reported,
        "reports": greatest(history.c.reports, new.excluded.reports),
    }
    names = [history.c.subject, history.c.meter, history.c.plan, history.c.window_start]
    connection.execute(new.on_conflict_do_update(index_elements=names, set_=change), lost)
    clear = sa.update(usage).where(*_row(usage, use))
    connection.execute(
        clear.values(billable=False, reported=0, reported_since=None),
        [{"whose": row["subject"]} for row in moved],
    )


def _row(table: sa.Table, use: BilledUse) -> tuple[sa.ColumnElement[bool], ...]:
    whose = table.c.subject == sa.bindparam("whose")
    return whose, table.c.meter == use.meter, table.c.plan == use.plan

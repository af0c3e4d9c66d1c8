"""What becomes of a counter's bill when SQLite counts, and of windows that are over."""

import sqlite3
from dataclasses import replace
from datetime import datetime

from skene.adapters.sql.types import from_text, to_text
from skene.engine.bill import Bill, charged, given_back, past
from skene.engine.counter import Counter

__all__ = ["NONE", "note", "note_give_back", "read"]

NONE = Bill()

Row = tuple[str, str, str]
"""Subject, meter and plan."""

_WRITE = """
UPDATE skene_usage SET billable = ?, reported = ?, reported_since = ?, reports = ?
 WHERE subject = ? AND meter = ? AND plan = ?
"""
_ARCHIVE = """
INSERT INTO skene_usage_history
       (subject, meter, plan, window_start, window_end, used, billable, reported, reports)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (subject, meter, plan, window_start) DO UPDATE
   SET used = used + excluded.used, window_end = excluded.window_end,
       billable = max(billable, excluded.billable), reported = reported + excluded.reported,
       reports = max(reports, excluded.reports)
"""
_MAKE_UP = """
INSERT INTO skene_usage_history
       (subject, meter, plan, window_start, window_end, used, billable, reported, reports)
VALUES (?, ?, ?, ?, ?, 0, 1, ?, ?)
ON CONFLICT (subject, meter, plan, window_start) DO UPDATE
   SET billable = 1, reported = reported + excluded.reported, reports = max(reports, excluded.reports)
"""


def read(billable: int, reported: int, since: str | None, reports: int) -> Bill:
    """The bill of a row."""
    if since is None and not reports:
        return NONE
    return Bill(bool(billable), reported, from_text(since) if since else None, reports)


def note(
    db: sqlite3.Connection,
    row: Row,
    stored: Counter | None,
    bill: Bill,
    start: datetime,
    *,
    billed: bool,
    moved: bool,
) -> None:
    """After a charge: keep the bill, and move a window that is over, with what was reported, to the history.

    Args:
        db: in a transaction that writes.
        row: whose counter.
        stored: the counter before the charge; None if there was none.
        bill: its bill then.
        start: start of the window that was charged.
        billed: the use is put on a bill.
        moved: the charge has opened the window.
    """
    before = bill
    if stored is not None and (billed or moved) and bill.since is not None and bill.since != stored.start:
        # A process of the release before has moved the window on, and did not know what was reported.
        window = (to_text(bill.since), to_text(stored.start))
        db.execute(_MAKE_UP, (*row, *window, bill.reported, bill.reports))
        bill = replace(bill, reported=0, since=None)
    if stored is not None and moved and (stored.used > 0 or bill.told(stored.start)):
        over = past(bill, stored.start)
        window = (to_text(stored.start), to_text(stored.end))
        db.execute(_ARCHIVE, (*row, *window, stored.used, over.billable, over.reported, over.reports))
    _keep(db, row, before, charged(bill, start, billed=billed, moved=moved))


def note_give_back(db: sqlite3.Connection, row: Row, bill: Bill, start: datetime) -> None:
    """After units went back to the window that began at `start`."""
    _keep(db, row, bill, given_back(bill, start))


def _keep(db: sqlite3.Connection, row: Row, before: Bill, after: Bill) -> None:
    if after != before:
        since = to_text(after.since) if after.since else None
        db.execute(_WRITE, (after.billable, after.reported, since, after.reports, *row))

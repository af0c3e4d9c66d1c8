"""Counting in SQLite, one call after the other: decided by the engine and written by hand-made SQL.

This is the long way, which knows everything; ordinary calls go the short one of `together`.
"""

import json
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from skene.adapters.sql.overrides import own_limits
from skene.adapters.sql.types import from_text, to_text
from skene.adapters.sqlite import bills
from skene.engine.bill import Bill
from skene.engine.counter import (
    Counter,
    after_merge,
    charge,
    drawn,
    fits,
    give_back,
    present,
    reported,
    returned,
)
from skene.engine.grants import Pot, draw, put_back, unspent
from skene.engine.limits import applied_plan, limit_for
from skene.engine.window import Rolling
from skene.errors import IdempotencyConflict
from skene.ports.counters import Charge, Consume, Counted, Receipt, Tally

__all__ = ["MOST", "WRITE", "consume", "peek", "refund", "wall"]

MOST = 2**63 - 1
"""The greatest number a column holds; an unlimited counter stays there rather than fail."""

_CUSTOMER = """
SELECT plan, until, customer, checked_at, cycle, features, overrides, merged_into
  FROM skene_customers WHERE subject = ?
"""
_NOBODY = (None, None, None, None, "[]", None, None, None)
_MERGED = "SELECT merged_into, updated_at FROM skene_customers WHERE subject = ? AND merged_into IS NOT NULL"
_KEY = "SELECT fingerprint, repeated FROM skene_idempotency_keys WHERE subject = ? AND key = ?"
_KEEP_KEY = "INSERT INTO skene_idempotency_keys (subject, key, fingerprint, created_at) VALUES (?, ?, ?, ?)"
_REPEAT_KEY = "UPDATE skene_idempotency_keys SET repeated = 1 WHERE subject = ? AND key = ?"
_FREE_KEY = "DELETE FROM skene_idempotency_keys WHERE subject = ? AND key = ?"
_COUNTER = """
SELECT window_start, window_end, used, part_starts, part_used, notices, extra, extra_since,
       billable, reported, reported_since, reports
  FROM skene_usage WHERE subject = ? AND meter = ? AND plan = ?
"""
WRITE = """
INSERT INTO skene_usage
       (subject, meter, plan, window_start, window_end, used, part_starts, part_used, notices,
        extra, extra_since)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (subject, meter, plan) DO UPDATE
   SET window_start = excluded.window_start, window_end = excluded.window_end, used = excluded.used,
       part_starts = excluded.part_starts, part_used = excluded.part_used, notices = excluded.notices,
       extra = excluded.extra, extra_since = excluded.extra_since
"""
_REFUND_PAST = """
UPDATE skene_usage_history SET used = max(0, used - ?), billable = billable OR reported > 0
 WHERE subject = ? AND meter = ? AND plan = ? AND window_start = ?
"""
_WALL = """
SELECT id FROM skene_walls WHERE subject = ? AND step = ? AND plan = ? AND window_end > ?
 ORDER BY window_end DESC LIMIT 1
"""
_GRANTS_LEFT = """
SELECT id, units, spent, expires_at, spent_at FROM skene_grants
 WHERE subject = ? AND meter = ? AND spent < units AND (expires_at IS NULL OR expires_at > ?)
"""
_GRANTS_SPENT = """
SELECT id, units, spent, expires_at, spent_at FROM skene_grants
 WHERE subject = ? AND meter = ? AND spent > 0
"""
_CHANGE_GRANT = "UPDATE skene_grants SET spent = ?, spent_at = ? WHERE id = ?"


@dataclass(frozen=True, slots=True)
class _Stored:
    """A row of skene_usage."""

    counter: Counter
    bill: Bill


@dataclass(frozen=True, slots=True)
class _Line:
    """A charge, its plan and limit, the counter as stored and as it stands, its grants, whether it fits."""

    charge: Charge
    plan: str
    limit: int | None
    stored: "_Stored | None"
    counter: Counter
    pots: tuple[Pot, ...]
    granted: int
    fits: bool


@dataclass(frozen=True, slots=True)
class _Sight:
    """Everything that decides a call, read in one transaction, and the answer if it is not charged."""

    lines: tuple[_Line, ...]
    answer: Counted


def peek(db: sqlite3.Connection, now: datetime, call: Consume) -> Counted:
    """What `consume` would answer, in the caller's transaction; nothing is charged.

    Raises:
        IdempotencyConflict: the key was admitted before with another fingerprint.
    """
    return _look(db, now, call).answer


def consume(db: sqlite3.Connection, now: datetime, call: Consume) -> Counted:
    """Decide a call, in a transaction that may write, and charge it if it is admitted.

    Raises:
        IdempotencyConflict: the key was admitted before with another fingerprint.
    """
    sight = _look(db, now, call)
    subject = sight.answer.subject
    if sight.answer.replayed:
        db.execute(_REPEAT_KEY, (subject, call.idempotency_key))
    if not sight.answer.admitted or sight.answer.replayed:
        return sight.answer
    if call.idempotency_key is not None:
        db.execute(_KEEP_KEY, (subject, call.idempotency_key, call.fingerprint, to_text(now)))
    tallies = [_charge(db, subject, line, now) for line in sight.lines]
    return replace(sight.answer, tallies=tuple(tallies))


def wall(db: sqlite3.Connection, subject: str, step: str, plan: str, now: datetime) -> str | None:
    """The id of the wall that stands for a step, a plan and the running window."""
    row = db.execute(_WALL, (subject, step, plan, to_text(now))).fetchone()
    return row[0] if row else None


def _look(db: sqlite3.Connection, now: datetime, call: Consume) -> _Sight:
    """Read how a call stands."""
    subject, row = _resolve(db, call.subject)
    call = call if subject == call.subject else replace(call, subject=subject)
    held, until, customer, checked_at, edges, features_json, overrides_json, _ = row
    if held is None or (until is not None and until <= to_text(now)):
        held = call.default_plan
    known = held == call.default_plan or any(held in item.limits for item in call.charges)
    replayed = call.idempotency_key is not None and _replayed(db, call)
    cycle = [from_text(edge) for edge in json.loads(edges)] if edges != "[]" else ()
    features = json.loads(features_json) if features_json else ()
    own = own_limits(json.loads(overrides_json)) if overrides_json else {}
    lines: list[_Line] = []
    for item in call.charges:
        plan = applied_plan(item.limits, held, call.default_plan)
        limit = limit_for(
            item.limits[plan], item.feature, features, None if item.watched else own.get(item.meter), now
        )
        stored = _read(db, call.subject, item.meter, plan)
        counter = present(stored.counter if stored else None, item.rule, now, cycle)
        pots = _pots(db, _GRANTS_LEFT, (call.subject, item.meter, to_text(now)))
        granted = min(unspent(pots, now), MOST)
        fitting = fits(counter, limit, item.cost, granted) or replayed
        lines.append(_Line(item, plan, limit, stored, counter, pots, granted, fitting))
    answer = Counted(
        replayed or all(line.fits for line in lines),
        replayed,
        now,
        held if known else call.default_plan,
        None if known else held,
        customer,
        from_text(checked_at) if checked_at else None,
        tuple([_report(db, call.subject, line, now) for line in lines]),
        call.subject,
    )
    return _Sight(tuple(lines), answer)


def refund(
    db: sqlite3.Connection,
    now: datetime,
    subject: str,
    receipts: tuple[Receipt, ...],
    idempotency_key: str | None,
) -> None:
    """Give back charged units in the window they were charged in, and free the key."""
    merged: tuple[str, str] | None = db.execute(_MERGED, (subject,)).fetchone()
    if idempotency_key is not None:
        holder = merged[0] if merged else subject
        row = db.execute(_KEY, (holder, idempotency_key)).fetchone()
        if row is not None and row[1]:
            return  # a repetition went on for free: the charge is its as well
        db.execute(_FREE_KEY, (holder, idempotency_key))
    for receipt in receipts:
        if not _give_back(db, now, subject, receipt):
            if merged is None:
                _give_back_past(db, subject, receipt)
            elif not _give_back(db, now, merged[0], receipt, from_text(merged[1])):
                _give_back_past(db, merged[0], receipt)


def _give_back(
    db: sqlite3.Connection, now: datetime, subject: str, receipt: Receipt, merged_at: datetime | None = None
) -> bool:
    """Give units back to a subject's running window. False: it is not the one they were charged in."""
    row, at = _read(db, subject, receipt.meter, receipt.plan), receipt.at
    if row is None:
        return False
    counter = row.counter
    if merged_at is not None:
        at = after_merge(counter, at, merged_at)
    left = give_back(counter, at, min(receipt.cost, MOST))
    if left is None:
        return False
    _write(db, subject, receipt.meter, receipt.plan, left)
    bills.note_give_back(db, (subject, receipt.meter, receipt.plan), row.bill, counter.start)
    if back := returned(counter, left, at, now):
        _change(db, put_back(_pots(db, _GRANTS_SPENT, (subject, receipt.meter)), back))
    return True


def _give_back_past(db: sqlite3.Connection, subject: str, receipt: Receipt) -> None:
    window = (subject, receipt.meter, receipt.plan, to_text(receipt.at))
    db.execute(_REFUND_PAST, (min(receipt.cost, MOST), *window))


def _resolve(db: sqlite3.Connection, subject: str) -> tuple[str, tuple[Any, ...]]:
    """Who is counted, and what skene_customers says of them."""
    row: tuple[Any, ...] = db.execute(_CUSTOMER, (subject,)).fetchone() or _NOBODY
    if row[-1] is None:
        return subject, row
    subject = row[-1]  # which never was merged itself
    return subject, db.execute(_CUSTOMER, (subject,)).fetchone() or _NOBODY


def _replayed(db: sqlite3.Connection, call: Consume) -> bool:
    row = db.execute(_KEY, (call.subject, call.idempotency_key)).fetchone()
    if row is not None and row[0] != call.fingerprint:
        raise IdempotencyConflict("this idempotency key was used for a different request")
    return row is not None


def _read(db: sqlite3.Connection, subject: str, meter: str, plan: str) -> _Stored | None:
    row = db.execute(_COUNTER, (subject, meter, plan)).fetchone()
    if row is None:
        return None
    start, end, used, part_starts, part_used, notices, extra, extra_since, *billing = row
    if extra_since != start:
        extra = 0  # a process of the release before has moved the window on
    parts: tuple[tuple[datetime, int], ...] = ()
    if part_starts != "[]":
        parts = tuple(zip(map(from_text, json.loads(part_starts)), json.loads(part_used), strict=True))
    named = tuple(json.loads(notices)) if notices != "[]" else ()
    counter = Counter(from_text(start), from_text(end), used, parts, named, min(extra, used))
    return _Stored(counter, bills.read(*billing))


def _pots(db: sqlite3.Connection, query: str, values: tuple[str, ...]) -> tuple[Pot, ...]:
    return tuple(
        Pot(
            number,
            units,
            spent,
            from_text(expires_at) if expires_at else None,
            from_text(spent_at) if spent_at else None,
        )
        for number, units, spent, expires_at, spent_at in db.execute(query, values).fetchall()
    )


def _change(db: sqlite3.Connection, pots: tuple[Pot, ...]) -> None:
    for pot in pots:
        db.execute(_CHANGE_GRANT, (pot.spent, to_text(pot.spent_at) if pot.spent_at else None, pot.number))


def _write(db: sqlite3.Connection, subject: str, meter: str, plan: str, counter: Counter) -> None:
    starts = json.dumps([to_text(at) for at, _ in counter.parts]) if counter.parts else "[]"
    units = json.dumps([min(used, MOST) for _, used in counter.parts]) if counter.parts else "[]"
    notices = json.dumps(counter.notices) if counter.notices else "[]"
    window = (to_text(counter.start), to_text(counter.end), min(counter.used, MOST))
    paid = (min(counter.extra, MOST), to_text(counter.start))
    db.execute(WRITE, (subject, meter, plan, *window, starts, units, notices, *paid))


def _charge(db: sqlite3.Connection, subject: str, line: _Line, now: datetime) -> Tally:
    item, stored = line.charge, line.stored
    extra = drawn(line.counter, line.limit, item.cost)
    _change(db, draw(line.pots, extra, now))
    after, at = charge(line.counter, item.rule, now, min(item.cost, MOST), extra)
    _write(db, subject, item.meter, line.plan, after)
    before, bill = (stored.counter, stored.bill) if stored else (None, bills.NONE)
    moved, billed = before is not None and _moved(line, before), line.plan in item.billed
    bills.note(db, (subject, item.meter, line.plan), before, bill, after.start, billed=billed, moved=moved)
    receipt = Receipt(item.meter, line.plan, at, item.cost)
    return _tally(line, after, line.granted - extra, receipt=receipt)


def _moved(line: _Line, stored: Counter) -> bool:
    """Whether the row's window is over, and this is the next one. A rolling one goes on for ever."""
    over = stored.used > 0 and line.counter.used == 0
    return not isinstance(line.charge.rule, Rolling) and (over or stored.start != line.counter.start)


def _report(db: sqlite3.Connection, subject: str, line: _Line, now: datetime) -> Tally:
    standing = None if line.fits else wall(db, subject, line.charge.step, line.plan, now)
    return _tally(line, line.counter, line.granted, line.fits, standing)


def _tally(
    line: _Line,
    counter: Counter,
    granted: int,
    fitting: bool = True,
    wall: str | None = None,
    receipt: Receipt | None = None,
) -> Tally:
    limit, used = reported(counter, line.limit, granted), min(counter.used, MOST)
    start, end = counter.start, counter.end
    return Tally(line.charge, limit, used, fitting, start, end, counter.notices, wall, receipt, granted)

"""What is only needed for a time: each function deletes one batch of it, in the caller's transaction.

Nobody waits for it. A batch is small, rows that somebody holds are left for the next time, and so are those
that another process is deleting. All but counters are found by an index, oldest first. Counters have none by
their age: it would have to be changed with every window that opens, which is to say while somebody waits for
a decision. They are looked through instead, some each time, in the order of their names.
"""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, TypeAlias

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.indexes import NOTHING_TO_BILL, NOTHING_TO_DO
from skene.adapters.sql.tables import (
    decisions,
    firings,
    history,
    keys,
    outbox,
    syncs,
    ticks,
    usage,
    webhook_events,
)
from skene.ports.retention import FIRINGS_GUARD, FIRINGS_LAST, KEPT, KEYS_LAST, LOG_HOLDS, LOG_LASTS

__all__ = [
    "ALL",
    "BATCH",
    "BEGIN",
    "Place",
    "forget_how_far",
    "how_far",
    "look_through_counters",
    "note_how_far",
]

BATCH = 1_000
"""Rows of one transaction: a few milliseconds, whatever there is to delete."""

Place: TypeAlias = tuple[str, str, str]
"""Subject, meter and plan of the counter that was looked at last."""

BEGIN: Place = ("", "", "")
"""Before the first: no subject has an empty id."""

_PLACE = (usage.c.subject, usage.c.meter, usage.c.plan)
_NAME = "counters"
"""Which row of skene_syncs holds how far the look through the counters has come."""

_OUTLASTED = {
    "postgresql": "window_end + (window_end - window_start)",
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%f000Z', 2 * julianday(window_end) - julianday(window_start))",
}
"""When the last use in a rolling window has left it at the latest, as `ports.retention.window_kept` says."""


def old_keys(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Idempotency keys after 24 h."""
    return _delete(connection, keys, keys.c.created_at <= now - KEYS_LAST, by=keys.c.created_at, batch=batch)


def old_decisions(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Rows of the log after 90 days."""
    return _delete(connection, decisions, decisions.c.at <= now - LOG_LASTS, by=decisions.c.at, batch=batch)


def too_many_decisions(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Rows of the log that so many others are later than."""
    # By their numbers, which have few gaps: to count a million rows takes longer than an answer may.
    last: int | None = connection.scalar(sa.select(sa.func.max(decisions.c.id)))
    if last is None:
        return 0
    return _delete(connection, decisions, decisions.c.id <= last - LOG_HOLDS, by=decisions.c.id, batch=batch)


def old_firings(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Firings that ended over 7 days ago, and whose key has kept others off for 90 days."""
    table = firings.c
    old = (
        table.due_at.is_(None),
        table.occurred_at <= now - FIRINGS_GUARD,
        table.settled_at <= now - FIRINGS_LAST,
    )
    return _delete(connection, firings, *old, by=table.occurred_at, batch=batch)


def old_ticks(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Ticks after 400 days, but neither a step's latest nor the last one that was read to the end.

    Schedules go on from the one, episodes from the other.
    """
    other = ticks.alias("other")
    of_step = other.c.step == ticks.c.step
    whole = sa.select(sa.func.max(other.c.tick)).where(of_step, other.c.scanned_at.is_not(None))
    latest = sa.select(sa.func.max(other.c.tick)).where(of_step)
    keep = sa.func.coalesce(whole.scalar_subquery(), latest.scalar_subquery())
    old = (ticks.c.tick <= now - KEPT, ticks.c.tick < keep)
    return _delete(connection, ticks, *old, by=ticks.c.tick, batch=batch)


def old_messages(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Messages that were settled over 400 days ago, but none that waits for a person.

    What guards longer than its message is kept elsewhere: a wall stands, a counter knows its warnings.
    """
    old = (NOTHING_TO_DO, outbox.c.settled_at <= now - KEPT)
    return _delete(connection, outbox, *old, by=outbox.c.settled_at, batch=batch)


def old_events(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Webhooks that were received over 400 days ago."""
    received = webhook_events.c.received_at
    return _delete(connection, webhook_events, received <= now - KEPT, by=received, batch=batch)


def old_history(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Windows that ended over 400 days ago, with nothing left to bill."""
    old = (NOTHING_TO_BILL, history.c.window_end <= now - KEPT)
    return _delete(connection, history, *old, by=history.c.window_end, batch=batch)


ALL: tuple[Callable[[sa.Connection, datetime, int], int], ...] = (
    old_keys,
    old_decisions,
    too_many_decisions,
    old_firings,
    old_ticks,
    old_messages,
    old_events,
    old_history,
)


def look_through_counters(
    connection: sa.Connection, now: datetime, after: Place, batch: int
) -> tuple[int, Place]:
    """Look at the next counters; delete those whose window has been over for 400 days, with nothing to bill.

    Args:
        connection: in a transaction.
        now: the storage's time.
        after: which one was looked at last; `BEGIN` before the first.
        batch: how many to look at.

    Returns:
        How many are gone, and which one was the last; `BEGIN` if there are no more.
    """
    name = sa.tuple_(*_PLACE)
    there = sa.select(*_PLACE).where(name > after).order_by(*_PLACE)
    row = connection.execute(there.offset(batch - 1).limit(1)).one_or_none()
    last: Place = BEGIN if row is None else (row.subject, row.meter, row.plan)
    # Subjects alone as well: how many rows lie between two names is nothing that PostgreSQL guesses well.
    within = [name > after, usage.c.subject >= after[0]]
    if row is not None:
        within += [name <= last, usage.c.subject <= last[0]]
    cut = sa.literal(now - KEPT, usage.c.window_end.type)
    outlasted = sa.literal_column(_OUTLASTED[connection.dialect.name], usage.c.window_end.type)
    old = (NOTHING_TO_BILL, usage.c.window_end <= cut, outlasted <= cut)
    return _delete(connection, usage, *within, *old, by=usage.c.subject, batch=batch), last


def how_far(connection: sa.Connection, now: datetime) -> Place:
    """Where the last look through the counters has stopped; `BEGIN`: it has come to their end."""
    told: str | None = connection.scalar(sa.select(syncs.c.cursor).where(syncs.c.name == _NAME))
    subject, meter, plan = json.loads(told) if told else BEGIN
    return subject, meter, plan


def note_how_far(connection: sa.Connection, now: datetime, place: Place) -> None:
    """Keep where a look through the counters has stopped."""
    over = place == BEGIN
    change: dict[str, Any] = {"cursor": json.dumps(place), "finished_at": now if over else None}
    first: dict[str, Any] = {"name": _NAME, "started_at": now, "stage": "prune", "counts": {}, **change}
    put = insert(connection, syncs).values(first)
    connection.execute(put.on_conflict_do_update(index_elements=[syncs.c.name], set_=change))


def forget_how_far(connection: sa.Connection, now: datetime, names: Iterable[str]) -> None:
    """Let the look through the counters begin anew if it has stopped at one of these subjects' counters."""
    subject, meter, _ = how_far(connection, now)
    if any(name == subject or meter.endswith(f"@{name}") for name in names):
        anew = sa.update(syncs).where(syncs.c.name == _NAME)
        connection.execute(anew.values(cursor=json.dumps(BEGIN)))


def _delete(
    connection: sa.Connection,
    table: sa.Table,
    *old: sa.ColumnElement[bool],
    by: sa.ColumnElement[Any],
    batch: int,
) -> int:
    """Delete the first rows that are old and that nobody holds. Returns how many."""
    some = sa.select().select_from(table).where(*old).order_by(by).limit(batch)
    if connection.dialect.name == "postgresql":
        # By where they lie, which takes no second look into an index, and no guess how many there are.
        place: sa.ColumnElement[Any] = sa.literal_column("ctid")
        held = some.add_columns(place).with_for_update(skip_locked=True)
        which = place == sa.any_(sa.func.array(held.scalar_subquery()))
    else:
        which = sa.tuple_(*table.primary_key).in_(some.add_columns(*table.primary_key))
    return connection.execute(sa.delete(table).where(which)).rowcount

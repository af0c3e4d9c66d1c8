"""What is only needed for a time: each function deletes one batch of it, in the caller's transaction."""

from collections.abc import Callable
from datetime import datetime, timedelta

import sqlalchemy as sa

from skene.adapters.sql.tables import decisions, firings, keys, ticks

__all__ = ["ALL", "BATCH"]

BATCH = 5_000
"""Rows of one transaction: few enough for an answer in time, whatever there is to delete."""

KEYS_LAST = timedelta(hours=24)
LOG_LASTS, LOG_HOLDS = timedelta(days=90), 1_000_000
FIRINGS_LAST, FIRINGS_GUARD = timedelta(days=7), timedelta(days=90)
TICKS_LAST = timedelta(days=400)


def old_keys(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Idempotency keys after 24 h."""
    old = sa.select(keys.c.subject, keys.c.key).where(keys.c.created_at <= now - KEYS_LAST).limit(batch)
    gone = sa.delete(keys).where(sa.tuple_(keys.c.subject, keys.c.key).in_(old))
    return connection.execute(gone).rowcount


def old_decisions(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Rows of the log after 90 days."""
    old = sa.select(decisions.c.id).where(decisions.c.at <= now - LOG_LASTS).order_by(decisions.c.at)
    return connection.execute(sa.delete(decisions).where(decisions.c.id.in_(old.limit(batch)))).rowcount


def too_many_decisions(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Rows of the log that so many others are later than."""
    # By their numbers, which have few gaps: to count a million rows takes longer than an answer may.
    last: int | None = connection.scalar(sa.select(sa.func.max(decisions.c.id)))
    if last is None:
        return 0
    old = sa.select(decisions.c.id).where(decisions.c.id <= last - LOG_HOLDS).order_by(decisions.c.id)
    return connection.execute(sa.delete(decisions).where(decisions.c.id.in_(old.limit(batch)))).rowcount


def old_firings(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Firings that ended over 7 days ago, and whose key has kept others off for 90 days."""
    table = firings.c
    old = (
        sa.select(table.id)
        .where(
            table.due_at.is_(None),
            table.occurred_at <= now - FIRINGS_GUARD,
            table.settled_at <= now - FIRINGS_LAST,
        )
        .order_by(table.occurred_at)
        .limit(batch)
    )
    return connection.execute(sa.delete(firings).where(table.id.in_(old))).rowcount


def old_ticks(connection: sa.Connection, now: datetime, batch: int) -> int:
    """Ticks after 400 days, but neither a step's latest nor the last one that was read to the end.

    Schedules go on from the one, episodes from the other.
    """
    other = ticks.alias("other")
    of_step = other.c.step == ticks.c.step
    whole = sa.select(sa.func.max(other.c.tick)).where(of_step, other.c.scanned_at.is_not(None))
    latest = sa.select(sa.func.max(other.c.tick)).where(of_step)
    keep = sa.func.coalesce(whole.scalar_subquery(), latest.scalar_subquery())
    needless = ticks.c.tick < keep
    old = sa.select(ticks.c.step, ticks.c.tick).where(ticks.c.tick <= now - TICKS_LAST, needless).limit(batch)
    gone = sa.delete(ticks).where(sa.tuple_(ticks.c.step, ticks.c.tick).in_(old))
    return connection.execute(gone).rowcount


ALL: tuple[Callable[[sa.Connection, datetime, int], int], ...] = (
    old_keys,
    old_decisions,
    too_many_decisions,
    old_firings,
    old_ticks,
)

"""Warnings and erasure: the remaining verbs, each in the caller's transaction."""

from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.accounts import digest
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.outbox import post
from skene.adapters.sql.overrides import counted_as
from skene.adapters.sql.tables import (
    conversions,
    customers,
    decisions,
    firings,
    forgotten,
    grants,
    history,
    journeys,
    keys,
    outbox,
    recipients,
    subscriptions,
    suppressions,
    usage,
    walls,
)
from skene.ports.contacts import Suppressed
from skene.ports.counters import Notice

__all__ = ["forget", "meters", "record_notice"]

NOBODY = ""
"""Whose walls, conversions and journeys are when the person is erased. No subject has an empty id."""


def meters(connection: sa.Connection, now: datetime, subject: str) -> tuple[str, ...]:
    """The names of all counters that are kept for a subject."""
    who = counted_as(connection, subject)
    kept = sa.select(usage.c.meter).where(usage.c.subject == who).distinct().order_by(usage.c.meter)
    return tuple(connection.scalars(kept))


def record_notice(connection: sa.Connection, now: datetime, notice: Notice) -> bool:
    """Record warnings for a running window and their messages, once."""
    counter = (
        usage.c.subject == counted_as(connection, notice.subject),
        usage.c.meter == notice.meter,
        usage.c.plan == notice.plan,
        usage.c.window_start == notice.window_start,
        usage.c.window_end > now,
    )
    known: list[str] | None = connection.scalar(sa.select(usage.c.notices).where(*counter).with_for_update())
    if known is None:
        return False
    new = [name for name in notice.names if name not in known]
    if not new:
        return False
    connection.execute(sa.update(usage).where(*counter).values(notices=[*known, *new]))
    post(connection, now, notice.drafts)
    return True


def forget(connection: sa.Connection, now: datetime, subject: str) -> int:
    """Erase a person; walls, conversions and journeys stay, under no name."""
    tied = sa.select(customers.c.customer).where(customers.c.subject == subject)
    customer: str | None = connection.scalar(tied)
    if customer is not None:
        serialise(connection, "customer", customer)
    serialise(connection, "subject", subject)
    erased = 0
    if customer is not None:
        block = insert(connection, forgotten).values(digest=digest(customer), forgotten_at=now)
        connection.execute(block.on_conflict_do_nothing())
        erased += connection.execute(
            sa.delete(subscriptions).where(subscriptions.c.customer == customer)
        ).rowcount
    # A firing that is being recorded is waited for, and then shows what goes on from it.
    while gone := connection.execute(sa.delete(firings).where(firings.c.subject == subject)).rowcount:
        erased += gone
    for table in (customers, usage, grants, history, keys, recipients, outbox, decisions):
        erased += connection.execute(sa.delete(table).where(table.c.subject == subject)).rowcount
    kinds = suppressions.c.kind.in_(tuple(Suppressed))  # named, so that the primary key finds the rows
    erased += connection.execute(
        sa.delete(suppressions).where(kinds, suppressions.c.subject == subject)
    ).rowcount
    for table in (walls, conversions, journeys):
        nameless = sa.update(table).where(table.c.subject == subject).values(subject=NOBODY)
        erased += connection.execute(nameless).rowcount
    return erased

"""Warnings and erasure: the remaining verbs, each in the caller's transaction."""

from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.accounts import digest
from skene.adapters.sql.aliases import living
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.indexes import member_of
from skene.adapters.sql.outbox import post
from skene.adapters.sql.pruning import forget_how_far
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
    overrides,
    recipients,
    subscriptions,
    suppressions,
    usage,
    walls,
)
from skene.ports.contacts import Suppressed
from skene.ports.counters import Notice
from skene.ports.hooks import EventKind
from skene.ports.merging import names_source

__all__ = ["forget", "meters", "record_notice"]

NOBODY = ""
"""Whose walls, conversions and journeys are when the person is erased. No subject has an empty id."""


def meters(connection: sa.Connection, now: datetime, subject: str) -> tuple[str, ...]:
    """The names of all counters that are kept for a subject."""
    who = living(connection, subject)
    kept = sa.select(usage.c.meter).where(usage.c.subject == who).distinct().order_by(usage.c.meter)
    return tuple(connection.scalars(kept))


def record_notice(connection: sa.Connection, now: datetime, notice: Notice) -> bool:
    """Record warnings for a running window and their messages, once."""
    counter = (
        usage.c.subject == living(connection, notice.subject),
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
    names = _names(connection, subject)
    erased = 0
    if customer is not None:
        block = insert(connection, forgotten).values(digest=digest(customer), forgotten_at=now)
        connection.execute(block.on_conflict_do_nothing())
        erased += _erase(connection, subscriptions, subscriptions.c.customer == customer)
    erased += _erase_events_of_merges(connection, subject)
    # A firing that is being recorded is waited for, and then shows what goes on from it.
    while gone := _erase(connection, firings, firings.c.subject.in_(names)):
        erased += gone
    for table in (customers, usage, grants, history, keys, overrides, recipients, outbox, decisions):
        erased += _erase(connection, table, table.c.subject.in_(names))
    for table in (usage, grants, history, overrides):
        erased += _erase(connection, table, _counts_member(connection, table, names))
    kinds = suppressions.c.kind.in_(tuple(Suppressed))  # named, so that the primary key finds the rows
    erased += _erase(connection, suppressions, sa.and_(kinds, suppressions.c.subject.in_(names)))
    for table in (walls, conversions, journeys):
        nameless = sa.update(table).where(table.c.subject.in_(names)).values(subject=NOBODY)
        erased += connection.execute(nameless).rowcount
    forget_how_far(connection, now, names)
    return erased


def _erase(connection: sa.Connection, table: sa.Table, which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.delete(table).where(which)).rowcount


def _names(connection: sa.Connection, subject: str) -> list[str]:
    """The person's own name, and those that were merged into it."""
    merged = sa.select(customers.c.subject).where(customers.c.merged_into == subject)
    return [subject, *connection.scalars(merged)]


def _counts_member(connection: sa.Connection, table: sa.Table, names: list[str]) -> sa.ColumnElement[bool]:
    """Counters of the person as a member of teams, `<meter>@<member>`. An @ in a route's path is none."""
    position = "strpos" if connection.dialect.name == "postgresql" else "instr"
    find = getattr(sa.func, position)
    at = find(table.c.meter, sa.literal_column("'@'"))
    return sa.and_(
        at > sa.literal_column("0"),
        member_of(table.c.meter, position).in_(names),
        find(sa.func.substr(table.c.meter, 1, at), "/") == 0,
    )


def _erase_events_of_merges(connection: sa.Connection, subject: str) -> int:
    """What hooks are told of the person's merge into somebody names the person."""
    into = living(connection, subject)
    if into == subject:
        return 0
    told = (outbox.c.subject == into, outbox.c.kind == "event", outbox.c.template == EventKind.MERGED)
    rows = connection.execute(sa.select(outbox.c.id, outbox.c.data).where(*told)).all()
    ids = [row.id for row in rows if names_source(row.data, subject)]
    return _erase(connection, outbox, outbox.c.id.in_(ids)) if ids else 0

"""Telling steps that a subject's plan has changed."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa

from skene.adapters.sql.arrivals import enter
from skene.adapters.sql.posting import post
from skene.adapters.sql.spells import end_spells
from skene.adapters.sql.tables import customers, firings, outbox
from skene.ports.firings import NewFiring, Watcher
from skene.ports.happened import plan_changed
from skene.ports.hooks import EventKind

__all__ = ["note_lapses", "tell"]


def tell(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    before: str,
    after: str,
    watchers: tuple[Watcher, ...],
    hooks: tuple[str, ...],
) -> None:
    """Record a firing of each watcher, and an event for each hook, if the plan is another one than before."""
    if before == after:
        return
    # A clock may stand still: changes of one instant are told apart by how many there were.
    if watchers:
        number = _count(connection, firings, firings.c.subject == subject, firings.c.occurred_at == now)
        name = f"{now.isoformat()}:{number}"
        enter(connection, now, _changes(subject, before, after, name, watchers))
    if hooks:
        changes = (outbox.c.kind == "event", outbox.c.template == EventKind.PLAN_CHANGED)
        number = _count(connection, outbox, outbox.c.subject == subject, outbox.c.created_at == now, *changes)
        name = f"{now.isoformat()}:{number}"
        post(connection, now, plan_changed(hooks, subject, before, after, now, name))


def note_lapses(
    connection: sa.Connection,
    now: datetime,
    watchers: tuple[Watcher, ...],
    limit: int,
    hooks: tuple[str, ...],
) -> int:
    """Write down plans whose end has passed. Such a subject holds the default plan already."""
    lapsed = (
        sa.select(
            customers.c.subject,
            customers.c.plan,
            customers.c.default_plan,
            customers.c.until,
            customers.c.paying,
        )
        .where(customers.c.until <= now, customers.c.plan.is_not(None))
        .order_by(customers.c.until)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    rows = connection.execute(lapsed).all()
    if not rows:
        return 0
    written_down = {"plan": customers.c.default_plan, "until": None, "paying": False, "updated_at": now}
    subjects = [row.subject for row in rows]
    connection.execute(sa.update(customers).where(customers.c.subject.in_(subjects)).values(written_down))
    end_spells(connection, now, [(row.subject, row.until) for row in rows if row.paying], hooks)
    changed = [
        (row.subject, row.plan, row.default_plan, f"{row.until.isoformat()}:end")
        for row in rows
        if row.plan != row.default_plan
    ]
    enter(connection, now, (one for change in changed for one in _changes(*change, watchers)))
    for subject, before, after, name in changed:
        post(connection, now, plan_changed(hooks, subject, before, after, now, name))
    return len(rows)


def _count(connection: sa.Connection, table: sa.Table, *which: sa.ColumnElement[bool]) -> int:
    return connection.execute(sa.select(sa.func.count()).select_from(table).where(*which)).scalar_one()


def _changes(
    subject: str, before: str, after: str, name: str, watchers: Iterable[Watcher]
) -> Iterator[NewFiring]:
    """The subject is in the key as a digest, since keys of messages are made of it and outlive people."""
    who = sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    for watcher in watchers:
        key = f"plan.changed:{watcher.step}:{who}:{name}"
        yield NewFiring(key, watcher.loop, watcher.step, subject, {"from": before, "to": after})

"""Telling steps that a subject's plan has changed."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa

from skene.adapters.sql.arrivals import enter
from skene.adapters.sql.tables import customers, firings
from skene.ports.firings import NewFiring, Watcher

__all__ = ["note_lapses", "tell"]


def tell(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    before: str,
    after: str,
    watchers: tuple[Watcher, ...],
) -> None:
    """Record a firing of each watcher if the plan is another one than before."""
    if before == after or not watchers:
        return
    # A clock may stand still: changes of one instant are told apart by how many there were.
    now_too = (
        sa.select(sa.func.count())
        .select_from(firings)
        .where(firings.c.subject == subject, firings.c.occurred_at == now)
    )
    name = f"{now.isoformat()}:{connection.execute(now_too).scalar_one()}"
    enter(connection, now, _changes(subject, before, after, name, watchers))


def note_lapses(connection: sa.Connection, now: datetime, watchers: tuple[Watcher, ...], limit: int) -> int:
    """Write down plans whose end has passed. Such a subject holds the default plan already."""
    lapsed = (
        sa.select(customers.c.subject, customers.c.plan, customers.c.default_plan, customers.c.until)
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
    changes = (
        change
        for row in rows
        if row.plan != row.default_plan
        for change in _changes(
            row.subject, row.plan, row.default_plan, f"{row.until.isoformat()}:end", watchers
        )
    )
    enter(connection, now, changes)
    return len(rows)


def _changes(
    subject: str, before: str, after: str, name: str, watchers: Iterable[Watcher]
) -> Iterator[NewFiring]:
    """The subject is in the key as a digest, since keys of messages are made of it and outlive people."""
    who = sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    for watcher in watchers:
        key = f"plan.changed:{watcher.step}:{who}:{name}"
        yield NewFiring(key, watcher.loop, watcher.step, subject, {"from": before, "to": after})

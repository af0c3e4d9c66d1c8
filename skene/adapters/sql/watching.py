"""Telling steps that a subject's plan has changed."""

from collections.abc import Iterable, Iterator
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sa

from skene.adapters.sql.arrivals import enter
from skene.adapters.sql.tables import customers
from skene.ports.firings import NewFiring, Watcher

__all__ = ["note_lapses", "tell"]


def tell(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    before: str,
    after: str,
    watchers: Iterable[Watcher],
) -> None:
    """Record a firing of each watcher if the plan in force is another one than before."""
    if before != after:
        enter(connection, now, _changes(subject, before, after, now, watchers))


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
        for change in _changes(row.subject, row.plan, row.default_plan, row.until, watchers)
    )
    enter(connection, now, changes)
    return len(rows)


def _changes(
    subject: str, before: str, after: str, at: datetime, watchers: Iterable[Watcher]
) -> Iterator[NewFiring]:
    """The same change has the same key; the subject is in it as a digest, since keys outlive people."""
    who = sha256(subject.encode("utf-8", "surrogatepass")).hexdigest()
    for watcher in watchers:
        key = f"plan.changed:{watcher.step}:{who}:{at.isoformat()}:{before}>{after}"
        yield NewFiring(key, watcher.loop, watcher.step, subject, {"from": before, "to": after})

"""Making grants and listing them, each in the caller's transaction. Counting spends them."""

from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql import tables
from skene.adapters.sql.aliases import hold, living
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.posting import post
from skene.engine.lasting import end_of
from skene.ports.counters import Draft
from skene.ports.grants import Grant, Granted

__all__ = ["grant", "grants"]


def grant(connection: sa.Connection, now: datetime, grant: Grant, drafts: tuple[Draft, ...]) -> bool:
    """Grant units, once for each subject and key."""
    new = insert(connection, tables.grants).values(
        subject=hold(connection, grant.subject),
        key=grant.key,
        meter=grant.meter,
        units=grant.units,
        granted_at=now,
        expires_at=end_of(grant.expires, now),
        reason=grant.reason,
        loop=grant.loop,
    )
    granted = connection.execute(new.on_conflict_do_nothing()).rowcount == 1
    if granted:
        post(connection, now, drafts)
    return granted


def grants(connection: sa.Connection, now: datetime, subject: str) -> tuple[Granted, ...]:
    """All grants of a subject, oldest first."""
    kept, subject = tables.grants, living(connection, subject)
    rows = connection.execute(sa.select(kept).where(kept.c.subject == subject).order_by(kept.c.id))
    return tuple(
        Granted(
            row.key,
            row.subject,
            row.meter,
            row.units,
            row.spent,
            row.granted_at,
            row.expires_at,
            row.reason,
            row.loop,
        )
        for row in rows
    )

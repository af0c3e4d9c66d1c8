"""The verbs of `ports.overrides`, each in the caller's transaction. Counting reads skene_customers alone."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.aliases import hold, living
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.outbox import post
from skene.adapters.sql.tables import customers
from skene.adapters.sql.tables import overrides as kept
from skene.adapters.sql.types import from_text, to_text
from skene.engine.lasting import end_of
from skene.engine.limits import OwnLimit
from skene.ports.counters import Draft
from skene.ports.overrides import Overridden, Override

__all__ = ["end_override", "hold_in_force", "in_force", "overrides", "own_limits", "set_override"]


def set_override(
    connection: sa.Connection, now: datetime, override: Override, drafts: tuple[Draft, ...]
) -> Overridden:
    """Give a subject another limit on a counter, in place of one that is in force."""
    subject, meter = hold(connection, override.subject), override.meter
    _end(connection, now, subject, meter)
    new = {
        "subject": subject,
        "meter": meter,
        "limit": override.limit,
        "reason": override.reason,
        "set_at": now,
        "expires_at": end_of(override.expires, now),
    }
    row = connection.execute(sa.insert(kept).values(new).returning(kept)).mappings().one()
    hold_in_force(connection, now, subject)
    post(connection, now, drafts)
    return _told(row)


def end_override(
    connection: sa.Connection, now: datetime, subject: str, meter: str, drafts: tuple[Draft, ...]
) -> bool:
    """Take an override back. False: there was none in force."""
    subject = hold(connection, subject)
    if not _end(connection, now, subject, meter):
        return False
    hold_in_force(connection, now, subject)
    post(connection, now, drafts)
    return True


def overrides(connection: sa.Connection, now: datetime, subject: str) -> tuple[Overridden, ...]:
    """All overrides of a subject, oldest first."""
    subject = living(connection, subject)
    rows = connection.execute(sa.select(kept).where(kept.c.subject == subject).order_by(kept.c.id))
    return tuple(_told(row) for row in rows.mappings())


def in_force(now: datetime) -> sa.ColumnElement[bool]:
    """Neither over nor taken back."""
    return kept.c.ended_at.is_(None) & (kept.c.expires_at.is_(None) | (kept.c.expires_at > now))


def _end(connection: sa.Connection, now: datetime, subject: str, meter: str) -> bool:
    """End what is in force for a counter. False: nothing was."""
    end = sa.update(kept).where(kept.c.subject == subject, kept.c.meter == meter, in_force(now))
    return connection.execute(end.values(ended_at=now)).rowcount > 0


def hold_in_force(connection: sa.Connection, now: datetime, subject: str) -> None:
    """Write what is in force to where counting looks."""
    rows = connection.execute(sa.select(kept).where(kept.c.subject == subject, in_force(now)))
    held = {row.meter: _limit(row) for row in rows}
    change = {"overrides": held or None, "updated_at": now}
    write = insert(connection, customers).values(subject=subject, paying=False, cycle=[], **change)
    connection.execute(write.on_conflict_do_update(index_elements=[customers.c.subject], set_=change))


def own_limits(written: Mapping[str, Mapping[str, Any]] | None) -> dict[str, OwnLimit]:
    """A subject's own limits by meter, as `hold_in_force` writes them."""
    return {
        meter: OwnLimit(one["limit"], from_text(one["until"]) if "until" in one else None)
        for meter, one in (written or {}).items()
    }


def _limit(row: sa.Row[Any]) -> dict[str, Any]:
    until = {} if row.expires_at is None else {"until": to_text(row.expires_at)}
    return {"limit": row.limit, **until}


def _told(row: sa.RowMapping) -> Overridden:
    names = ("subject", "meter", "limit", "set_at", "expires_at", "ended_at", "reason")
    return Overridden(**{name: row[name] for name in names})

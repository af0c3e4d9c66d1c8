"""The verb of `ports.holdings`: a few statements, however many subjects are asked about."""

from collections.abc import Collection, Sequence
from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.dialect import among
from skene.adapters.sql.overrides import own_limits
from skene.adapters.sql.tables import customers, grants
from skene.ports.holdings import HeldGrant, Holding

__all__ = ["holdings"]


def holdings(connection: sa.Connection, now: datetime, subjects: Sequence[str]) -> tuple[Holding, ...]:
    """What holds for some subjects, in their order."""
    rows = _known(connection, set(subjects))
    into = {subject: row["merged_into"] for subject, row in rows.items() if row["merged_into"] is not None}
    rows |= _known(connection, set(into.values()) - rows.keys())
    counted = [into.get(subject, subject) for subject in subjects]
    held = _held(connection, set(counted))
    return tuple([_told(subject, rows.get(subject), tuple(held.get(subject, ()))) for subject in counted])


def _known(connection: sa.Connection, subjects: Collection[str]) -> dict[str, sa.RowMapping]:
    """What is kept of those of whom anything is."""
    if not subjects:
        return {}
    rows = connection.execute(sa.select(customers).where(among(connection, customers.c.subject, subjects)))
    return {row["subject"]: row for row in rows.mappings()}


def _held(connection: sa.Connection, subjects: Collection[str]) -> dict[str, list[HeldGrant]]:
    names = (grants.c.subject, grants.c.key, grants.c.meter, grants.c.id, grants.c.expires_at)
    left = (grants.c.units - grants.c.spent).label("left")
    mine = (among(connection, grants.c.subject, subjects), grants.c.spent < grants.c.units)
    held: dict[str, list[HeldGrant]] = {}
    for row in connection.execute(sa.select(*names, left).where(*mine).order_by(grants.c.id)):
        one = HeldGrant(row.key, row.meter, row.id, row.left, row.expires_at)
        held.setdefault(row.subject, []).append(one)
    return held


def _told(subject: str, row: sa.RowMapping | None, held: tuple[HeldGrant, ...]) -> Holding:
    if row is None:
        return Holding(subject, grants=held)
    return Holding(
        subject,
        row["plan"],
        row["until"],
        row["customer"],
        row["checked_at"],
        tuple(row["features"] or ()),
        tuple(row["cycle"]),
        own_limits(row["overrides"]),
        held,
    )

"""Who must not be written to: the verbs of `ports.contacts`, each in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.aliases import hold, living
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import suppressions
from skene.ports.contacts import Suppressed, Suppression

__all__ = ["suppress", "suppression_counts", "suppressions_of", "unsuppress"]

NOBODY = ""
"""What stands in the column that a suppression is not about."""


def suppress(
    connection: sa.Connection,
    now: datetime,
    kind: Suppressed,
    subject: str | None,
    address: str | None,
    source: str,
) -> bool:
    """Remember a reason not to write to a subject or an address, once."""
    subject = hold(connection, subject) if subject is not None else None
    whom = {"subject": subject or NOBODY, "address": address or NOBODY}
    remember = insert(connection, suppressions).values(kind=kind, at=now, source=source, **whom)
    new = remember.on_conflict_do_nothing().returning(suppressions.c.kind)
    return connection.scalar(new) is not None


def unsuppress(
    connection: sa.Connection,
    now: datetime,
    subject: str | None,
    address: str | None,
    kind: Suppressed | None,
) -> int:
    """Forget reasons, of one kind or of all."""
    if subject is None and address is None:
        return 0
    kinds = (kind,) if kind else tuple(Suppressed)
    subject = living(connection, subject) if subject is not None else None
    erase = sa.delete(suppressions).where(suppressions.c.kind.in_(kinds), _about(subject, address))
    return connection.execute(erase).rowcount


def suppressions_of(
    connection: sa.Connection, now: datetime, subject: str | None, address: str | None, limit: int
) -> tuple[Suppression, ...]:
    """What is known of a subject or an address; of everybody without either. Latest first."""
    subject = living(connection, subject) if subject is not None else None
    chosen = sa.select(suppressions).where(
        suppressions.c.kind.in_(tuple(Suppressed)), _about(subject, address)
    )
    latest = chosen.order_by(suppressions.c.at.desc(), suppressions.c.kind, suppressions.c.subject)
    return tuple(
        Suppression(
            kind=Suppressed(row.kind),
            subject=row.subject or None,
            address=row.address or None,
            at=row.at,
            source=row.source,
        )
        for row in connection.execute(latest.order_by(suppressions.c.address).limit(limit))
    )


def suppression_counts(connection: sa.Connection, now: datetime) -> Mapping[Suppressed, int]:
    """How many there are of each kind."""
    counts = sa.select(suppressions.c.kind, sa.func.count()).group_by(suppressions.c.kind)
    return {Suppressed(kind): count for kind, count in connection.execute(counts)}


def _about(subject: str | None, address: str | None) -> sa.ColumnElement[bool]:
    """Both columns are named for each, so that the primary key finds the rows."""
    table = suppressions.c
    about: list[sa.ColumnElement[bool]] = []
    if subject is not None:
        about.append(sa.and_(table.subject == subject, table.address == NOBODY))
    if address is not None:
        about.append(sa.and_(table.subject == NOBODY, table.address == address))
    return sa.or_(*about) if about else sa.true()

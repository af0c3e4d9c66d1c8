"""Subjects that were merged into others: whom they count as."""

import sqlalchemy as sa

from skene.adapters.sql.dialect import serialise
from skene.adapters.sql.tables import customers

__all__ = ["hold", "living"]


def living(connection: sa.Connection, subject: str) -> str:
    """Whom a subject counts as: itself, unless it was merged into somebody."""
    into = sa.select(customers.c.merged_into).where(customers.c.subject == subject)
    return connection.scalar(into) or subject


def hold(connection: sa.Connection, subject: str) -> str:
    """The same, and nobody else changes what that one holds, or merges it, before the transaction ends."""
    while True:
        serialise(connection, "subject", subject)
        one = living(connection, subject)
        if one == subject:
            return subject
        subject = one

"""The few things that PostgreSQL and SQLite spell differently."""

from collections.abc import Collection

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

__all__ = ["among", "insert", "serialise"]


def among(
    connection: sa.Connection, column: sa.Column[str], values: Collection[str]
) -> sa.ColumnElement[bool]:
    """That a column is one of some values: one prepared statement in PostgreSQL, however many there are."""
    if connection.dialect.name == "postgresql":
        return column == sa.any_(sa.literal(list(values), postgresql.ARRAY(column.type)))
    return column.in_(values)


def insert(connection: sa.Connection, table: sa.Table) -> postgresql.Insert | sqlite.Insert:
    """An insert that knows ON CONFLICT."""
    if connection.dialect.name == "postgresql":
        return postgresql.insert(table)
    return sqlite.insert(table)


def serialise(connection: sa.Connection, *words: str) -> None:
    """Let one transaction at a time go on with the same words; the others wait until it ends.

    In SQLite a transaction that writes is alone anyway. The lock belongs to the transaction, not to the
    session, and so works behind a pooler too.
    """
    if connection.dialect.name == "postgresql":
        key = sa.func.hashtextextended("skene\x1f" + "\x1f".join(words), 0)
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(key)))

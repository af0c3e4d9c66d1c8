"""Column types that mean the same in PostgreSQL and in SQLite."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

__all__ = ["Instant", "Instants", "Json", "Keyed", "Names", "Units", "Words", "from_text", "to_text"]


def to_text(instant: datetime) -> str:
    """An instant as SQLite keeps it: `2026-03-01T09:30:00.000000Z`.

    Always 27 characters, so that the order of the text is the order of time.

    Raises:
        ValueError: the datetime is naive.
    """
    if instant.tzinfo is None:
        raise ValueError(f"{instant!r} has no time zone; storage takes aware datetimes only")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")[:26] + "Z"


def from_text(text: str) -> datetime:
    """The aware UTC datetime that `to_text` wrote."""
    return datetime.fromisoformat(text)


class Words(sa.types.TypeDecorator[str]):
    """Text from anywhere. What a database cannot keep, NUL and lone surrogates, is replaced."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: sa.Dialect) -> str | None:
        """Write."""
        if value is None or (value.isascii() and "\0" not in value):
            return value
        whole = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        return whole.replace("\0", "\ufffd")


class Instant(sa.types.TypeDecorator[datetime]):
    """`timestamptz` in PostgreSQL, text of a fixed width in SQLite; aware UTC in Python."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the native type where there is one."""
        native = postgresql.TIMESTAMP(timezone=True) if dialect.name == "postgresql" else sa.Text()
        return dialect.type_descriptor(native)

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """Write."""
        return value if value is None or dialect.name == "postgresql" else to_text(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:
        """Read."""
        return None if value is None else _utc(value)


class Instants(sa.types.TypeDecorator[list[datetime]]):
    """`timestamptz[]` in PostgreSQL, a JSON list in SQLite."""

    impl = sa.JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """Choose the native type where there is one."""
        native = postgresql.ARRAY(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(native if dialect.name == "postgresql" else sa.JSON())

    def process_bind_param(self, value: Sequence[datetime] | None, dialect: sa.Dialect) -> Any:
        """Write."""
        if value is None:
            return None
        return list(value) if dialect.name == "postgresql" else [to_text(instant) for instant in value]

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> list[datetime] | None:
        """Read."""
        return None if value is None else [_utc(instant) for instant in value]


# Plain json in PostgreSQL, too: it keeps any text, NUL included, and the order of keys.
Json = sa.JSON(none_as_null=True)
Keyed = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
"""JSON that the database itself looks things up in."""
Names = sa.JSON(none_as_null=True).with_variant(postgresql.ARRAY(sa.Text()), "postgresql")
Units = sa.JSON().with_variant(postgresql.ARRAY(sa.BigInteger()), "postgresql")


def _utc(value: datetime | str) -> datetime:
    return from_text(value) if isinstance(value, str) else value.astimezone(UTC)

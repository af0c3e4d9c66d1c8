"""Values on their way to a user's SELECT and back: bound as text, read as plain JSON."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from math import isfinite
from typing import Any, cast

import asyncpg
from pydantic import JsonValue

from skene.ports.queries import Row

__all__ = ["as_row", "as_text"]

_JSON = {"json", "jsonb"}


class _Left:
    """What has no JSON form worth having."""


_LEFT = _Left()


def as_text(value: JsonValue, wanted: str) -> str | None:
    """A value as PostgreSQL reads it for a type.

    Args:
        value: plain JSON.
        wanted: the type's name, as `format_type` writes it.
    """
    if value is None:
        return None
    if wanted in _JSON:
        return json.dumps(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return _array(value) if wanted.endswith("[]") else json.dumps(value)
    return json.dumps(value) if isinstance(value, dict) else str(value)


def as_row(record: Mapping[str, Any], types: Mapping[str, str]) -> Row:
    """A row as plain JSON.

    Args:
        record: as the driver reads it.
        types: the names of the columns' types.
    """
    row: Row = {}
    for name, value in record.items():
        if types.get(name) in _JSON:
            row[name] = value  # SQLAlchemy has told the driver to parse it
            continue
        plain = _plain(value)
        if not isinstance(plain, _Left):
            row[name] = plain
    return row


def _plain(value: Any) -> JsonValue | _Left:
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if isfinite(value) else str(value)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, date | time | timedelta):
        return _moment(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _LEFT
    if isinstance(value, asyncpg.Record | dict):
        return as_row(cast(Mapping[str, Any], value), {})
    if isinstance(value, list | tuple):  # the latter are rows without names, and points
        items = [_plain(item) for item in cast(Sequence[Any], value)]
        return [item for item in items if not isinstance(item, _Left)]
    return str(value)  # UUIDs, networks, ranges


def _moment(value: date | time | timedelta) -> JsonValue:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, datetime):
        return (value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)).isoformat()
    return value.isoformat()


def _number(value: Decimal) -> JsonValue:
    """A number where JSON's numbers hold it exactly, otherwise text."""
    if not value.is_finite():
        return str(value)
    if value == value.to_integral_value() and abs(value) < 2**53:
        return int(value)
    close = float(value)
    return close if Decimal(repr(close)) == value else str(value)


def _array(items: Sequence[JsonValue]) -> str:
    """A list as PostgreSQL writes an array: `{"a","b",NULL}`."""

    def one(item: JsonValue) -> str:
        if item is None:
            return "NULL"
        if isinstance(item, list):
            return _array(item)
        text = as_text(item, "") or ""
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    return "{" + ",".join(one(item) for item in items) + "}"

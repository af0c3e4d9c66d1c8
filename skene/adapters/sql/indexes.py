"""Indexes over some of a table's rows, the same in both databases."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column

__all__ = ["NOTHING_TO_BILL", "NOTHING_TO_DO", "member_of", "members", "partly"]

# As text, so that a statement says it as the index does: only then is the index found.
NOTHING_TO_BILL: sa.ColumnElement[bool] = sa.literal_column("NOT billable")
"""A window whose use is reported, or goes on no bill."""
NOTHING_TO_DO: sa.ColumnElement[bool] = sa.literal_column("state IN ('sent', 'cancelled', 'skipped')")
"""A message that neither a worker nor a person has to deal with any more."""


def partly(name: str, condition: sa.ColumnElement[bool], *columns: Column[Any]) -> sa.Index:
    """An index over some of the rows: it stays as small as they are few."""
    return sa.Index(name, *columns, postgresql_where=condition, sqlite_where=condition)


def member_of(meter: sa.ColumnElement[str], position: str = "strpos") -> sa.ColumnElement[str]:
    """Whose counter `<meter>@<member>` is: what follows the first @. Constants, so that an index is found."""
    at: sa.ColumnElement[int] = getattr(sa.func, position)(meter, sa.literal_column("'@'"))
    return sa.func.substr(meter, at + sa.literal_column("1"))


def members(name: str, meter: Column[Any]) -> None:
    """An index over the counters of members inside their teams, by member; SQLite has none, and scans."""
    some = sa.func.strpos(meter, sa.literal_column("'@'")) > sa.literal_column("0")
    sa.Index(name, member_of(meter), postgresql_where=some).ddl_if("postgresql")

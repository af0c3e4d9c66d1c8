"""SQLite files, looked into from outside. Python 3.13 warns of connections that nobody closes."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from os import PathLike
from typing import Any

__all__ = ["connected", "rows_in"]


@contextmanager
def connected(path: str | PathLike[str], **options: Any) -> Generator[sqlite3.Connection]:
    """A connection; what was done is committed at the end, unless it failed."""
    with closing(sqlite3.connect(path, **options)) as connection, connection:
        yield connection


def rows_in(path: str | PathLike[str], query: str, parameters: Sequence[object] = ()) -> list[Any]:
    """What a query finds."""
    with connected(path) as connection:
        return connection.execute(query, parameters).fetchall()

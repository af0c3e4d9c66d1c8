"""SQLite files, looked into from outside. Python 3.13 warns of connections that nobody closes."""

import sqlite3
from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from functools import cache
from os import PathLike
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from anyio.from_thread import start_blocking_portal

from skene.adapters.sqlite import SqliteStorage

__all__ = ["connected", "prepared", "rows_in"]


@contextmanager
def connected(path: str | PathLike[str], **options: Any) -> Generator[sqlite3.Connection]:
    """A connection; what was done is committed at the end, unless it failed."""
    with closing(sqlite3.connect(path, **options)) as connection, connection:
        yield connection


def rows_in(path: str | PathLike[str], query: str, parameters: Sequence[object] = ()) -> list[Any]:
    """What a query finds."""
    with connected(path) as connection:
        return connection.execute(query, parameters).fetchall()


def prepared(path: Path) -> Path:
    """A file with the newest tables; one that is there stays as it is.

    To copy it takes a tenth of the time of making it by migrations, which have tests of their own.
    """
    if not path.exists():
        path.write_bytes(_empty())
    return path


@cache
def _empty() -> bytes:
    with TemporaryDirectory() as folder, start_blocking_portal() as portal:
        file = Path(folder) / "empty.db"
        storage = SqliteStorage(file)
        portal.call(storage.start)
        portal.call(storage.aclose)
        return file.read_bytes()

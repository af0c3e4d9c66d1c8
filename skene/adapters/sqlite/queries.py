"""A user's SELECT on SQLite: over a connection that cannot write, in a worker thread, stopped in time."""

import json
import sqlite3
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from functools import partial
from itertools import islice
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any, TypeVar

import anyio
from anyio import CapacityLimiter, get_cancelled_exc_class, to_thread
from anyio.lowlevel import RunVar
from pydantic import JsonValue

from skene.adapters.sql.portions import Portions
from skene.definitions.sql import Select
from skene.errors import QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.queries import Row

__all__ = ["SqliteQueries"]

T = TypeVar("T")

CHECK_SECONDS = 10.0
LOCK_SECONDS = 5.0
AT_ONCE = 4
STEPS = 10_000
"""Instructions of SQLite's machine between two looks at the clock: well below a millisecond."""
LONGEST_VALUE = 16 * 1024 * 1024
"""Bytes. One function may make a huge value in one instruction, which no look at the clock interrupts."""

_READING = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    sqlite3.SQLITE_RECURSIVE,
}
_REFUSED = {
    sqlite3.SQLITE_ERROR: "",
    sqlite3.SQLITE_SCHEMA: "it does more than read",
    sqlite3.SQLITE_AUTH: "it does more than read",
    sqlite3.SQLITE_READONLY: "it does more than read",
    sqlite3.SQLITE_TOOBIG: f"a value in it is longer than {LONGEST_VALUE:,} bytes",
    sqlite3.SQLITE_MISMATCH: "a value has the wrong type",
    sqlite3.SQLITE_RANGE: "a value has no place in it",
}


class SqliteQueries:
    """The port `Queries` in a file, on asyncio and on trio.

    Each query opens the file anew, read-only, so that nothing is left to the next.

    Args:
        path: the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)
        # One for each event loop: limiters cannot be shared.
        self._turns: RunVar[CapacityLimiter] = RunVar("skene_sqlite_queries")

    def __repr__(self) -> str:
        return f"SqliteQueries({str(self._path)!r})"

    async def aclose(self) -> None:
        """Nothing stays open between queries."""

    async def check(self, select: Select) -> tuple[str, ...]:
        """Compile a query; returns the names of its columns."""
        async with self._reader(CHECK_SECONDS) as reader:
            return await self._in_thread(reader, lambda: reader.check(select))

    async def fetch(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, limit: int
    ) -> list[Row]:
        """The first rows, `limit` at most."""
        async with self._reader(timeout.total_seconds()) as reader:
            return await self._in_thread(reader, lambda: reader.first(select, values, limit))

    @asynccontextmanager
    async def stream(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, batch: int
    ) -> AsyncGenerator[AsyncIterator[list[Row]], None]:
        """All rows, from one state of the file, `batch` at a time."""
        async with (
            self._reader(timeout.total_seconds()) as reader,
            aclosing(self._batches(reader, select, values, batch)) as batches,
        ):
            yield batches

    async def _batches(
        self, reader: "_Reader", select: Select, values: Mapping[str, JsonValue], size: int
    ) -> AsyncGenerator[list[Row], None]:
        portions = Portions(size)
        asked = portions.size
        rows = await self._in_thread(reader, lambda: reader.first(select, values, asked))
        while rows:
            portions.weigh(row.values() for row in rows)
            yield rows
            more, asked = len(rows) == asked, portions.size
            rows = await self._in_thread(reader, partial(reader.next, asked)) if more else []

    @asynccontextmanager
    async def _reader(self, seconds: float) -> AsyncGenerator["_Reader", None]:
        reader = _Reader(self._path, seconds)
        try:
            yield reader
        finally:
            reader.stop()
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(reader.close)

    async def _in_thread(self, reader: "_Reader", work: Callable[[], T]) -> T:
        try:
            turns = self._turns.get()
        except LookupError:
            turns = CapacityLimiter(AT_ONCE)
            self._turns.set(turns)
        try:
            return await to_thread.run_sync(work, limiter=turns, abandon_on_cancel=True)
        except get_cancelled_exc_class():
            reader.stop()  # or the thread would go on until the time-out
            raise


class _Reader:
    """One query's connection, used by one thread at a time."""

    def __init__(self, path: Path, seconds: float) -> None:
        self._path = path
        self._seconds = seconds
        self._end = time.monotonic() + seconds
        self._stopped = False
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._cursor: sqlite3.Cursor | None = None

    def check(self, select: Select) -> tuple[str, ...]:
        with self._lock, _Explained(self):
            db = self._open()
            nothing = [None] * len(select.names)
            db.execute(f"EXPLAIN\n{select.numbered('?')}", nothing).close()
            # Only a view tells the names of columns without a step of the query being run.
            db.set_authorizer(None)
            db.execute("PRAGMA query_only = OFF")
            db.execute(f"CREATE TEMP VIEW skene_checked AS\n{select.render(lambda number: 'NULL')}")
            return tuple(row[1] for row in db.execute("PRAGMA temp.table_info(skene_checked)"))

    def first(self, select: Select, values: Mapping[str, JsonValue], size: int) -> list[Row]:
        missing = [name for name in select.names if name not in values]
        if missing:
            known = ", ".join(sorted(values)) or "none"
            raise QueryRefused(
                f"it binds :{missing[0]}, and there is no such value here; those there are: {known}"
            )
        given = [_bound(values[name]) for name in select.names]
        with self._lock, _Explained(self):
            self._cursor = self._open().execute(select.numbered("?"), given)
        return self.next(size)

    def next(self, size: int) -> list[Row]:
        with self._lock, _Explained(self):
            cursor = self._cursor
            if cursor is None:  # closed meanwhile
                return []
            names = [column[0] for column in cursor.description]
            return [_row(names, row) for row in islice(cursor, size)]

    def stop(self) -> None:
        self._stopped = True

    def is_over(self) -> bool:
        return self._stopped or time.monotonic() >= self._end

    def said(self) -> str:
        return f"the query was stopped after {self._seconds:g} s"

    def close(self) -> None:
        with self._lock:
            db, self._db, self._cursor = self._db, None, None
            if db is not None:
                db.close()

    def _open(self) -> sqlite3.Connection:
        patience = min(LOCK_SECONDS, self._seconds)
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        db = sqlite3.connect(uri, uri=True, timeout=patience, isolation_level=None, check_same_thread=False)
        self._db = db
        db.text_factory = _text
        db.execute("PRAGMA query_only = ON")
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        db.set_authorizer(_authorize)
        db.set_progress_handler(self.is_over, STEPS)
        return db


class _Explained:
    """Tells what SQLite says in the port's words, by its codes."""

    def __init__(self, reader: _Reader) -> None:
        self._reader = reader

    def __enter__(self) -> None:
        if self._reader.is_over():
            raise QueryTimeout(self._reader.said())

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OverflowError | UnicodeError):
            raise QueryRefused(
                f"a value cannot be used as the query uses it ({type(error).__name__})"
            ) from None
        if not isinstance(error, sqlite3.Error):
            return
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF  # the rest refines it
        if code == sqlite3.SQLITE_INTERRUPT:
            raise QueryTimeout(self._reader.said()) from None
        if code in _REFUSED:
            raise QueryRefused(_REFUSED[code] or str(error)) from None
        raise StorageUnavailable(f"SQLite cannot answer: {error}") from error


def _authorize(action: int, first: str | None, second: str | None, *_: str | None) -> int:
    # json_each, full-text search and the like describe their tables at their first use. It looks like this.
    inner = (action == sqlite3.SQLITE_UPDATE and first == "sqlite_master") or (
        action == sqlite3.SQLITE_PRAGMA and first == "data_version"
    )
    allowed = inner or (action in _READING and second != "load_extension")
    return sqlite3.SQLITE_OK if allowed else sqlite3.SQLITE_DENY


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _bound(value: JsonValue) -> str | int | float | None:
    return json.dumps(value) if isinstance(value, dict | list) else value


def _row(names: list[str], values: tuple[Any, ...]) -> Row:
    row: Row = {}
    for name, value in zip(names, values, strict=True):
        if isinstance(value, float) and not isfinite(value):
            row[name] = str(value)
        elif not isinstance(value, bytes):
            row[name] = value
    return row

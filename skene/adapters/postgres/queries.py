"""A user's SELECT on PostgreSQL: in a transaction that cannot write, stopped in time by both ends."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from pydantic import JsonValue
from sqlalchemy.ext.asyncio import AsyncEngine

from skene.adapters.postgres.apart import CONNECT_SECONDS, Apart, unavailable
from skene.adapters.postgres.faults import FAULTS
from skene.adapters.postgres.refusals import refusal
from skene.adapters.postgres.values import as_row, as_text
from skene.adapters.sql.portions import Portions
from skene.definitions.sql import Select
from skene.errors import QueryRefused, QueryTimeout
from skene.ports.queries import Row

if TYPE_CHECKING:
    from skene.adapters.postgres.apart import Driver

__all__ = ["PostgresQueries"]

T = TypeVar("T")

CHECK_SECONDS = 10.0
LOCK_SECONDS = 5.0
GRACE_SECONDS = 0.5
"""The server stops a statement at its time-out; if it does not, we hang up this much later."""
KEPT = 500
"""Statements whose types are remembered."""


@dataclass(frozen=True, slots=True)
class _Compiled:
    """What preparing a statement has shown.

    Attributes:
        sql: it, with every value cast from text to the type that it is used as.
        wanted: the names of these types, in the order of the statement's names.
        columns: the columns' names, in order; types: their types.
    """

    sql: str
    wanted: tuple[str, ...]
    columns: tuple[str, ...]
    types: Mapping[str, str]


class PostgresQueries:
    """The port `Queries` in PostgreSQL, on asyncio.

    Args:
        dsn_or_engine: an address, or an `AsyncEngine` over asyncpg. Of an engine only the way to connect is
            used: queries have connections of their own.
        pool_size: queries at once, per process.

    Raises:
        ConfigurationError: an address or engine that is not PostgreSQL's.
    """

    def __init__(self, dsn_or_engine: str | AsyncEngine, *, pool_size: int = 2) -> None:
        self._apart = Apart(dsn_or_engine, pool_size)
        self._compiled: dict[Select, _Compiled] = {}
        self._cursors = count(1)

    def __repr__(self) -> str:
        return "PostgresQueries(…)"

    async def aclose(self) -> None:
        """Close the connections; the next query opens others."""
        await self._apart.aclose()

    async def check(self, select: Select) -> tuple[str, ...]:
        """Compile a query and look at its plan; returns the names of its columns."""
        clock = _Clock(CHECK_SECONDS)
        async with self._reading(clock) as driver:
            compiled = await clock.bound(lambda: _compile(driver, select))
            nothing: list[None] = [None] * len(select.names)
            # As a cursor, which nothing but a SELECT can be.
            explain = f"EXPLAIN (FORMAT JSON) DECLARE skene_rows NO SCROLL CURSOR FOR\n{compiled.sql}"
            plan: Any = await clock.bound(lambda: driver.fetchval(explain, *nothing))
        if _writes(plan):
            raise QueryRefused("it does more than read: its plan changes or locks rows")
        self._remember(select, compiled)
        return compiled.columns

    async def fetch(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, limit: int
    ) -> list[Row]:
        """The first rows, `limit` at most."""
        async with aclosing(self._rows(select, values, timeout, limit, whole=False)) as batches:
            async for rows in batches:
                return rows[:limit]
        return []

    @asynccontextmanager
    async def stream(
        self, select: Select, values: Mapping[str, JsonValue], *, timeout: timedelta, batch: int
    ) -> AsyncGenerator[AsyncIterator[list[Row]], None]:
        """All rows, from one state of the database, `batch` at a time."""
        async with aclosing(self._rows(select, values, timeout, batch, whole=True)) as batches:
            yield batches

    async def _rows(
        self, select: Select, values: Mapping[str, JsonValue], timeout: timedelta, size: int, *, whole: bool
    ) -> AsyncGenerator[list[Row], None]:
        """Batches of a cursor. What is remembered of the tables may be old: then again, knowing nothing."""
        clock = _Clock(timeout.total_seconds())
        known = select in self._compiled
        begun = False
        try:
            async with aclosing(self._cursor(select, values, clock, size, whole=whole)) as batches:
                async for rows in batches:
                    begun = True
                    yield rows
                return
        except QueryRefused:
            self._compiled.pop(select, None)
            if begun or not known:
                raise
        async with aclosing(self._cursor(select, values, clock, size, whole=whole)) as batches:
            async for rows in batches:
                yield rows

    async def _cursor(
        self, select: Select, values: Mapping[str, JsonValue], clock: "_Clock", size: int, *, whole: bool
    ) -> AsyncGenerator[list[Row], None]:
        given = _given(select, values)
        async with self._reading(clock, select) as driver:
            compiled = self._compiled.get(select)
            if compiled is None:
                compiled = await clock.bound(lambda: _compile(driver, select))
                self._remember(select, compiled)
            texts = [as_text(value, wanted) for value, wanted in zip(given, compiled.wanted, strict=True)]
            # A name of its own, so that no statement for another's rows is remembered for it.
            cursor = f"skene_rows_{next(self._cursors)}"
            declare = f"DECLARE {cursor} NO SCROLL CURSOR FOR\n{compiled.sql}"
            if whole:  # the planner takes it that a tenth of a cursor's rows is wanted
                await clock.bound(lambda: driver.execute("SET LOCAL cursor_tuple_fraction = 1"))
            await clock.bound(lambda: driver.execute(declare, *texts) if texts else driver.execute(declare))
            portions, more = Portions(size), True
            while more:
                some = portions.size if whole else size
                fetch = partial(driver.fetch, f"FETCH FORWARD {some:d} FROM {cursor}")
                records = await clock.bound(fetch)
                more = 0 < some == len(records)
                portions.weigh(records)
                if records:
                    yield [as_row(dict(record), compiled.types) for record in records]

    @asynccontextmanager
    async def _reading(self, clock: "_Clock", select: Select | None = None) -> "AsyncGenerator[Driver, None]":
        """A transaction that only reads; what goes wrong inside is told in the port's words."""
        settings = f"""READ ONLY;
            SET LOCAL statement_timeout = {clock.milliseconds():d};
            SET LOCAL lock_timeout = {min(clock.milliseconds(), int(LOCK_SECONDS * 1000)):d};
            SET LOCAL idle_in_transaction_session_timeout = {clock.milliseconds():d};
            SET LOCAL standard_conforming_strings = on"""
        try:
            async with self._apart.transaction(settings, min(clock.seconds, CONNECT_SECONDS)) as driver:
                clock.start()
                yield driver
        except FAULTS as error:
            compiled = self._compiled.get(select) if select is not None else None
            types = dict(zip(select.names, compiled.wanted, strict=True)) if select and compiled else {}
            known = refusal(error, types)
            if known is not None:
                raise known from None  # the cause may show what was bound
            if clock.is_over():
                raise QueryTimeout(clock.said()) from None
            raise unavailable(error) from error

    def _remember(self, select: Select, compiled: _Compiled) -> None:
        if len(self._compiled) >= KEPT:
            self._compiled.clear()
        self._compiled[select] = compiled


class _Clock:
    """How long a query may still take. The count begins when it has its connection."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = anyio.current_time() + seconds

    def start(self) -> None:
        self._end = anyio.current_time() + self.seconds

    def milliseconds(self) -> int:
        """What the server is told. 0 would mean for ever."""
        return min(max(1, int(self.seconds * 1000)), 2**31 - 1)

    def is_over(self) -> bool:
        return anyio.current_time() >= self._end

    def said(self) -> str:
        return f"the query was stopped after {self.seconds:g} s"

    async def bound(self, call: Callable[[], Awaitable[T]]) -> T:
        """Wait for the server until the time is over, and a moment longer: it may be stopping by itself.

        Raises:
            QueryTimeout: it is over.
        """
        try:
            with anyio.fail_after(self._end + GRACE_SECONDS - anyio.current_time()):
                return await call()
        except TimeoutError:
            raise QueryTimeout(self.said()) from None


async def _compile(driver: "Driver", select: Select) -> _Compiled:
    """Let the server say which types the values are used as.

    Then every value can be bound as text and cast, whatever type the subject's id has in the table.
    """
    plain = await driver.prepare(select.numbered())
    columns = plain.get_attributes()
    oids = [parameter.oid for parameter in plain.get_parameters()]
    wanted: list[str] = []
    if oids:
        # -1, not NULL: with NULL, `character` would be cut to one character.
        names = (
            "SELECT format_type(kind, -1) FROM unnest($1::oid[]) WITH ORDINALITY AS t (kind, n) ORDER BY n"
        )
        wanted = [row[0] for row in await driver.fetch(names, oids)]
    sql = select.render(lambda number: f"(${number}::text)::{wanted[number - 1]}")
    if wanted:  # a column that is such a value has another name and type now
        columns = (await driver.prepare(sql)).get_attributes()
    types = {column.name: column.type.name for column in columns}
    return _Compiled(sql, tuple(wanted), tuple(column.name for column in columns), types)


def _given(select: Select, values: Mapping[str, JsonValue]) -> list[JsonValue]:
    missing = [name for name in select.names if name not in values]
    if missing:
        known = ", ".join(sorted(values)) or "none"
        raise QueryRefused(
            f"it binds :{missing[0]}, and there is no such value here; those there are: {known}"
        )
    return [values[name] for name in select.names]


def _writes(plan: JsonValue) -> bool:
    """Whether a node of a plan changes or locks rows."""
    if isinstance(plan, list):
        return any(map(_writes, plan))
    if not isinstance(plan, dict):
        return False
    return plan.get("Node Type") in ("ModifyTable", "LockRows") or any(map(_writes, plan.values()))

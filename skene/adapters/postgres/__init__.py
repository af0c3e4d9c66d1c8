"""A storage in PostgreSQL: exact over any number of processes and machines, one round trip for a call."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from typing import ParamSpec, TypeVar

import anyio
import asyncpg
from anyio.lowlevel import RunVar
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from skene.adapters.postgres import counting
from skene.adapters.postgres.dsn import asyncpg_dsn
from skene.adapters.postgres.engine import (
    OPEN,
    REPORT_SECONDS,
    Home,
    check_engine,
    check_pooler,
    make_engine,
    refuse_trio,
)
from skene.adapters.postgres.facts import ServerFacts, server_facts
from skene.adapters.postgres.faults import FAULTS, Stale, is_worth_repeating, read_only, told
from skene.adapters.postgres.flights import Flights
from skene.adapters.postgres.lines import Lines, Rows, fetch_once
from skene.adapters.postgres.queries import PostgresQueries
from skene.adapters.postgres.triggers import PostgresTriggers
from skene.adapters.sql.migrate import revision_of, upgrade, verify
from skene.adapters.sql.storage import SqlStorage, Work
from skene.adapters.system import SystemClock
from skene.adapters.together import LANES
from skene.adapters.undoing import unless_cancelled
from skene.errors import ConfigurationError, SchemaOutdated
from skene.ports.clock import Clock
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["PostgresStorage"]

P = ParamSpec("P")
T = TypeVar("T")

MIGRATION_SECONDS = 60.0
TRIES = 4
EACH_ITS_OWN, ONE_STATE = "READ COMMITTED", "REPEATABLE READ"
"""What the statements of a transaction see: for work that waits for locks, and for work that only reads."""


class PostgresStorage(SqlStorage):
    """The port `Storage` in PostgreSQL 14 or later, on asyncio.

    It needs a role that may create tables in one schema, no more. PgBouncer in transaction mode works: it is
    noticed, and statements are not prepared then.

    Args:
        dsn_or_engine: an address (`postgresql://user@host/database`, with all that asyncpg understands), or
            an `AsyncEngine` over asyncpg that the application has already; its pool is used, and not closed.
            Besides, two connections made in the same way are held, for the calls that count.
        schema: where skene's tables are; the connection's own schema if left out.
        clock: where time comes from, for tests; the server's clock if left out.
        pool_size: connections per process, for an address; at least 3, since two are held for the calls that
            count.
        migrate: bring the tables up to date at start. Without it, `skene db upgrade` does so.
        timeout: how long any answer may take; the port promises one within 2 s.

    Attributes:
        queries: runs SELECTs of the user's, over connections beside those that count.
        triggers: installs triggers on the user's tables.

    Raises:
        ConfigurationError: an address or engine that is not PostgreSQL's.
    """

    def __init__(
        self,
        dsn_or_engine: str | AsyncEngine,
        *,
        schema: str | None = None,
        clock: Clock | None = None,
        pool_size: int = 5,
        migrate: bool = False,
        timeout: timedelta = timedelta(seconds=1.8),
    ) -> None:
        theirs = isinstance(dsn_or_engine, AsyncEngine)
        self._theirs = check_engine(dsn_or_engine) if isinstance(dsn_or_engine, AsyncEngine) else None
        self._dsn = "" if theirs else asyncpg_dsn(str(dsn_or_engine))
        self._schema = schema
        self.queries = PostgresQueries(dsn_or_engine)
        self.triggers = PostgresTriggers(dsn_or_engine, schema=schema)
        self._clock = clock
        self._chance = (clock or SystemClock()).chance
        self._pool_size = pool_size
        self._seconds = timeout.total_seconds()
        shares = {"lock_ms": 0.6, "statement_ms": 0.85, "idle_ms": 1.0}
        self._patience = {name: f"{self._seconds * share * 1000:.0f}" for name, share in shares.items()}
        self._migrate = migrate
        prefix = f'"{schema.replace(chr(34), chr(34) * 2)}".' if schema else ""
        self._calls = counting.Queries.under(prefix)
        self._shapes = counting.Shapes()
        self._lines: Lines | None = None
        self._flights: Flights | None = None
        self._engine: AsyncEngine | None = None
        self._home: Home | None = None
        self._starting: RunVar[anyio.Lock] = RunVar("skene_postgres_starting")

    def __repr__(self) -> str:
        return (
            "PostgresStorage(…)" if self._schema is None else f"PostgresStorage(…, schema={self._schema!r})"
        )

    # --- life ---

    async def start(self) -> None:
        """Connect, and look at the version of the tables. May be called again, then does nothing."""
        if self._engine is not None and self._home is not None and self._home.is_here():
            return
        refuse_trio("PostgresStorage")
        async with self._one_at_a_time():
            if self._engine is not None and self._home is not None and self._home.is_here():
                return
            self._let_go()
            seconds = MIGRATION_SECONDS if self._migrate else self._seconds
            self._engine = await self._answer(self._connect, seconds)
            self._lines = Lines(self._engine, theirs=self._theirs is not None)
            await self._answer(self._lines.open)
            self._flights = Flights(
                self._lines,
                self._calls,
                self._shapes,
                clock=self._now,
                apart=self._alone,
                refund=self.refund,
                seconds=self._seconds,
            )
            self._home = Home()

    async def aclose(self) -> None:
        """Close the connections. May be called twice; the storage can be started again, in any event loop."""
        engine, home, flights, lines = self._engine, self._home, self._flights, self._lines
        await self.queries.aclose()
        await self.triggers.aclose()
        if engine is None or home is None or not home.is_here():
            self._let_go()
            return
        self._engine = self._home = self._flights = self._lines = None
        if flights is not None and lines is not None:
            with anyio.move_on_after(self._seconds, shield=True):
                await flights.aclose()
            await lines.aclose()
        if self._theirs is None:
            with anyio.move_on_after(self._seconds, shield=True):
                await engine.dispose()

    async def migrate(self) -> list[str]:
        """Bring the tables up to date, whether the storage is started or not.

        Returns:
            The versions that were applied now, oldest first.
        """
        refuse_trio("PostgresStorage")

        async def attempt() -> list[str]:
            engine = self._theirs or await make_engine(self._dsn, 1, self._seconds)
            try:
                return await self._upgrade(engine)
            finally:
                if self._theirs is None:
                    await engine.dispose()

        return await self._answer(attempt, MIGRATION_SECONDS)

    async def schema_version(self) -> str | None:
        """The version that the tables are at, None if there are none. Changes nothing."""
        refuse_trio("PostgresStorage")

        async def attempt() -> str | None:
            engine = self._theirs or await make_engine(self._dsn, 1, self._seconds)
            try:
                async with engine.connect() as connection:
                    return await connection.run_sync(revision_of, self._schema)
            finally:
                if self._theirs is None:
                    await engine.dispose()

        try:
            return await self._answer(attempt)
        except SchemaOutdated:
            return None

    async def look_at_server(self) -> ServerFacts:
        """What the server is like, whether the storage is started or not. Changes nothing."""
        refuse_trio("PostgresStorage")

        async def attempt() -> ServerFacts:
            engine = self._theirs or await make_engine(self._dsn, 1, self._seconds)
            try:
                async with engine.connect() as connection:
                    return await server_facts(connection)
            finally:
                if self._theirs is None:
                    await engine.dispose()

        return await self._answer(attempt)

    # --- counters ---

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it, in one round trip, with others that wait."""
        flights = self._flights
        if flights is None or self._home is None or not self._home.is_here():
            await self._answer(self._started)
            flights = self._flights
            assert flights is not None  # connected
        return await flights.consume(call)

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        return await self._alone(call, self._seconds, spend=False)

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""
        arguments = counting.refund_arguments(subject, receipts, idempotency_key, self._now())

        async def attempt() -> None:
            try:
                await self._fetch(self._calls.refund, arguments)
            except asyncpg.LockNotAvailableError as error:  # a rush on the counter: units would stay charged
                raise Stale("nothing was given back yet") from error

        await self._answer(attempt)

    async def _alone(self, call: Consume, seconds: float, *, spend: bool = True) -> Counted:
        arguments = counting.consume_arguments(call, self._shapes, self._now(), spend=spend)
        rows = await self._answer(lambda: self._fetch(self._calls.alone, arguments), seconds)
        answer = counting.counted(call, rows)
        return await unless_cancelled(self, call, answer) if spend else answer

    async def _fetch(self, query: str, arguments: tuple[object, ...]) -> Rows:
        """Run one statement, a transaction by itself, on the driver's own connection."""
        return await fetch_once(await self._started(), query, arguments)

    def _now(self) -> datetime | None:
        return self._clock.now() if self._clock else None

    # --- everything else ---

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(lambda: self._transact(ONE_STATE, self._patience, work, *args, **kwargs))

    async def _write_within(
        self, seconds: float | None, work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        most = self._seconds if seconds is None else min(seconds, self._seconds)
        return await self._answer(
            lambda: self._transact(EACH_ITS_OWN, self._patience, work, *args, **kwargs), most
        )

    async def _report(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        longer = {**self._patience, "statement_ms": f"{REPORT_SECONDS * 1000}"}
        seconds = REPORT_SECONDS + self._seconds
        return await self._answer(lambda: self._transact(ONE_STATE, longer, work, *args, **kwargs), seconds)

    async def _transact(
        self, isolation: str, patience: Mapping[str, str], work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        engine = await self._started()
        async with engine.connect() as connection:
            try:
                await connection.execution_options(isolation_level=isolation)
                now = (await connection.execute(OPEN, patience)).scalar_one()
                if self._clock is not None:
                    now = self._clock.now()
                result = await connection.run_sync(work, now, *args, **kwargs)
            except exc.DBAPIError as error:
                if error.connection_invalidated:
                    raise Stale("the connection was lost before anything was committed") from error
                if read_only(error):
                    await connection.invalidate()
                raise
            await connection.commit()
            return result

    async def _answer(self, attempt: Callable[[], Awaitable[T]], seconds: float | None = None) -> T:
        """See an attempt through in bounded time, whatever happens to the caller.

        Only what certainly has not happened is repeated. Faults are told in the port's words.
        """
        tries = 0
        try:
            with anyio.fail_after(seconds or self._seconds, shield=True):
                while True:
                    try:
                        return await attempt()
                    except FAULTS as error:
                        tries += 1
                        if tries == TRIES or not is_worth_repeating(error):
                            raise
                        await anyio.sleep(self._chance() * 0.02 * tries)
        except FAULTS as error:
            known = told(error)
            if known is error:
                raise
            raise known from error

    # --- connecting ---

    async def _started(self) -> AsyncEngine:
        engine, home = self._engine, self._home
        if engine is None or home is None or home.is_left_behind():
            await self.start()
            assert self._engine is not None
            return self._engine
        if not home.is_here():
            raise ConfigurationError(
                "this PostgresStorage is connected in another event loop, and connections cannot change"
                " loops: call `await storage.start()` in this one, or make one storage for each"
            )
        return engine

    async def _connect(self) -> AsyncEngine:
        engine = self._theirs or await make_engine(self._dsn, max(self._pool_size - LANES, 1), self._seconds)
        try:
            if self._migrate:
                await self._upgrade(engine)
            async with engine.connect() as connection:
                if self._theirs is not None:
                    await check_pooler(connection)
                verify(await connection.run_sync(revision_of, self._schema))
        except BaseException:
            if self._theirs is None:
                with anyio.CancelScope(shield=True):
                    await engine.dispose()
            raise
        # Whatever the application has set for its own transactions, ours are these.
        options = {"isolation_level": "READ COMMITTED", "schema_translate_map": {None: self._schema}}
        return engine.execution_options(**options)

    async def _upgrade(self, engine: AsyncEngine) -> list[str]:
        async with engine.connect() as plain:
            connection: AsyncConnection = await plain.execution_options(isolation_level="READ COMMITTED")
            applied = await connection.run_sync(upgrade, self._schema)
            await connection.commit()
            return applied

    def _let_go(self) -> None:
        """Drop connections of another process or event loop without touching them."""
        engine, lines = self._engine, self._lines
        self._engine = self._home = self._flights = self._lines = None
        if lines is not None:
            lines.drop()
        if engine is not None and self._theirs is None:
            engine.sync_engine.dispose(close=False)

    @contextlib.asynccontextmanager
    async def _one_at_a_time(self) -> AsyncGenerator[None, None]:
        try:
            lock = self._starting.get()
        except LookupError:
            lock = anyio.Lock()
            self._starting.set(lock)
        async with lock:
            yield

"""A storage in PostgreSQL: exact over any number of processes and machines, one round trip for a call."""

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast

import anyio
import asyncpg
from anyio.lowlevel import RunVar
from sqlalchemy import exc
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.util import greenlet_spawn

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
from skene.adapters.postgres.faults import FAULTS, Stale, explain, is_worth_repeating, read_only, sqlstate
from skene.adapters.postgres.queries import PostgresQueries
from skene.adapters.postgres.together import Together
from skene.adapters.postgres.triggers import PostgresTriggers
from skene.adapters.sql.migrate import revision_of, upgrade, verify
from skene.adapters.sql.storage import SqlStorage, Work
from skene.adapters.system import SystemClock
from skene.errors import ConfigurationError, IdempotencyConflict, SchemaOutdated, StorageUnavailable
from skene.ports.clock import Clock
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["PostgresStorage"]

P = ParamSpec("P")
T = TypeVar("T")

WAITING, FLYING = 0.6, 0.4
"""A call waits for a lane, and then for its flight: shares of the time that an answer may take."""
MIGRATION_SECONDS = 60.0
TRIES = 4
ALONE = {"55P03", "57014", "40P01", "40001"}
"""A stranger's lock, a time-out, deadlock, conflict: nothing was charged, and not every call is to blame."""

_Rows = Sequence[Sequence[Any]]
"""One for each charge of a call."""


@dataclass(frozen=True, slots=True)
class _Asked:
    call: Consume
    arguments: tuple[object, ...]


class PostgresStorage(SqlStorage):
    """The port `Storage` in PostgreSQL 14 or later, on asyncio.

    It needs a role that may create tables in one schema, no more. PgBouncer in transaction mode works: it is
    noticed, and statements are not prepared then.

    Args:
        dsn_or_engine: an address (`postgresql://user@host/database`, with all that asyncpg understands), or
            an `AsyncEngine` over asyncpg that the application has already; its pool is used, and not closed.
        schema: where skene's tables are; the connection's own schema if left out.
        clock: where time comes from, for tests; the server's clock if left out.
        pool_size: connections per process, for an address.
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
        shares = {"lock_ms": 0.6, "statement_ms": 0.85}
        self._patience = {name: f"{self._seconds * share * 1000:.0f}" for name, share in shares.items()}
        self._migrate = migrate
        prefix = f'"{schema.replace(chr(34), chr(34) * 2)}".' if schema else ""
        self._consume = counting.consume_query(prefix)
        self._consume_many = counting.consume_many_query(prefix)
        self._refund = counting.refund_query(prefix)
        self._together: Together[_Asked, _Rows | None] | None = None
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
            self._together = Together(self._fly, abandoned=self._take_back)
            self._home = Home()

    async def aclose(self) -> None:
        """Close the connections. May be called twice; the storage can be started again, in any event loop."""
        engine, home = self._engine, self._home
        await self.queries.aclose()
        await self.triggers.aclose()
        if engine is None or home is None or not home.is_here():
            self._let_go()
            return
        self._engine = self._home = None
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

    # --- counters ---

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it, in one round trip."""
        now = self._clock.now() if self._clock else None
        asked = _Asked(call, counting.consume_arguments(call, now, spend=True))
        deadline = anyio.current_time() + self._seconds
        rows = await self._answer(lambda: self._send(asked), self._seconds * WAITING)
        if rows is None:  # somebody holds a lock for long: only those that need it wait for it
            answer = await self._alone(asked, max(0.1, deadline - anyio.current_time()))
        else:
            answer = counting.counted(call, rows)
        if answer.admitted and not answer.replayed:
            await self._unless_cancelled(call, answer)
        return answer

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        now = self._clock.now() if self._clock else None
        arguments = counting.consume_arguments(call, now, spend=False)
        return counting.counted(call, await self._answer(lambda: self._fetch(self._consume, arguments)))

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""
        now = self._clock.now() if self._clock else None
        arguments = counting.refund_arguments(subject, receipts, idempotency_key, now)
        await self._answer(lambda: self._fetch(self._refund, arguments))

    async def _send(self, asked: "_Asked") -> _Rows | None:
        """Send a call together with those that wait; None if it should be made by itself."""
        await self._started()
        assert self._together is not None  # connected
        return await self._together.send(asked)

    async def _alone(self, asked: "_Asked", seconds: float) -> Counted:
        rows = await self._answer(lambda: self._fetch(self._consume, asked.arguments), seconds)
        return counting.counted(asked.call, rows)

    async def _fly(self, asked: "Sequence[_Asked]") -> "Sequence[_Rows | None]":
        # Its leader's deadline is not that of the others.
        with anyio.fail_after(self._seconds * FLYING, shield=True):
            if len(asked) == 1:
                return [await self._fetch(self._consume, asked[0].arguments)]
            order = counting.flight_order([one.call for one in asked])
            arguments = counting.consume_many_arguments([asked[place].arguments for place in order])
            try:
                rows = await self._fetch(self._consume_many, arguments)
            except asyncpg.PostgresError as error:
                if sqlstate(error) not in ALONE:
                    raise
                return [None] * len(asked)
        flown: dict[int, list[Sequence[Any]]] = {place: [] for place in order}
        for row in rows:
            flown[order[int(row[0]) - 1]].append(row[1:])
        return [flown[place] for place in range(len(asked))]

    async def _take_back(self, asked: "_Asked", rows: _Rows | None) -> None:
        """Undo a call whose caller could not wait for the answer."""
        if rows is None:
            return
        with contextlib.suppress(IdempotencyConflict, StorageUnavailable):
            answer = counting.counted(asked.call, rows)
            receipts = tuple(tally.receipt for tally in answer.tallies if tally.receipt)
            if receipts:  # else it was refused or repeated, and its key may be another call's by now
                await self.refund(asked.call.subject, receipts, asked.call.idempotency_key)

    async def _fetch(self, query: str, arguments: tuple[object, ...]) -> _Rows:
        """Run one statement, a transaction by itself, on the driver's own connection."""
        async with self._driver() as driver:
            rows: Any = await driver.fetch(query, *arguments)  # records are sequences, but not to the type
            return cast(_Rows, rows)

    @contextlib.asynccontextmanager
    async def _driver(self) -> "AsyncGenerator[asyncpg.Connection[asyncpg.Record], None]":
        """A connection that is known to be open. It goes back to the pool only if it can be used again."""
        engine = await self._started()
        while True:
            held = await engine.raw_connection()
            driver: asyncpg.Connection[asyncpg.Record] | None = held.driver_connection
            assert driver is not None
            if not driver.is_closed():
                break
            await greenlet_spawn(held.invalidate)  # it died while it lay idle; nothing was sent
        sound = False
        try:
            yield driver
            sound = True
        except asyncpg.PostgresError as error:
            sound = not driver.is_closed() and not read_only(error)
            raise
        finally:
            if sound:
                await greenlet_spawn(held.close)
            else:
                # Interrupted: what the server does with the statement is not known any more.
                driver.terminate()
                with anyio.CancelScope(shield=True):
                    await greenlet_spawn(held.invalidate)

    # --- everything else ---

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._write(work, *args, **kwargs)

    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._answer(lambda: self._transact(self._patience, work, *args, **kwargs))

    async def _report(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        longer = {**self._patience, "statement_ms": f"{REPORT_SECONDS * 1000}"}
        seconds = REPORT_SECONDS + self._seconds
        return await self._answer(lambda: self._transact(longer, work, *args, **kwargs), seconds)

    async def _transact(
        self, patience: Mapping[str, str], work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        engine = await self._started()
        async with engine.connect() as connection:
            try:
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
        except TimeoutError as error:
            raise StorageUnavailable("PostgreSQL did not answer in time") from error
        except FAULTS as error:
            known = explain(error)
            if known is None:
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
        engine = self._theirs or await make_engine(self._dsn, self._pool_size, self._seconds)
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
        engine, self._engine, self._home = self._engine, None, None
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

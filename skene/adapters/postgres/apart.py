"""Connections beside those that count: a slow query takes one of these and never one of the others."""

import contextlib
import functools
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

import anyio
import asyncpg
from anyio.lowlevel import RunVar
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from skene.adapters.postgres.dsn import asyncpg_dsn
from skene.adapters.postgres.engine import Home, check_engine, refuse_trio
from skene.adapters.postgres.faults import FAULTS, explain
from skene.errors import StorageUnavailable

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

__all__ = ["Apart", "unavailable"]

CONNECT_SECONDS = 10.0
TRIES = 3
UNDO_SECONDS = 2.0


class Apart:
    """A few connections of one's own, with no prepared statements, so that a pooler may stand between.

    Args:
        dsn_or_engine: an address, or an `AsyncEngine` of the application's; of that only the way to connect
            is used, not its pool.
        pool_size: connections at once.

    Raises:
        ConfigurationError: an address or engine that is not PostgreSQL's.
    """

    def __init__(self, dsn_or_engine: str | AsyncEngine, pool_size: int) -> None:
        self._theirs = check_engine(dsn_or_engine) if isinstance(dsn_or_engine, AsyncEngine) else None
        self._dsn = "" if isinstance(dsn_or_engine, AsyncEngine) else asyncpg_dsn(dsn_or_engine)
        self._pool_size = pool_size
        self._engine: AsyncEngine | None = None
        self._home: Home | None = None
        # One for each event loop: a semaphore cannot be shared.
        self._slots: RunVar[anyio.Semaphore] = RunVar("skene_postgres_apart")

    @contextlib.asynccontextmanager
    async def transaction(self, settings: str, seconds: float) -> "AsyncGenerator[Driver, None]":
        """A transaction that is undone at the end unless it was committed.

        A connection whose transaction was broken off is closed and not used again.

        Args:
            settings: what follows `BEGIN`: its mode, and statements such as `SET LOCAL …`.
            seconds: how long a connection may take.

        Raises:
            StorageUnavailable: there is none in time.
        """
        async with self._slot(seconds):
            engine = self._started()
            held, driver = await self._begin(engine, settings, seconds)
            sound = False
            try:
                yield driver
                sound = True
            except (asyncpg.PostgresError, GeneratorExit):  # the latter between two statements
                sound = not driver.is_closed()
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    if not sound or not await self._undo(driver):
                        # Interrupted: what the server does with the statement is not known any more.
                        driver.terminate()
                        await greenlet_spawn(held.invalidate)
                    else:
                        await greenlet_spawn(held.close)

    async def aclose(self) -> None:
        """Close the connections; the next use opens others."""
        engine, home = self._engine, self._home
        self._engine = self._home = None
        if engine is None or home is None:
            return
        if not home.is_here():
            engine.sync_engine.dispose(close=False)
            return
        with anyio.move_on_after(CONNECT_SECONDS, shield=True):
            await engine.dispose()

    async def _begin(
        self, engine: AsyncEngine, settings: str, seconds: float
    ) -> "tuple[PoolProxiedConnection, Driver]":
        """A connection with a transaction. One that died while it lay idle is noticed here, and replaced."""
        tries = 0
        while True:
            tries += 1
            held: PoolProxiedConnection | None = None
            try:
                with anyio.fail_after(seconds):
                    held = await engine.raw_connection()
                    driver = held.driver_connection
                    assert driver is not None
                    await driver.execute(f"BEGIN ISOLATION LEVEL READ COMMITTED {settings}")
                    return held, driver
            except BaseException as error:
                if held is not None:
                    if held.driver_connection is not None:
                        held.driver_connection.terminate()
                    with anyio.CancelScope(shield=True):
                        await greenlet_spawn(held.invalidate)
                if not isinstance(error, FAULTS):
                    raise
                if tries == TRIES or held is None:
                    raise unavailable(error) from error

    async def _undo(self, driver: "Driver") -> bool:
        """End the transaction and forget what it set; False if the connection is of no use any more."""
        with anyio.move_on_after(UNDO_SECONDS), contextlib.suppress(*FAULTS):
            # What an application sets on each connection of its own must stay; ours has nothing of the kind.
            rest = "" if self._theirs is not None else "RESET ALL;"
            await driver.execute(f"ROLLBACK; {rest} SELECT pg_advisory_unlock_all()")
            return True
        return False

    def _started(self) -> AsyncEngine:
        if self._engine is None or self._home is None or not self._home.is_here():
            refuse_trio("PostgreSQL")
            if self._engine is not None:  # of another process or event loop: dropped without touching it
                self._engine.sync_engine.dispose(close=False)
            # Nothing is awaited here, so no two tasks make an engine.
            self._engine, self._home = self._make(), Home()
        return self._engine

    def _make(self) -> AsyncEngine:
        if self._theirs is not None:  # the same creator, so that passwords that expire and the like work, too
            return create_async_engine("postgresql+asyncpg://", pool=self._theirs.pool.recreate())
        connect = functools.partial(
            asyncpg.connect, self._dsn, timeout=CONNECT_SECONDS, statement_cache_size=0
        )
        return create_async_engine(
            "postgresql+asyncpg://",
            async_creator=connect,
            connect_args={"prepared_statement_cache_size": 0},
            hide_parameters=True,  # people's ids: no error may show them
            pool_size=self._pool_size,
            max_overflow=0,
            pool_timeout=CONNECT_SECONDS,
            pool_use_lifo=True,
        )

    @contextlib.asynccontextmanager
    async def _slot(self, seconds: float) -> AsyncGenerator[None, None]:
        try:
            slots = self._slots.get()
        except LookupError:
            slots = anyio.Semaphore(self._pool_size)
            self._slots.set(slots)
        try:
            with anyio.fail_after(seconds):
                await slots.acquire()
        except TimeoutError:
            raise StorageUnavailable(
                f"all {self._pool_size} connections for queries are in use; make pool_size larger, or the"
                " queries quicker"
            ) from None
        try:
            yield
        finally:
            slots.release()


def unavailable(error: BaseException) -> StorageUnavailable:
    """The port's error for one of `FAULTS` that is not the statement's doing."""
    if isinstance(error, TimeoutError):
        return StorageUnavailable("PostgreSQL did not answer in time")
    known = explain(error)
    if isinstance(known, StorageUnavailable):
        return known
    return StorageUnavailable(f"PostgreSQL cannot answer: {type(error).__name__}")

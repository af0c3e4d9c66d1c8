"""The driver's own connections: a few that are held for counting, and those of a pool for one statement."""

import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import asyncpg
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from skene.adapters.postgres.faults import FAULTS, read_only

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]

__all__ = ["Lines", "Rows", "fetch_once"]

Rows = Sequence[Sequence[Any]]

CLOSING_SECONDS = 1.0
_LEFT_ALONE: list[object] = []


class Lines:
    """Connections that are held while the storage is started, so that no call has to ask a pool.

    There are as many as there are statements at once; each is opened when it is first needed.

    Args:
        engine: knows how to connect.
        theirs: it is the application's, whose pool is left to the application.
    """

    def __init__(self, engine: AsyncEngine, *, theirs: bool) -> None:
        self._engine = engine
        if theirs:
            self._engine = create_async_engine("postgresql+asyncpg://", pool=engine.pool.recreate())
        self._free: list[Driver] = []
        self._busy: set[Driver] = set()

    async def open(self) -> None:
        """Open the first, so that the first call need not wait for it.

        Raises:
            one of `faults.FAULTS`: why there is none.
        """
        self._free.append(await self._open())

    async def fetch(self, query: str, arguments: Sequence[object]) -> Rows:
        """Run one statement, a transaction by itself.

        Raises:
            one of `faults.FAULTS`: what went wrong; a connection that may be of no use any more is closed.
        """
        driver = self._free.pop() if self._free else await self._open()
        if driver.is_closed():  # it died while it lay idle; nothing was sent
            driver = await self._open()
        sound = False
        self._busy.add(driver)
        try:
            rows: Any = await driver.fetch(query, *arguments)  # records are sequences, but not to the type
            sound = True
            return cast(Rows, rows)
        except asyncpg.PostgresError as error:
            sound = _is_sound(driver, error)
            raise
        finally:
            self._busy.discard(driver)
            if sound:
                self._free.append(driver)
            else:  # interrupted: what the server does with the statement is not known any more
                driver.terminate()

    async def aclose(self) -> None:
        """Close them all, those in use too."""
        for driver in self._busy:
            driver.terminate()
        free, self._free = self._free, []
        for driver in free:
            with anyio.move_on_after(CLOSING_SECONDS, shield=True), contextlib.suppress(*FAULTS):
                await driver.close()
            driver.terminate()

    def drop(self) -> None:
        """Leave connections of another process or event loop alone.

        They are not even let go of: whoever collects them would close them in the other's event loop.
        """
        _LEFT_ALONE.append((self._free, self._busy))
        self._free, self._busy = [], set()

    async def _open(self) -> "Driver":
        held, driver = await _take(self._engine)
        held.detach()
        return driver


async def fetch_once(engine: AsyncEngine, query: str, arguments: Sequence[object]) -> Rows:
    """Run one statement, a transaction by itself, on a connection of an engine's pool.

    Raises:
        one of `faults.FAULTS`: as `Lines.fetch`.
    """
    held, driver = await _take(engine)
    sound = False
    try:
        rows: Any = await driver.fetch(query, *arguments)
        sound = True
        return cast(Rows, rows)
    except asyncpg.PostgresError as error:
        sound = _is_sound(driver, error)
        raise
    finally:
        if sound:
            await greenlet_spawn(held.close)
        else:
            driver.terminate()
            with anyio.CancelScope(shield=True):
                await greenlet_spawn(held.invalidate)


async def _take(engine: AsyncEngine) -> "tuple[PoolProxiedConnection, Driver]":
    """A connection of an engine's pool that is known to be open."""
    while True:
        held = await engine.raw_connection()
        driver: Driver | None = held.driver_connection
        assert driver is not None
        if not driver.is_closed():
            return held, driver
        await greenlet_spawn(held.invalidate)  # it died while it lay idle; nothing was sent


def _is_sound(driver: "Driver", error: asyncpg.PostgresError) -> bool:
    """Whether a connection can be used again after an error."""
    return not driver.is_closed() and not read_only(error)

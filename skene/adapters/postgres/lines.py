"""The connections that count: held while the storage is started, so that no call has to ask a pool for one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import anyio
import asyncpg
from sqlalchemy import PoolProxiedConnection
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.util import greenlet_spawn

from skene.adapters.postgres.faults import read_only

if TYPE_CHECKING:
    Driver = asyncpg.Connection[asyncpg.Record]
    Held = tuple[PoolProxiedConnection, Driver]

__all__ = ["Lines", "Rows", "fetch", "let_go", "take"]

Rows = Sequence[Sequence[Any]]

_LEFT_ALONE: list[object] = []

class Lines:
    """As many connections as there are statements at once; each is opened when it is first needed.

    Args:
        engine: where they come from.
        theirs: it is the application's: of that only the way to connect is used, since a connection that is
            held for long has no place in a pool that others wait for.
    """

    def __init__(self, engine: AsyncEngine, *, theirs: bool) -> None:
        self._engine = (
            create_async_engine("postgresql+asyncpg://", pool=engine.pool.recreate()) if theirs else engine
        )
        self._own = theirs
        self._free: list[Held] = []

    async def fetch(self, query: str, arguments: Sequence[object]) -> Rows:
        """Run one statement, a transaction by itself.

        Raises:
            one of `faults.FAULTS`: whatever went wrong. A connection that may be of no use any more is closed.
        """
        held = self._free.pop() if self._free else await take(self._engine)
        if held[1].is_closed():  # it died while it lay idle; nothing was sent
            await let_go(held, sound=False)
            held = await take(self._engine)
        sound = False
        try:
            rows: Any = await held[1].fetch(query, *arguments)  # records are sequences, but not to the type
            sound = True
            return cast(Rows, rows)
        except asyncpg.PostgresError as error:
            sound = not held[1].is_closed() and not read_only(error)
            raise
        finally:
            if sound:
                self._free.append(held)
            else:
                await let_go(held, sound=False)

    async def aclose(self) -> None:
        """Give the connections back, or close them."""
        while self._free:
            await let_go(self._free.pop(), sound=True)
        if self._own:
            await self._engine.dispose()

    def drop(self) -> None:
        """Leave connections of another process or event loop alone.

        They are not even let go of: whoever collects them would reset them, on the other's socket.
        """
        _LEFT_ALONE.append((self._engine, self._free))
        self._free = []


async def take(engine: AsyncEngine) -> "Held":
    """A connection of an engine's pool that is known to be open."""
    while True:
        held = await engine.raw_connection()
        driver: Driver | None = held.driver_connection
        assert driver is not None
        if not driver.is_closed():
            return held, driver
        await greenlet_spawn(held.invalidate)  # it died while it lay idle; nothing was sent


async def let_go(held: "Held", *, sound: bool) -> None:
    """Give a connection back to its pool.

    Args:
        held: from `take`.
        sound: it can be used again. Otherwise it was interrupted, and what the server does with its statement
            is not known any more.
    """
    if sound:
        await greenlet_spawn(held[0].close)
        return
    held[1].terminate()
    with anyio.CancelScope(shield=True):
        await greenlet_spawn(held[0].invalidate)


async def fetch(engine: AsyncEngine, query: str, arguments: Sequence[object]) -> Rows:
    """Run one statement, a transaction by itself, on a connection of a pool.

    Raises:
        one of `faults.FAULTS`: as `Lines.fetch`.
    """
    once = Lines(engine, theirs=False)
    rows = await once.fetch(query, arguments)
    await once.aclose()
    return rows

"""A storage in one SQLite file: durable, exact over several processes of one machine, nothing to install."""

import time
from os import PathLike, fspath
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio

from skene.adapters.sql.storage import SqlStorage, Work
from skene.adapters.sqlite.database import MIGRATION_SECONDS, Database
from skene.adapters.sqlite.desk import ANSWER_SECONDS
from skene.adapters.sqlite.flight import Asked, GivenBack
from skene.adapters.sqlite.queries import SqliteQueries
from skene.adapters.sqlite.together import Together
from skene.adapters.sqlite.triggers import SqliteTriggers
from skene.adapters.sqlite.writer import Writer
from skene.adapters.system import SystemClock
from skene.errors import ConfigurationError
from skene.ports.clock import Clock
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["SqliteStorage"]

P = ParamSpec("P")
T = TypeVar("T")

UPKEEP_SECONDS = 30.0


class SqliteStorage(SqlStorage):
    """The port `Storage` in a file, on asyncio and on trio.

    SQLite takes one writer at a time: a thread of the storage's own, so that the event loop never waits for
    the disk. Calls that arrive while it is busy share its next transaction, and the one flush after which
    they are acknowledged and survive a power cut. Other processes of this machine may use the file too;
    machines that share it over a network may not.

    Args:
        path: the file; made, with its tables, if it is missing.
        clock: where time comes from; this machine's clock if left out.
        migrate: bring the tables up to date at start. With False, an old file is refused.

    Attributes:
        queries: runs SELECTs of the user's on the same file, which it cannot write to.
        triggers: installs triggers on the user's tables in the same file.

    Raises:
        ConfigurationError: a path that names no file, such as `:memory:`.
    """

    def __init__(
        self, path: str | PathLike[str], *, clock: Clock | None = None, migrate: bool = True
    ) -> None:
        name = fspath(path)
        if not name or ":memory:" in name or "mode=memory" in name:
            raise ConfigurationError(
                f"SqliteStorage keeps its data in a file, and {name!r} is none; for a storage that lives in"
                " memory use skene.adapters.memory.MemoryStorage()"
            )
        self._path = Path(name)
        self.queries = SqliteQueries(self._path)
        self.triggers = SqliteTriggers(self._path)
        self._clock = clock or SystemClock()
        self._database = Database(self._path, migrate=migrate)
        self._writer = Writer(Together(self._database, self._clock))

    def __repr__(self) -> str:
        return f"SqliteStorage({str(self._path)!r})"

    async def start(self) -> None:
        """Open the file, and make the tables or look at their version.

        May be called again, then does nothing.
        """
        await self._writer.alone(self._database.open, MIGRATION_SECONDS + 5)

    async def aclose(self) -> None:
        """Close the file. May be called twice; the next use opens it again."""
        with anyio.CancelScope(shield=True):
            await self._writer.alone(self._database.close, UPKEEP_SECONDS, always=True)
        self._writer.rest()

    async def migrate(self) -> list[str]:
        """Bring the tables up to date.

        Returns:
            The versions that were applied now, oldest first.
        """
        return await self._writer.alone(self._database.upgrade, MIGRATION_SECONDS + 5)

    async def schema_version(self) -> str | None:
        """The version that the tables are at, None if there are none. Changes nothing, makes no file."""
        return await self._writer.alone(self._database.version, UPKEEP_SECONDS)

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it."""
        counted: Counted = await self._writer.send(Asked(call, spend=True))
        return counted

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        counted: Counted = await self._writer.send(Asked(call, spend=False))
        return counted

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""
        await self._writer.send(GivenBack(subject, receipts, idempotency_key))

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._transact("BEGIN", ANSWER_SECONDS, work, *args, **kwargs)

    async def _write_within(
        self, seconds: float | None, work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        most = ANSWER_SECONDS if seconds is None else min(seconds, ANSWER_SECONDS)
        return await self._transact("BEGIN IMMEDIATE", most, work, *args, **kwargs)

    async def _transact(
        self, begin: str, seconds: float, work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Work that is no counting has a transaction for itself."""
        deadline, database = time.monotonic() + seconds, self._database

        def transact() -> T:
            with (
                database.opened(deadline) as db,
                database.transaction(db, begin),
                database.connection() as connection,
            ):
                return work(connection, self._clock.now(), *args, **kwargs)

        return await self._writer.alone(transact, seconds)

"""A storage in one SQLite file: durable, exact over several processes of one machine, nothing to install."""

import sqlite3
import time
from collections.abc import Callable
from os import PathLike, fspath
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio
from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

from skene.adapters.sql.storage import SqlStorage, Work
from skene.adapters.sqlite import counting
from skene.adapters.sqlite.database import MIGRATION_SECONDS, Database
from skene.adapters.sqlite.queries import SqliteQueries
from skene.adapters.sqlite.triggers import SqliteTriggers
from skene.adapters.system import SystemClock
from skene.errors import ConfigurationError, StorageUnavailable
from skene.ports.clock import Clock
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["SqliteStorage"]

P = ParamSpec("P")
T = TypeVar("T")

ANSWER_SECONDS = 1.8
"""The port promises an answer within 2 s."""
UPKEEP_SECONDS = 30.0


class SqliteStorage(SqlStorage):
    """The port `Storage` in a file, on asyncio and on trio.

    SQLite takes one writer at a time. Calls run one after another in a worker thread, so that the event loop
    never waits for the disk; what was acknowledged survives a power cut. Other processes of this machine may
    use the file too; machines that share it over a network may not.

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
        # One for each event loop: limiters cannot be shared.
        self._turns: RunVar[CapacityLimiter] = RunVar("skene_sqlite_turns")

    def __repr__(self) -> str:
        return f"SqliteStorage({str(self._path)!r})"

    async def start(self) -> None:
        """Open the file, and make the tables or look at their version.

        May be called again, then does nothing.
        """
        await self._in_thread(self._database.open, MIGRATION_SECONDS + 5)

    async def aclose(self) -> None:
        """Close the file. May be called twice; the next use opens it again."""
        with anyio.CancelScope(shield=True):
            await self._in_thread(self._database.close, UPKEEP_SECONDS)

    async def migrate(self) -> list[str]:
        """Bring the tables up to date.

        Returns:
            The versions that were applied now, oldest first.
        """
        return await self._in_thread(self._database.upgrade, MIGRATION_SECONDS + 5)

    async def schema_version(self) -> str | None:
        """The version that the tables are at, None if there are none. Changes nothing, makes no file."""
        return await self._in_thread(self._database.version, UPKEEP_SECONDS)

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it."""
        counted = await self._run(lambda db: self._decide(db, call))
        if counted.admitted and not counted.replayed:
            await self._unless_cancelled(call, counted)
        return counted

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        return await self._run(lambda db: self._look(db, call))

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""

        def work(db: sqlite3.Connection) -> None:
            with self._database.transaction(db, "BEGIN IMMEDIATE"):
                counting.refund(db, self._clock.now(), subject, receipts, idempotency_key)

        await self._run(work)

    def _look(self, db: sqlite3.Connection, call: Consume) -> Counted:
        with self._database.transaction(db, "BEGIN"):
            return counting.look(db, self._clock.now(), call).answer

    def _decide(self, db: sqlite3.Connection, call: Consume) -> Counted:
        # A refusal ends after the first look: it has neither waited for the one writer nor become one.
        seen = self._look(db, call)
        if not seen.admitted:
            return seen
        with self._database.transaction(db, "BEGIN IMMEDIATE"):
            return counting.consume(db, self._clock.now(), call)

    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda db: self._transact(db, "BEGIN", work, *args, **kwargs))

    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        return await self._run(lambda db: self._transact(db, "BEGIN IMMEDIATE", work, *args, **kwargs))

    def _transact(
        self, db: sqlite3.Connection, begin: str, work: Work[P, T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        with self._database.transaction(db, begin), self._database.connection() as connection:
            return work(connection, self._clock.now(), *args, **kwargs)

    async def _run(self, work: Callable[[sqlite3.Connection], T], seconds: float = ANSWER_SECONDS) -> T:
        deadline = time.monotonic() + seconds
        return await self._in_thread(lambda: self._database.run(work, deadline), seconds)

    async def _in_thread(self, work: Callable[[], T], seconds: float) -> T:
        """Run work in a worker thread when it is its turn. It is not abandoned once it has begun."""
        try:
            turns = self._turns.get()
        except LookupError:
            turns = CapacityLimiter(1)
            self._turns.set(turns)
        try:
            with anyio.fail_after(seconds):
                return await to_thread.run_sync(work, limiter=turns)
        except TimeoutError as error:
            raise StorageUnavailable(f"{self._path}: no answer within {seconds} s") from error

"""One SQLite file: opening it, running one transaction at a time in it, and telling what went wrong."""

import contextlib
import os
import sqlite3
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import exc
from sqlalchemy.pool import StaticPool

from skene.adapters.sql.migrate import VERSION_TABLE, revision_of, upgrade, verify
from skene.errors import SchemaOutdated, StorageUnavailable

__all__ = ["Database"]

MIGRATION_SECONDS = 15.0
"""How long a start waits for another process that is migrating the same file."""

_UNAVAILABLE = {
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_NOTADB,
}


class Database:
    """A connection to one file, used by one thread at a time: `writer` sees to that.

    A connection must not be carried over a fork: the child opens its own at its first use.

    Args:
        path: the file, made if it is missing.
        migrate: bring the schema up to date when opening; otherwise refuse one that is not.
    """

    def __init__(self, path: Path, *, migrate: bool) -> None:
        self.path = path
        self._migrate = migrate
        self._forget()

    def _forget(self) -> None:
        self._pid = os.getpid()
        self._db: sqlite3.Connection | None = None
        self._engine: sa.Engine | None = None
        self._patience = -1

    def _unfork(self) -> None:
        if self._pid != os.getpid():
            self._forget()

    @contextlib.contextmanager
    def opened(self, deadline: float) -> Generator[sqlite3.Connection, None, None]:
        """The connection, opened if need be.

        Args:
            deadline: until when it may wait for locks, on `time.monotonic()`'s clock.

        Raises:
            StorageUnavailable: the file cannot be opened, read or locked in time.
            SchemaOutdated: tables are missing or old.
        """
        self._unfork()
        with self._explained():
            db = self._db or self._open()
            self._wait_until(db, deadline)
            yield db

    @contextlib.contextmanager
    def transaction(self, db: sqlite3.Connection, begin: str) -> Generator[None, None, None]:
        """Make one transaction of what is done inside: `BEGIN` to read, `BEGIN IMMEDIATE` to write."""
        db.execute(begin)
        try:
            yield
            if db.in_transaction:  # SQLAlchemy ends it itself
                db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")

    @contextlib.contextmanager
    def connection(self) -> Generator[sa.Connection, None, None]:
        """The connection as SQLAlchemy sees it, inside a transaction that was begun already."""
        assert self._engine is not None  # run() has opened it
        with self._engine.connect() as connection:
            yield connection
            connection.commit()

    def open(self) -> None:
        """Open the file if that has not been done."""
        self._unfork()
        with self._explained():
            if self._db is None:
                self._open()

    def upgrade(self) -> list[str]:
        """Bring the schema up to date, and tell which versions were applied now."""
        self._unfork()
        with self._explained():
            if self._db is None:
                self._open(migrate=True)
                return self._applied
            return self._upgrade(self._db)

    def version(self) -> str | None:
        """The version the schema is at, read over a connection that cannot write; None if there is none."""
        if not self.path.exists():
            return None
        with self._explained():
            db = sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True)
            try:
                if not db.execute(f"SELECT 1 FROM sqlite_master WHERE name = '{VERSION_TABLE}'").fetchone():  # noqa: S608 - a name of ours
                    return None
                (found,) = db.execute(f"SELECT max(version_num) FROM {VERSION_TABLE}").fetchone()  # noqa: S608 - as above
                return str(found) if found is not None else None
            finally:
                db.close()

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._unfork()
        engine, db = self._engine, self._db
        self._engine = self._db = None
        if engine is not None:
            engine.dispose()
        if db is not None:
            db.close()

    def _open(self, *, migrate: bool | None = None) -> sqlite3.Connection:
        db = sqlite3.connect(
            self.path, timeout=MIGRATION_SECONDS, isolation_level=None, check_same_thread=False
        )
        self._engine = sa.create_engine(
            "sqlite://",
            creator=lambda: db,
            poolclass=StaticPool,
            hide_parameters=True,  # people's ids and addresses: no error may show them
        )
        self._applied: list[str] = []
        self._patience = -1
        try:
            # SQLAlchemy rolls back what it finds when it first connects: now, not inside a transaction.
            self._engine.connect().close()
            _to_wal(db)
            db.execute("PRAGMA synchronous = FULL")  # what was acknowledged survives a power cut
            if self._migrate if migrate is None else migrate:
                self._applied = self._upgrade(db)
            else:
                self._verify(db)
        except BaseException:
            db.close()
            raise
        self._db = db
        return db

    def _upgrade(self, db: sqlite3.Connection) -> list[str]:
        self._wait_until(db, time.monotonic() + MIGRATION_SECONDS)
        with self.transaction(db, "BEGIN IMMEDIATE"), self.connection() as connection:
            return upgrade(connection)

    def _verify(self, db: sqlite3.Connection) -> None:
        if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'skene_schema_version'").fetchone():
            raise SchemaOutdated(f"{self.path} has no tables of skene; run `skene db upgrade`")
        with self.connection() as connection:
            verify(revision_of(connection))

    def _wait_until(self, db: sqlite3.Connection, deadline: float) -> None:
        """Let SQLite wait for other processes until the deadline, in steps, so that it is seldom told."""
        patience = max(1, int((deadline - time.monotonic()) * 100) * 10)
        if patience != self._patience:
            db.execute(f"PRAGMA busy_timeout = {patience}")
            self._patience = patience

    @contextlib.contextmanager
    def _explained(self) -> Generator[None, None, None]:
        """Turn SQLite's errors into those of the port, by their codes."""
        try:
            yield
        except (sqlite3.Error, exc.DBAPIError) as error:
            cause: Any = error.orig if isinstance(error, exc.DBAPIError) else error
            code = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the rest refines it
            if code in _UNAVAILABLE:
                why = f" ({_why(self.path)})" if code == sqlite3.SQLITE_CANTOPEN else ""
                raise StorageUnavailable(f"{self.path}: {cause}{why}") from error
            if code == sqlite3.SQLITE_ERROR and self._db is not None:
                self._verify(self._db)  # says so if the tables are gone
            raise


def _why(path: Path) -> str:
    """What keeps a file from being opened, which SQLite does not say."""
    if path.is_dir():
        return "it is a folder"
    if not path.parent.is_dir():
        return f"there is no folder {path.parent}"
    return "the file, or its folder, cannot be written to"


def _to_wal(db: sqlite3.Connection) -> None:
    """Readers and the one writer do not wait for each other in this mode. It stays with the file."""
    mode = db.execute("PRAGMA journal_mode").fetchone()[0]
    if mode != "wal":
        db.execute("PRAGMA journal_mode = WAL")

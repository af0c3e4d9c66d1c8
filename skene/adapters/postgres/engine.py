"""Connecting: an engine that suits what stands between us and the server."""

import asyncio  # noqa: TID251 - asyncpg's event loop; to ask anyio for it takes as long as a tenth of a call
import functools
import os
import time

import asyncpg
import sqlalchemy as sa
from anyio.lowlevel import current_token
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from skene.errors import ConfigurationError

__all__ = ["OPEN", "REPORT_SECONDS", "Home", "check_engine", "check_pooler", "make_engine", "refuse_trio"]

CONNECTING = 0.95
"""The share of the time for an answer that getting a connection may take."""


class Home:
    """The process and the event loop that a connection belongs to; no other can use it."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.loop = asyncio.get_running_loop()

    def is_here(self) -> bool:
        """Whether this is it."""
        try:
            return self.loop is asyncio.get_running_loop() and self.pid == os.getpid()
        except RuntimeError:  # trio's
            return False

    def is_left_behind(self) -> bool:
        """Whether this process was forked off since."""
        return self.pid != os.getpid()


REPORT_SECONDS = 30
"""How long a report over everything may take; people wait for it, and no request does."""

# The first statement of every transaction but the counting ones: what time it is, and how long it may wait.
# What is set ends with the transaction, so that it works behind a pooler too. A process that is frozen in the
# middle of one, as a paused container is, loses it: its locks would hold up all the others until it goes on.
OPEN = sa.text("""
SELECT clock_timestamp(),
       set_config('lock_timeout', :lock_ms, true),
       set_config('statement_timeout', :statement_ms, true),
       set_config('idle_in_transaction_session_timeout', :idle_ms, true)
""")


async def make_engine(dsn: str, pool_size: int, seconds: float) -> AsyncEngine:
    """An engine of our own. Behind a pooler, prepared statements stay off: they would be left on any server.

    Raises:
        one of `faults.FAULTS`: the server cannot be reached.
    """
    connect = functools.partial(asyncpg.connect, dsn, timeout=seconds * CONNECTING)
    probe = await connect(statement_cache_size=0)
    try:
        # A pooler hands out a number of its own where the server tells its process id.
        pooled = await probe.fetchval("SELECT pg_backend_pid()") != probe.get_server_pid()
    finally:
        probe.terminate()
    off: dict[str, object] = {"prepared_statement_cache_size": 0} if pooled else {}
    if pooled:
        connect = functools.partial(connect, statement_cache_size=0)
    return create_async_engine(
        "postgresql+asyncpg://",
        # The options that are SQLAlchemy's own have been taken out of what arrives here.
        async_creator=connect,
        connect_args=off,
        hide_parameters=True,  # people's ids and addresses: no error may show them
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=seconds * CONNECTING,
        pool_use_lifo=True,  # idle connections get the chance to be closed by the server
    )


def check_engine(engine: AsyncEngine) -> AsyncEngine:
    """Refuse an engine of the user's that cannot work here.

    Raises:
        ConfigurationError: it speaks through another driver.
    """
    if (engine.dialect.name, engine.dialect.driver) != ("postgresql", "asyncpg"):
        raise ConfigurationError(
            f"PostgresStorage needs an engine over asyncpg, and was given one over"
            f" {engine.dialect.name}+{engine.dialect.driver}: create_async_engine('postgresql+asyncpg://…')"
        )
    return engine


async def check_pooler(connection: AsyncConnection) -> None:
    """Refuse an engine that leaves named statements behind on the servers of a pooler.

    Raises:
        ConfigurationError: with the two settings to add.
    """
    await connection.execute(sa.text("SELECT 1"))  # from here on it is one transaction, and so one server
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    server = await connection.scalar(sa.text("SELECT pg_backend_pid()"))
    if server == driver.get_server_pid():
        return
    # The statement looks for itself; those of other clients are there, too. A pooler that looks after named
    # statements gives them names of its own.
    mark = f"skene {os.getpid()} {id(connection)} {time.monotonic_ns()}"
    named = f"""
        SELECT count(*) FROM pg_prepared_statements
         WHERE name LIKE '\\_\\_asyncpg\\_%' AND statement LIKE '%{mark}%'
    """  # noqa: S608 (numbers)
    if await driver.fetchval(named):
        raise ConfigurationError(
            "the database is behind a pooler (PgBouncer or the like) that gives every transaction another"
            " server, and the engine keeps prepared statements; make it with create_async_engine(…,"
            ' connect_args={"statement_cache_size": 0, "prepared_statement_cache_size": 0})'
        )


def refuse_trio(name: str) -> None:
    """Refuse to work where asyncpg cannot.

    Raises:
        ConfigurationError: with what to use instead.
    """
    if current_token().backend_class.__module__.endswith("trio"):
        raise ConfigurationError(
            f"{name} needs asyncio, because asyncpg does; on trio use skene.adapters.sqlite.SqliteStorage"
        )

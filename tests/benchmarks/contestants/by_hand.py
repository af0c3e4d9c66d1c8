"""Gates in SQL that people write by hand, each as the documentation of its library has it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import aiosqlite
import asyncpg
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = [
    "COUNT",
    "INSERT",
    "POOL",
    "aiosqlite_upsert",
    "asyncpg_upsert",
    "events_table",
    "naive_count",
    "sqlalchemy_address",
    "sqlalchemy_upsert",
    "upsert",
    "usage_table",
]

POOL = 32
"""Connections of each pool. With 10, as asyncpg has it unless told otherwise, 32 callers were slower."""


def usage_table(name: str, subjects: int) -> str:
    """SQL that makes a table of counters with room for updates in place, and a row for each subject."""
    return f"""
        CREATE TABLE {name} (
            subject text COLLATE "C" NOT NULL,
            meter text COLLATE "C" NOT NULL,
            window_end timestamptz NOT NULL,
            used bigint NOT NULL,
            PRIMARY KEY (subject, meter)
        ) WITH (fillfactor = 75);
        INSERT INTO {name} SELECT 'user-' || n, 'calls', now() + interval '30 days', 0
          FROM generate_series(1, {subjects}) AS n"""


def upsert(table: str, subject: str, limit: str) -> str:
    """The conditional upsert: one statement that counts a call if there is room, and gives no row if not."""
    return (
        f"INSERT INTO {table} AS u (subject, meter, window_end, used)"
        f" VALUES ({subject}, 'calls', now() + interval '30 days', 1)"
        " ON CONFLICT (subject, meter) DO UPDATE"
        " SET used = CASE WHEN u.window_end > now() THEN u.used ELSE 0 END + 1,"
        " window_end = CASE WHEN u.window_end > now() THEN u.window_end ELSE excluded.window_end END"
        f" WHERE u.window_end <= now() OR u.used < {limit}"
        " RETURNING used"
    )


@asynccontextmanager
async def asyncpg_upsert(name: str, dsn: str, table: str, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """The upsert through asyncpg's pool, which prepares it."""
    statement = upsert(table, "$1", "$2")
    async with asyncpg.create_pool(dsn, min_size=POOL, max_size=POOL) as pool:

        async def call(subject: str) -> bool:
            return await pool.fetchval(statement, subject, limit) is not None

        async def counted() -> int:
            return int(await pool.fetchval(f"SELECT sum(used) FROM {table}"))

        yield Gate(name, call, counted)


@asynccontextmanager
async def sqlalchemy_upsert(name: str, dsn: str, table: str, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """The upsert through SQLAlchemy's engine, in a transaction as `begin()` opens it."""
    statement = sa.text(upsert(table, ":subject", ":limit"))
    engine = create_async_engine(sqlalchemy_address(dsn), pool_size=POOL, max_overflow=0)

    async def call(subject: str) -> bool:
        async with engine.begin() as connection:
            found = await connection.execute(statement, {"subject": subject, "limit": limit})
            return found.scalar() is not None

    async def counted() -> int:
        async with engine.begin() as connection:
            return int((await connection.execute(sa.text(f"SELECT sum(used) FROM {table}"))).scalar_one())

    try:
        yield Gate(name, call, counted)
    finally:
        await engine.dispose()


def events_table(name: str, subjects: int, events: int) -> str:
    """SQL that makes the table of the standard way, a row for each use, with its index and so many uses."""
    return f"""
        CREATE TABLE {name} (
            id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
            subject text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        );
        INSERT INTO {name} (subject) SELECT 'user-' || (n % {subjects} + 1)
          FROM generate_series(1, {events}) AS n;
        CREATE INDEX ON {name} (subject, created_at)"""


COUNT = "SELECT count(*) FROM {table} WHERE subject = :subject AND created_at > now() - interval '30 days'"
INSERT = "INSERT INTO {table} (subject) VALUES (:subject)"


@asynccontextmanager
async def naive_count(name: str, dsn: str, table: str, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """The standard way: count the uses of the period, and insert another one if there is room."""
    count, insert = sa.text(COUNT.format(table=table)), sa.text(INSERT.format(table=table))
    engine = create_async_engine(sqlalchemy_address(dsn), pool_size=POOL, max_overflow=0)
    sessions = async_sessionmaker(engine, class_=AsyncSession)

    async def call(subject: str) -> bool:
        async with sessions() as session:
            if (await session.execute(count, {"subject": subject})).scalar_one() >= limit:
                return False
            await session.execute(insert, {"subject": subject})
            await session.commit()
            return True

    async def counted() -> int:
        async with sessions() as session:
            return int((await session.execute(sa.text(f"SELECT count(*) FROM {table}"))).scalar_one())

    gate = Gate(name, call, counted)
    gate.before = await counted()
    try:
        yield gate
    finally:
        await engine.dispose()


@asynccontextmanager
async def aiosqlite_upsert(name: str, path: Path, limit: int = LIMIT) -> AsyncGenerator[Gate]:
    """The upsert through aiosqlite, as durable as ours; one hop to its thread, which commits by itself."""
    statement = (
        "INSERT INTO usage AS u (subject, window_end, used) VALUES (?, unixepoch() + 2592000, 1)"
        " ON CONFLICT (subject) DO UPDATE"
        " SET used = CASE WHEN u.window_end > unixepoch() THEN u.used ELSE 0 END + 1,"
        " window_end = CASE WHEN u.window_end > unixepoch() THEN u.window_end ELSE excluded.window_end END"
        " WHERE u.window_end <= unixepoch() OR u.used < ?"
        " RETURNING used"
    )
    async with aiosqlite.connect(path, isolation_level=None) as db:
        await db.execute("PRAGMA journal_mode = WAL")
        await db.execute("PRAGMA synchronous = FULL")
        await db.execute(
            "CREATE TABLE usage"
            " (subject text PRIMARY KEY, window_end integer NOT NULL, used integer NOT NULL)"
        )

        async def call(subject: str) -> bool:
            return bool(await db.execute_fetchall(statement, (subject, limit)))

        async def counted() -> int:
            rows = list(await db.execute_fetchall("SELECT coalesce(sum(used), 0) FROM usage"))
            return int(rows[0][0])

        yield Gate(name, call, counted)


def sqlalchemy_address(dsn: str) -> str:
    """An address of asyncpg's as SQLAlchemy wants it."""
    return dsn.replace("postgresql://", "postgresql+asyncpg://", 1)

"""PostgresStorage keeps the contract of a storage, and what it promises about connections."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import datetime

import anyio
import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from skene.adapters.postgres import PostgresStorage
from skene.adapters.postgres.dsn import asyncpg_dsn
from skene.adapters.sql.migrate import KNOWN
from skene.adapters.sql.tables import customers
from skene.errors import ConfigurationError, SchemaOutdated, StorageUnavailable
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory
from skene.testing.conformance.base import apply, call, charge, draft, refuse_once, used, wall
from tests.support.postgres import PostgresAddress
from tests.support.sql_stores import PATIENT

pytestmark = pytest.mark.anyio


class TestPostgresStorage(StorageConformance):
    @pytest.fixture
    async def storage(self, postgres: str, clock: ManualClock) -> AsyncIterator[PostgresStorage]:
        storage = PostgresStorage(postgres, clock=clock, timeout=PATIENT)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def storage_factory(self, postgres: str) -> AsyncIterator[StorageFactory]:
        async with AsyncExitStack() as stack:

            async def open_one() -> PostgresStorage:
                storage = PostgresStorage(postgres, timeout=PATIENT)
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("postgres://u:p%40@h:5/d", "postgresql://u:p%40@h:5/d"),
        ("postgresql://h/d?sslmode=require", "postgresql://h/d?sslmode=require"),
        ("postgresql+asyncpg://h/d?ssl=require", "postgresql://h/d?sslmode=require"),
        ("postgresql+psycopg2://h/d", "postgresql://h/d"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=%2Frun%2Fpostgresql"),
        (
            "postgresql://a:1,b:2/d?target_session_attrs=primary",
            "postgresql://a:1,b:2/d?target_session_attrs=primary",
        ),
        ("postgresql://h/d?channel_binding=require&sslmode=require", "postgresql://h/d?sslmode=require"),
    ],
)
def test_addresses(written: str, read: str) -> None:
    assert asyncpg_dsn(written) == read


@pytest.mark.parametrize("address", ["mysql://u:secret@h/d", "secret", "", "sqlite:///secret.db"])
def test_an_address_of_something_else_is_refused_and_not_repeated(address: str) -> None:
    """Decision 31."""
    with pytest.raises(ConfigurationError, match="postgresql://user@host/database") as caught:
        PostgresStorage(address)
    assert "secret" not in str(caught.value)


def test_another_driver_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = create_async_engine("postgresql+asyncpg://h/d")
    monkeypatch.setattr(engine.dialect, "driver", "psycopg")
    with pytest.raises(ConfigurationError, match=r"postgresql\+psycopg"):
        PostgresStorage(engine)


def test_its_repr_tells_no_secret() -> None:
    assert "hunter2" not in repr(PostgresStorage("postgresql://u:hunter2@h/d", schema="loops"))


async def test_trio_is_refused_with_a_hint() -> None:
    async def start() -> None:
        with pytest.raises(ConfigurationError, match="SqliteStorage"):
            await PostgresStorage("postgresql://h/d").start()

    await anyio.to_thread.run_sync(lambda: anyio.run(start, backend="trio"))


async def test_missing_tables_are_named(postgres_dsn: str) -> None:
    storage = PostgresStorage(postgres_dsn)
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await storage.start()
    assert await storage.migrate() == list(KNOWN)
    await storage.start()
    await storage.start()
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("DROP FUNCTION skene_consume_v4; DROP TABLE skene_walls")
    await connection.close()
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await storage.consume(call())
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await storage.get_wall("w1")
    await storage.aclose()


async def test_a_server_that_is_not_there() -> None:
    """Decision 28."""
    storage = PostgresStorage("postgresql://postgres@/d?host=/nonexistent")
    with anyio.fail_after(2):
        with pytest.raises(StorageUnavailable):
            await storage.start()
        with pytest.raises(StorageUnavailable):
            await storage.consume(call())  # a storage starts by itself, or tries to
    await storage.aclose()


async def test_the_users_engine_is_used_and_left_open(postgres: str) -> None:
    """In whatever mode it is: skene's transactions are its own."""
    url = postgres.replace("postgresql://", "postgresql+asyncpg://")
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT", pool_size=1, max_overflow=0)
    clock = ManualClock()
    storage = PostgresStorage(engine, clock=clock)
    await refuse_once(storage, clock)
    await storage.aclose()
    bad = draft("two")
    async with engine.connect() as connection:
        assert await connection.scalar(sa.text("SELECT count(*) FROM skene_walls")) == 1
        await connection.execute(sa.text("ALTER TABLE skene_outbox RENAME TO gone"))
    try:
        with pytest.raises(SchemaOutdated):
            await storage.open_wall(wall(clock, "w2", subject="bob"), (bad,))
        assert await storage.get_wall("w2") is None  # all of it, or nothing
    finally:
        async with engine.connect() as connection:
            await connection.execute(sa.text("ALTER TABLE gone RENAME TO skene_outbox"))
    await storage.aclose()  # it was started again
    await engine.dispose()


@pytest.mark.parametrize("schema", ["loops", 'We "quote" it'])
async def test_a_schema_of_its_own(postgres_dsn: str, schema: str) -> None:
    """For a role that owns this schema and nothing else (F39)."""
    quoted = '"' + schema.replace('"', '""') + '"'
    owner = await asyncpg.connect(postgres_dsn)
    await owner.execute(f"""
        CREATE ROLE tenant LOGIN; REVOKE ALL ON SCHEMA public FROM public;
        CREATE SCHEMA {quoted} AUTHORIZATION tenant
    """)
    storage = PostgresStorage(postgres_dsn.replace("postgres@", "tenant@"), schema=schema, migrate=True)
    try:
        await storage.start()
        assert not (await storage.consume(call(charge(0)))).admitted
        receipt = (await storage.consume(call())).tallies[0].receipt
        assert receipt is not None
        await storage.refund("ada", (receipt,))
        await refuse_once(storage, ManualClock())
        await apply(storage)
        assert await storage.forget("ada") > 0
        tables = "SELECT count(*) FROM pg_tables WHERE tablename LIKE 'skene%' AND schemaname <> $1"
        assert await owner.fetchval(tables, schema) == 0
    finally:
        await storage.aclose()
        await owner.execute("DROP OWNED BY tenant CASCADE; DROP ROLE tenant")
        await owner.close()


async def test_two_schemas_share_nothing(postgres_dsn: str) -> None:
    one, two = (PostgresStorage(postgres_dsn, schema=schema, migrate=True) for schema in ("one", "two"))
    await one.consume(call())
    assert await used(one) == 1
    assert await used(two) == 0
    await one.aclose()
    await two.aclose()


# The connections of an event loop that was closed over their heads cannot be closed any more.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_another_event_loop(postgres: str) -> None:
    """F42: it works after a start, and says so before."""
    storage = PostgresStorage(postgres)

    async def count() -> None:
        assert (await storage.consume(call())).admitted

    async def refused() -> None:
        with pytest.raises(ConfigurationError, match="event loop"):
            await storage.consume(call())

    async def again() -> None:
        await storage.start()
        await count()
        await storage.aclose()

    async def afresh() -> None:
        await count()
        assert await used(storage) == 3
        await storage.aclose()

    for step in (count, refused, again, afresh):
        anyio.run(step)


def test_a_forked_child_has_connections_of_its_own(postgres: str) -> None:
    """F42: what the parent has open is left alone."""
    storage = PostgresStorage(postgres)

    async def family() -> None:
        await storage.consume(call())
        child = os.fork()
        if child == 0:
            status = 1
            try:
                # The child's thread still believes that a loop is running.
                import threading

                thread = threading.Thread(target=anyio.run, args=(one_more,))
                thread.start()
                thread.join()
                status = 0
            finally:
                os._exit(status)
        assert await anyio.to_thread.run_sync(os.waitpid, child, 0) == (child, 0)
        await storage.consume(call())
        assert await used(storage) == 3
        await storage.aclose()

    async def one_more() -> None:
        await storage.consume(call())

    anyio.run(family)


async def test_finished_windows_go_to_the_history(postgres: str, postgres_server: PostgresAddress) -> None:
    clock = ManualClock()
    storage = PostgresStorage(postgres, clock=clock)
    first = await storage.consume(call())
    clock.advance("30d")
    await storage.consume(call())
    receipt = first.tallies[0].receipt
    assert receipt is not None
    connection = await asyncpg.connect(postgres)
    assert await connection.fetchval("SELECT array_agg(used) FROM skene_usage_history") == [1]
    await storage.refund("ada", (receipt,))  # past windows included
    assert await connection.fetchval("SELECT array_agg(used) FROM skene_usage_history") == [0]
    assert await used(storage) == 1
    await connection.close()
    await storage.aclose()


async def test_what_is_read_is_one_state_of_the_database(
    postgres: str, migrated_database: str, postgres_server: PostgresAddress
) -> None:
    """Whatever is committed between two statements of it; what writes sees that, since it waits for locks."""
    storage = PostgresStorage(postgres)

    def look_twice(connection: sa.Connection, now: datetime, subject: str) -> tuple[int, int]:
        counted = sa.select(sa.func.count()).select_from(customers)
        before = connection.execute(counted).scalar_one()
        postgres_server.execute(
            "INSERT INTO skene_customers (subject, paying, cycle, updated_at)"
            f" VALUES ('{subject}', false, '{{}}', now())",
            migrated_database,
        )
        return before, connection.execute(counted).scalar_one()

    assert await storage._read(look_twice, "ada") == (0, 0)
    assert await storage._report(look_twice, "bob") == (1, 1)
    assert await storage._write(look_twice, "eve") == (2, 3)
    await storage.aclose()

"""Queries that mean harm, or do it by mistake: refused or stopped in time, and the table is as it was."""

import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import asyncpg
import pytest
from sqlalchemy.ext.asyncio import create_async_engine

from skene.adapters.postgres.queries import PostgresQueries
from skene.adapters.sqlite.queries import SqliteQueries
from skene.definitions.faults import DefinitionError
from skene.definitions.sql import Select, read_select
from skene.errors import ConfigurationError, QueryError, QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.queries import Row
from skene.testing.query_conformance import Execute, unread
from tests.adapters.test_queries import executor
from tests.support.postgres import PostgresAddress, PostgresServer

SECOND = timedelta(seconds=1)
LONG = timedelta(seconds=30)
HIDDEN = """
CREATE TABLE users (id BIGINT PRIMARY KEY, key UUID, plan TEXT, at TIMESTAMPTZ, tags TEXT[], extra JSONB);
INSERT INTO users SELECT n, md5(n::text)::uuid, 'free' FROM generate_series(1, 100) AS n;
CREATE FUNCTION nap(seconds float) RETURNS text LANGUAGE sql AS 'SELECT pg_sleep(seconds)::text';
CREATE VIEW naps AS SELECT id, nap(60) AS slept FROM users;
CREATE FUNCTION wipe() RETURNS int LANGUAGE sql AS 'DELETE FROM users; SELECT 1';
CREATE FUNCTION unlimited() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('statement_timeout', '0', false), set_config('search_path', 'pg_temp', false);
    RETURN current_setting('statement_timeout');
END $$;
CREATE FUNCTION unlimited_nap() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM unlimited(), pg_sleep(60);
    RETURN 'slept';
END $$;
CREATE FUNCTION deaf() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_sleep(60);
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP;
END $$;
CREATE FUNCTION writable() RETURNS text LANGUAGE sql AS $$
    SELECT set_config('transaction_read_only', 'off', true)
$$;
CREATE FUNCTION held() RETURNS text LANGUAGE sql AS $$ SELECT pg_advisory_lock(7)::text $$;
"""


@pytest.fixture
def database(postgres_server: PostgresAddress, postgres_dsn: str) -> Execute:
    execute = executor(postgres_server, postgres_dsn)
    execute(HIDDEN)
    return execute


@pytest.fixture
async def queries(database: Execute, postgres_dsn: str) -> AsyncIterator[PostgresQueries]:
    queries = PostgresQueries(postgres_dsn, pool_size=1)
    yield queries
    await queries.aclose()


async def is_as_ever(queries: PostgresQueries) -> None:
    """The table is whole, and the next query on the pool's only connection has its time-out and settings."""
    select = read_select("SELECT count(*) AS n, current_setting('search_path') AS path FROM users")
    assert await queries.fetch(select, {}, timeout=LONG, limit=1) == [{"n": 100, "path": '"$user", public'}]
    setting = read_select("SELECT current_setting('statement_timeout') AS s")
    assert await queries.fetch(setting, {}, timeout=SECOND * 7, limit=1) == [{"s": "7s"}]
    started = anyio.current_time()
    with pytest.raises(QueryTimeout):
        await queries.fetch(read_select("SELECT nap(60)"), {}, timeout=SECOND / 5, limit=1)
    assert anyio.current_time() - started < 1.2


async def read_all(queries: PostgresQueries, select: Select, seen: list[Row] | None = None) -> None:
    async with queries.stream(select, {}, timeout=SECOND / 2, batch=10) as batches:
        async for rows in batches:
            if seen is not None:
                seen += rows


OPEN = [
    "COMMIT; DELETE FROM users",
    "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
    "SELECT set_config('statement_timeout', '0', false)",
    "SELECT pg_sleep(60)",
]
CLOSED = [
    "SELECT wipe()",
    "SELECT writable()",
    "SELECT writable(), wipe()",
    "SELECT nap(60)",
    "SELECT slept FROM naps",
    "SELECT unlimited_nap()",
    "SELECT deaf()",
]


@pytest.mark.parametrize("text", OPEN)
def test_what_is_seen_is_refused_before_any_database(text: str) -> None:
    with pytest.raises(DefinitionError):
        read_select(text)


@pytest.mark.parametrize("text", OPEN + CLOSED)
async def test_it_is_refused_or_stopped_by_the_database(queries: PostgresQueries, text: str) -> None:
    started = anyio.current_time()
    if "set_config" in text:  # harmless by itself: it is gone with the transaction
        await queries.fetch(unread(text), {}, timeout=SECOND / 2, limit=1)
    else:
        with pytest.raises(QueryError):
            await queries.fetch(unread(text), {}, timeout=SECOND / 2, limit=1)
    assert anyio.current_time() - started < 1.5
    await is_as_ever(queries)


@pytest.mark.parametrize("text", CLOSED)
async def test_a_stream_is_stopped_as_well(queries: PostgresQueries, text: str) -> None:
    started = anyio.current_time()
    with pytest.raises(QueryError):
        await read_all(queries, unread(text))
    assert anyio.current_time() - started < 1.5
    await is_as_ever(queries)


async def test_a_query_that_turns_its_time_out_off_in_a_stream_is_stopped(queries: PostgresQueries) -> None:
    select = read_select(
        "SELECT unlimited() AS s, CASE WHEN n > 10 THEN nap(60) END AS t FROM generate_series(1, 99) n"
    )
    started = anyio.current_time()
    seen: list[Row] = []
    with pytest.raises(QueryTimeout):
        await read_all(queries, select, seen)
    assert [row["s"] for row in seen] == ["0"] * 10
    assert anyio.current_time() - started < 1.5
    await is_as_ever(queries)


async def test_settings_and_locks_do_not_outlast_the_query(queries: PostgresQueries) -> None:
    for text in ("SELECT unlimited()", "SELECT held()"):
        assert await queries.fetch(unread(text), {}, timeout=SECOND, limit=1)
    here = "(SELECT oid FROM pg_database WHERE datname = current_database())"  # other tests have their own
    locks = read_select(
        f"SELECT count(*) AS n FROM pg_locks WHERE locktype = 'advisory' AND database = {here}"
    )
    assert await queries.fetch(locks, {}, timeout=SECOND, limit=1) == [{"n": 0}]
    await is_as_ever(queries)


async def test_check_sees_a_plan_that_writes(queries: PostgresQueries) -> None:
    for text in (OPEN[1], "SELECT * FROM users FOR UPDATE", "TABLE users; DROP TABLE users"):
        with pytest.raises(QueryRefused):
            await queries.check(unread(text))
    assert await queries.check(read_select("SELECT id FROM naps")) == ("id",)


async def test_a_locked_table_is_no_fault_of_the_query(queries: PostgresQueries, postgres_dsn: str) -> None:
    other = await asyncpg.connect(postgres_dsn)
    async with other.transaction():
        await other.execute("LOCK TABLE users")
        with pytest.raises((QueryTimeout, StorageUnavailable)):
            await queries.fetch(read_select("SELECT * FROM users"), {}, timeout=SECOND / 4, limit=1)
    await other.close()
    await is_as_ever(queries)


@pytest.mark.parametrize(
    ("column", "value", "fine"),
    [
        ("id", "42", True),
        ("id", 42, True),
        ("id", "ada", False),
        ("id", "9" * 30, False),
        ("key", "a1d0c6e8-3f02-7327-9846-1063f4ac58a6", True),
        ("key", "42", False),
        ("at", "2026-03-01T09:00:00+00:00", True),
        ("at", "some day", False),
        ("tags", ["a", 'b"\\', None], True),
        ("extra", {"a": [1, None]}, True),
        ("extra", "text", True),
        ("plan", "fr\0ee", False),
        ("plan", "fr\ud800ee", False),
    ],
)
async def test_a_value_has_to_fit_its_column(
    queries: PostgresQueries, column: str, value: str, fine: bool
) -> None:
    select = read_select(f"SELECT count(*) AS n FROM users WHERE {column} = $1")
    for _ in range(2):
        if fine:
            assert await queries.fetch(select, {"subject": value}, timeout=SECOND, limit=1)
            continue
        with pytest.raises(QueryRefused, match=":subject as ") as error:
            await queries.fetch(select, {"subject": value}, timeout=SECOND, limit=1)
        assert value not in str(error.value)
        assert error.value.__cause__ is None
    await is_as_ever(queries)


async def test_every_type_has_a_json_form(queries: PostgresQueries) -> None:
    select = read_select("""
        SELECT 7::numeric AS whole, 19.99::numeric AS price, 0.1234567890123456789::numeric AS fine,
               'NaN'::numeric AS no_number, 'Infinity'::float8 AS endless, 2.5::real AS half,
               '2026-03-01 10:00+02'::timestamptz AS at, '2026-03-01 10:00'::timestamp AS naive,
               '2026-03-01'::date AS day, '10:30'::time AS hour, interval '1 day 2 s' AS span,
               '00000000-0000-0000-0000-000000000001'::uuid AS id, '\\x00'::bytea AS left_out,
               '{"a": [1, "b", null]}'::jsonb AS jsonb, '"text"'::json AS json, ARRAY[1, NULL] AS list,
               ARRAY['\\x00'::bytea] AS empty, '10.0.0.1'::inet AS host, int4range(1, 5) AS span_of,
               ROW(1, now() IS NULL) AS record, true AS yes, NULL AS nothing, :given AS given
    """)
    rows = await queries.fetch(select, {"given": True}, timeout=SECOND, limit=1)
    assert rows[0].pop("span_of")
    assert rows == [
        {
            "whole": 7,
            "price": 19.99,
            "fine": "0.1234567890123456789",
            "no_number": "NaN",
            "endless": "inf",
            "half": 2.5,
            "at": "2026-03-01T08:00:00+00:00",
            "naive": "2026-03-01T10:00:00+00:00",
            "day": "2026-03-01",
            "hour": "10:30:00",
            "span": 86402.0,
            "id": "00000000-0000-0000-0000-000000000001",
            "jsonb": {"a": [1, "b", None]},
            "json": "text",
            "list": [1, None],
            "empty": [],
            "host": "10.0.0.1",
            "record": [1, False],
            "yes": True,
            "nothing": None,
            "given": "true",
        }
    ]


async def test_data_is_not_repeated_in_a_refusal(queries: PostgresQueries, database: Execute) -> None:
    database("CREATE FUNCTION tell() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RAISE 'ada@acme.test'; END $$")
    with pytest.raises(QueryRefused, match="P0001") as error:
        await queries.fetch(read_select("SELECT tell()"), {}, timeout=SECOND, limit=1)
    assert "ada" not in str(error.value)


async def test_an_engine_of_the_application_lends_its_way_to_connect(
    database: Execute, postgres_dsn: str
) -> None:
    address = "postgresql+asyncpg://" + postgres_dsn.partition("://")[2]
    engine = create_async_engine(address, pool_size=1, max_overflow=0)
    queries = PostgresQueries(engine, pool_size=1)
    async with engine.connect():  # all that its pool has
        await is_as_ever(queries)
    await queries.aclose()
    await engine.dispose()


async def test_no_statement_is_left_on_a_server_for_a_pooler_to_hand_on(queries: PostgresQueries) -> None:
    select = read_select("SELECT id FROM users WHERE id = $1")
    await queries.check(select)
    await queries.fetch(select, {"subject": "1"}, timeout=SECOND, limit=1)
    left = read_select("SELECT name FROM pg_prepared_statements")
    assert await queries.fetch(left, {}, timeout=SECOND, limit=5) == []


async def test_when_all_connections_are_taken_the_wait_is_bounded(queries: PostgresQueries) -> None:
    async with queries.stream(read_select("SELECT * FROM users"), {}, timeout=LONG, batch=5) as batches:
        await anext(batches)
        with pytest.raises(StorageUnavailable, match="pool_size"):
            await queries.fetch(read_select("SELECT 1"), {}, timeout=SECOND / 4, limit=1)
    await is_as_ever(queries)


async def test_a_server_that_was_restarted_is_found_again() -> None:
    with PostgresServer() as server:
        queries = PostgresQueries(server.dsn())
        select = read_select("SELECT 1 AS n")
        assert await queries.fetch(select, {}, timeout=SECOND, limit=1) == [{"n": 1}]
        server.crash()
        with pytest.raises(StorageUnavailable) as error:
            await queries.fetch(select, {}, timeout=SECOND, limit=1)
        assert str(server.socket_dir) not in str(error.value)
        server.start()
        assert await queries.fetch(select, {}, timeout=SECOND, limit=1) == [{"n": 1}]
        await queries.aclose()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_told_apart(postgres_dsn: str) -> None:
    with pytest.raises(ConfigurationError, match="asyncio"):
        await PostgresQueries(postgres_dsn).check(read_select("SELECT 1"))


SQLITE = [
    "ATTACH 'other.db' AS other",
    "PRAGMA query_only = OFF",
    "SELECT load_extension('x')",
    "SELECT randomblob(1000000000)",
    "SELECT * FROM pragma_table_list",
    "WITH t AS (SELECT 1) DELETE FROM users",
]


@pytest.mark.parametrize("text", SQLITE)
async def test_sqlite_refuses_more_than_reading(tmp_path: Path, text: str) -> None:
    queries = await opened(tmp_path)
    with pytest.raises(QueryRefused):
        await queries.fetch(Select(text, (text,), ()), {}, timeout=SECOND, limit=1)
    assert await queries.fetch(
        read_select("SELECT count(*) AS n FROM users"), {}, timeout=SECOND, limit=1
    ) == [{"n": 1}]
    assert not (tmp_path / "other.db").exists()


async def test_sqlite_knows_json_and_says_what_is_wrong(tmp_path: Path) -> None:
    queries = await opened(tmp_path)
    found = await queries.fetch(
        read_select("SELECT value FROM json_each('[1, 2]')"), {}, timeout=SECOND, limit=5
    )
    assert found == [{"value": 1}, {"value": 2}]
    rows = await queries.fetch(read_select("SELECT *, 9e999 AS big FROM users"), {}, timeout=SECOND, limit=5)
    assert rows == [{"id": 1, "big": "inf"}]  # and no bytes
    for value in (2**70, "\ud800"):
        with pytest.raises(QueryRefused, match="a value cannot be used"):
            await queries.fetch(read_select("SELECT :a"), {"a": value}, timeout=SECOND, limit=1)
    assert await queries.fetch(read_select("SELECT :a AS a"), {"a": [1]}, timeout=SECOND, limit=1) == [
        {"a": "[1]"}
    ]


async def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        await SqliteQueries(tmp_path / "none.db").check(read_select("SELECT 1"))
    assert not list(tmp_path.iterdir())


async def opened(folder: Path) -> SqliteQueries:
    db = sqlite3.connect(folder / "app.db")
    db.executescript("CREATE TABLE users (id INTEGER, photo BLOB); INSERT INTO users VALUES (1, x'00')")
    db.close()
    return SqliteQueries(folder / "app.db")


async def test_no_rows_are_none(queries: PostgresQueries) -> None:
    assert await queries.fetch(read_select("SELECT * FROM users"), {}, timeout=SECOND, limit=0) == []
    endless = timedelta(days=400)
    assert len(await queries.fetch(read_select("SELECT * FROM users"), {}, timeout=endless, limit=5)) == 5


def test_each_event_loop_has_connections_of_its_own(database: Execute, postgres_dsn: str) -> None:
    queries = PostgresQueries(postgres_dsn)

    async def once() -> None:
        assert await queries.fetch(read_select("SELECT 1 AS n"), {}, timeout=SECOND, limit=1) == [{"n": 1}]

    async def last() -> None:
        await once()
        await queries.aclose()

    anyio.run(last)
    anyio.run(last)

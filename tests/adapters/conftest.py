"""Databases for the tests of the SQL storages."""

import itertools
import os
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.tables import METADATA
from skene.testing.clock import ManualClock
from tests.support.postgres import PostgresAddress
from tests.support.sql_stores import Opener, Sql, open_sql

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def migrated_database(postgres_server: PostgresAddress) -> Iterator[str]:
    """The name of a database with skene's tables, one for each file of tests."""
    name = f"storage_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    dsn = postgres_server.create_database(name)
    with ThreadPoolExecutor(1) as thread:  # this one may be running an event loop already
        thread.submit(anyio.run, PostgresStorage(dsn).migrate).result()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def postgres(postgres_server: PostgresAddress, migrated_database: str) -> str:
    """The DSN of a database whose tables are there, and empty."""
    tables = ", ".join(METADATA.tables)
    postgres_server.execute(f"TRUNCATE {tables} RESTART IDENTITY", migrated_database)
    return postgres_server.dsn(migrated_database)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["postgres", "sqlite"])
async def another(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> AsyncIterator[Opener]:
    """Opens one more storage over the same data and on the same clock, in each of the two databases."""
    where = request.getfixturevalue("postgres") if request.param == "postgres" else str(tmp_path / "skene.db")
    async with AsyncExitStack() as stack:

        async def open_one() -> Sql:
            storage = await open_sql(where, clock)
            stack.push_async_callback(storage.aclose)
            return storage

        yield open_one

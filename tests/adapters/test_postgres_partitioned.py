"""PostgresStorage counts as before when its hot table is partitioned by subject, as a page shows."""

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
from skene.testing.conformance import (
    BilledConformance,
    ConcurrencyConformance,
    LimitConformance,
    MergeCountConformance,
    StorageFactory,
)
from skene.testing.conformance.base import call
from tests.docs.markdown import ROOT, Page
from tests.support.postgres import PostgresAddress
from tests.support.sql_stores import PATIENT

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def partitioned(postgres_server: PostgresAddress) -> Iterator[str]:
    """The name of a database with skene's tables, the hot one in four parts."""
    name = f"partitioned_{os.environ.get('PYTEST_XDIST_WORKER', 'main')}_{next(_numbers)}"
    dsn = postgres_server.create_database(name)
    with ThreadPoolExecutor(1) as thread:  # this one may be running an event loop already
        thread.submit(anyio.run, PostgresStorage(dsn).migrate).result()
    page = Page(Path(ROOT) / "docs" / "how-to" / "choose-a-storage.md")
    (shown,) = [fence.body for fence in page.fences() if fence.language == "sql"]
    postgres_server.execute(shown, name)
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def dsn(postgres_server: PostgresAddress, partitioned: str) -> str:
    postgres_server.execute(f"TRUNCATE {', '.join(METADATA.tables)} RESTART IDENTITY", partitioned)
    return postgres_server.dsn(partitioned)


class TestPartitioned(
    LimitConformance,
    BilledConformance,
    MergeCountConformance,
    ConcurrencyConformance,
):
    @pytest.fixture
    async def storage(self, dsn: str, clock: ManualClock) -> AsyncIterator[PostgresStorage]:
        storage = PostgresStorage(dsn, clock=clock, timeout=PATIENT)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def storage_factory(self, dsn: str) -> AsyncIterator[StorageFactory]:
        async with AsyncExitStack() as stack:

            async def open_one() -> PostgresStorage:
                storage = PostgresStorage(dsn, timeout=PATIENT)
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one


async def test_the_parts_share_the_subjects(
    dsn: str, postgres_server: PostgresAddress, partitioned: str
) -> None:
    """The control: it is the table in parts that was counted in."""
    storage = PostgresStorage(dsn, timeout=PATIENT)
    for number in range(40):
        await storage.consume(call(subject=f"subject {number}"))
    await storage.aclose()
    parts = postgres_server.execute("SELECT count(DISTINCT tableoid) FROM skene_usage", partitioned)
    assert parts.strip() == "4"
    settings = "SELECT count(*) FROM pg_class WHERE relname ~ 'skene_usage_[0-3]$' AND reloptions IS NOT NULL"
    assert postgres_server.execute(settings, partitioned).strip() == "4"

"""ValkeyStorage keeps the contract of a storage: on one server, and on a cluster of three."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path

import pytest

from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.valkey import ValkeyStorage
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory
from tests.support.sql_stores import PATIENT
from tests.support.sqlite_files import prepared
from tests.support.valkey import ValkeyCluster, ValkeyServer

_numbers = count(1)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(scope="module")
def cluster() -> Iterator[ValkeyCluster]:
    with ValkeyCluster() as cluster:
        yield cluster


@pytest.fixture
def prefix() -> str:
    """What nobody else's keys begin with."""
    return f"test{next(_numbers)}"


class TestValkeyStorage(StorageConformance):
    @pytest.fixture
    def url(self, server: ValkeyServer) -> str:
        return server.url

    @pytest.fixture
    async def storage(self, url: str, prefix: str, clock: ManualClock) -> AsyncIterator[ValkeyStorage]:
        storage = ValkeyStorage(
            url, storage=MemoryStorage(clock=clock), clock=clock, prefix=prefix, timeout=PATIENT
        )
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def storage_factory(self, url: str, prefix: str, tmp_path: Path) -> AsyncIterator[StorageFactory]:
        async with AsyncExitStack() as stack:

            async def open_one() -> ValkeyStorage:
                beside = SqliteStorage(prepared(tmp_path / "shared.db"))
                storage = ValkeyStorage(url, storage=beside, prefix=prefix, timeout=PATIENT)
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one


class TestValkeyClusterStorage(TestValkeyStorage):
    """With PostgreSQL beside it, as in most apps that need one."""

    @pytest.fixture
    def url(self, cluster: ValkeyCluster) -> str:
        return cluster.url

    @pytest.fixture
    async def storage_factory(self, url: str, prefix: str, postgres: str) -> AsyncIterator[StorageFactory]:
        async with AsyncExitStack() as stack:

            async def open_one() -> ValkeyStorage:
                beside = PostgresStorage(postgres, timeout=PATIENT)
                storage = ValkeyStorage(url, storage=beside, prefix=prefix, timeout=PATIENT)
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one

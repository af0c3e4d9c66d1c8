"""ValkeyStorage keeps the contract of a storage: on a cluster of three, and on one server."""

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
from skene.testing.conformance import ConformanceBase, StorageConformance, StorageFactory
from skene.testing.conformance.concurrency import ConcurrencyConformance
from skene.testing.conformance.counting import LimitConformance
from skene.testing.conformance.erasure import ForgetConformance
from skene.testing.conformance.grants import GrantConformance
from skene.testing.conformance.merging import MergeConcurrencyConformance
from skene.testing.conformance.pruning import PruneConformance
from skene.testing.conformance.returns import KeyConformance, RefundConformance
from skene.testing.conformance.rushes import RushConformance
from tests.support.extent import FULL
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


class OneServer(ConformanceBase):
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


class TestValkeyStorage(
    OneServer,
    LimitConformance,
    GrantConformance,
    KeyConformance,
    RefundConformance,
    ForgetConformance,
    PruneConformance,
    ConcurrencyConformance,
    RushConformance,
    MergeConcurrencyConformance,
):
    """What reads and writes keys in every way, and where calls meet; the cluster passes all of it."""


if FULL:

    class TestValkeyStorageWholly(OneServer, StorageConformance):
        pass


class TestValkeyClusterStorage(OneServer, StorageConformance):
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

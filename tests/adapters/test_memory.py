"""MemoryStorage keeps the contract of a storage, on both event loops."""

from collections.abc import AsyncIterator

import pytest

from skene.adapters.memory import MemoryStorage
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    async def storage(self, clock: ManualClock) -> AsyncIterator[MemoryStorage]:
        storage = MemoryStorage(clock=clock)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    def storage_factory(self) -> StorageFactory:
        one = MemoryStorage()  # nothing outlives it, so every storage of a test is the same

        async def factory() -> MemoryStorage:
            return one

        return factory

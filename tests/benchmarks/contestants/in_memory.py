"""Gates that live in the process's memory."""

from collections.abc import Awaitable, Callable

from limits import RateLimitItemPerDay
from limits.aio.storage import MemoryStorage as LimitsStorage
from limits.aio.strategies import FixedWindowRateLimiter

from skene.adapters.memory import MemoryStorage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = ["counted_in", "limits_gate", "storage_gate"]


def counted_in(storage: MemoryStorage) -> Callable[[str], Awaitable[int]]:
    """Tells what a storage of ours has counted on a meter."""

    async def counted(meter: str) -> int:
        return sum(units for _, where, _, units in storage.counts() if where == meter)

    return counted


def storage_gate(name: str) -> Gate:
    """`storage.consume` on a `MemoryStorage` of its own."""
    storage = MemoryStorage()
    return ours.through_storage(name, storage, counted_in(storage))


def limits_gate(name: str) -> Gate:
    """`limits`, a fixed window in memory, its asynchronous half."""
    storage = LimitsStorage()
    limiter = FixedWindowRateLimiter(storage)
    item = RateLimitItemPerDay(LIMIT, 30)

    async def call(subject: str) -> bool:
        return await limiter.hit(item, subject)

    async def counted() -> int:
        return int(sum(storage.storage.values()))

    return Gate(name, call, counted)

"""A process of its own that counts: how many of some calls, all at once, were let through."""

import sys

import anyio

from skene.adapters.sqlite import SqliteStorage
from skene.adapters.valkey import ValkeyStorage
from skene.testing.conformance.base import call, charge

__all__ = ["count"]


async def count(url: str, path: str, calls: int) -> int:
    """Make calls of one subject, with limit 100, all at once."""
    storage, admitted = ValkeyStorage(url, storage=SqliteStorage(path)), 0
    await storage.start()

    async def one() -> None:
        nonlocal admitted
        counted = await storage.consume(call(charge(100)))
        admitted += counted.admitted

    async with anyio.create_task_group() as group:
        for _ in range(calls):
            group.start_soon(one)
    await storage.aclose()
    return admitted


if __name__ == "__main__":
    sys.stdout.write(str(anyio.run(count, sys.argv[1], sys.argv[2], int(sys.argv[3]))))

"""Keeping a firing in hand for as long as it takes, however much longer that is than a lease."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

import anyio

from skene.errors import StorageUnavailable
from skene.ports.firings import Firing
from skene.runtime.beside import beside
from skene.runtime.parts import Parts

__all__ = ["HEARTBEAT", "LEASE", "kept"]

LEASE = timedelta(seconds=30)
HEARTBEAT = 10.0
"""Seconds between two renewals of the lease, while a firing is evaluated."""


@asynccontextmanager
async def kept(parts: Parts, firing: Firing) -> AsyncGenerator[None]:
    """Renew the lease in the background. If it is lost all the same, `record` will say so.

    Without it, a condition that takes longer than a lease would be asked again by the next worker, and then
    by the one after it, and nobody would ever be allowed to record the answer.
    """

    async def renew() -> None:
        held = True
        while held:
            await anyio.sleep(HEARTBEAT)
            with suppress(StorageUnavailable):
                held = await parts.storage.keep_firing(firing, LEASE)

    async with beside(renew):
        yield

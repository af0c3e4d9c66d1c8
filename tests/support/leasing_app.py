"""A process that spends leased units as fast as it can, until it is told to stop, or nobody has any left."""

import os
import random
import signal
from typing import Any

import anyio
import anyio.lowlevel

from skene import Skene, action, condition, define_loop, step
from skene.errors import StorageUnavailable
from skene.runtime.asks import Ask
from skene.runtime.leases import Leases
from skene.wiring import storage_from

__all__ = ["AT_ONCE", "LEASE", "LIMIT", "SUBJECTS", "UNKNOWN", "make"]

SUBJECTS = ("ada", "bob", "cyn")
UNKNOWN = "?"
"""In the log: nobody knows whether a call, or a block, was charged."""
LIMIT = 1200
LEASE = 40
AT_ONCE = 4
FAILS = 0.1


def make(database: str) -> Skene:
    """The app; `database` as DATABASE_URL."""
    usage = condition.usage(limit={"free": LIMIT, "paid": LIMIT}, period="30d", meter="calls", lease=LEASE)
    loop = define_loop(type="freemium", steps=[step(condition=usage, action=action.block("Enough."))])
    return Skene(loop, storage=storage_from(database), worker=False)


async def _spend_without_taking(self: Leases, lease: Any, call: Any, size: int) -> None:
    lease.left, lease.size = size, size


async def work(skene: Skene, log: int, chance: random.Random, told_to_stop: anyio.Event) -> None:
    """Call after call; what has succeeded is written down, as an answer that a client has seen."""
    (only,) = skene.program.steps
    gatekeeper = skene.gatekeeper
    refused = 0
    while refused < 20 * len(SUBJECTS) and not told_to_stop.is_set():
        subject = chance.choice(SUBJECTS)
        try:
            admission = await gatekeeper.admit(subject, (Ask(only, 1),))
        except StorageUnavailable:
            os.write(log, f"{UNKNOWN}\n".encode())
            continue
        await anyio.lowlevel.checkpoint()
        if not admission.decision.allowed:
            refused += 1
        elif chance.random() < FAILS:
            await gatekeeper.release(admission)
        else:
            os.write(log, f"{subject}\n".encode())


async def start(skene: Skene) -> None:
    """Open the storage, however busy the others keep it."""
    while True:
        try:
            return await skene.start()
        except StorageUnavailable:
            await anyio.sleep(0.1)


async def main() -> None:
    """Run until SIGTERM, or until nobody has any left; calls that have begun are finished."""
    skene = make(os.environ["LEASING_DATABASE"])
    if os.environ.get("LEASING_NAIVE"):
        Leases._take = _spend_without_taking  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage] - the control
    chance = random.Random(int(os.environ["LEASING_SEED"]))  # noqa: S311 - for a test
    log = os.open(os.environ["LEASING_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    told_to_stop = anyio.Event()
    await start(skene)
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with skene.lifespan(), anyio.create_task_group() as tasks:

            async def stop() -> None:
                async for _ in signals:
                    told_to_stop.set()

            tasks.start_soon(stop)
            os.write(1, b"ready\n")
            async with anyio.create_task_group() as workers:
                for _ in range(AT_ONCE):
                    workers.start_soon(work, skene, log, chance, told_to_stop)
            tasks.cancel_scope.cancel()


if __name__ == "__main__":
    anyio.run(main)

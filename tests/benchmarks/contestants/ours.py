"""skene, through its public names."""

import importlib
import importlib.util
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import anyio

from skene import UNLIMITED, Loop, Skene, action, condition, define_loop, step, trigger
from skene.engine.window import Anchored
from skene.ports.counters import Charge, Consume
from skene.ports.storage import Storage
from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = [
    "BARE",
    "METER",
    "fill",
    "freemium",
    "in_valkey",
    "through_skene",
    "through_storage",
    "units_by_asking",
]

METER = "calls"
"""The meter that `skene.consume` counts on."""
BARE = "bare"
"""The one that `storage.consume` is called for, beside it."""
PERIOD = timedelta(days=30)
LANES = 8

Sum = Callable[[str], Awaitable[int]]
"""Units that are counted on a meter, over all subjects."""


def freemium(limit: int = LIMIT) -> Loop:
    """The loop that everybody has in mind: so many calls a month, unlimited for those who pay."""
    return define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*", method="POST"),
                condition=condition.usage(
                    limit={"free": limit, "paid": UNLIMITED}, period="30d", meter=METER
                ),
                action=action.block("You have reached your limit."),
            )
        ],
    )


def through_storage(name: str, storage: Storage, counted: Sum, limit: int = LIMIT) -> Gate:
    """`storage.consume`, with what `skene.consume` would send."""
    charges = (Charge("freemium", BARE, 1, {"free": limit, "paid": None}, Anchored(PERIOD)),)
    consume = storage.consume

    async def call(subject: str) -> bool:
        return (await consume(Consume(subject, "free", charges))).admitted

    return Gate(name, call, lambda: counted(BARE))


def in_valkey(socket: str | Path, db: int, rest: Storage) -> Storage | None:
    """A `ValkeyStorage` that keeps the rest elsewhere; None where skene has none."""
    if importlib.util.find_spec("skene.adapters.valkey") is None:
        return None
    made: Storage = importlib.import_module("skene.adapters.valkey").ValkeyStorage(
        f"unix://{socket}?db={db}", storage=rest
    )
    return made


async def units_by_asking(storage: Storage, meter: str, subjects: Collection[str]) -> int:
    """What a storage has counted for some subjects, by asking for each of them."""
    charges = (Charge("freemium", meter, 1, {"free": LIMIT, "paid": None}, Anchored(PERIOD)),)
    left, units = iter(subjects), 0

    async def lane() -> None:
        nonlocal units
        for subject in left:
            asked = await storage.peek(Consume(subject, "free", charges))
            units += asked.tallies[0].used

    async with anyio.create_task_group() as tasks:
        for _ in range(LANES):
            tasks.start_soon(lane)
    return units


@asynccontextmanager
async def through_skene(
    name: str, storage: Storage, counted: Sum, limit: int = LIMIT
) -> AsyncGenerator[Gate]:
    """`skene.consume`, from the meter's name to the `Decision`."""
    skene = Skene(freemium(limit), storage=storage, worker=False)
    async with skene:
        consume = skene.consume

        async def call(subject: str) -> bool:
            return (await consume(subject, METER)).allowed

        yield Gate(name, call, lambda: counted(METER))


def fill(subjects: int, meter: str) -> str:
    """SQL that gives subjects a running window on the free plan with nothing used in it, in PostgreSQL."""
    return (
        "INSERT INTO skene_usage (subject, meter, plan, window_start, window_end, used)"
        f" SELECT 'user-' || n, '{meter}', 'free', now(), now() + interval '30 days', 0"
        f" FROM generate_series(1, {subjects}) AS n"
    )

"""skene, through its public names."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from skene import UNLIMITED, Loop, Skene, action, condition, define_loop, step, trigger
from skene.engine.window import Anchored
from skene.ports.counters import Charge, Consume
from skene.ports.storage import Storage
from tests.benchmarks.contestants.gate import LIMIT, Gate

__all__ = ["BARE", "METER", "fill", "freemium", "through_skene", "through_storage"]

METER = "calls"
"""The meter that `skene.consume` counts on."""
BARE = "bare"
"""The one that `storage.consume` is called for, beside it."""
PERIOD = timedelta(days=30)

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

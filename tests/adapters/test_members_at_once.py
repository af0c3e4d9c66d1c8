"""Members of a team at once: no share and no pool is overdrawn, and every member's unit is the pool's."""

from typing import Any

import anyio
import pytest

from skene import UNLIMITED, Skene, action, condition, define_loop, step
from skene.adapters.memory import MemoryStorage
from skene.engine.program import for_member
from skene.runtime.asks import Ask
from skene.testing.clock import ManualClock
from tests.support.sql_stores import open_sql

POOL, SHARE = 23, 7
CALLS = ["ada"] * 30 + ["bob", "eve", "kim"] * 10


async def opened(store: str, request: pytest.FixtureRequest, tmp_path: Any, clock: ManualClock) -> Any:
    if store == "memory":
        return MemoryStorage(clock=clock)
    where = request.getfixturevalue("postgres") if store == "postgres" else str(tmp_path / "skene.db")
    return await open_sql(where, clock)


def loop() -> Any:
    usage = condition.usage(
        limit={"free": POOL, "paid": UNLIMITED}, period="30d", meter="exports", member_limit={"free": SHARE}
    )
    return define_loop(type="freemium", steps=[step(condition=usage, action=action.block("Enough."))])


async def consume(skene: Skene, member: str, *, naive: bool) -> bool:
    if not naive:
        return (await skene.consume("acme", "exports", member=member)).allowed
    # Two calls in place of one: what the share refuses, the pool has paid for already.
    share = for_member(skene.program.steps[0], member)
    pool = await skene.consume("acme", "exports")
    admission = await skene.gatekeeper.admit("acme", (Ask(share, 1),))
    return pool.allowed and admission.decision.allowed


@pytest.mark.parametrize("naive", [False, True])
@pytest.mark.parametrize("store", ["memory", "sqlite", "postgres"])
async def test_shares_add_up_to_the_pool(
    store: str, naive: bool, request: pytest.FixtureRequest, tmp_path: Any, clock: ManualClock
) -> None:
    storage = await opened(store, request, tmp_path, clock)
    admitted: list[str] = []

    async def one(skene: Skene, member: str) -> None:
        if await consume(skene, member, naive=naive):
            admitted.append(member)

    async with Skene(loop(), storage=storage, clock=clock, worker=False) as skene:
        async with anyio.create_task_group() as group:
            for member in CALLS:
                group.start_soon(one, skene, member)
        pool, *shares = await skene.usage("acme", members=True)
    used = {share.member: share.used for share in shares}
    assert pool.used == POOL
    assert max(used.values()) == SHARE
    adds_up = sum(used.values()) == POOL and used == {one: admitted.count(one) for one in used}
    assert adds_up is not naive

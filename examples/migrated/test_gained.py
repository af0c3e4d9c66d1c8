"""What is better than before, and how the counts come along."""

import anyio
from after import import_usage
from httpx import AsyncClient
from skene_config import skene

from skene.testing import World


async def at_once(client: AsyncClient, times: int) -> list[int]:
    told: list[int] = []

    async def one() -> None:
        told.append((await client.post("/export")).status_code)

    async with anyio.create_task_group() as group:
        for _ in range(times):
            group.start_soon(one)
    return told


async def test_before_calls_at_once_passed_the_limit(old_client: AsyncClient) -> None:
    assert (await at_once(old_client, 20)).count(200) > 3


async def test_now_they_do_not(new_client: AsyncClient) -> None:
    assert (await at_once(new_client, 20)).count(200) == 3


async def test_what_was_used_comes_along_once(new_client: AsyncClient, world: World) -> None:
    for _ in range(2):
        await import_usage({"ada": 2, "bob": 1})
    assert [(await skene.check(user, "exports")).used for user in ("ada", "bob")] == [2, 1]
    assert [(await new_client.post("/export")).status_code for _ in range(2)] == [200, 402]


async def test_now_a_refusal_asks_once_and_a_payment_is_known_at_once(
    new_client: AsyncClient, world: World
) -> None:
    world.used("ada", 3)
    answer = await new_client.post("/export")
    assert answer.json()["upgrade_url"]
    await world.drain()
    assert world.sent("ada") == ["upgrade_prompt"]
    checkout = await world.follow("ada")
    assert await checkout.pay()
    assert (await new_client.post("/export")).status_code == 200

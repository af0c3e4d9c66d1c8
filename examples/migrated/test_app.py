"""What must stay as it was."""

from conftest import Pay
from httpx import AsyncClient

from skene.testing import World


async def export(client: AsyncClient, times: int = 1) -> list[int]:
    return [(await client.post("/export")).status_code for _ in range(times)]


async def test_three_exports_are_free(client: AsyncClient) -> None:
    assert await export(client, 4) == [200, 200, 200, 402]
    refused = await client.post("/export")
    assert refused.json()["detail"] == "Your free exports of this month are used up."


async def test_who_pays_goes_on(client: AsyncClient, pay: Pay) -> None:
    await export(client, 3)
    await pay("ada")
    assert await export(client, 5) == [200] * 5


async def test_what_fails_is_free(client: AsyncClient) -> None:
    for _ in range(5):
        assert (await client.post("/export?fail=true")).status_code == 500
    assert await export(client, 4) == [200, 200, 200, 402]


async def test_each_has_their_own(client: AsyncClient) -> None:
    await export(client, 3)
    assert (await client.post("/export", headers={"X-User": "bob"})).status_code == 200


async def test_a_new_month_begins_anew(client: AsyncClient, world: World) -> None:
    await export(client, 3)
    world.clock.advance("31d")
    assert await export(client) == [200]


async def test_whoever_is_nobody_is_not_let_in(client: AsyncClient) -> None:
    del client.headers["X-User"]
    assert await export(client) == [401]

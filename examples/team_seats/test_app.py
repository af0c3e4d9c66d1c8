from app import members, recount_all
from httpx import AsyncClient
from skene_config import skene

from skene.testing import World


async def join(client: AsyncClient, *people: str) -> list[int]:
    return [(await client.post(f"/members/{person}")).status_code for person in people]


async def seats() -> tuple[int, int | None]:
    (decision,) = await skene.usage("acme")
    return decision.used, decision.limit


async def test_the_fourth_member_needs_a_plan(client: AsyncClient, world: World) -> None:
    assert await join(client, "ada", "bob", "cyd", "dan") == [201, 201, 201, 402]
    assert members["acme"] == {"ada", "bob", "cyd"}
    await world.drain()
    assert world.sent("acme") == ["upgrade_prompt"]
    checkout = await world.follow("acme")
    assert await checkout.pay()
    assert await join(client, "dan") == [201]
    assert await seats() == (4, 10)  # the three from before take seats of the paid plan, too


async def test_a_seat_that_is_left_is_free(client: AsyncClient, world: World) -> None:
    await join(client, "ada", "bob", "cyd")
    world.clock.advance("365d")
    assert await join(client, "dan") == [402]  # no month gives it back
    assert (await client.delete("/members/bob")).status_code == 204
    assert (await client.delete("/members/bob")).status_code == 404  # nor does leaving twice
    assert await join(client, "dan", "eve") == [201, 402]


async def test_who_cannot_join_takes_no_seat(client: AsyncClient, world: World) -> None:
    assert await join(client, "ada", "ada") == [201, 409]
    assert await seats() == (1, 3)


async def test_a_team_that_pays_no_longer_keeps_its_people(client: AsyncClient, world: World) -> None:
    await world.stripe.subscribe("acme", "price_123")
    await join(client, "ada", "bob", "cyd", "dan", "eve")
    await world.stripe.cancel("acme")
    assert await seats() == (5, 3)
    assert await join(client, "fay") == [402]
    for person in ("ada", "bob", "cyd"):
        await client.delete(f"/members/{person}")
    assert await join(client, "fay") == [201]


async def test_a_recount_makes_it_what_the_table_says(client: AsyncClient, world: World) -> None:
    await join(client, "ada", "bob")
    members["acme"] = {"ada"}  # somebody has worked on the table by hand
    await recount_all()
    assert await seats() == (1, 3)

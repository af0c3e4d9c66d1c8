import pytest
from app import accounts, digest
from httpx import AsyncClient, Response
from skene_config import skene

from skene.testing import World


async def ask(client: AsyncClient, key: str = "key-1-of-acme", word: str = "growth") -> Response:
    return await client.get(f"/v1/words/{word}", headers={"X-API-Key": key})


async def used(account: str) -> int:
    return (await skene.usage(account))[0].used


async def test_the_keys_of_an_account_share_its_calls(client: AsyncClient, world: World) -> None:
    world.used("acme", 98, "api.month")
    told = [(await ask(client, f"key-{number}-of-acme")).status_code for number in (1, 2, 1, 2)]
    assert told == [200, 200, 402, 402]
    assert (await ask(client, "key-of-bolt")).status_code == 200
    await world.drain()
    assert world.sent("acme") == ["upgrade_prompt"]
    await world.stripe.subscribe("acme", "price_123")
    assert (await ask(client, "key-2-of-acme")).status_code == 200


async def test_a_burst_is_told_when_to_come_back(client: AsyncClient, world: World) -> None:
    told = [await ask(client) for _ in range(21)]
    assert [answer.status_code for answer in told] == [200] * 20 + [429]
    assert 0 < int(told[-1].headers["Retry-After"]) <= 61
    assert await used("acme") == 20  # what one limit refuses, the other one does not count
    world.clock.advance("2m")
    assert (await ask(client)).status_code == 200


@pytest.mark.parametrize("key", ["", "key-of-nobody"])
async def test_a_key_that_is_none_costs_nobody_anything(key: str, client: AsyncClient, world: World) -> None:
    assert (await ask(client, key)).status_code == 401
    assert await used("acme") == 0


async def test_a_new_key_goes_on_with_the_same_count(
    client: AsyncClient, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await ask(client)
    monkeypatch.delitem(accounts, digest("key-1-of-acme"))
    monkeypatch.setitem(accounts, digest("key-3-of-acme"), "acme")
    assert (await ask(client)).status_code == 401
    assert (await ask(client, "key-3-of-acme")).status_code == 200
    assert await used("acme") == 2


async def test_a_word_that_is_none_costs_nothing(client: AsyncClient, world: World) -> None:
    assert (await ask(client, word="4242")).status_code == 404
    assert await used("acme") == 0

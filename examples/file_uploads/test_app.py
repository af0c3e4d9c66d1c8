from collections.abc import AsyncIterator

import pytest
from httpx import AsyncClient
from skene_config import MEGABYTE, skene

from skene.testing import World


async def put(client: AsyncClient, size: int, name: str = "photo.png") -> int:
    return (await client.put(f"/files/{name}", content=b"x" * size)).status_code


async def used() -> int:
    return (await skene.check("ada", "megabytes")).used


@pytest.mark.parametrize(
    ("size", "cost"), [(0, 1), (1, 1), (MEGABYTE, 1), (MEGABYTE + 1, 2), (3 * MEGABYTE, 3)]
)
async def test_every_megabyte_that_is_begun_costs_one(
    size: int, cost: int, client: AsyncClient, world: World
) -> None:
    assert await put(client, size) == 201
    assert await used() == cost


async def test_what_does_not_fit_is_refused_whole(client: AsyncClient, world: World) -> None:
    assert await put(client, 7 * MEGABYTE) == 201
    refused = await client.put("/files/b.png", content=b"x" * 4 * MEGABYTE)
    assert (refused.status_code, refused.json()["remaining"]) == (402, 3)
    assert await put(client, 3 * MEGABYTE) == 201  # a smaller one still fits
    await world.drain()
    assert sorted(world.sent("ada")) == ["upgrade_prompt", "usage_warning"]


async def test_an_upload_that_fails_is_given_back(client: AsyncClient, world: World) -> None:
    assert await put(client, 5 * MEGABYTE, "virus.exe") == 415
    assert await used() == 0


async def test_a_file_of_unknown_length_is_not_taken(client: AsyncClient, world: World) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 50 * MEGABYTE

    answer = await client.put("/files/film.mp4", content=pieces())  # chunked: no Content-Length
    assert answer.status_code == 411
    assert await used() == 0


async def test_the_next_month_begins_anew(client: AsyncClient, world: World) -> None:
    world.used("ada", 10)
    assert await put(client, 1) == 402
    world.clock.advance("31d")
    assert await put(client, 1) == 201

"""The test kit with an app in front: with its lifespan run before a world, inside it, or never."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import FastAPI, Header
from httpx import ASGITransport, AsyncClient

from skene.adapters.memory import MemoryStorage
from skene.fastapi import Gate
from skene.testing import world
from skene.wiring import Skene
from tests.testing.apps import app as skene_of_an_app


class Starting(MemoryStorage):
    """Counts how often it is started."""

    starts = 0

    async def start(self) -> None:
        self.starts += 1


def served(skene: Skene) -> FastAPI:
    async def current_user(x_user: Annotated[str, Header()] = "ada") -> str:
        return x_user

    served = FastAPI(lifespan=skene.lifespan)
    Gate(skene, current_user).install(served)

    @served.post("/api/x")
    async def x() -> None:
        return None

    return served


@asynccontextmanager
async def client_of(served: FastAPI) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(transport=ASGITransport(served), base_url="http://app") as client:
        yield client


async def test_an_app_whose_lifespan_never_runs_starts_what_is_in_place() -> None:
    own = Starting()
    skene = skene_of_an_app(storage=own)
    async with client_of(served(skene)) as client:
        for _ in range(2):
            async with world(skene) as inside:
                inside.used("ada", 2)
                assert [(await client.post("/api/x")).status_code for _ in range(2)] == [200, 402]
        assert own.starts == 0
        assert (await client.post("/api/x")).status_code == 200
        assert own.starts == 1
        other = Starting()
        with skene.override(storage=other):
            assert (await client.post("/api/x")).status_code == 200
        assert other.starts == 1


async def test_an_app_that_was_started_before_the_world() -> None:
    own = Starting()
    skene = skene_of_an_app(storage=own)
    app = served(skene)
    async with client_of(app) as client:
        async with app.router.lifespan_context(app):
            async with world(skene) as inside:
                inside.used("ada", 3)
                assert (await client.post("/api/x")).status_code == 402
                await inside.drain()
                link = inside.mails("ada")[0].upgrade_link
                assert link is not None
                assert (await client.get(link)).status_code == 303
            assert (await client.post("/api/x")).status_code == 200
        # Shut down, and asked again all the same.
        assert (await client.post("/api/x")).status_code == 200
        assert own.starts == 3


async def test_an_app_that_is_started_inside_the_world() -> None:
    own = Starting()
    skene = skene_of_an_app(storage=own)
    app = served(skene)
    for _ in range(2):
        async with world(skene) as inside, app.router.lifespan_context(app), client_of(app) as client:
            inside.used("ada", 3)
            assert (await client.post("/api/x")).status_code == 402
            await inside.stripe.subscribe("ada", "price_123")
            assert (await client.post("/api/x")).status_code == 200
    assert own.starts == 0

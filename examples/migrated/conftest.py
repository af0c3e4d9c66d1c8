"""Every test of test_app.py runs against both apps: what users see has not changed."""

from collections.abc import AsyncIterator, Awaitable, Callable

import after
import before
import pytest
import store
from httpx import ASGITransport, AsyncClient

from skene.testing import World

Pay = Callable[[str], Awaitable[None]]


@pytest.fixture(autouse=True)
def empty(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    store.usage.clear()
    store.paying.clear()
    monkeypatch.setattr(store, "month", lambda: f"{world.clock.now():%Y-%m}")


def of(name: str) -> AsyncClient:
    app = before.app if name == "before" else after.app
    transport = ASGITransport(app)
    return AsyncClient(transport=transport, base_url="http://app", headers={"X-User": "ada"})


@pytest.fixture(params=["before", "after"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[AsyncClient]:
    async with of(request.param) as client:
        yield client


@pytest.fixture
async def old_client() -> AsyncIterator[AsyncClient]:
    async with of("before") as client:
        yield client


@pytest.fixture
async def new_client() -> AsyncIterator[AsyncClient]:
    async with of("after") as client:
        yield client


@pytest.fixture
def pay(world: World) -> Pay:
    async def begin(user: str) -> None:
        store.paying.add(user)
        await world.stripe.subscribe(user, "price_123")

    return begin

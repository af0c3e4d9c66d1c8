"""An app with a gate: its lifespan, routes added late, its OpenAPI document."""

from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import pytest
from fastapi import APIRouter, FastAPI
from starlette.testclient import TestClient

from skene import ConfigurationError, StorageUnavailable
from tests.fastapi.conftest import freemium

PATH = "/api/features/x"


def build_plain(h):
    @h.app.post(PATH)
    async def x() -> None:
        h.calls.append("ran")


def build_mounted(h):
    sub = FastAPI()

    @sub.post("/features/x")
    async def x() -> None:
        h.calls.append("ran")

    h.app.mount("/api", sub)


async def test_routes_added_late_are_gated_too(house):
    h = house(freemium(1, optional=True))
    router = APIRouter(prefix="/api/features")

    @router.post("/first")
    async def first() -> None: ...

    h.app.include_router(router)
    async with h.running() as client:
        assert (await client.post("/api/features/first")).status_code == 200

        @router.post("/unrelated")
        async def unrelated() -> None: ...

        assert (await client.post("/api/features/first")).status_code == 402, (
            "its router changed: still gated"
        )
        build_plain(h)
        assert (await client.post(PATH)).status_code == 402


async def test_the_app_s_own_lifespan_is_joined(house):
    h = house(install=False)
    events: list[str] = []

    @asynccontextmanager
    async def own(app):
        events.append("up")
        yield {"own": 1}
        events.append("down")

    h.app = FastAPI(lifespan=own)
    h.gate.install(h.app)
    build_plain(h)
    async with h.app.router.lifespan_context(h.app) as state:
        assert state == {"own": 1}
        assert h.skene._running == 1
    assert events == ["up", "down"]
    assert h.skene._running == 0


async def test_without_a_lifespan_the_first_request_starts_it_and_says_what_is_missing(house, caplog):
    h = house(freemium(1))
    build_plain(h)
    async with h.client() as client:
        assert [(await client.post(PATH)).status_code for _ in range(2)] == [200, 402]
    (said,) = [record.getMessage() for record in caplog.records]
    assert "without its lifespan" in said


async def test_a_router_that_is_included_twice_is_charged_where_it_is_covered_alone(house):
    h = house(freemium(9, name="a", pattern="/a/*"), freemium(9, name="b", pattern="/b/*"))
    router = APIRouter()

    @router.post("/x")
    async def x() -> None: ...

    for prefix in ("/a", "/b", "/c"):
        h.app.include_router(router, prefix=prefix)
    async with h.running() as client:
        for used in (1, 2):
            for prefix in ("/a", "/b", "/c"):
                assert (await client.post(f"{prefix}/x")).status_code == 200
            assert [decision.used for decision in await h.skene.usage("ada")] == [used, used]

            @router.post(f"/late{used}")
            async def late() -> None: ...


def test_installing_twice_or_too_late_is_refused(house):
    h = house()
    with pytest.raises(ConfigurationError, match="once"):
        h.gate.install(h.app)


def test_the_same_app_can_be_started_again(house):
    h = house(freemium(1))
    build_plain(h)
    for _ in range(2):
        with TestClient(h.app, headers={"x-user": "ada"}) as client:
            client.post(PATH)
    with TestClient(h.app, headers={"x-user": "ada"}) as client:
        assert client.post(PATH).status_code == 402


async def test_openapi_shows_the_refusals_of_gated_routes_alone(house):
    h = house(freemium(1))
    build_plain(h)
    build_mounted(h)

    @h.app.post("/free")
    async def free() -> None: ...

    schema = h.app.openapi()
    assert h.app.openapi() == schema
    gated = schema["paths"][PATH]["post"]["responses"]
    reference = gated["402"]["content"]["application/problem+json"]["schema"]["$ref"]
    assert reference.rsplit("/", 1)[1] in schema["components"]["schemas"]
    assert "402" not in schema["paths"]["/free"]["post"]["responses"]
    assert not [path for path in schema["paths"] if path.startswith("/skene")]


def add_to_router(h, router, sub):
    @router.post("/late")
    async def late() -> None:
        h.calls.append("late")

    return "/api/features/router/late"


def add_to_mount(h, router, sub):
    @sub.post("/late")
    async def late() -> None:
        h.calls.append("late")

    return "/api/features/sub/late"


def put_in_place_of_another(h, router, sub):
    routes = h.app.router.routes
    del routes[next(i for i, route in enumerate(routes) if getattr(route, "path", "") == PATH)]
    build_plain(h)
    return PATH


@pytest.mark.parametrize("late", [add_to_router, add_to_mount, put_in_place_of_another])
async def test_a_route_that_comes_late_anywhere_in_the_app_is_gated(house, late):
    h = house(freemium(1))
    build_plain(h)
    router, sub = APIRouter(), FastAPI()

    @router.post("/early")
    async def early() -> None: ...

    h.app.include_router(router, prefix="/api/features/router")
    h.app.mount("/api/features/sub", sub)
    async with h.running() as client:
        assert (await client.post(PATH)).status_code == 200
        path = late(h, router, sub)
        assert (await client.post(path)).status_code == 402
    assert h.calls == ["ran"]


async def test_without_a_lifespan_a_storage_that_is_away_is_a_503_on_gated_routes_alone(house):
    h = house()
    build_plain(h)

    @h.app.get("/health")
    async def health() -> str:
        return "well"

    async def away(*_: object) -> None:
        raise StorageUnavailable("away")

    h.storage.start = h.storage.consume = away
    async with h.client() as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.post(PATH)).status_code == 503
    assert h.calls == []


async def test_a_back_end_that_hangs_when_closed_does_not_hold_up_the_end(house, monkeypatch):
    h = house()
    build_plain(h)
    monkeypatch.setattr("skene.runtime.skene.SHUTDOWN", timedelta(milliseconds=50))
    closed: list[str] = []

    async def close_storage() -> None:
        closed.append("storage")

    h.storage.aclose = close_storage
    h.mail.aclose = anyio.sleep_forever
    begun = anyio.current_time()
    async with h.running():
        pass
    assert anyio.current_time() - begun < 5
    assert closed == ["storage"]

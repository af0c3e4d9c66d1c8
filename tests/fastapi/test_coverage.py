"""Which routes are gated, and that nothing gets round the gate: decisions 10 to 12."""

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import APIRoute
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Mount

from tests.fastapi.conftest import freemium

PATH = "/api/features/x"


def build_plain(h):
    @h.app.post(PATH)
    async def x() -> None:
        h.calls.append("ran")


def build_parameter(h):
    @h.app.post("/api/features/{name}")
    async def x(name: str) -> None:
        h.calls.append("ran")


def build_rest(h):
    @h.app.post("/api/features/{rest:path}")
    async def x(rest: str) -> None:
        h.calls.append("ran")


def build_prefix(h):
    router = APIRouter(prefix="/features")

    @router.post("/x")
    async def x() -> None:
        h.calls.append("ran")

    h.app.include_router(router, prefix="/api")


def build_nested(h):
    inner, outer = APIRouter(), APIRouter(prefix="/features")

    @inner.post("/x")
    async def x() -> None:
        h.calls.append("ran")

    outer.include_router(inner)
    h.app.include_router(outer, prefix="/api")


def build_mounted(h):
    sub = FastAPI()

    @sub.post("/features/x")
    async def x() -> None:
        h.calls.append("ran")

    h.app.mount("/api", sub)


def build_mounted_router(h):
    sub, router = FastAPI(), APIRouter(prefix="/features")

    @router.post("/x")
    def x() -> None:
        h.calls.append("ran")

    sub.include_router(router)
    h.app.mount("/api", sub)


BUILDS = [
    build_plain,
    build_parameter,
    build_rest,
    build_prefix,
    build_nested,
    build_mounted,
    build_mounted_router,
]
SPELLINGS = [
    PATH,
    "/api/features/%78",
    "/api/%66eatures/x",
    "//api/features/x",
    "/api//features/x",
    "/api/features//x",
    "/api/features/x/",
    "/api/features%2Fx",
    "/API/features/x",
    "/api/./features/x",
    "/api/other/../features/x",
    "/api/features/x;v=1",
    "/api/features/x?y=/other",
]


@pytest.mark.parametrize("build", BUILDS)
@pytest.mark.parametrize("proxy", ["", "/prefix"])
async def test_no_spelling_of_an_address_gets_round_the_gate(house, build, proxy):
    h = house(freemium(1_000))
    build(h)
    async with h.running(root_path=proxy) as client:
        for spelling in SPELLINGS:
            for method in ("POST", "GET", "HEAD", "PUT"):
                for more in ({}, {"x-http-method-override": "GET"}):
                    # As uvicorn does: the scope's path begins with the root_path.
                    url = httpx.URL("http://app.test", raw_path=(proxy + spelling).encode())
                    await client.request(method, url, headers=more)
            assert await h.used() == len(h.calls), spelling
    assert len(h.calls) >= 2


@pytest.mark.parametrize("build", BUILDS)
async def test_gated_however_mounted(house, build):
    h = house(freemium(1))
    build(h)
    async with h.running() as client:
        assert [(await client.post(PATH)).status_code for _ in range(3)] == [200, 402, 402]
    assert h.calls == ["ran"]


async def test_one_router_included_twice_is_gated_where_the_pattern_says(house):
    h = house(freemium(1))
    router = APIRouter()

    @router.post("/x")
    async def x() -> None: ...

    h.app.include_router(router, prefix="/api/features")
    h.app.include_router(router, prefix="/open")
    async with h.running() as client:
        assert [(await client.post("/open/x")).status_code for _ in range(3)] == [200, 200, 200]
        assert [(await client.post(PATH)).status_code for _ in range(2)] == [200, 402]


@pytest.mark.parametrize("method", [None, "GET", ["get", "POST"], "POST"])
async def test_methods(house, method):
    h = house(freemium(50, method=method))

    @h.app.api_route(PATH, methods=["GET", "HEAD", "POST", "OPTIONS"])
    async def x() -> None: ...

    async with h.running() as client:
        for verb in ("GET", "HEAD", "POST", "OPTIONS"):
            before = await h.used()
            await client.request(verb, PATH)
            wanted = {"GET", "POST", "HEAD"} if method in (None, ["get", "POST"]) else {method}
            if method == "GET":
                wanted.add("HEAD")
            assert await h.used() - before == (1 if verb in wanted else 0), verb


async def test_routes_of_the_app_under_the_prefix_of_ours_are_gated(house):
    h = house(freemium(1, pattern="/*"), prefix="/api")
    build_plain(h)

    @h.app.post("/other")
    async def other() -> None: ...

    async with h.running() as client:
        assert (await client.post("/other")).status_code == 200
        assert (await client.post(PATH)).status_code == 402
        assert (await client.post("/api/webhooks/stripe")).status_code == 400, "ours are not"
    assert h.calls == []


async def test_a_dependency_refuses_in_an_app_that_is_mounted_with_middleware(house):
    h = house(freemium(1))
    sub = FastAPI()

    @sub.post("/x", dependencies=[Depends(h.gate)])
    async def x() -> None:
        h.calls.append("ran")

    h.app.router.routes.append(Mount("/api/features", sub, middleware=[Middleware(GZipMiddleware)]))
    async with h.running() as client:
        assert [(await client.post(PATH)).status_code for _ in range(2)] == [200, 402]
    assert h.calls == ["ran"]


@pytest.mark.parametrize("proxy", ["", "/prefix"])
@pytest.mark.parametrize("prefix", ["/skene", "/grow/th"])
async def test_requests_for_others_are_not_looked_up_among_the_gate_s_own_routes(
    house, monkeypatch, prefix, proxy
):
    h = house(freemium(9), prefix=prefix)
    build_plain(h)
    asked: list[str] = []
    matches = APIRoute.matches

    def asking(route, scope):
        if route.endpoint.__module__ == "skene.fastapi.routes":
            asked.append(route.path)
        return matches(route, scope)

    async with h.running(root_path=proxy) as client:
        monkeypatch.setattr(APIRoute, "matches", asking)
        assert (await client.post(proxy + PATH)).status_code == 200
        assert asked == []
        # Theirs are found all the same, behind a proxy and in an app that is mounted, and corrected to.
        assert (await client.get(f"{proxy}{prefix}/usage")).status_code == 200
        assert (await client.get(f"{proxy}{prefix}/usage/")).status_code == 307
        assert (await client.post(f"{proxy}{prefix}/usage")).status_code == 405
        assert asked
    outer = FastAPI()
    outer.mount("/inner", h.app)
    transport = httpx.ASGITransport(app=outer, root_path=proxy)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as client:
        answer = await client.get(f"{proxy}/inner{prefix}/usage", headers={"x-user": "ada"})
    assert answer.status_code == 200

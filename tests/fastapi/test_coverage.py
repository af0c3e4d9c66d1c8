"""Which routes are gated, and that nothing gets round the gate: decisions 10 to 12."""

from contextlib import asynccontextmanager
from functools import wraps
from typing import Annotated

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.testclient import TestClient, WebSocketDenialResponse

from skene import ConfigurationError, Decision
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


async def test_charged_once_however_often_attached(house):
    h = house(freemium(5))

    async def deeper(decision: Annotated[Decision, Depends(h.gate)]) -> int | None:
        return decision.remaining

    @h.app.post(PATH, dependencies=[Depends(h.gate)])
    @h.gate.enforce("freemium")
    @h.gate.enforce("freemium")
    async def x(
        decision: Annotated[Decision, Depends(h.gate)], left: Annotated[int, Depends(deeper)]
    ) -> list:
        return [decision.remaining, left]

    async with h.running() as client:
        assert (await client.post(PATH)).json() == [4, 4]
    assert await h.used() == 1


async def test_gated_by_hand_and_by_dependency(house):
    h = house(freemium(2, pattern=None))

    @h.app.post("/translate")
    @h.gate.enforce("freemium")
    async def translate(q: int) -> int:
        return q

    @h.app.get("/ask")
    def ask(decision: Annotated[Decision, Depends(h.gate)]) -> int | None:
        return decision.remaining

    assert await translate(7) == 7, "called directly, a gated function is the function"
    async with h.running() as client:
        assert (await client.post("/translate")).status_code == 422
        assert (await client.post("/translate?q=1")).json() == 1
        assert (await client.get("/ask")).json() == 0
        assert (await client.get("/ask")).status_code == 402
        assert (await client.post("/translate?q=1")).status_code == 402


async def test_a_dependency_deeper_down_gives_back_when_the_request_is_invalid(house):
    h = house(freemium(2, pattern=None))

    @h.app.post("/x", dependencies=[Depends(h.gate)])
    async def x(q: int) -> int:
        return q

    async with h.running() as client:
        for _ in range(5):
            assert (await client.post("/x")).status_code == 422
        assert await h.used() == 0
        assert [(await client.post("/x?q=1")).status_code for _ in range(3)] == [200, 200, 402]


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_decorators_of_the_app_around_the_gate_stay_in_force(house, asynchronous):
    h = house(freemium(1, pattern=None))

    def noting(function):
        if asynchronous:

            @wraps(function)
            async def around(*args, **kwargs):
                h.calls.append("noted")
                return await function(*args, **kwargs)
        else:

            @wraps(function)
            def around(*args, **kwargs):
                h.calls.append("noted")
                return function(*args, **kwargs)

        return around

    if asynchronous:

        @h.app.post("/x")
        @noting
        @h.gate.enforce("freemium")
        async def x(q: int = 1) -> int:
            return q
    else:

        @h.app.post("/x")
        @noting
        @h.gate.enforce("freemium")
        def x(q: int = 1) -> int:
            return q

    async with h.running() as client:
        assert [(await client.post("/x")).status_code for _ in range(2)] == [200, 402]
    assert h.calls == ["noted"]
    assert await h.used() == 1


async def test_one_step_of_a_loop_by_name(house):
    h = house(freemium(1, name="one", pattern=None), freemium(1, name="two", pattern=None))

    @h.app.post("/one")
    @h.gate.enforce("one")
    async def one() -> None: ...

    async with h.running() as client:
        assert [(await client.post("/one")).status_code for _ in range(2)] == [200, 402]
    assert [d.used for d in await h.skene.usage("ada")] == [1, 0]


def test_an_unknown_loop_is_refused_where_it_is_written(house):
    with pytest.raises(ConfigurationError, match="did you mean 'freemium'"):
        house().gate.enforce("fremium")


async def test_an_endpoint_gated_by_hand_in_an_app_without_install_fails_closed(house):
    h = house(freemium(1, pattern=None), install=False)

    @h.app.post("/x")
    @h.gate.enforce("freemium")
    async def x() -> None:
        h.calls.append("ran")

    async with h.client() as client:
        assert (await client.post("/x")).status_code == 500
    assert h.calls == []


def websocket_app(h):
    @h.app.websocket("/api/features/live")
    async def live(socket: WebSocket):
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()


def test_websockets_are_charged_per_connection_and_refused_with_the_same_answer(house):
    h = house(freemium(2, method=None))
    websocket_app(h)
    with TestClient(h.app, headers={"x-user": "ada"}) as client:
        for _ in range(2):
            with client.websocket_connect("/api/features/live") as socket:
                assert socket.receive_text() == "hello"
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect("/api/features/live"),
        ):
            pass
    assert denied.value.status_code == 402
    assert denied.value.json()["code"] == "usage_limit_reached"


async def test_a_server_without_denial_responses_closes_the_websocket(house):
    h = house(freemium(0, method=None))
    websocket_app(h)
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    scope = {
        "type": "websocket",
        "path": "/api/features/live",
        "headers": [(b"x-user", b"ada")],
        "query_string": b"",
        "subprotocols": [],
    }
    async with h.running():
        await h.app(scope, receive, send)
    assert [(m["type"], m.get("code")) for m in sent] == [("websocket.close", 1008)]


async def test_a_websocket_that_fails_before_it_accepts_costs_nothing(house):
    h = house(freemium(1, method=None))

    @h.app.websocket("/api/features/live")
    async def live(socket: WebSocket):
        raise RuntimeError("broken")

    with TestClient(h.app, headers={"x-user": "ada"}) as client:
        for _ in range(3):
            with pytest.raises(RuntimeError), client.websocket_connect("/api/features/live"):
                pass
    assert await h.used() == 0


# -- refused at start-up


async def start_up_error(h) -> str:
    with pytest.raises(ConfigurationError) as error:
        async with h.running():
            pass
    return str(error.value)


async def test_a_pattern_without_a_route(house):
    h = house(freemium(pattern="/api/feature/*"))
    build_plain(h)
    text = await start_up_error(h)
    assert "freemium.steps[0].trigger.endpoint: got '/api/feature/*' (POST) covers no route" in text
    assert PATH in text

    optional = house(freemium(pattern="/api/feature/*", optional=True))
    async with optional.running():
        pass


async def test_a_route_that_is_covered_in_part(house):
    h = house()

    @h.app.post("/api/{section}/{item}")
    async def x(section: str, item: str) -> None: ...

    assert "covers only some of the paths of '/api/{section}/{item}'" in await start_up_error(h)


@pytest.mark.parametrize("what", ["route", "mount", "files"])
async def test_what_cannot_carry_a_gate(house, what, tmp_path):
    async def plain(request):
        return PlainTextResponse("free lunch")

    h = house(freemium(method=None))
    if what == "route":
        h.app.router.routes.append(Route(PATH, plain))
    elif what == "mount":
        h.app.router.routes.append(Mount("/api", Starlette(routes=[Route("/features/x", plain)])))
    else:
        h.app.mount("/api/features", StaticFiles(directory=tmp_path))
    assert "which is not a FastAPI route" in await start_up_error(h)


async def test_all_start_up_faults_come_in_one_error(house):
    h = house(freemium(name="a", pattern="/one"), freemium(name="b", pattern="/two"))
    text = await start_up_error(h)
    assert "/one" in text
    assert "/two" in text


async def test_the_documentation_is_not_taken_for_an_endpoint(house):
    h = house(freemium(50, pattern="/*", method=None))
    build_plain(h)
    async with h.running() as client:
        assert (await client.get("/docs")).status_code == 200
        await client.post(PATH)
    assert await h.used() == 1


# -- life


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


async def test_without_a_lifespan_the_first_request_starts_it(house):
    h = house(freemium(1))
    build_plain(h)
    async with h.client() as client:
        assert [(await client.post(PATH)).status_code for _ in range(2)] == [200, 402]


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

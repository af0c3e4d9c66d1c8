"""Limits around Starlette routes and plain ASGI apps: the counts and answers are those of FastAPI."""

import json
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request
from httpx import ASGITransport, AsyncClient
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from skene import ConfigurationError, Skene, StorageUnavailable, action, condition, define_loop, step
from skene.adapters.memory import MemoryStorage
from skene.asgi import Metered, pages, refusal
from skene.fastapi import Gate
from skene.ports.counters import Consume, Counted
from skene.testing import World, world
from tests.testing.apps import app as app_of

LIMITS: dict[str, Any] = {"free": 3, "paid": 9}


def loop(**usage: Any) -> Any:
    counted = {"limit": LIMITS, "period": "30d", "meter": "calls"} | usage
    prompt = action.email("upgrade_prompt", provider="resend")
    block = action.block("Three calls are free.", upgrade_prompt=prompt)
    return define_loop(type="freemium", steps=[step(condition=condition.usage(**counted), action=block)])


def caller(connection: HTTPConnection) -> str | None:
    return connection.headers.get("x-user")


async def team(connection: HTTPConnection) -> str | None:
    return connection.headers.get("x-team")


async def work(request: Any) -> Response:
    body = await request.body()
    status = int(request.query_params.get("status", "200"))
    if status == 599:
        raise RuntimeError("broken")
    return JSONResponse({"read": len(body)}, status)


async def stream(request: Any) -> Response:
    async def parts() -> Any:
        yield b"a"
        yield b"b"

    return StreamingResponse(parts())


async def talk(socket: WebSocket) -> None:
    await socket.accept()
    await socket.send_text("hello")
    await socket.close()


def around(skene: Skene, **more: Any) -> list[Middleware]:
    return [Middleware(Metered, skene=skene, name="freemium", **({"subject": caller} | more))]


def starlette(skene: Skene, **more: Any) -> Starlette:
    limits = around(skene, **more)
    return Starlette(
        routes=[
            Route("/work", work, methods=["POST"], middleware=limits),
            Route("/stream", stream, middleware=limits),
            WebSocketRoute("/talk", talk, middleware=limits),
            Route("/free", lambda request: PlainTextResponse("free")),
            Mount("/skene", pages(skene, caller)),
        ],
        lifespan=skene.lifespan,
    )


def client(app: ASGIApp, user: str | None = "ada") -> AsyncClient:
    transport = ASGITransport(app, raise_app_exceptions=False)
    headers = {} if user is None else {"X-User": user}
    return AsyncClient(transport=transport, base_url="http://app", headers=headers)


async def used(there: World, subject: str = "ada") -> int:
    return (await there.skene.check(subject, "calls")).used


async def test_the_fourth_call_is_refused_as_fastapi_would() -> None:
    """Compared with a gate of FastAPI's, field by field."""
    skene = app_of(loop())
    gate, other = Gate(skene, subject=lambda request: None), FastAPI()

    def user(request: Request) -> str | None:
        return request.headers.get("x-user")

    gate = Gate(skene, subject=user)

    @other.post("/work")
    @gate.enforce("freemium")
    async def of_fastapi() -> str:
        return "done"

    gate.install(other)
    with world(skene) as there:
        async with client(starlette(skene)) as ada, client(other, "bob") as bob:
            for left in (2, 1, 0):
                mine, theirs = await ada.post("/work"), await bob.post("/work")
                assert mine.status_code == theirs.status_code == 200
                assert mine.headers["ratelimit"].startswith(f'"free";r={left};t=')
                for name in ("ratelimit", "ratelimit-policy"):
                    assert mine.headers[name] == theirs.headers[name]
            mine, theirs = await ada.post("/work"), await bob.post("/work")
            assert (mine.status_code, mine.headers["content-type"]) == (402, "application/problem+json")
            assert mine.headers.keys() == theirs.headers.keys()
            differing = {"upgrade_url"}
            told, other_told = mine.json(), theirs.json()
            assert {k: v for k, v in told.items() if k not in differing} == {
                k: v for k, v in other_told.items() if k not in differing
            }
            assert (await ada.get("/free")).text == "free"
            assert (await ada.get("/skene/usage")).json()["usage"][0]["used"] == 3
            assert (await ada.get(told["upgrade_url"])).is_redirect
        await there.drain()
        assert there.sent("ada") == ["upgrade_prompt"]


async def test_from_the_refusal_to_the_payment() -> None:
    skene = app_of(loop())
    with world(skene) as there:
        there.used("ada", 3)
        async with client(starlette(skene)) as ada:
            assert (await ada.post("/work")).status_code == 402
            await there.drain()
            checkout = await there.follow("ada")
            assert await checkout.pay()
            assert (await ada.post("/work")).status_code == 200


@pytest.mark.parametrize("status", [400, 404, 500, 599])
async def test_what_fails_costs_nothing(status: int) -> None:
    skene = app_of(loop())
    with world(skene) as there:
        async with client(starlette(skene)) as ada:
            answer = await ada.post(f"/work?status={status}")
            assert answer.status_code == (500 if status == 599 else status)
            assert (await ada.get("/work")).status_code == 405  # it never got there
        assert await used(there) == 0


async def test_the_body_is_left_to_the_app() -> None:
    skene = app_of(loop(cost=lambda request: int(request.headers["x-cost"])))
    with world(skene) as there:
        async with client(starlette(skene)) as ada:
            answer = await ada.post("/work", content=b"x" * 70_000, headers={"X-Cost": "2"})
            assert answer.json() == {"read": 70_000}
        assert await used(there) == 2


async def test_a_stream_is_charged_once_it_starts() -> None:
    skene = app_of(loop())
    with world(skene) as there:
        async with client(starlette(skene)) as ada:
            for _ in range(3):
                assert (await ada.get("/stream")).text == "ab"
            assert (await ada.get("/stream")).status_code == 402
        assert await used(there) == 3


async def test_whoever_is_nobody_is_answered_401() -> None:
    skene = app_of(loop())
    with world(skene):
        async with client(starlette(skene), user=None) as nobody:
            answer = await nobody.post("/work")
    assert (answer.status_code, answer.json()["code"]) == (401, "subject_unknown")


async def test_members_of_a_team_have_their_share() -> None:
    skene = app_of(loop(member_limit={"free": 1}))
    with world(skene):
        app = starlette(skene, subject=team, member=caller)
        headers = {"X-Team": "acme"}
        async with client(app, "ada") as ada, client(app, "bob") as bob:
            assert (await ada.post("/work", headers=headers)).status_code == 200
            refused = await ada.post("/work", headers=headers)
            assert (refused.status_code, refused.json()["code"]) == (403, "member_limit_reached")
            assert (await bob.post("/work", headers=headers)).status_code == 200


def test_websockets_are_refused_before_they_open() -> None:
    skene = app_of(loop())
    with world(skene) as there, TestClient(starlette(skene), headers={"X-User": "ada"}) as browser:
        for _ in range(3):
            with browser.websocket_connect("/talk") as socket:
                assert socket.receive_text() == "hello"
        with pytest.raises(WebSocketDenialResponse) as refused, browser.websocket_connect("/talk"):
            pytest.fail("never opened")
        assert refused.value.status_code == 402
        assert [wall.subject for wall in there.walls()] == ["ada"]


async def test_a_plain_app_can_be_metered_twice_and_pays_once() -> None:
    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"done"})

    skene = app_of(loop())
    with world(skene) as there:
        app = Metered(Metered(plain, skene, "freemium", caller), skene, "freemium", caller)
        async with client(app) as ada:
            answer = await ada.get("/")
            assert answer.headers.get_list("ratelimit") == [answer.headers["ratelimit"]]
        assert await used(there) == 1


async def test_what_is_no_request_goes_past_it() -> None:
    heard: list[str] = []

    async def plain(scope: Scope, receive: Receive, send: Send) -> None:
        heard.append(scope["type"])

    async def nothing() -> Any:
        raise AssertionError

    async def lost(message: Any) -> None:
        raise AssertionError

    await Metered(plain, app_of(loop()), "freemium", caller)({"type": "lifespan"}, nothing, lost)
    assert heard == ["lifespan"]


async def test_exactly_the_limit_under_load() -> None:
    skene = app_of(loop())
    told: list[int] = []
    with world(skene):
        async with client(starlette(skene)) as ada:

            async def one() -> None:
                told.append((await ada.post("/work")).status_code)

            async with anyio.create_task_group() as group:
                for _ in range(50):
                    group.start_soon(one)
    assert (told.count(200), told.count(402)) == (3, 47)


async def test_an_outage_is_no_limit() -> None:
    class Away(MemoryStorage):
        async def consume(self, call: Consume) -> Counted:
            raise StorageUnavailable("away")

    skene = app_of(loop())
    with world(skene), skene.override(storage=Away()):
        async with client(starlette(skene)) as ada:
            answer = await ada.post("/work")
    assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")


async def test_a_decision_of_the_apps_own_gets_the_same_answer() -> None:
    with world(app_of(loop())) as there:
        there.used("ada", 3)
        answer = refusal(await there.skene.consume("ada", "calls"))
    told = json.loads(bytes(answer.body))
    assert (answer.status_code, told["code"], told["detail"]) == (
        402,
        "usage_limit_reached",
        "Three calls are free.",
    )


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "freemiun"}, r"no loop or step is called 'freemiun'; .* did you mean 'freemium'\?"),
        ({"subject": "ada"}, "subject: got .* give a function from a connection to an id"),
        ({"member": 3}, "member: got .* give a function from a connection to an id"),
        ({"skene": None}, r"skene: got .* give the Skene\(…\) of your configuration"),
    ],
)
def test_what_cannot_work_is_refused_at_once(given: dict[str, Any], told: str) -> None:
    parts: dict[str, Any] = {"skene": app_of(loop()), "name": "freemium", "subject": caller}
    with pytest.raises(ConfigurationError, match=told):
        Metered(starlette(app_of(loop())), **parts | given)


def test_counters_for_routes_need_routes() -> None:
    skene = app_of(loop(group_by="route"))
    with pytest.raises(ConfigurationError, match="group_by: got a counter for every"):
        Metered(PlainTextResponse("x"), skene, "freemium", caller)


async def test_an_app_without_a_gate_is_refused_where_patterns_name_routes() -> None:
    """`Metered` is no gate: a pattern that nothing looks at would be free for all."""
    from skene import trigger

    usage = condition.usage(limit=LIMITS, period="30d")
    covered = step(trigger=trigger.api("/work"), condition=usage, action=action.block("No."))
    skene = app_of(define_loop(type="freemium", steps=[covered]))
    with world(skene), pytest.raises(ConfigurationError, match="no gate in front of the app"):
        async with skene.lifespan(starlette(skene)):
            pytest.fail("never started")

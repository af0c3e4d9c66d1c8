"""What is charged and what is not: decision 4, laws L2 and L6."""

from typing import Annotated

import anyio
import httpx
import pytest
from fastapi import BackgroundTasks, Depends, HTTPException, Request, Response
from fastapi.responses import JSONResponse, RedirectResponse, StreamingResponse
from pydantic import BaseModel

from skene import UNLIMITED, Decision, action, condition, define_loop, step, trigger
from tests.fastapi.conftest import freemium

TRIES = 1_000


class Text(BaseModel):
    text: str


async def test_calls_pass_to_the_limit_and_not_one_beyond(house):
    h = house(freemium(100))

    @h.app.post("/api/features/summarise")
    async def summarise() -> str:
        return "done"

    async with h.running() as client:
        answers = [(await client.post("/api/features/summarise")).status_code for _ in range(103)]
    assert answers == [200] * 100 + [402] * 3
    assert await h.used() == 100


@pytest.mark.parametrize("kind", ["raises", "http error", "answers 500", "sets status", "bad answer"])
async def test_a_handler_that_fails_costs_nothing(house, kind):
    h = house(freemium(5))

    @h.app.post("/api/features/x", response_model=int if kind == "bad answer" else None)
    async def x(response: Response):
        h.calls.append("x")
        if kind == "raises":
            raise RuntimeError("broken")
        if kind == "http error":
            raise HTTPException(418)
        if kind == "answers 500":
            return JSONResponse({}, 500)
        if kind == "sets status":
            response.status_code = 503
        return "no number"

    async with h.running() as client:
        for _ in range(TRIES):
            assert (await client.post("/api/features/x")).status_code >= 400
    assert len(h.calls) == TRIES
    assert await h.used() == 0


async def test_an_invalid_request_is_never_charged_not_even_for_a_moment(house, monkeypatch):
    h = house()
    charged = []
    consume = h.storage.consume

    async def spy(call):
        charged.append(call)
        return await consume(call)

    monkeypatch.setattr(h.storage, "consume", spy)

    @h.app.post("/api/features/{number}")
    async def x(number: int, body: Text) -> int:
        return number

    async with h.running() as client:
        for _ in range(TRIES):
            assert (await client.post("/api/features/7", json={"wrong": 1})).status_code == 422
        assert (await client.post("/api/features/seven", json={"text": ""})).status_code == 422
        assert (
            await client.post("/api/features/7", content=b"{", headers={"content-type": "application/json"})
        ).status_code == 422
    assert charged == []


async def test_what_never_reaches_the_handler_costs_nothing(house):
    h = house()

    async def members_only(x_member: str | None = None) -> None:
        raise HTTPException(403)

    @h.app.post("/api/features/closed", dependencies=[Depends(members_only)])
    async def closed() -> None: ...

    @h.app.post("/api/features/moved")
    async def moved() -> Response:
        return RedirectResponse("/elsewhere", 307)

    @h.app.post("/api/features/open")
    async def opened() -> None: ...

    async with h.running() as client:
        assert (await client.post("/api/features/closed")).status_code == 403
        assert (await client.post("/api/features/nowhere/at/all")).status_code == 404
        assert (await client.get("/api/features/open")).status_code == 405
        assert (await client.options("/api/features/open")).status_code == 405
        assert (await client.post("/api/features/open/")).status_code == 307
        assert (await client.post("/api/features/open", headers={"x-user": ""})).status_code == 401
        assert await h.used() == 0
        assert (await client.post("/api/features/moved")).status_code == 307
    assert await h.used() == 1, "a handler that redirects has done its work"


async def test_charge_attempt_keeps_what_failed_calls_took(house):
    h = house(freemium(5, charge="attempt"))

    @h.app.post("/api/features/x")
    async def x() -> None:
        raise HTTPException(500)

    async with h.running() as client:
        answers = [(await client.post("/api/features/x")).status_code for _ in range(6)]
    assert answers == [500] * 5 + [402]
    assert await h.used() == 5


async def test_a_stream_is_charged_once_it_starts_even_if_it_breaks(house):
    h = house()

    @h.app.post("/api/features/stream")
    async def stream() -> Response:
        async def parts():
            yield b"one"
            raise RuntimeError("broken off")

        return StreamingResponse(parts())

    transport = httpx.ASGITransport(app=h.app)
    headers = {"x-user": "ada"}
    async with (
        h.running(),
        httpx.AsyncClient(transport=transport, base_url="http://app.test", headers=headers) as client,
    ):
        with pytest.raises((RuntimeError, httpx.HTTPError)):
            await client.post("/api/features/stream")
    assert await h.used() == 1


@pytest.mark.parametrize("asynchronous", [True, False])
async def test_endpoints_that_yield_are_refused_before_their_answer_begins(house, asynchronous):
    h = house(freemium(2))

    if asynchronous:

        @h.app.post("/api/features/items")
        async def items(decision: Annotated[Decision, Depends(h.gate)]):
            yield {"left": decision.remaining}
    else:

        @h.app.post("/api/features/items")
        def items(decision: Annotated[Decision, Depends(h.gate)]):
            yield {"left": decision.remaining}

    async with h.running() as client:
        answers = [await client.post("/api/features/items") for _ in range(3)]
    assert [a.status_code for a in answers] == [200, 200, 402]
    assert [a.json()["left"] for a in answers[:2]] == [1, 0]
    assert await h.used() == 2


async def test_sync_endpoints_are_gated_and_their_failures_given_back(house):
    h = house(freemium(2))

    @h.app.post("/api/features/sync")
    def sync(fail: bool = False) -> int:
        if fail:
            raise HTTPException(500)
        return 1

    async with h.running() as client:
        assert (await client.post("/api/features/sync?fail=1")).status_code == 500
        answers = [(await client.post("/api/features/sync")).status_code for _ in range(3)]
    assert answers == [200, 200, 402]


async def test_costs_are_a_number_or_a_function_of_the_request(house):
    async def by_length(request: Request) -> int:
        return len(await request.body())

    h = house(
        freemium(10, name="fixed", pattern="/api/features/fixed", cost=4),
        freemium(10, name="counted", pattern="/api/features/counted", cost=by_length),
    )

    @h.app.post("/api/features/fixed")
    async def fixed() -> None: ...

    @h.app.post("/api/features/counted")
    async def counted() -> None: ...

    async with h.running() as client:
        assert [(await client.post("/api/features/fixed")).status_code for _ in range(3)] == [200, 200, 402]
        answers = [await client.post("/api/features/counted", content=b"x" * n) for n in (7, 4, 0, 3)]
    assert [a.status_code for a in answers] == [200, 402, 200, 200]
    assert await h.used(index=1) == 10


async def test_a_cost_function_that_gives_nonsense_is_an_error_and_no_charge(house):
    h = house(freemium(cost=lambda request: "many"))

    @h.app.post("/api/features/x")
    async def x() -> None: ...

    async with h.running() as client:
        assert (await client.post("/api/features/x")).status_code == 500
    assert await h.used() == 0


async def test_several_steps_all_admit_or_none_is_charged(house):
    h = house(
        freemium(5, name="wide", pattern="/api/*"),
        freemium(2, name="narrow", pattern="/api/features/*", block={"status_code": 429}),
    )

    @h.app.post("/api/features/x")
    async def x() -> None: ...

    async with h.running() as client:
        answers = [await client.post("/api/features/x") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 429, 429]
    assert answers[0].headers["ratelimit"].startswith('"free";r=1;'), "the tightest is reported"
    assert [d.used for d in await h.skene.usage("ada")] == [2, 2]


async def test_counters_by_route(house):
    h = house(freemium(1, group_by="route"))

    @h.app.post("/api/features/a")
    async def a() -> None: ...

    @h.app.post("/api/features/items/{item}")
    async def b(item: int) -> None: ...

    async with h.running() as client:
        assert (await client.post("/api/features/a")).status_code == 200
        assert (await client.post("/api/features/items/1")).status_code == 200
        assert (await client.post("/api/features/items/2")).status_code == 402, "one route, one counter"
        assert (await client.post("/api/features/a")).status_code == 402
        usage = (await client.get("/skene/usage")).json()["usage"]
        assert (await client.get("/skene/usage", headers={"x-user": "bob"})).json()["usage"] == []
    assert [(u["meter"], u["used"]) for u in usage] == [
        ("freemium:/api/features/a", 1),
        ("freemium:/api/features/items/{item}", 1),
    ]


async def test_a_cancelled_request_gives_back(house):
    h = house()
    begun = anyio.Event()

    @h.app.post("/api/features/slow")
    async def slow() -> None:
        begun.set()
        await anyio.sleep(60)

    async with h.running() as client, anyio.create_task_group() as tasks:
        tasks.start_soon(client.post, "/api/features/slow")
        await begun.wait()
        assert await h.used() == 1
        tasks.cancel_scope.cancel()
    assert await h.used() == 0


async def test_background_tasks_of_the_app_still_run(house):
    h = house()

    @h.app.post("/api/features/x")
    async def x(tasks: BackgroundTasks) -> None:
        tasks.add_task(h.calls.append, "ran")

    async with h.running() as client:
        await client.post("/api/features/x")
    assert h.calls == ["ran"]


@pytest.mark.parametrize("dearest_first", [True, False])
async def test_steps_that_share_a_counter_charge_the_highest_cost(house, dearest_first):
    steps = [
        step(
            name=name,
            trigger=trigger.api(pattern, method="POST"),
            condition=condition.usage(
                limit={"free": 20, "paid": UNLIMITED}, period="30d", meter="credits", cost=cost
            ),
            action=action.block("Limit reached."),
        )
        for name, pattern, cost in (("all", "/api/*", 1), ("video", "/api/video/*", 10))
    ]
    h = house(define_loop(type="freemium", steps=steps[::-1] if dearest_first else steps))

    @h.app.post("/api/video/x")
    async def video() -> None: ...

    @h.app.post("/api/text")
    async def text() -> None: ...

    async with h.running() as client:
        assert (await client.post("/api/text")).status_code == 200
        assert (await client.post("/api/video/x")).status_code == 200
        assert await h.used() == 11
        assert (await client.post("/api/video/x")).status_code == 402, "9 are left"
        assert (await client.post("/api/text")).status_code == 200
    assert await h.used() == 12

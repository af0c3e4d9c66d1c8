"""Requests that are charged without waiting, and what is left of them afterwards: nothing."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated, Any

import anyio.lowlevel
import pytest
from fastapi import Depends, FastAPI, Header, HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse

from skene import Decision, action
from skene.adapters.memory import MemoryStorage
from skene.fastapi import Gate
from skene.fastapi.answers import plain_fields, rate_limit_fields
from skene.fastapi.freezing import OWN
from tests.fastapi.conftest import freemium, header_user
from tests.runtime.shop import Watching, Wire

PATH = "/api/features/x"
User = Annotated[str | None, Depends(header_user)]


class LongWay(MemoryStorage):
    """Remembers every call that it is asked about and awaited for."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.calls = 0

    def _count(self, call: Any, *, charging: bool) -> Any:
        self.calls += charging
        return super()._count(call, charging=charging)


def build(h):
    @h.app.post(PATH)
    async def x() -> dict[str, bool]:
        return {"ok": True}

    @h.app.post("/api/features/sync")
    def sync() -> dict[str, bool]:
        return {"ok": True}

    @h.app.post("/api/features/fails")
    async def fails() -> JSONResponse:
        return JSONResponse({}, 503)


@pytest.mark.parametrize("path", [PATH, "/api/features/sync"])
async def test_an_ordinary_request_asks_the_storage_once_and_waits_for_nothing(house, path):
    h = house(freemium(3), storage=LongWay())
    build(h)
    async with h.running() as client:
        answers = [await client.post(path) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 402]
        assert h.storage.calls == 1, "only the refusal"
        await client.post(path, headers={"Idempotency-Key": "k"})
        assert h.storage.calls == 2, "a key needs a closer look"


WAYS: dict[str, dict[str, Any]] = {
    "at once": {},
    "short": {"wired": True},
    "long": {"observers": (Watching(),)},
}


async def answers_of(house, *, wired: bool = False, **options: Any) -> list[Any]:
    """What a client sees, and what is used, one request after the other."""
    seen: list[Any] = []
    h = house(freemium(5), **options)
    h.storage = MemoryStorage(clock=h.clock)
    build(h)

    async def post(path: str) -> None:
        answer = await client.post(path)
        fields = {name: answer.headers.get(name) for name in ("ratelimit", "ratelimit-policy")}
        seen.append((answer.status_code, fields, await h.used()))

    with h.skene.override(storage=Wire(h.storage) if wired else h.storage):
        async with h.running() as client:
            for path in (PATH, "/api/features/fails", "/api/features/sync", PATH):
                await post(path)
            # From here on more is used than the limit is, and a grant pays.
            await h.skene.grant("ada", "freemium", 1, key="gift")
            await h.skene.override("ada", "freemium", 1)
            for _ in range(2):
                await post(PATH)
    return seen


async def test_headers_and_giving_back_are_the_same_whatever_the_way(house):
    seen = [await answers_of(house, **options) for options in WAYS.values()]
    assert seen[0] == seen[1] == seen[2]
    assert [used for _, _, used in seen[0]] == [1, 1, 2, 3, 4, 4]
    assert [status for status, _, _ in seen[0]] == [200, 503, 200, 200, 200, 402]


@pytest.mark.parametrize("path", [PATH, "/api/features/sync"])
async def test_a_warning_that_a_request_makes_due_is_recorded(house, path):
    mail = action.email("usage_warning", provider="mail")
    h = house(freemium(2, block={"notify_at": (0.5,), "warning": mail}))
    build(h)
    async with h.running() as client:
        assert [(await client.post(path)).status_code for _ in range(3)] == [200, 200, 402]
    assert [draft.kind for draft, _, _ in h.storage.posted()] == ["usage_warning", "upgrade_prompt"]


@pytest.mark.parametrize("plan", ["free", 'with "quotes"', "gr\u00fcn", "100%d"])
async def test_the_fields_from_numbers_are_those_of_the_decision(house, plan):
    h = house(freemium(3))
    (step,) = h.skene.program.steps
    spend = h.skene.gatekeeper.plain.of(step).spend
    spend("ada", 1)
    h.clock.advance("1h")
    _, *numbers = spend("ada", 1)
    decision = replace(await h.skene.check("ada", step.meter), plan=plan)
    assert list(plain_fields(plan, *numbers)) == rate_limit_fields(decision) != []
    assert plain_fields(plan, None, *numbers[1:]) == ()


# -- the app's own dependencies ----------------------------------------------------------------------------


async def test_an_endpoint_that_asks_who_is_calling_shares_the_answer(house):
    asked: list[str] = []

    async def who(x_user: Annotated[str, Header()]) -> str:
        asked.append(x_user)
        if x_user == "stranger":
            raise HTTPException(401)
        return x_user

    h = house(install=False)
    h.gate = Gate(h.skene, subject=who)
    h.gate.install(h.app)

    @h.app.post(PATH)
    async def x(user: Annotated[str, Depends(who)], count: int = 0) -> str:
        return f"{user} {count}"

    @h.app.post("/api/features/own")
    async def own(connection: HTTPConnection, decision: Annotated[Decision, Depends(h.gate)]) -> str:
        return f"{connection.url.path} {decision.used}"

    async with h.running() as client:
        assert (await client.post(PATH)).json() == "ada 0"
        assert asked == ["ada"]
        assert (await client.post(PATH, headers={"x-user": "stranger"})).status_code == 401
        assert (await client.post(PATH, params={"count": "many"})).status_code == 422
        assert (await client.post("/api/features/own")).json() == "/api/features/own 2"
        h.app.dependency_overrides[who] = lambda: "bob"
        assert (await client.post(PATH)).json() == "bob 0"
    assert [await h.used("ada"), await h.used("bob")] == [2, 1]
    assert (await x(user="direct")) == "direct 0", "the function itself stays as it is"


# -- nothing is left ---------------------------------------------------------------------------------------


class Cycle:
    """A request as a server keeps it: what sends its answer knows its scope."""

    def __init__(self, path: str) -> None:
        headers = [(b"host", b"app.test"), (b"x-user", b"ada")]
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "raw_path": path.encode(),
            "headers": headers,
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "server": ("app.test", 80),
            "client": ("127.0.0.1", 1),
            "asgi": {"version": "3.0"},
        }

    async def receive(self) -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Any) -> None:
        assert message.get("status", 200) in (200, 404)


@contextmanager
def uncollected() -> Iterator[list[int]]:
    """How many objects only the garbage collector could free."""
    found: list[int] = []
    gc.collect()
    gc.disable()
    try:
        yield found
        found.append(gc.collect())
    finally:
        gc.enable()


class Awaited(MemoryStorage):
    """Charges nothing at once, as a database."""

    async def consume(self, call: Any) -> Any:
        await anyio.lowlevel.checkpoint()
        return await super().consume(call)


@pytest.mark.parametrize("storage", [MemoryStorage, Awaited])
@pytest.mark.parametrize("path", [PATH, "/api/features/sync", "/elsewhere"])
async def test_a_request_leaves_nothing_to_the_garbage_collector(house, path, storage):
    h = house(freemium(1_000), storage=storage())
    build(h)

    async def ask() -> None:
        one = Cycle(path)
        await h.app(one.scope, one.receive, one.send)

    async with h.running():
        await ask()
        with uncollected() as found:
            for _ in range(20):
                await ask()
    assert found == [0]


async def test_what_an_app_has_loaded_is_spared_garbage_collection_while_it_runs(house):
    h = house(freemium())
    build(h)
    assert gc.get_freeze_count() <= OWN
    async with h.running():
        assert gc.get_freeze_count() > 10_000
        other = FastAPI()
        async with other.router.lifespan_context(other):
            pass
    assert gc.get_freeze_count() <= OWN


async def test_it_can_be_left_to_the_app(house):
    h = house(freemium(), install=False)
    h.gate.install(h.app, freeze=False)
    build(h)
    async with h.running():
        assert gc.get_freeze_count() <= OWN
    second = house(freemium())
    build(second)
    gc.freeze()
    try:
        before = gc.get_freeze_count()
        async with second.running():
            assert gc.get_freeze_count() <= before
        assert gc.get_freeze_count() > 0, "what the app has set aside stays so"
    finally:
        gc.unfreeze()

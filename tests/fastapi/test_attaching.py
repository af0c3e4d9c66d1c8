"""Gated by pattern, by hand, by dependency: charged once, behind the app's own decorators."""

from functools import wraps
from typing import Annotated

import pytest
from fastapi import Depends

from skene import ConfigurationError, Decision
from tests.fastapi.conftest import freemium

PATH = "/api/features/x"


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


async def test_a_decorator_that_hides_the_gate_is_warned_of(house, caplog):
    h = house(freemium(1, pattern=None))

    def hiding(endpoint):
        async def call() -> None:
            await endpoint()

        return call

    @h.app.post("/hidden")
    @hiding
    @h.gate.enforce("freemium")
    async def hidden() -> None: ...

    @h.app.post("/seen")
    @h.gate.enforce("freemium")
    async def seen() -> None: ...

    async with h.running():
        pass
    (said,) = [record.getMessage() for record in caplog.records]
    assert ".hidden: no route of the app is seen to call it" in said
    assert "functools.wraps" in said

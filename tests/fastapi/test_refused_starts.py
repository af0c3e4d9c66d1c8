"""What would leave a hole is refused at start-up: decisions 10 and 11."""

import pytest
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from skene import ConfigurationError
from tests.fastapi.conftest import freemium

PATH = "/api/features/x"


def build_plain(h):
    @h.app.post(PATH)
    async def x() -> None:
        h.calls.append("ran")


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


async def test_a_plain_route_gated_by_hand(house):
    h = house(freemium(pattern=None))

    @h.gate.enforce("freemium")
    async def plain(request):
        return PlainTextResponse("free lunch")

    h.app.add_route("/plain", plain, methods=["POST"])
    text = await start_up_error(h)
    assert "@gate.enforce('freemium'): got the route '/plain', which is not a FastAPI route" in text

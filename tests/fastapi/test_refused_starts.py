"""What would leave a hole is refused at start-up: decisions 10 and 11."""

import pytest
from fastapi import APIRouter, Depends
from fastapi.staticfiles import StaticFiles
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from skene import ConfigurationError
from skene.fastapi import Gate
from tests.fastapi.conftest import freemium, header_user

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


async def test_a_gate_put_on_an_endpoint_that_is_a_route_already(house):
    h = house(freemium(pattern=None))

    @h.gate.enforce("freemium")
    @h.app.post("/translate")
    async def translate() -> None:
        h.calls.append("ran")

    text = await start_up_error(h)
    assert "@gate.enforce('freemium'): got a place above the decorator of the route '/translate'" in text
    assert "between the route's decorator and the function" in text


async def test_an_endpoint_may_have_a_route_with_the_gate_and_one_without(house):
    h = house(freemium(1, pattern=None))

    async def translate() -> None: ...

    h.app.post("/open")(translate)
    h.app.post("/gated")(h.gate.enforce("freemium")(translate))
    async with h.running() as client:
        assert [(await client.post("/gated")).status_code for _ in range(2)] == [200, 402]
        assert (await client.post("/open")).status_code == 200


async def test_a_pattern_for_another_method_names_the_method_and_none_of_our_routes(house):
    h = house(freemium(method="GET"))
    build_plain(h)
    text = await start_up_error(h)
    assert "'/api/features/*' (GET) covers no route" in text
    assert text.endswith('did you mean method="POST"?')
    assert "/skene/" not in text


def test_a_gate_is_given_a_skene_and_a_dependency(house):
    h = house()
    with pytest.raises(ConfigurationError, match=r"Gate\(skene\): got a value of type Loop; give the Skene"):
        Gate(freemium(), subject=header_user)  # type: ignore[arg-type] # what is refused
    with pytest.raises(ConfigurationError, match=r"Depends\(…\); .* did you mean subject=header_user\?"):
        Gate(h.skene, subject=Depends(header_user))
    with pytest.raises(ConfigurationError, match=r"Gate\(subject=…\): got \"ada\" \(str\); give a FastAPI"):
        Gate(h.skene, subject="ada")  # type: ignore[arg-type] # what is refused


def test_enforce_is_given_a_name_and_install_an_app(house):
    h = house(install=False)

    async def translate() -> None: ...

    with pytest.raises(ConfigurationError, match=r"give a name: @gate.enforce\('freemium'\)"):
        h.gate.enforce(translate)
    with pytest.raises(
        ConfigurationError, match=r"gate\.install: got a value of type APIRouter; give the FastAPI"
    ):
        h.gate.install(APIRouter())


async def test_a_gate_that_was_never_installed(house):
    h = house(install=False)
    build_plain(h)
    text = await start_up_error(h)
    assert "'/api/features/*', and no gate in front of the app; give gate.install(app)" in text


@pytest.mark.parametrize("loop", [freemium(pattern=None), freemium(optional=True)])
async def test_an_app_without_a_gate_where_no_pattern_wants_one(house, loop):
    h = house(loop, install=False)
    async with h.running():
        assert (await h.skene.consume("ada", "freemium")).allowed

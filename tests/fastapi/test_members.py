"""Members of teams and features, through every way that a route is gated."""

from typing import Annotated

import pytest
from fastapi import Depends, FastAPI, Header, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from skene import ConfigurationError, Decision, action, condition, define_loop, step, trigger
from skene.fastapi import Gate
from tests.fastapi.conftest import House, freemium, header_user

SUMMARISE = "/api/features/summarise"


def header_member(x_member: Annotated[str | None, Header()] = None) -> str | None:
    return x_member


@pytest.fixture
def h(house):
    made: House = house(
        freemium(5, method=None, member_limit={"free": 2}),
        freemium(1, name="by_hand", pattern=None, meter="by_hand", member_limit={"free": 1}),
        install=False,
    )
    made.gate = Gate(made.skene, subject=header_user, member=header_member)
    made.gate.install(made.app)

    @made.app.post(SUMMARISE)
    async def summarise(fail: bool = False):
        if fail:
            raise RuntimeError("boom")
        return {"ok": True}

    @made.app.post("/api/features/ask")
    async def ask(decision: Annotated[Decision, Depends(made.gate)]):
        return {"member": decision.member, "remaining": decision.remaining}

    @made.app.post("/by-hand")
    @made.gate.enforce("by_hand")
    async def by_hand():
        return {"ok": True}

    @made.app.websocket("/api/features/live")
    async def live(socket: WebSocket):
        await socket.accept()
        await socket.close()

    return made


async def test_a_member_is_refused_and_asked_for_no_money(h):
    ada, bob = {"x-member": "ada"}, {"x-member": "bob"}
    async with h.running() as client:
        first = await client.post(SUMMARISE, headers=ada)
        assert first.headers["ratelimit"].startswith('"free";r=1;')  # the tightest: the member's
        assert (await client.post(SUMMARISE, headers=ada)).status_code == 200
        refused = await client.post(SUMMARISE, headers=ada)
        told = refused.json()
        assert (refused.status_code, told["code"], told["title"]) == (
            403,
            "member_limit_reached",
            "Member limit reached",
        )
        assert (told["member"], told["limit"], told["used"], told["upgrade_url"]) == ("ada", 2, 2, None)
        assert (h.storage.walls, h.mail.sent) == ((), [])
        assert (await client.post(SUMMARISE, headers=bob)).status_code == 200
        assert "member" not in (await client.get("/skene/usage")).json()["usage"][0]
        shown = (await client.get("/skene/usage", headers=ada)).json()["usage"]
        assert [(one.get("member"), one["used"]) for one in shown[:2]] == [(None, 3), ("ada", 2)]


async def test_what_fails_costs_neither_the_team_nor_the_member(h):
    async with h.running() as client:
        answer = await client.post(SUMMARISE, params={"fail": True}, headers={"x-member": "ada"})
        assert answer.status_code == 500
        shown = await h.skene.usage("ada", member="ada")
        assert [one.used for one in shown] == [0] * 4


async def test_a_decision_and_an_endpoint_gated_by_hand_know_the_member(h):
    async with h.running() as client:
        answer = await client.post("/api/features/ask", headers={"x-member": "ada"})
        assert answer.json() == {"member": "ada", "remaining": 1}
        assert (await client.post("/by-hand", headers={"x-member": "ada"})).status_code == 200
        # Both have nothing left; the team's refusal is told, for it can be helped by paying.
        assert (await client.post("/by-hand", headers={"x-member": "ada"})).status_code == 402


async def test_nobody_gets_round_the_share_without_a_name(h):
    async with h.running() as client:
        for path in (SUMMARISE, "/skene/usage"):
            answer = await client.request(
                "POST" if path == SUMMARISE else "GET", path, headers={"x-member": ""}
            )
            assert (answer.status_code, answer.json()["code"]) == (401, "subject_unknown")
        assert await h.used("ada") == 0


def test_a_websocket_is_held_to_the_share(h):
    with TestClient(h.app, headers={"x-user": "acme", "x-member": "ada"}) as client:
        for _ in range(2):
            with client.websocket_connect("/api/features/live"):
                pass
        with (
            pytest.raises(WebSocketDenialResponse) as denied,
            client.websocket_connect("/api/features/live"),
        ):
            pass
    assert (denied.value.status_code, denied.value.json()["code"]) == (403, "member_limit_reached")


async def test_openapi_knows_the_answer(h):
    async with h.running() as client:
        document = (await client.get("/openapi.json")).json()
    assert {"402", "403"} <= set(document["paths"][SUMMARISE]["post"]["responses"])
    codes = document["components"]["schemas"]["UsageLimitProblem"]["properties"]["code"]["enum"]
    assert "member_limit_reached" in codes
    assert "x-member" in {one["name"] for one in document["paths"][SUMMARISE]["post"]["parameters"]}


def test_what_is_no_dependency_is_told(house):
    with pytest.raises(ConfigurationError, match=r"Gate\(member=…\): got Depends"):
        Gate(house(install=False).skene, subject=header_user, member=Depends(header_member))
    with pytest.raises(ConfigurationError, match=r"Gate\(member=…\)"):
        Gate(house(install=False).skene, subject=header_user, member="ada")


async def test_a_feature_stands_in_front_of_a_route(house):
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/support/*"),
                condition=condition.feature("priority_support"),
                action=action.block("Priority support is an add-on."),
            )
        ],
    )
    h: House = house(loop)
    app: FastAPI = h.app

    @app.post("/api/support/tickets")
    async def tickets():
        return {"ok": True}

    async with h.running() as client:
        refused = await client.post("/api/support/tickets")
        assert (refused.status_code, refused.json()["code"]) == (403, "feature_not_in_plan")
        assert refused.json()["detail"] == "Priority support is an add-on."
        assert refused.json()["upgrade_url"].startswith("http")
        await h.skene.override("ada", "freemium", "unlimited")
        assert (await client.post("/api/support/tickets")).status_code == 200
        document = (await client.get("/openapi.json")).json()
    responses = document["paths"]["/api/support/tickets"]["post"]["responses"]
    assert ("403" in responses, "402" in responses) == (True, False)

"""The test kit's assertions: what they let pass, and what they say when they do not."""

from textwrap import dedent
from typing import Any

import httpx
import pytest

from skene.testing import World, expect_answer, world
from tests.testing.apps import app, call
from tests.testing.test_world_http import client_of, served
from tests.testing.test_world_loops import activation, skene

# -- what has become of a subject --------------------------------------------------------------------------


async def blocked_and_mailed(inside: World) -> None:
    await call(inside.skene, times=4)
    await inside.drain()


async def test_what_is_expected_passes(inhabited: World) -> None:
    inhabited.expect(
        "ada", plan="free", mails=[], webhooks=[], pending=[], walls=[], conversions=[], events=[]
    )
    await call(inhabited.skene, times=4)
    inhabited.expect("ada", pending=["upgrade_prompt"], walls=("freemium",), mails=())
    await inhabited.drain()
    checkout = await inhabited.follow("ada")
    await checkout.pay()
    await inhabited.drain()
    inhabited.expect("ada", plan="paid", mails=["upgrade_prompt"], pending=[], conversions=["freemium"])
    inhabited.expect("ada", events=[str(event.kind) for event in inhabited.events("ada")])
    inhabited.expect("bob", plan="free", mails=[], events=[])
    inhabited.expect("bob")


async def test_webhooks_go_by_their_type() -> None:
    async with world(skene(activation)) as inside:
        inside.answer("activation.welcome", [{"name": "Plans"}])
        await inside.insert("users", {"id": "ada", "plan": "trial"})
        inside.expect("ada", webhooks=[], mails=[])
        await inside.drain()
        inside.expect("ada", webhooks=["user.started"], mails=["activation_welcome"])


async def test_a_conversion_without_a_wall_is_nobodys(inhabited: World) -> None:
    await inhabited.stripe.subscribe("ada")
    inhabited.expect("ada", conversions=[None])


async def test_what_differs_is_shown_and_nothing_else(inhabited: World) -> None:
    await blocked_and_mailed(inhabited)
    with pytest.raises(AssertionError) as told:
        inhabited.expect(
            "ada", plan="paid", mails=["usage_warning", "upgrade_prompt", "trial_over"], walls=["freemium"]
        )
    assert str(told.value) == dedent("""\
        'ada' is not as expected (- expected, + is):
          - plan: 'paid'
          + plan: 'free'
          mails:
            - 'usage_warning'
              'upgrade_prompt'
            - 'trial_over'
        the world at 2026-01-01 12:00:00 UTC:
          ada: 3 used of 3 (calls, plan free)
          ada: stopped by freemium at 3
          ada: mail 'upgrade_prompt' is sent""")


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("plan", "paid", "  - plan: 'paid'"),
        ("mails", [], "    + 'upgrade_prompt'"),
        ("mails", ["upgrade_prompt"] * 2, "    - 'upgrade_prompt'"),
        ("mails", "upgrade_prompt", "  - mails: 'upgrade_prompt'"),
        ("pending", ["upgrade_prompt"], "    - 'upgrade_prompt'"),
        ("webhooks", ["user.started"], "    - 'user.started'"),
        ("walls", [], "    + 'freemium'"),
        ("conversions", [None], "    - None"),
        ("events", ["wall.opened"], "    + 'prompt.sent'"),
    ],
)
async def test_each_of_them_can_differ(inhabited: World, name: str, value: Any, line: str) -> None:
    await blocked_and_mailed(inhabited)
    with pytest.raises(AssertionError) as told:
        inhabited.expect("ada", **{name: value})
    assert line in str(told.value).splitlines()


async def test_a_name_that_is_none_is_refused(inhabited: World) -> None:
    with pytest.raises(TypeError, match="mail"):
        inhabited.expect("ada", mail=["upgrade_prompt"])  # type: ignore[call-arg]  # the point of the test


# -- what an app has answered ------------------------------------------------------------------------------


async def test_an_answer_as_expected_gives_its_body() -> None:
    one = app()
    async with world(one) as inside, client_of(served(one)) as client:
        inside.used("ada", 2)
        answer = await client.post("/api/x")
        assert expect_answer(answer, 200, headers={"RateLimit-Policy": '"free";q=3;w=2592000'}) is None
        answer = await client.post("/api/x")
        body = expect_answer(
            answer, 402, code="usage_limit_reached", used=3, remaining=0, status=402, headers={"X-No": None}
        )
        assert body["upgrade_url"].startswith("https://app.acme.test/skene/upgrade?token=")
    assert expect_answer(httpx.Response(200, text="done"), 200) == "done"
    assert expect_answer(httpx.Response(204), 204) == ""


def test_an_answer_that_differs_is_shown_whole() -> None:
    body = {"code": "usage_limit_reached", "used": 3, "plan": "free"}
    headers = {"RateLimit": '"free";r=0;t=60', "X-Asked": "yes", "X-Other": "not shown"}
    with pytest.raises(AssertionError) as told:
        expect_answer(
            httpx.Response(402, json=body, headers=headers),
            200,
            headers={"x-asked": "no", "X-Trace": "1", "RateLimit": None},
            used=4,
            plan="free",
            limit=3,
        )
    assert str(told.value) == dedent("""\
        the answer is not as expected (- expected, + is):
          - status: 200
          + status: 402
          - header x-asked: 'no'
          + header x-asked: 'yes'
          - header X-Trace: '1'
          + header X-Trace: (absent)
          - header RateLimit: (absent)
          + header RateLimit: '"free";r=0;t=60'
          - body.used: 4
          + body.used: 3
          - body.limit: 3
          + body.limit: (absent)
        all of it:
          HTTP 402
          ratelimit: "free";r=0;t=60
          x-asked: yes
          content-type: application/json
          {
            "code": "usage_limit_reached",
            "used": 3,
            "plan": "free"
          }""")


@pytest.mark.parametrize(
    ("sent", "expected", "same"),
    [
        (1, 1, True),
        (1, True, False),
        (True, True, True),
        (None, None, True),
        (0, None, False),
        (["a", "b"], ["a", "b"], True),
        (["a", "b"], ["b", "a"], False),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
    ],
)
def test_members_are_compared_as_json_has_them(sent: Any, expected: Any, same: bool) -> None:
    answer = httpx.Response(200, json={"value": sent})
    if same:
        assert expect_answer(answer, 200, value=expected) == {"value": sent}
    else:
        with pytest.raises(AssertionError, match="value"):
            expect_answer(answer, 200, value=expected)


@pytest.mark.parametrize("body", ["", "done", "[1]", "null", '"used"', "{", "<html>"])
def test_a_body_that_is_no_object_has_no_members(body: str) -> None:
    with pytest.raises(AssertionError, match=r"- body\.used: 3\n  \+ body\.used: \(absent\)"):
        expect_answer(httpx.Response(200, text=body), 200, used=3)


def test_a_long_body_is_cut() -> None:
    with pytest.raises(AssertionError, match=r"xxx… \(5000 characters\)$") as told:
        expect_answer(httpx.Response(500, text="x" * 5000), 200)
    assert len(str(told.value)) < 2_300

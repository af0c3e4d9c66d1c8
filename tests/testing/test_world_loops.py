"""The world of loops that firings drive: what a test lets happen, and what came of it."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skene import Recovery, Skene, action, condition, define_loop, step, trigger
from skene.adapters.resend import ResendNotifier
from skene.adapters.webhook import WebhookNotifier
from skene.errors import DeliveryFailed, QueryRefused
from skene.ports.firings import Outcome
from skene.testing import world
from tests.testing.apps import app, freemium

STARTED = "SELECT name FROM projects WHERE owner = $1"
IDLE = "SELECT id, name FROM users WHERE idle"
BACKENDS = ["asyncio", "trio"]


def mail(template: str = "activation_welcome", **options: Any) -> Any:
    return action.email(template, provider="resend", **options)


activation = define_loop(
    type="activation",
    steps=[
        step(
            name="welcome",
            trigger=trigger.database("users", event="insert", where={"plan": "trial"}),
            condition=condition.query(STARTED, timeout="1h"),
            action=[mail(), action.webhook("hooks", "user.started", payload={"project": "{{row.name}}"})],
            then="2d",
        ),
        step(name="again", action=mail("re_engagement")),
    ],
    goal=trigger.event("invited"),
    recovery=Recovery(retries=1, backoff="fixed", base="1m"),
)
retention = define_loop(
    type="retention",
    steps=[
        step(
            trigger=trigger.schedule("0 9 * * *", timezone="Europe/Helsinki"),
            condition=condition.query(IDLE),
            action=mail("re_engagement"),
        )
    ],
)
churn = define_loop(
    type="retention",
    name="churn",
    steps=[
        step(
            trigger=trigger.event("plan.changed"),
            condition=condition.plan(changed_to="free"),
            action=mail("re_engagement"),
        )
    ],
)


def skene(*loops: Any) -> Skene:
    hooks = WebhookNotifier("https://hooks.acme.test/in", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    resend = ResendNotifier(api_key="re_of0the0app", sender="Acme <team@acme.test>")
    made = loops or (activation, retention, churn, freemium())
    return app(*made, notifiers={"resend": resend, "hooks": hooks})


# -- the whole story ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_from_a_row_to_the_goal(anyio_backend: str) -> None:
    async with world(skene()) as inside:
        inside.answer("activation.welcome", [])
        assert await inside.insert("users", {"id": "ada", "plan": "trial"}) == 1
        await inside.drain()
        assert inside.sent("ada") == []
        inside.answer("activation.welcome", [{"name": "Plans"}])
        inside.clock.advance("1m")
        await inside.drain()
        assert inside.sent("ada") == ["activation_welcome"]
        (body,) = inside.webhooks("ada")
        assert body["type"] == "user.started"
        assert body["data"] == {
            "subject": "ada", "loop": "activation", "project": "Plans",
            "event": {"id": "ada", "plan": "trial"}, "row": {"name": "Plans"},
        }  # fmt: skip
        inside.clock.advance("2d")
        await inside.drain()
        assert inside.sent("ada") == ["activation_welcome", "re_engagement"]
        assert await inside.emit("invited", "ada") == 0
        (way,) = inside.journeys("ada")
        assert (way.loop, way.goal_at) == ("activation", inside.clock.now())
        assert [one.outcome for one in inside.log("ada")] == [Outcome.ACTED, Outcome.ACTED]
        assert (inside.journeys("bob"), inside.log("bob"), inside.webhooks("bob")) == ([], [], [])
        assert inside.journeys() == [way]
        link = inside.mails("ada")[0].unsubscribe_link
        assert link is not None
        assert "/skene/unsubscribe?token=" in link


# -- rows --------------------------------------------------------------------------------------------------


def rows(event: str, **options: Any) -> Any:
    return define_loop(
        type="activation",
        steps=[step(trigger=trigger.database("users", event=event, **options), action=mail())],  # type: ignore[arg-type] # as told
    )


async def test_inserts_updates_and_deletes_are_told_apart() -> None:
    before = {"id": "ada", "plan": "trial", "name": "Ada"}
    for event, expected in (("insert", [1, 0, 0]), ("update", [0, 1, 0]), ("delete", [0, 0, 1])):
        async with world(skene(rows(event))) as inside:
            got = [
                await inside.insert("users", before),
                await inside.update("users", before, name="Bea"),
                await inside.delete("users", before),
            ]
            assert got == expected, event
            assert await inside.insert("others", before) == 0


@pytest.mark.parametrize(
    ("options", "changes", "fires"),
    [
        ({}, {}, True),
        ({"columns": ["plan"]}, {"plan": "paid"}, True),
        ({"columns": ["plan"]}, {"name": "Bea"}, False),
        ({"columns": ["plan"]}, {"plan": "trial"}, False),
        ({"where": {"plan": "paid"}}, {"plan": "paid"}, True),
        ({"where": {"plan": "trial"}}, {"name": "Bea"}, False),  # it was so before
        ({"where": {"plan": "gone"}}, {"plan": "paid"}, False),
        ({"where": {"team": None}}, {"team": None}, True),
        ({"subject": "owner"}, {"name": "Bea"}, False),
        ({"subject": "owner"}, {"owner": 7}, True),
        ({"subject": "owner"}, {"owner": ""}, False),
    ],
)
async def test_which_updates_set_a_step_off(
    options: dict[str, Any], changes: dict[str, Any], fires: bool
) -> None:
    before = {"id": "ada", "plan": "trial", "name": "Ada", "team": "Blue"}
    async with world(skene(rows("update", **options))) as inside:
        assert await inside.update("users", before, **changes) == fires


async def test_what_sounds_secret_or_is_long_is_not_copied() -> None:
    told: list[Any] = []
    row = {"id": 7, "name": "Ada", "password_hash": "x", "apiToken": "y", "essay": "z" * 20_000}
    for capture, expected in ((None, {"id": 7, "name": "Ada"}), (["name", "essay"], {"name", "essay"})):
        one = define_loop(
            type="activation",
            steps=[
                step(
                    trigger=trigger.database("app.users", event="insert", capture=capture),
                    action=action.function(told.append),
                )
            ],
        )
        async with world(skene(one)) as inside:
            assert await inside.insert("users", row) == 1
            await inside.drain()
            assert told[-1].subject == "7"
            assert (told[-1].event if capture is None else set(told[-1].event)) == expected


# -- queries -----------------------------------------------------------------------------------------------


async def test_a_query_is_named_by_its_step_or_its_text() -> None:
    asked: list[Mapping[str, Any]] = []

    def answer(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        asked.append(values)
        return [{"name": "Plans"}]

    for what in ("activation.welcome", STARTED):
        async with world(skene()) as inside:
            inside.answer(what, answer)
            await inside.insert("users", {"id": "ada", "plan": "trial"})
            await inside.drain()
            assert inside.sent("ada") == ["activation_welcome"]
    assert asked == [{"subject": "ada"}] * 2


async def test_what_has_no_query_or_several_says_what_there_is() -> None:
    two = condition.all_of(condition.query(STARTED), condition.query("SELECT 1 AS one WHERE $1 = 'ada'"))
    several = define_loop(
        type="activation",
        name="several",
        steps=[step(trigger=trigger.event("x"), condition=two, action=mail())],
    )
    async with world(skene(activation, several)) as inside:
        with pytest.raises(
            LookupError,
            match=r"no step is called so; there are: activation\.welcome, activation\.again, several",
        ):
            inside.answer("welcome", [])
        with pytest.raises(LookupError, match="it has 0 queries"):
            inside.answer("activation.again", [])
        with pytest.raises(LookupError, match="it has 2 queries; give the text of one"):
            inside.answer("several", [])


async def test_a_query_without_an_answer_says_how_to_give_one() -> None:
    async with world(skene()) as inside:
        await inside.insert("users", {"id": "ada", "plan": "trial"})
        await inside.drain()
        assert "a test has to say what the query answers" in str(inside.log("ada")[0].reason)


async def test_an_answer_that_raises_is_what_the_loop_meets() -> None:
    def refuse(values: Mapping[str, Any]) -> list[dict[str, Any]]:
        raise QueryRefused("no such table")

    async with world(skene()) as inside:
        inside.answer("retention", refuse)
        await inside.tick("retention")
        await inside.drain()
        assert [(one.outcome, one.reason) for one in inside.log()] == [(Outcome.FAILED, "no such table")]


# -- ticks -------------------------------------------------------------------------------------------------


async def test_a_tick_comes_by_the_clocks_of_its_zone() -> None:
    async with world(skene(), start=datetime(2026, 3, 28, 12, tzinfo=UTC)) as inside:
        inside.answer("retention", [{"id": "ada", "name": "Ada"}, {"id": "bob", "name": None}])
        await inside.drain()
        assert inside.sent("ada") == []
        await inside.tick("retention")
        assert inside.clock.now() == datetime(2026, 3, 29, 6, tzinfo=UTC)  # summer time has begun
        await inside.drain()
        assert (inside.sent("ada"), inside.sent("bob")) == (["re_engagement"], ["re_engagement"])
        await inside.tick("retention")
        await inside.drain()
        assert inside.sent("ada") == ["re_engagement"]
        with pytest.raises(LookupError, match=r"no schedule is called so; there are: retention"):
            await inside.tick("activation.welcome")


# -- plans -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["webhook", "lost webhooks", "link", "by hand", "lapse"])
async def test_a_plan_that_changes_is_heard_of_however_it_does(way: str) -> None:
    async with world(skene()) as inside:
        match way:
            case "webhook":
                await inside.stripe.subscribe("ada", "price_123")
                await inside.stripe.cancel("ada")
            case "lost webhooks":
                await inside.stripe.subscribe("ada", "price_123")
                inside.stripe.webhooks_dropped = True
                await inside.stripe.cancel("ada")
                assert inside.plan("ada") == "paid"
                customer = inside.stripe.customer("ada")
                assert customer is not None
                await inside.skene.link("ada", customer)
            case "link":
                await inside.stripe.subscribe("ada", "price_123")
                customer = inside.stripe.customer("ada")
                assert customer is not None
                await inside.skene.link("bob", customer)  # whose it is in truth
                assert inside.plan("bob") == "paid"
            case "by hand":
                await inside.set_plan("ada", "paid")
                await inside.set_plan("ada", "free")
            case _:
                until = inside.clock.now() + timedelta(days=1)
                await inside.skene.set_plan("ada", "paid", until=until, paying=False)
                inside.clock.advance("1d")
        await inside.drain()
        assert inside.sent("ada") == ["re_engagement"]
        assert inside.plan("ada") == "free"


# -- what it says ------------------------------------------------------------------------------------------


async def test_what_loops_wait_for_and_have_done_is_told() -> None:
    async with world(skene()) as inside:
        inside.answer("activation.welcome", [])
        inside.answer("retention", [])
        await inside.insert("users", {"id": "ada", "plan": "trial"})
        await inside.drain()
        await inside.emit("invited", "bob")
        assert inside.describe("ada").splitlines()[1:] == [
            "  ada: activation.welcome is looked at again at 2026-01-01 12:00:01"
        ]
        inside.clock.advance("1h")
        inside.fail_mails(DeliveryFailed("busy"))
        await inside.drain()
        assert inside.describe().splitlines()[1:] == [
            "  ada: activation.welcome not_met (the condition did not hold in time)"
        ]
        await inside.tick("retention")
        await inside.drain()
        assert inside.describe().splitlines()[2:] == ["  (a tick): retention scanned (0 rows, 0 acted upon)"]

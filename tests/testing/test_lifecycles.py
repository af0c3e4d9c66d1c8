"""The test kit: every life of a customer's in one call, with its webhooks in any order, number and delay."""

import json
import re
from collections.abc import Iterable
from datetime import timedelta
from itertools import permutations
from pathlib import Path
from typing import Any, get_args

import pytest

from skene import UNLIMITED
from skene.testing import World, world
from skene.testing.lifecycles import Lifecycle
from tests.testing.apps import app, freemium, stripe

PLANS = {"price_1": "starter", "price_2": "pro"}
Events = list[dict[str, Any]]

# The plan afterwards, how often somebody has begun to pay, and days that pass meanwhile.
ENDS: dict[str, tuple[str, int, int]] = {
    "subscribes": ("starter", 1, 0),
    "trial_converts": ("starter", 1, 14),
    "trial_cancelled": ("free", 0, 7),
    "renews": ("starter", 1, 31),
    "switches_price": ("pro", 1, 5),
    "pays_late": ("starter", 1, 34),
    "never_pays": ("free", 1, 52),
    "cancels": ("free", 1, 5),
    "cancels_at_period_end": ("free", 1, 36),
    "keeps_after_all": ("starter", 1, 37),
    "comes_back": ("starter", 2, 65),
    "pauses": ("starter", 2, 15),
    "refunded": ("starter", 1, 1),
    "loses_dispute": ("starter", 1, 15),
    "deleted": ("free", 1, 5),
}
LIVES: tuple[Lifecycle, ...] = get_args(Lifecycle)


def shop() -> Any:
    loop = freemium(limit={"free": 3, "starter": 10, "pro": UNLIMITED})
    return world(app(loop, billing=stripe(plans=PLANS)))


def wish(name: str) -> dict[str, Any]:
    return {"price": "price_1", **({"to": "price_2"} if name == "switches_price" else {})}


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
@pytest.mark.parametrize("name", LIVES)
async def test_every_life_as_it_happens(anyio_backend: str, name: Lifecycle) -> None:
    plan, conversions, days = ENDS[name]
    async with shop() as inside:
        began = inside.clock.now()
        events = await inside.lifecycle("ada", name, **wish(name))
        assert inside.clock.now() - began == timedelta(days=days)
        assert events == inside.stripe.events
        assert {"customer.created", "customer.subscription.created"} <= {event["type"] for event in events}
        assert inside.plan("ada") == plan
        assert len(inside.conversions("ada")) == conversions
        assert (inside.stripe.undelivered, inside.plan("bob")) == ([], "free")


def every_second_last(events: Events) -> Events:
    return [*events[::2], *events[1::2]]


ORDERS = [reversed, every_second_last, lambda events: sorted(events, key=lambda one: str(one["type"]))]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", LIVES)
async def test_every_life_in_other_orders_twice_and_late(name: Lifecycle, order: Any) -> None:
    async with shop() as inside:
        await inside.lifecycle("ada", name, **wish(name), order=order, copies=2, delay="2h")
        assert inside.plan("ada") == ENDS[name][0]
        # What nobody heard of while it lasted is no conversion.
        assert len(inside.conversions("ada")) == (ENDS[name][0] != "free")


class Believer:
    """Naive: does what each webhook says, as it comes."""

    def __init__(self) -> None:
        self.plan, self.conversions = "free", 0

    def receive(self, event: dict[str, Any]) -> None:
        if not str(event["type"]).startswith("customer.subscription."):
            return
        subscription = event["data"]["object"]
        price = subscription["items"]["data"][0]["price"]["id"]
        before = self.plan
        self.plan = PLANS[price] if subscription["status"] in ("active", "past_due", "trialing") else "free"
        self.conversions += before == "free" and self.plan != "free"


async def test_who_believes_webhooks_fails_the_same_check() -> None:
    wrong: set[str] = set()
    twice: set[str] = set()
    for name in LIVES:
        async with shop() as inside:
            events = await inside.lifecycle("ada", name, **wish(name))
        for order in ORDERS:
            naive = Believer()
            for event in order([event for event in events for _ in range(2)]):
                naive.receive(event)
            if naive.plan != ENDS[name][0]:
                wrong.add(name)
            if naive.conversions > ENDS[name][1]:
                twice.add(name)
    assert wrong >= {"cancels", "never_pays", "switches_price"}
    assert twice >= {"cancels", "comes_back"}


async def test_webhooks_come_in_just_the_order_and_number_that_was_asked_for() -> None:
    seen: list[tuple[str, str]] = []
    async with shop() as inside:
        ours = inside.stripe._webhooks.deliver
        assert ours is not None

        async def deliver(body: bytes, headers: Any) -> int:
            seen.append((str(json.loads(body)["id"]), str(headers["stripe-signature"]).partition(",")[0]))
            return await ours(body, headers)

        inside.stripe.connect(deliver)
        began, options = inside.clock.now(), {"copies": 3, "delay": timedelta(hours=1)}
        events = await inside.lifecycle("ada", "cancels", "price_1", order=reversed, **options)
        assert inside.clock.now() == began + timedelta(days=5, hours=1)
        signed = f"t={inside.clock.now().timestamp():.0f}"
        assert len(events) > 2
        assert seen == [(event["id"], signed) for event in reversed(events) for _ in range(3)]


async def test_every_order_of_a_story_of_ones_own() -> None:
    for order in permutations(range(4)):

        def ordered(events: Events, order: tuple[int, ...] = order) -> Iterable[dict[str, Any]]:
            assert len(events) == 4
            return [events[index] for index in order]

        async with shop() as inside:
            async with inside.stripe.held(ordered):
                await inside.stripe.subscribe("ada", "price_1")
                await inside.stripe.switch_price("ada", "price_2")
                await inside.stripe.cancel("ada")
                assert (inside.plan("ada"), inside.stripe.undelivered) == ("free", [])
                await inside.stripe.send(inside.stripe.events[1])  # one may come before
                assert inside.plan("ada") == "free"
            assert inside.plan("ada") == "free", order
            assert inside.stripe.undelivered == []


async def test_what_an_order_leaves_out_is_lost_until_it_is_sent_again() -> None:
    async with shop() as inside:
        events = await inside.lifecycle("ada", "subscribes", "price_1", order=lambda events: [])
        assert inside.plan("ada") == "free"
        assert inside.stripe.undelivered == events
        assert "webhooks not delivered: customer.created, customer.subscription.created" in inside.describe()
        assert await inside.stripe.redeliver()
        assert inside.plan("ada") == "starter"


async def test_held_webhooks_can_be_lost_all_the_same() -> None:
    async with shop() as inside:
        inside.stripe.webhooks_dropped = True
        events = await inside.lifecycle("ada", "subscribes", "price_1", copies=2)
        assert (inside.plan("ada"), len(inside.stripe.undelivered)) == ("free", 2 * len(events))


async def held_until_it_fails(inside: World) -> None:
    async with inside.stripe.held():
        await inside.stripe.subscribe("ada", "price_1")
        raise ZeroDivisionError


async def test_a_block_that_fails_delivers_nothing() -> None:
    async with shop() as inside:
        with pytest.raises(ZeroDivisionError):
            await held_until_it_fails(inside)
        assert (inside.plan("ada"), len(inside.stripe.undelivered)) == ("free", 2)
        await inside.stripe.subscribe("bob", "price_2")
        assert inside.plan("bob") == "pro"


async def test_holding_is_not_nested() -> None:
    async with shop() as inside, inside.stripe.held():
        with pytest.raises(RuntimeError, match="webhooks are held already"):
            await inside.lifecycle("ada", "subscribes", "price_1", copies=2)


@pytest.mark.parametrize(
    ("name", "options", "error", "told"),
    [
        (
            "trial_convert",
            {},
            LookupError,
            r"'trial_convert'; there are: .*; did you mean 'trial_converts'\?",
        ),
        ("zzz", {}, LookupError, r"no lifecycle is called 'zzz'; there are: subscribes, .*deleted$"),
        ("subscribes", {"price": "price_3"}, LookupError, "no price 'price_3', only price_1, price_2"),
        ("switches_price", {}, ValueError, "got to=None; give the price that is switched to"),
        ("renews", {"to": "price_2"}, ValueError, "got to='price_2'; only 'switches_price' takes it"),
        ("renews", {"copies": 0}, ValueError, r"copies=0\): give a whole number of 1 or more"),
        ("renews", {"copies": -1}, ValueError, r"copies=-1\): give a whole number of 1 or more"),
    ],
)
async def test_what_cannot_be_is_told(
    name: Any, options: dict[str, Any], error: type[Exception], told: str
) -> None:
    async with shop() as inside:
        with pytest.raises(error, match=told):
            await inside.lifecycle("ada", name, **{"price": "price_1", **options})
        assert inside.stripe.undelivered == []


def test_lives_are_all_tried_and_told_of() -> None:
    assert set(ENDS) == set(LIVES)
    page = Path(__file__).parents[2] / "docs" / "how-to" / "testing.md"
    told = re.findall(r"^\| `(\w+)` \| .* \| (\d+) \|$", page.read_text(), re.MULTILINE)
    assert told == [(name, str(days)) for name, (_, _, days) in ENDS.items()]

"""Webhooks in any order, number and company: the plan is what Stripe says, and nobody converts twice."""

from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.runtime.shop import BACKENDS
from tests.runtime.till import PLANS, NewestWins, Till, billing, fake_stripe, signed

# -- every order, with every duplicate ---------------------------------------------------------------------


async def four_events(*, comes_back: bool) -> tuple[FakeStripe, list[dict[str, Any]]]:
    """A subscription is created, and a minute later changed twice and ended within one second.

    Args:
        comes_back: a second subscription begins, and all of its webhooks are lost.
    """
    clock = ManualClock()
    fake = fake_stripe(clock)
    await fake.subscribe("ada", "price_starter")
    clock.advance("1m")
    await fake.switch_price("ada", "price_pro")
    await fake.switch_price("ada", "price_starter")
    await fake.cancel("ada")
    events = [event for event in fake.events if event["type"].startswith("customer.subscription.")]
    assert [event["type"].rpartition(".")[2] for event in events] == [
        "created",
        "updated",
        "updated",
        "deleted",
    ]
    assert len({event["created"] for event in events[1:]}) == 1
    if comes_back:
        await fake.subscribe("ada", "price_pro")
    return fake, events


def orders(duplicate: int) -> Iterator[tuple[int, ...]]:
    """All 60 orders of four events and one of them again."""
    found = sorted(set(permutations([0, 1, 2, 3, duplicate])))
    assert len(found) == 60
    yield from found


@pytest.mark.parametrize("comes_back", [False, True])
@pytest.mark.parametrize("duplicate", range(4))
async def test_all_60_orders_with_one_duplicate_end_in_what_stripe_says(
    duplicate: int, comes_back: bool
) -> None:
    fake, events = await four_events(comes_back=comes_back)
    asks = billing(fake)
    for order in orders(duplicate):
        till = Till(stripe=fake, billing=asks, clock=ManualClock(fake._now())).listen()
        for index in order:
            assert await fake.send(events[index]), order
        assert till.plan() == ("pro" if comes_back else "free"), order
        assert len(till.memory.conversions) == comes_back, order
        assert till.wire.count("apply_billing") == 4, order  # the duplicate was known


async def test_a_receiver_that_believes_events_fails_the_same_check() -> None:
    _, events = await four_events(comes_back=False)
    wrong = twice = 0
    for duplicate in range(4):
        for order in orders(duplicate):
            naive = NewestWins()
            for index in order:
                naive.receive(events[index])
            wrong += naive.plan != "free"
            twice += naive.conversions > 1
    assert wrong > 0
    assert twice > 0


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_two_receivers_at_once_end_in_what_stripe_says(anyio_backend: str) -> None:
    fake, events = await four_events(comes_back=True)
    asks = billing(fake)
    for order in orders(1):
        one = Till(stripe=fake, billing=asks, clock=ManualClock(fake._now()))
        two = one.twin()
        answers: list[int] = []

        async def deliver(till: Till, event: dict[str, Any], into: list[int] = answers) -> None:
            into.append(await till.receive(*signed(fake, event)))

        async with anyio.create_task_group() as tasks:
            for place, index in enumerate(order):
                tasks.start_soon(deliver, (one, two)[place % 2], events[index])
        assert answers == [200] * 5
        assert one.plan() == "pro", order
        assert len(one.memory.conversions) == 1, order


ACTS = ("starter", "pro", "active", "past_due", "unpaid", "paused", "cancel", "subscribe", "call", "wait")


async def act(till: Till, what: str | int) -> None:
    """Something happens at Stripe, in the app, or on the way between them."""
    stripe = till.stripe
    if isinstance(what, int):
        await stripe.send(stripe.events[what % len(stripe.events)])
    elif what == "wait":
        till.clock.advance("1s")
    elif what == "call":
        await till.call()
    elif what == "subscribe":
        await stripe.subscribe("ada", "price_pro")
    elif what == "cancel":
        await stripe.cancel("ada")
    elif what in ("starter", "pro"):
        await stripe.switch_price("ada", f"price_{what}")
    else:
        await stripe.set_status("ada", what)


def truth(stripe: FakeStripe) -> str:
    """The best plan of all subscriptions that stand, straight from Stripe's own books."""
    held = {
        PLANS[one["items"]["data"][0]["price"]["id"]]
        for one in stripe._state.tables["subscription"].values()
        if one["status"] in ("active", "past_due")
    }
    return max(held, key=["starter", "pro"].index, default="free")


@given(acts=st.lists(st.sampled_from(ACTS) | st.integers(0, 30), max_size=12))
async def test_whatever_happens_and_whatever_is_lost_the_last_webhook_sets_it_right(
    acts: list[str | int],
) -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_starter")
    till.listen().stripe.webhooks_dropped = True
    for what in acts:
        with suppress(LookupError):  # there is nothing left to cancel or change
            await act(till, what)
    assert await till.stripe.send(till.stripe.events[-1])
    assert till.plan() == truth(till.stripe)
    if not {"unpaid", "paused", "cancel"}.intersection(acts):
        assert len(till.memory.conversions) == 1

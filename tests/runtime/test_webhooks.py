"""Webhooks in any order, number and company: the plan is what Stripe says, and nobody converts twice."""

import json
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from itertools import permutations
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene import action, billing_cycle, condition, define_loop, step
from skene.adapters.manual import ManualBilling
from skene.engine.standing import Subscription
from skene.errors import BillingUnavailable, StorageUnavailable, WebhookRejected
from skene.ports.billing import Account
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from skene.testing.stripe_server.webhooks import sign
from tests.runtime.shop import BACKENDS
from tests.runtime.till import LIMITS, PLANS, Till, billing, fake_stripe

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


class NewestWins:
    """Naive: believes the newest event, and of two of the same second the one that came last."""

    def __init__(self) -> None:
        self.plan, self.newest, self.conversions = "free", 0, 0

    def receive(self, event: dict[str, Any]) -> None:
        if event["created"] < self.newest:
            return
        self.newest = event["created"]
        subscription = event["data"]["object"]
        price = subscription["items"]["data"][0]["price"]["id"]
        before, self.plan = self.plan, PLANS[price] if subscription["status"] == "active" else "free"
        self.conversions += before == "free" and self.plan != "free"


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


def signed(
    fake: FakeStripe, event: dict[str, Any], secret: str | None = None
) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    return body, {"stripe-signature": sign(body, secret or fake.webhook_secret, fake._now())}


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


# -- the later fetch wins ----------------------------------------------------------------------------------


async def test_a_slow_answer_does_not_overwrite_a_later_one() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    event = till.stripe.events[-1]
    fetch, answered, late = till.skene.billing.fetch, anyio.Event(), anyio.Event()

    async def slowly(customer: str, *, timeout: timedelta | None = None) -> Account:
        account = await fetch(customer)
        answered.set()
        await late.wait()
        return account

    till.skene.billing.fetch = slowly  # type: ignore[method-assign] # the provider's answer takes its time
    applied = []

    async def first() -> None:
        applied.append(await till.skene.billing_sync.receive(*signed(till.stripe, event)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await answered.wait()
        till.skene.billing.fetch = fetch  # type: ignore[method-assign] # as above
        await till.stripe.cancel("ada")
        assert await till.receive(*signed(till.stripe, till.stripe.events[-1])) == 200
        late.set()
    assert applied[0].stale
    assert till.plan() == "free"


# -- when something fails ----------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["429", "500", "hangs", "storage before", "storage after"])
async def test_what_could_not_be_applied_is_not_recorded_and_comes_again(failure: str) -> None:
    till = Till()
    if failure == "hangs":
        till = Till(
            stripe=till.stripe,
            clock=till.clock,
            billing=billing(till.stripe, timeout=timedelta(seconds=0.05)),
        )
        till.stripe.delay = 0.3
    elif failure.startswith("storage"):
        till.wire.cut = {"begin_sync" if failure.endswith("before") else "apply_billing"}
    else:
        till.stripe.fail(int(failure), times=9, path="/v1/customers/")
    till.listen()
    await till.stripe.subscribe("ada", "price_pro")
    assert len(till.stripe.undelivered) == 2  # the customer's and the subscription's
    assert (till.plan(), till.memory._state.events) == ("free", {})
    till.stripe.delay, till.wire.cut = 0, set()
    till.stripe._api._faults.clear()
    assert await till.stripe.redeliver()
    assert till.plan() == "pro"
    assert len(till.memory.conversions) == 1


async def test_the_sender_hears_of_the_failure() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    message = signed(till.stripe, till.stripe.events[-1])
    till.stripe.fail(429)
    with pytest.raises(BillingUnavailable):
        await till.skene.billing_sync.receive(*message)
    till.wire.cut = {"*"}
    with pytest.raises(StorageUnavailable):
        await till.skene.billing_sync.receive(*message)


async def test_what_is_not_authentic_changes_nothing() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    with pytest.raises(WebhookRejected) as caught:
        await till.skene.billing_sync.receive(
            *signed(till.stripe, till.stripe.events[-1], "whsec_" + "x" * 24)
        )
    assert caught.value.status == 401
    assert (till.wire.verbs, till.plan()) == ([], "free")


# -- whom an event is about --------------------------------------------------------------------------------


async def test_an_event_for_a_customer_nobody_is_tied_to_is_recorded_and_changes_no_plan() -> None:
    till = Till().listen()
    await till.stripe.subscribe("somebody", "price_pro", metadata={})
    assert till.stripe.undelivered == []
    assert till.memory._state.holders == {}
    assert till.memory.conversions == ()
    fetched = till.fetches
    assert await till.stripe.send(till.stripe.events[-1])
    assert till.fetches == fetched  # known by its id
    # Once somebody is tied to it, what it pays for applies.
    applied = await till.skene.link("ada", str(till.stripe.customer("somebody")))
    assert applied is not None
    assert till.plan() == "pro"
    assert len(till.memory.conversions) == 1


async def test_an_event_about_no_customer_is_recorded_once_and_fetches_nothing() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    event = {
        **till.stripe.events[-1],
        "id": "evt_product",
        "type": "product.created",
        "data": {"object": {"id": "prod_1", "object": "product"}},
    }
    for _ in range(2):
        assert await till.skene.billing_sync.receive(*signed(till.stripe, event)) is None
    assert till.wire.verbs == ["record_event"] * 2
    assert till.fetches == 0


async def test_a_subject_that_was_forgotten_is_not_revived_by_a_late_webhook() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.call()
    assert till.plan() == "pro"
    till.stripe.webhooks_dropped = True
    await till.stripe.switch_price("ada", "price_starter")
    await till.skene.forget("ada")
    fetched = till.fetches
    for event in till.stripe.events:
        assert await till.stripe.send(event)
    assert till.fetches == fetched
    assert "ada" not in till.memory._state.holders
    assert till.plan() == "free"
    assert await till.skene.billing_sync.sync(str(till.stripe.customer("ada"))) is None
    assert "ada" not in str(till.memory.conversions)


async def test_a_deleted_customer_holds_nothing() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.stripe.delete_customer("ada")
    assert till.plan() == "free"


async def test_what_a_deleted_customer_is_still_said_to_have_does_not_count() -> None:
    class Forgetful(ManualBilling):
        async def fetch(self, customer: str, *, timeout: timedelta | None = None) -> Account:
            return Account(customer, "ada", None, True, (Subscription("sub_1", "active", "paid"),))

    till = Till(billing=Forgetful())
    await till.skene.link("ada", "cus_1")
    assert till.plan() == "free"


async def test_ids_that_no_database_can_keep_come_back_from_stripe() -> None:
    long = "user-" + "x" * 300
    till = Till().listen()
    await till.stripe.subscribe(long, "price_pro")
    assert (await till.call(long)).plan == "pro"


# -- what an update carries --------------------------------------------------------------------------------


async def test_upgrading_in_mid_period_is_unlimited_at_once_and_one_conversion() -> None:
    till = Till().listen()
    await till.refuse()
    (wall,) = till.memory.walls
    await till.stripe.subscribe("ada", "price_pro")
    told = await till.call()
    assert (told.allowed, told.plan, told.limit) == (True, "pro", None)
    for _ in range(10):
        for event in till.stripe.events:
            assert await till.stripe.send(event)
    (conversion,) = till.memory.conversions
    assert (conversion.subject, conversion.wall) == ("ada", wall.id)
    assert (conversion.amount, conversion.currency) == (2000, "usd")
    assert (await till.skene.usage("ada"))[0].used == 1  # of this plan; the free use stays with the free plan


async def test_a_billing_cycle_counts_from_the_subscriptions_own_day() -> None:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit=LIMITS, period=billing_cycle(), meter="calls"),
                action=action.block("Enough."),
            )
        ],
    )
    till = Till(loop, clock=ManualClock()).listen()
    till.clock.advance("9d")
    began = till.clock.now()
    assert (await till.call("bob")).resets_at == began.replace(month=2, day=1, hour=0)
    await till.stripe.subscribe("ada", "price_starter")
    till.clock.advance("3d")
    told = await till.call()
    assert (told.window_start, told.resets_at) == (began, began.replace(month=2))


async def test_an_unknown_status_is_the_default_plan_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro", status="dreaming")
    assert till.plan() == "free"
    assert "unknown status 'dreaming'" in caplog.text
    assert "ada" not in caplog.text


async def test_what_stripe_said_is_kept_for_people_to_read() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    payer = till.memory._state.payers[str(till.stripe.customer("ada"))]
    assert payer.update is not None
    (kept,) = json.loads(payer.update.subscriptions_json)
    assert (kept["status"], kept["plan"], kept["amount"]) == ("active", "pro", 2000)
    assert kept["period_start"] == till.clock.now().isoformat()


# -- back from the checkout --------------------------------------------------------------------------------


async def opened(till: Till) -> str:
    """A checkout session, opened from a wall's link."""
    await till.refuse()
    refused = await till.call()
    assert refused.upgrade_url is not None
    url = await till.skene.upgrade.follow(refused.upgrade_url.partition("token=")[2])
    return url.rpartition("/")[2]


async def test_who_comes_back_from_paying_has_the_plan_before_any_webhook() -> None:
    till = Till().listen()
    till.stripe.webhooks_dropped = True
    session = await opened(till)
    fetched = till.fetches
    assert not await till.skene.billing_sync.checkout_returned(session)  # not paid yet
    assert till.fetches == fetched
    assert till.plan() == "free"
    await till.stripe.pay(session, "ada@acme.test")
    assert await till.skene.billing_sync.checkout_returned(session)
    assert till.plan() == "starter"
    assert (await till.call()).allowed
    # What comes late, twice, or in any order adds nothing.
    till.stripe.webhooks_dropped = False
    assert await till.skene.billing_sync.checkout_returned(session)
    assert await till.stripe.redeliver()
    assert len(till.memory.conversions) == 1


async def test_an_unknown_checkout_is_said_to_be_so() -> None:
    with pytest.raises(LookupError):
        await Till().skene.billing_sync.checkout_returned("cs_test_nothing")


async def test_a_refresh_never_raises(caplog: pytest.LogCaptureFixture) -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    customer = str(till.stripe.customer("ada"))
    till.wire.cut = {"apply_billing"}
    assert not await till.skene.billing_sync.refresh(customer, timeout=timedelta(seconds=1))
    till.wire.cut = set()
    till.stripe.fail(429)
    assert not await till.skene.billing_sync.refresh(customer, timeout=timedelta(seconds=1))
    assert "last known plan stands" in caplog.text
    assert await till.skene.billing_sync.refresh(customer, timeout=timedelta(seconds=1))
    assert till.plan() == "pro"

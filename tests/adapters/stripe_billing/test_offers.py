"""StripeBilling over HTTP, with the real SDK, against the local Stripe: which plan is sold, and how."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import pytest

from skene.adapters.stripe import StripeBilling
from skene.errors import BillingUnavailable, CheckoutUnavailable
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import Inbox, Time, order, stripe_billing

Maker = Callable[..., StripeBilling]


@pytest.fixture
async def selling(fake: FakeStripe) -> AsyncIterator[Maker]:
    """Makes a StripeBilling with further settings."""
    async with AsyncExitStack() as stack:

        def make(plans: dict[str, str] | None = None, **more: Any) -> StripeBilling:
            made = stripe_billing(fake, plans, **more)
            stack.push_async_callback(made.aclose)
            return made

        yield make


def last(fake: FakeStripe) -> dict[str, Any]:
    """The parameters of the session that was opened last."""
    return next(c.params for c in reversed(fake.requests) if (c.method, c.path) == SESSIONS)


SESSIONS = ("POST", "/v1/checkout/sessions")


@pytest.mark.parametrize(
    ("more", "offers", "prices"),
    [
        ({}, ("starter", "pro", "team"), ("price_starter", "price_pro", "price_team")),
        ({"checkout_price": "price_pro"}, ("pro",), ("price_pro",)),
        ({"checkout_price": "pro_yearly"}, (), ()),
        (
            {"checkout_prices": {"team": "prod_gold", "pro": "pro_yearly"}},
            ("pro", "team"),
            ("price_for_pro_yearly", "price_of_prod_gold"),
        ),
        (
            {"checkout_prices": {"team": "price_team"}, "checkout_price": "price_pro"},
            ("team",),
            ("price_team",),
        ),
    ],
)
async def test_each_plan_is_sold_at_its_price(
    selling: Maker, fake: FakeStripe, more: dict[str, Any], offers: tuple[str, ...], prices: tuple[str, ...]
) -> None:
    billing = selling(**more)
    assert billing.offers == offers
    for plan, price in zip(offers, prices, strict=True):
        await billing.checkout(order(plan=plan), idempotency_key=plan)
        assert last(fake)["line_items"][0]["price"] == price


async def test_without_a_plan_the_single_price_is_sold(selling: Maker, fake: FakeStripe) -> None:
    for more, price in (
        ({"checkout_price": "price_pro"}, "price_pro"),
        ({"checkout_prices": {"team": "price_team"}, "checkout_price": "price_pro"}, "price_pro"),
        ({"checkout_prices": {"team": "price_team"}}, "price_team"),
        ({}, "price_starter"),
    ):
        await selling(**more).checkout(order(), idempotency_key=price)
        assert last(fake)["line_items"][0]["price"] == price


async def test_of_several_prices_of_a_plan_the_first_is_sold_and_a_price_before_a_product(
    selling: Maker, fake: FakeStripe
) -> None:
    plans = {"prod_gold": "pro", "price_pro": "pro", "price_team": "pro", "pro_yearly": "team", "*": "other"}
    billing = selling(plans)
    assert billing.offers == ("pro", "team")
    await billing.checkout(order(plan="pro"), idempotency_key="k")
    assert last(fake)["line_items"][0]["price"] == "price_pro"


async def test_a_plan_that_is_not_sold(selling: Maker, fake: FakeStripe) -> None:
    with pytest.raises(CheckoutUnavailable, match="no price is sold for the plan 'platinum'"):
        await selling().checkout(order(plan="platinum"), idempotency_key="k")
    assert not fake.requests


# --- trials -------------------------------------------------------------------------------------------


async def trial_of(billing: StripeBilling, fake: FakeStripe, key: str, **more: Any) -> str | None:
    await billing.checkout(order(customer=fake.customer("ada"), **more), idempotency_key=key)
    days: str | None = last(fake)["subscription_data"].get("trial_period_days")
    return days


async def test_a_trial_is_for_the_first_subscription_only(
    selling: Maker, fake: FakeStripe, now: Time
) -> None:
    billing = selling(trial_days=14)
    session = await billing.checkout(order(), idempotency_key="click")
    await fake.pay(str(session.id))
    result = await billing.checkout_result(str(session.id))
    assert (result.state, result.paid) == ("complete", True), "nothing was due"
    (one,) = (await billing.fetch(str(session.customer))).subscriptions
    assert (one.status, one.started_at) == ("trialing", now() + timedelta(days=14))

    assert await trial_of(billing, fake, "while it runs") is None
    await fake.cancel("ada")
    assert await trial_of(billing, fake, "after it") is None


async def test_no_second_trial_by_clicking_twice_before_paying(selling: Maker, fake: FakeStripe) -> None:
    billing = selling(trial_days=14)
    first = await billing.checkout(order(), idempotency_key="click 1")
    second = await billing.checkout(order(customer=first.customer), idempotency_key="click 2")
    assert (await billing.checkout_result(str(first.id))).state == "expired"
    await fake.pay(str(second.id))
    assert [one.status for one in (await billing.fetch(str(first.customer))).subscriptions] == ["trialing"]


async def test_no_second_trial_by_having_the_customer_deleted(selling: Maker, fake: FakeStripe) -> None:
    billing = selling(trial_days=14)
    await fake.subscribe("ada", "price_pro")
    await fake.delete_customer("ada")
    assert await trial_of(billing, fake, "k") is None
    assert await trial_of(billing, fake, "of nobody", subject="bob") is None


async def test_without_trials_nobody_is_asked_for_subscriptions(selling: Maker, fake: FakeStripe) -> None:
    await selling().checkout(order(), idempotency_key="k")
    assert [call.path for call in fake.requests] == ["/v1/customers", "/v1/checkout/sessions"]


# --- further parameters -------------------------------------------------------------------------------


async def test_further_parameters_are_sent_and_change_nothing_of_skenes_own(
    selling: Maker, fake: FakeStripe
) -> None:
    options: dict[str, Any] = {"automatic_tax": {"enabled": True}, "tax_id_collection": {"enabled": True}}
    billing = selling(checkout_options=options)
    options["automatic_tax"]["enabled"] = False  # the caller's own
    options["mode"] = "payment"
    await billing.checkout(order(), idempotency_key="k")
    assert last(fake)["automatic_tax"] == {"enabled": "true"}
    assert last(fake)["tax_id_collection"] == {"enabled": "true"}
    assert last(fake)["mode"] == "subscription"


# --- what became of it --------------------------------------------------------------------------------


async def test_a_bank_that_takes_days(selling: Maker, fake: FakeStripe) -> None:
    billing = selling()
    session = str((await billing.checkout(order(), idempotency_key="k")).id)
    opened = await billing.checkout_result(session)
    assert (opened.state, opened.url) == ("open", f"{fake.base_url}/c/pay/{session}")
    await fake.pay(session, settled=False)
    waiting = await billing.checkout_result(session)
    assert (waiting.state, waiting.paid, waiting.url) == ("complete", False, None)
    await fake.settle(session)
    assert (await billing.checkout_result(session)).paid


async def test_a_session_that_sells_no_subscription_names_no_subject_by_its_reference(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    session = str((await billing.checkout(order("order-77"), idempotency_key="k")).id)
    fake.get(session)["metadata"] = {}
    assert (await billing.checkout_result(session)).subject == "order-77"
    fake.get(session)["mode"] = "payment"
    assert (await billing.checkout_result(session)).subject is None


async def test_a_state_that_nobody_knows_is_no_answer(billing: StripeBilling, fake: FakeStripe) -> None:
    session = str((await billing.checkout(order(), idempotency_key="k")).id)
    fake.get(session)["status"] = "thinking"
    with pytest.raises(BillingUnavailable):
        await billing.checkout_result(session)


# --- payments -----------------------------------------------------------------------------------------


async def test_whose_a_payment_is(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    charge = await fake.dispute("ada")
    for payment in (charge, fake.get(charge)["payment_intent"]):
        assert await billing.customer_of(payment) == fake.customer("ada")
    asked = len(fake.requests)
    for payment in ("ch_none", "pi_none"):
        assert await billing.customer_of(payment) is None
    assert len(fake.requests) == asked + 2
    for payment in ("", "../customers/cus_1", "cus_1", "ch_1?expand[]=customer", "ch_é"):
        assert await billing.customer_of(payment) is None
    assert len(fake.requests) == asked + 2, "what is no payment's id is not asked for"
    fake.down = True
    with pytest.raises(BillingUnavailable):
        await billing.customer_of(charge)


async def test_what_webhooks_of_payments_say(billing: StripeBilling, fake: FakeStripe, now: Time) -> None:
    inbox = Inbox(billing, now)
    await fake.subscribe("ada", "price_pro")
    fake.connect(inbox)
    charge = await fake.refund("ada", 500)
    await fake.refund("ada")
    await fake.dispute("ada")
    told = [
        (e.type, e.customer, e.payment, e.refund and (e.refund.payment, e.refund.amount, e.refund.currency))
        for e in inbox.events
    ]
    customer = fake.customer("ada")
    assert told == [
        ("refund.created", None, charge, None),
        ("charge.refunded", customer, None, (charge, 500, "usd")),
        ("refund.created", None, charge, None),
        ("charge.refunded", customer, None, (charge, 2000, "usd")),
        ("charge.dispute.created", None, charge, None),
    ]


@pytest.mark.parametrize(
    ("dispute", "charge", "disputed"),
    [
        ("needs_response", {}, True),
        ("under_review", {}, True),
        ("lost", {}, True),
        ("won", {}, False),
        ("warning_needs_response", {}, False),
        ("warning_closed", {}, False),
        ("prevented", {}, False),
        ("lost", {"paid": True}, False),
        ("lost", {"paid": False}, True),
        ("lost", {"refunded": True}, True),
        ("lost", {"disputed": True}, True),
        ("under_review", {"paid": True}, True),
    ],
)
async def test_who_is_in_dispute(
    selling: Maker, fake: FakeStripe, now: Time, dispute: str, charge: dict[str, Any], disputed: bool
) -> None:
    billing = selling(disputed="default")
    await fake.subscribe("ada", "price_pro")
    await fake.dispute("ada")
    next(iter(fake._state.tables["dispute"].values()))["status"] = dispute
    if charge:
        now.move(timedelta(days=31))
        await fake.catch_up()
        list(fake._state.tables["charge"].values())[-1].update(charge)
    assert (await billing.fetch(str(fake.customer("ada")))).disputed is disputed


async def test_disputes_are_looked_for_only_where_they_matter(selling: Maker, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.dispute("ada")
    assert not (await selling().fetch(str(fake.customer("ada")))).disputed
    await fake.cancel("ada")
    assert not (await selling(disputed="default").fetch(str(fake.customer("ada")))).disputed
    assert not [call for call in fake.requests if call.path == "/v1/charges"]


async def test_a_key_that_may_not_read_invoices_still_reads_subscriptions(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.set_status("ada", "past_due")
    fake.fail(403, times=9, path="/v1/invoices")
    (one,) = (await billing.fetch(str(fake.customer("ada")))).subscriptions
    assert (one.status, one.unpaid_since) == ("past_due", None)
    fake.fail(500, times=9, path="/v1/invoices")
    fake._api._faults.pop(0)
    with pytest.raises(BillingUnavailable):
        await billing.fetch(str(fake.customer("ada")))


async def test_since_when_a_payment_is_missing(billing: StripeBilling, fake: FakeStripe, now: Time) -> None:
    await fake.subscribe("ada", "price_pro")
    now.move(timedelta(days=40))
    await fake.catch_up()
    await fake.set_status("ada", "past_due")
    since = now()
    now.move(timedelta(days=70))
    await fake.catch_up()
    drafts = [one for one in fake._state.tables["invoice"].values() if one["status"] == "open"]
    assert len(drafts) == 3
    drafts[-1]["status"] = "draft"
    drafts[-2]["status"] = "uncollectible"
    (one,) = (await billing.fetch(str(fake.customer("ada")))).subscriptions
    assert one.unpaid_since == since
    assert one.period_start is not None
    assert one.period_start > since

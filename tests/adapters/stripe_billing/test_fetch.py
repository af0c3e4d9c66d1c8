"""StripeBilling over HTTP, with the real SDK, against the local Stripe: fetch."""

from datetime import UTC, datetime, timedelta

import anyio
import pytest

from skene.adapters.stripe import StripeBilling
from skene.ports.billing import Account, Billing
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import NOW, Time, stripe_billing


async def account(billing: StripeBilling, fake: FakeStripe, subject: str = "ada") -> Account:
    customer = fake.customer(subject)
    assert customer is not None
    return await billing.fetch(customer)


async def test_it_is_a_billing(billing: StripeBilling) -> None:
    port: Billing = billing
    assert port.plans == ("starter", "pro", "team")
    assert (port.default, port.grace) == ("free", timedelta(days=14))


async def test_a_customer_and_what_they_pay_for(billing: StripeBilling, fake: FakeStripe) -> None:
    number = await fake.subscribe("ada", "price_pro", email="ada@acme.test", quantity=3)
    found = await account(billing, fake)

    assert (found.customer, found.subject, found.email) == (fake.customer("ada"), "ada", "ada@acme.test")
    assert not found.deleted
    (one,) = found.subscriptions
    assert (one.id, one.status, one.plan) == (number, "active", "pro")
    assert (one.period_start, one.period_end) == (NOW, datetime(2026, 12, 20, 12, tzinfo=UTC))
    assert (one.anchor, one.ends_at, one.interval, one.interval_count) == (NOW, None, "month", 1)
    assert (one.amount, one.currency) == (6000, "usd")
    assert "ada@acme.test" not in repr(found)


async def test_the_customer_and_the_subscriptions_are_read_at_the_same_time(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    await fake.subscribe("ada", "price_pro")
    await account(billing, fake)
    fake.delay = 0.4
    with anyio.fail_after(0.75):
        await account(billing, fake)


async def test_all_of_two_hundred_and_fifty_subscriptions_are_read(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    numbers = {await fake.subscribe("ada", "price_pro") for _ in range(250)}
    asked = len(fake.requests)
    found = await account(billing, fake)
    assert {one.id for one in found.subscriptions} == numbers
    assert len(fake.requests) - asked == 1 + 3


async def test_ended_subscriptions_are_read_too(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.cancel("ada")
    await fake.subscribe("ada", "price_team")
    found = await account(billing, fake)
    assert [(one.plan, one.status) for one in found.subscriptions] == [
        ("team", "active"),
        ("pro", "canceled"),
    ]


@pytest.mark.parametrize(
    ("plans", "expected"),
    [
        (
            {"price_for_pro_yearly": "by id", "pro_yearly": "by key", "prod_for_pro_yearly": "by product"},
            "by id",
        ),
        ({"*": "any", "prod_for_pro_yearly": "by product", "pro_yearly": "by key"}, "by key"),
        ({"*": "any", "prod_for_pro_yearly": "by product"}, "by product"),
        ({"*": "any", "price_other": "other"}, "any"),
        ({"price_other": "other"}, None),
    ],
)
async def test_a_price_is_known_by_its_id_its_lookup_key_its_product_or_at_all(
    fake: FakeStripe, plans: dict[str, str], expected: str | None
) -> None:
    billing = stripe_billing(fake, plans)
    await fake.subscribe("ada", "pro_yearly")
    (one,) = (await account(billing, fake)).subscriptions
    assert one.plan == expected
    await billing.aclose()


async def test_of_several_items_the_most_valuable_plan_counts_and_all_are_paid_for(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    lines = [("price_starter", 1), ("price_team", 2), ("price_of_prod_gold", 1), ("price_pro", 1)]
    await fake.subscribe("ada", items=lines)
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.amount) == ("team", 10_000)


async def test_items_beyond_those_that_stripe_embeds_count(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", items=[*[("price_starter", 1)] * 130, ("price_team", 1)])
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.amount) == ("team", 131 * 2000)


async def test_items_of_another_interval_are_not_part_of_what_one_period_costs(fake: FakeStripe) -> None:
    fake.add_price("price_year", amount=90_000, interval="year")
    billing = stripe_billing(fake, {"price_pro": "pro", "price_year": "year"})
    await fake.subscribe("ada", items=[("price_pro", 1), ("price_year", 1)])
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.amount, one.interval) == ("year", 90_000, "year")
    assert one.period_end == NOW.replace(year=2027)
    await billing.aclose()


@pytest.mark.parametrize(
    ("change", "amount"),
    [
        ({"unit_amount": None, "unit_amount_decimal": "0.5"}, 5),
        ({"unit_amount": None, "unit_amount_decimal": None, "tiers_mode": "graduated"}, None),
        ({"transform_quantity": {"divide_by": 10, "round": "up"}}, None),
    ],
)
async def test_what_is_not_a_fixed_price_has_no_amount(
    billing: StripeBilling, fake: FakeStripe, change: dict[str, object], amount: int | None
) -> None:
    fake.get("price_pro").update(change)
    await fake.subscribe("ada", "price_pro", quantity=10)
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.amount) == ("pro", amount)


async def test_metered_use_has_no_amount(billing: StripeBilling, fake: FakeStripe) -> None:
    number = await fake.subscribe("ada", "price_pro")
    line = fake.get(number)["items"]["data"][0]
    for quantity in (None, "odd"):
        line["quantity"] = quantity
        (one,) = (await account(billing, fake)).subscriptions
        assert (one.plan, one.amount) == ("pro", None)
    del line["quantity"]
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.amount) == ("pro", None)


async def test_a_cancellation_at_the_periods_end_is_when_it_ends(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    number = await fake.subscribe("ada", "price_pro")
    await fake.cancel("ada", at_period_end=True)
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.status, one.ends_at) == ("active", one.period_end)

    fake.get(number)["cancel_at"] = None  # so it was until 2025
    (one,) = (await account(billing, fake)).subscriptions
    assert one.ends_at == one.period_end

    await fake.keep("ada")
    (one,) = (await account(billing, fake)).subscriptions
    assert one.ends_at is None


async def test_a_late_payment_belongs_to_the_period_it_was_for(
    billing: StripeBilling, fake: FakeStripe, now: Time
) -> None:
    await fake.subscribe("ada", "price_pro")
    now.move(timedelta(days=10))
    await fake.set_status("ada", "past_due")
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.status, one.period_start) == ("past_due", NOW + timedelta(days=10))


async def test_a_subject_is_named_by_the_subscription_if_the_customer_names_none(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    await fake.subscribe("ada", "price_pro", metadata={})
    assert (await account(billing, fake)).subject is None
    await fake.subscribe("bob", "price_pro", customer=fake.customer("ada"))
    assert (await account(billing, fake)).subject == "bob"


async def test_a_deleted_customer_has_nothing(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.delete_customer("ada")
    customer = str(fake.customer("ada"))
    assert await billing.fetch(customer) == Account(customer, deleted=True)


@pytest.mark.parametrize("customer", ["cus_nobody", "../v1/events", "", "ü\0\ud800"])
async def test_a_customer_that_never_was_is_not_taken_for_one_who_left(
    billing: StripeBilling, customer: str
) -> None:
    with pytest.raises(LookupError):
        await billing.fetch(customer)

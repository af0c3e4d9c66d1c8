"""The local Stripe itself, through the SDK: does it behave as Stripe says it does: time."""

from datetime import UTC, datetime, timedelta

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    NOW,
    Inbox,
    Time,
)


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(subscriptions, billing.policy, now=at)
    assert not warnings
    return standing.plan


async def test_periods_renew_on_the_day_they_are_counted_from(
    fake: FakeStripe, now: Time, inbox: Inbox
) -> None:
    now.now = datetime(2027, 1, 31, 9, tzinfo=UTC)
    number = await fake.subscribe("ada", "price_pro")
    ends = []
    for _ in range(4):
        line = fake.get(number)["items"]["data"][0]
        now.now = datetime.fromtimestamp(line["current_period_end"], UTC)
        ends.append((now.now.month, now.now.day))
        await fake.catch_up()
    assert ends == [(2, 28), (3, 31), (4, 30), (5, 31)]
    assert len(inbox.events) == 2 + 4


async def test_what_was_missed_is_caught_up_with(fake: FakeStripe, now: Time) -> None:
    number = await fake.subscribe("ada", "price_pro")
    now.move(timedelta(days=100))
    await fake.catch_up()
    line = fake.get(number)["items"]["data"][0]
    assert line["current_period_start"] <= now().timestamp() < line["current_period_end"]
    events = len(fake.events)
    await fake.catch_up()
    assert len(fake.events) == events


async def test_a_cancelled_subscription_ends_with_its_period(
    billing: StripeBilling, fake: FakeStripe, now: Time
) -> None:
    number = await fake.subscribe("ada", "price_pro")
    await fake.cancel("ada", at_period_end=True)
    now.now = NOW + timedelta(days=29)
    await fake.catch_up()
    assert await plan_of(billing, fake.customer("ada"), now()) == "pro"
    now.now = datetime.fromtimestamp(fake.get(number)["cancel_at"], UTC)
    assert await plan_of(billing, fake.customer("ada"), now()) == "free", "before Stripe has said so"
    await fake.catch_up()
    assert fake.get(number)["status"] == "canceled"
    assert await plan_of(billing, fake.customer("ada"), now()) == "free"


async def test_a_trial_becomes_a_subscription(billing: StripeBilling, fake: FakeStripe, now: Time) -> None:
    number = await fake.subscribe("ada", "price_pro", trial_days=7)
    (one,) = (await billing.fetch(str(fake.customer("ada")))).subscriptions
    assert (one.status, one.period_end) == ("trialing", NOW + timedelta(days=7))
    now.move(timedelta(days=7))
    await fake.catch_up()
    assert fake.get(number)["status"] == "active"
    (one,) = (await billing.fetch(str(fake.customer("ada")))).subscriptions
    assert (one.status, one.period_start) == ("active", NOW + timedelta(days=7))

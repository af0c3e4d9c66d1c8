"""The local Stripe itself, through the SDK: does it behave as Stripe says it does: mistakes in a test."""

import json
from datetime import datetime, timedelta

import anyio
import pytest

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    Time,
    fake_stripe,
)


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(subscriptions, billing.policy, now=at)
    assert not warnings
    return standing.plan


async def test_a_misspelt_price_is_told_apart(fake: FakeStripe) -> None:
    with pytest.raises(LookupError, match="did you mean 'price_pro'"):
        await fake.subscribe("ada", "price_por")
    with pytest.raises(LookupError, match="no price None, only price_starter"):
        await fake.subscribe("ada")


async def test_the_only_price_need_not_be_named(now: Time) -> None:
    fake = FakeStripe(now=now, prices=["price_9", "*"])
    number = await fake.subscribe("ada")
    assert fake.get(number)["items"]["data"][0]["price"]["id"] == "price_9"


async def test_strangers_have_nothing_to_change(fake: FakeStripe) -> None:
    assert fake.customer("bob") is None
    for change in (fake.cancel, fake.keep, fake.pause, fake.resume, fake.delete_customer):
        with pytest.raises(LookupError, match="'bob'"):
            await change("bob")
    with pytest.raises(LookupError):
        fake.get("sub_none")


async def test_a_deleted_customer_who_comes_back_is_a_new_one(fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    before = fake.customer("ada")
    await fake.delete_customer("ada")
    assert fake.customer("ada") == before
    await fake.subscribe("ada", "price_pro")
    assert fake.customer("ada") != before


def test_two_accounts_begun_at_different_times_share_no_ids(now: Time) -> None:
    first = fake_stripe(now)
    now.move(timedelta(milliseconds=1))
    second = fake_stripe(now)

    async def events() -> set[str]:
        for fake in (first, second):
            await fake.subscribe("ada", "price_pro")
        return {json.loads(json.dumps(event))["id"] for fake in (first, second) for event in fake.events}

    assert len(anyio.run(events)) == 4
    assert "2 events" in repr(first)

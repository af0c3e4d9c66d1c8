"""A trial given by hand: it outlasts the opening of a checkout, and ends as it was meant to."""

from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from skene import action, define_loop, step, trigger
from tests.runtime.shop import freemium
from tests.runtime.till import LIMITS, Till

LENGTH = timedelta(days=14)


async def on_trial() -> Till:
    till = Till().listen()
    await till.skene.set_plan("ada", "pro", until=till.clock.now() + LENGTH, paying=False)
    return till


async def follow(till: Till) -> str:
    link = till.skene.links.upgrade(subject="ada")
    return await till.skene.upgrade.follow(parse_qs(urlsplit(link).query)["token"][0])


async def test_opening_a_checkout_and_leaving_it_ends_no_trial() -> None:
    till = await on_trial()
    url = await follow(till)
    assert "cs_" in url
    assert [event["type"] for event in till.stripe.events] == ["customer.created"]
    assert till.plan() == "pro"
    assert await till.skene.billing_sync.sync(str(till.stripe.customer("ada")))
    till.clock.advance(LENGTH - timedelta(seconds=1))
    assert till.plan() == "pro"
    till.clock.advance("1s")
    assert till.plan() == "free"
    assert [c.subject for c in till.memory.conversions] == []


async def test_every_click_during_a_trial_leads_to_a_checkout() -> None:
    till = await on_trial()
    assert "cs_" in await follow(till)
    assert "cs_" in await follow(till)
    assert len(till.stripe._state.tables["customer"]) == 1


async def test_who_pays_during_a_trial_has_converted_and_is_sent_to_sign_in() -> None:
    till = await on_trial()
    await till.stripe.pay((await follow(till)).rpartition("/")[2])
    assert [c.subject for c in till.memory.conversions] == ["ada"]
    assert await follow(till) == "http://localhost:8000/skene/portal"
    till.clock.advance(LENGTH)
    assert till.plan() != "free"


async def test_a_trial_of_a_subscriptions_own_that_is_set_to_end_is_no_gift() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_starter", trial_days=14, status="trialing")
    await till.stripe.cancel("ada", at_period_end=True)
    assert await follow(till) == "http://localhost:8000/skene/portal"
    await till.stripe.cancel("ada")
    assert till.plan() == "free"


async def test_a_trial_does_not_outlast_a_customer_who_was_deleted() -> None:
    till = await on_trial()
    await follow(till)
    await till.stripe.delete_customer("ada")
    assert till.plan() == "free"


@pytest.mark.parametrize("paying", [True, None])
async def test_a_plan_that_counts_as_paid_is_replaced_by_what_stripe_says(paying: bool | None) -> None:
    till = Till().listen()
    await till.skene.set_plan("ada", "pro", until=till.clock.now() + LENGTH, paying=paying)
    await follow(till)
    await till.skene.billing_sync.sync(str(till.stripe.customer("ada")))
    assert till.plan() == "free"


async def test_the_mail_of_a_loop_has_a_link_that_sells() -> None:
    ending = define_loop(
        type="activation",
        name="trial",
        steps=[
            step(
                trigger=trigger.event("trial.ending"),
                action=action.email(
                    "trial_ending",
                    personalization={"ends_at": "2026-03-01", "upgradeUrl": "{{ upgrade_url }}"},
                ),
            )
        ],
    )
    till = Till(freemium(limits=LIMITS), ending)
    await till.skene.emit("trial.ending", "ada")
    await till.skene.worker.drain()
    (mail,) = till.mail.sent
    link = next(word for word in mail.text.split() if "/upgrade?" in word)
    assert mail.html is not None
    assert "Keep everything" in mail.html
    assert "cs_" in await till.skene.upgrade.follow(parse_qs(urlsplit(link).query)["token"][0])

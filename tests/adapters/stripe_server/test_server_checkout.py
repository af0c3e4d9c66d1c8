"""The local Stripe itself, through the SDK: does it behave as Stripe says it does: Checkout."""

from datetime import datetime

import httpx

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    Inbox,
    order,
)


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(subscriptions, billing.policy, now=at)
    assert not warnings
    return standing.plan


async def test_a_session_is_paid_once(billing: StripeBilling, fake: FakeStripe, inbox: Inbox) -> None:
    session = await billing.checkout(order(return_url="http://app.test/done"), idempotency_key="k")
    assert await fake.pay(str(session.id)) == "http://app.test/done"
    assert await fake.pay(str(session.id)) == "http://app.test/done"
    assert [event.type for event in inbox.events] == [
        "customer.created", "customer.subscription.created", "checkout.session.completed",
    ]  # fmt: skip
    assert inbox.events[-1].checkout == session.id
    assert {event.subject for event in inbox.events} == {"ada"}
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(session.url)).status_code == 410


async def test_the_webhooks_are_there_before_the_browser_is(
    billing: StripeBilling, fake: FakeStripe, inbox: Inbox
) -> None:
    session = await billing.checkout(order(), idempotency_key="k")
    async with httpx.AsyncClient() as browser:
        assert (await browser.post(session.url)).status_code == 303
    assert inbox.events[-1].type == "checkout.session.completed"


async def test_an_expired_session_cannot_be_paid(
    billing: StripeBilling, fake: FakeStripe, inbox: Inbox
) -> None:
    session = await billing.checkout(order(), idempotency_key="k")
    await fake.expire(str(session.id))
    assert inbox.events[-1].type == "checkout.session.expired"
    assert (await billing.checkout_result(str(session.id))).state != "complete"
    async with httpx.AsyncClient() as browser:
        assert (await browser.get(session.url)).status_code == 410
        assert (await browser.post(session.url)).status_code == 410
        assert (await browser.get(f"{fake.base_url}/c/pay/cs_test_none")).status_code == 404
        assert (await browser.get(f"{fake.base_url}/p/session/bps_none")).status_code == 404
        assert (await browser.post(f"{fake.base_url}/p/session/bps_none")).status_code == 400


async def test_pages_escape_what_they_show(fake: FakeStripe, http: httpx.AsyncClient) -> None:
    form = {
        "mode": "subscription", "success_url": "x", "line_items[0][price]": "price_pro",
        "cancel_url": 'http://app.test/"><script>', "customer_email": '"><script>@x',
    }  # fmt: skip
    url = (await http.post("/v1/checkout/sessions", data=form)).json()["url"]
    assert "<script>" not in (await http.get(url)).text

"""StripeBilling over HTTP, with the real SDK, against the local Stripe: portal, links, connections."""

import anyio
import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.errors import CheckoutUnavailable
from skene.ports.billing import Account
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import Time, fake_stripe, stripe_billing


async def account(billing: StripeBilling, fake: FakeStripe, subject: str = "ada") -> Account:
    customer = fake.customer(subject)
    assert customer is not None
    return await billing.fetch(customer)


async def test_the_portal_lets_people_cancel(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    url = await billing.portal(str(fake.customer("ada")), return_url="http://app.test/account")
    async with httpx.AsyncClient(follow_redirects=True) as browser:
        page = (await browser.get(url)).text
        assert "price_pro" in page
        assert "http://app.test/account" in page
        (one,) = (await account(billing, fake)).subscriptions
        assert "Keep it" in (await browser.post(url, data={"subscription": one.id, "action": "cancel"})).text
    (one,) = (await account(billing, fake)).subscriptions
    assert one.ends_at == one.period_end


async def test_no_portal_for_a_stranger(billing: StripeBilling, fake: FakeStripe) -> None:
    with pytest.raises(CheckoutUnavailable, match="no such customer"):
        await billing.portal("cus_none", return_url="http://app.test/")
    fake.fail(400)
    with pytest.raises(CheckoutUnavailable, match="set up in Stripe's dashboard"):
        await billing.portal("cus_none", return_url="http://app.test/")


async def test_closing_twice_and_going_on(billing: StripeBilling, fake: FakeStripe) -> None:
    await billing.aclose()
    await fake.subscribe("ada", "price_pro")
    assert (await account(billing, fake)).subscriptions
    await billing.aclose()
    await billing.aclose()
    assert (await account(billing, fake)).subscriptions


async def test_without_a_network(now: Time) -> None:
    fake = fake_stripe(now)
    billing = stripe_billing(fake, base_url=None, transport=httpx.ASGITransport(fake.app))
    await fake.subscribe("ada", "price_pro")
    assert [one.plan for one in (await account(billing, fake)).subscriptions] == ["pro"]
    await billing.aclose()


@pytest.mark.parametrize("other", ["asyncio", "trio"])
async def test_one_billing_in_two_event_loops_at_once(
    billing: StripeBilling, fake: FakeStripe, other: str
) -> None:
    await fake.subscribe("ada", "price_pro")

    async def use() -> Account:
        found = await account(billing, fake)
        await billing.aclose()  # this loop's connections, no other's
        return found

    first = await account(billing, fake)
    assert await anyio.to_thread.run_sync(lambda: anyio.run(use, backend=other)) == first
    assert await account(billing, fake) == first

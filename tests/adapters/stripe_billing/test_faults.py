"""StripeBilling over HTTP, with the real SDK, against the local Stripe: faults."""

import traceback
from datetime import timedelta

import anyio
import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.errors import BillingUnavailable
from skene.ports.billing import Account
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import order, stripe_billing


async def account(billing: StripeBilling, fake: FakeStripe, subject: str = "ada") -> Account:
    customer = fake.customer(subject)
    assert customer is not None
    return await billing.fetch(customer)


async def test_an_outage(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    fake.down = True
    with pytest.raises(BillingUnavailable, match="status 503"):
        await account(billing, fake)
    fake.down = False
    assert (await account(billing, fake)).subscriptions


@pytest.mark.parametrize("status", [500, 502, 503])
async def test_a_short_outage_is_not_even_noticed(
    billing: StripeBilling, fake: FakeStripe, status: int
) -> None:
    await fake.subscribe("ada", "price_pro")
    fake.fail(status, path="/v1/subscriptions")
    assert (await account(billing, fake)).subscriptions


@pytest.mark.parametrize(
    ("asked", "told"), [(timedelta(seconds=7), timedelta(seconds=7)), (timedelta(days=9), None), (None, None)]
)
async def test_too_many_requests(
    billing: StripeBilling, fake: FakeStripe, asked: timedelta | None, told: timedelta | None
) -> None:
    await fake.subscribe("ada", "price_pro")
    fake.fail(429, times=2, retry_after=asked)
    with pytest.raises(BillingUnavailable, match="429") as caught:
        await account(billing, fake)
    assert caught.value.retry_after == told


@pytest.mark.parametrize(("status", "said"), [(401, "api_key"), (403, "permission")])
async def test_a_key_that_is_refused_is_named_by_its_setting_only(
    billing: StripeBilling, fake: FakeStripe, status: int, said: str
) -> None:
    fake.fail(status, times=2)
    with pytest.raises(BillingUnavailable, match=said) as caught:
        await billing.fetch("cus_1")
    told = "".join(traceback.format_exception(caught.value))
    assert fake.api_key not in told
    assert "StripeError" not in told


async def test_a_request_that_stripe_refuses_for_another_reason(
    billing: StripeBilling, fake: FakeStripe
) -> None:
    fake.fail(400, times=2)
    with pytest.raises(BillingUnavailable, match="status 400"):
        await billing.fetch("cus_1")
    fake.fail(400)
    with pytest.raises(BillingUnavailable, match="status 400"):
        await billing.checkout_result("cs_test_1")


async def test_a_slow_stripe_is_given_up_in_time(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    fake.delay = 5
    began = anyio.current_time()
    with pytest.raises(BillingUnavailable, match=r"within 0\.3 s"):
        await billing.fetch(str(fake.customer("ada")), timeout=timedelta(seconds=0.3))
    assert anyio.current_time() - began < 0.6


async def test_every_call_has_the_deadline(fake: FakeStripe) -> None:
    billing = stripe_billing(fake, timeout=timedelta(seconds=0.2))
    fake.delay = 3
    with anyio.fail_after(1.5):
        with pytest.raises(BillingUnavailable, match="did not answer"):
            await billing.fetch("cus_1")
        with pytest.raises(BillingUnavailable, match="did not answer"):
            await billing.checkout(order(), idempotency_key="k")
        with pytest.raises(BillingUnavailable, match="did not answer"):
            await billing.checkout_result("cs_test_1")
        with pytest.raises(BillingUnavailable, match="did not answer"):
            await billing.portal("cus_1", return_url="http://app.test/")
    await billing.aclose()


async def test_the_callers_own_deadline_stays_the_callers(billing: StripeBilling, fake: FakeStripe) -> None:
    fake.delay = 3
    with anyio.move_on_after(0.1) as scope:
        await billing.fetch("cus_1")
    assert scope.cancelled_caught


async def test_no_stripe_at_all(fake: FakeStripe) -> None:
    billing = stripe_billing(fake, base_url="http://127.0.0.1:1", timeout=timedelta(seconds=4))
    with pytest.raises(BillingUnavailable, match="cannot be reached"):
        await billing.fetch("cus_1")
    await billing.aclose()


@pytest.mark.parametrize(
    "body", [b"", b"null", b"[]", b'"x"', b"7", b"<html>", b"\xff\xfe", b"[" * 100_000, b"{}"]
)
async def test_answers_that_are_not_stripes(fake: FakeStripe, body: bytes) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=body)

    billing = stripe_billing(fake, transport=httpx.MockTransport(answer))
    with pytest.raises(BillingUnavailable):
        await billing.fetch("cus_1")
    with pytest.raises(BillingUnavailable):
        await billing.checkout(order(), idempotency_key="k")
    with pytest.raises(BillingUnavailable):
        await billing.portal("cus_1", return_url="http://app.test/")
    await billing.aclose()


async def test_answers_of_the_right_form_that_are_something_else(fake: FakeStripe) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        found = {"id": "x_1", "object": "list", "data": [], "has_more": False, "url": None}
        return httpx.Response(200, json=found)

    billing = stripe_billing(fake, transport=httpx.MockTransport(answer))
    with pytest.raises(BillingUnavailable):
        await billing.fetch("cus_1")
    with pytest.raises(BillingUnavailable):
        await billing.checkout(order(), idempotency_key="k")
    with pytest.raises(BillingUnavailable):
        await billing.checkout_result("cs_test_1")
    await billing.aclose()


@pytest.mark.parametrize("time", [10**20, -(10**20), None, True, "soon"])
async def test_a_time_that_cannot_be_one_is_left_out(
    billing: StripeBilling, fake: FakeStripe, time: object
) -> None:
    number = await fake.subscribe("ada", "price_pro")
    fake.get(number)["billing_cycle_anchor"] = time
    (one,) = (await account(billing, fake)).subscriptions
    assert (one.plan, one.anchor) == ("pro", None)

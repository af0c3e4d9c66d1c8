"""StripeBilling over HTTP, with the real SDK, against the local Stripe: checkout."""

import anyio
import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.errors import BillingUnavailable, CheckoutUnavailable
from skene.ports.billing import Account
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import order, stripe_billing


async def account(billing: StripeBilling, fake: FakeStripe, subject: str = "ada") -> Account:
    customer = fake.customer(subject)
    assert customer is not None
    return await billing.fetch(customer)


async def test_a_checkout_from_the_click_to_the_plan(billing: StripeBilling, fake: FakeStripe) -> None:
    session = await billing.checkout(order(), idempotency_key="click 1")
    assert session.url == f"{fake.base_url}/c/pay/{session.id}"
    assert session.customer == fake.customer("ada")
    before = await billing.checkout_result(str(session.id))
    assert (before.state, before.customer, before.subject, before.wall) == (
        "open", session.customer, "ada", "wall_1",
    )  # fmt: skip

    async with httpx.AsyncClient() as browser:
        assert "Pay 20.00 USD" in (await browser.get(session.url)).text
        paid = await browser.post(session.url, data={"email": "ada@acme.test"})
    assert paid.status_code == 303
    assert paid.headers["location"] == f"http://app.test/skene/checkout/return?session_id={session.id}"

    after = await billing.checkout_result(str(session.id))
    assert (after.state, after.customer, after.subject, after.wall) == (
        "complete", session.customer, "ada", "wall_1",
    )  # fmt: skip
    found = await billing.fetch(str(after.customer))
    assert [one.plan for one in found.subscriptions] == ["starter"]
    assert (found.subject, found.email) == ("ada", "ada@acme.test")


async def test_what_stripe_is_told(billing: StripeBilling, fake: FakeStripe) -> None:
    session = await billing.checkout(order(), idempotency_key="k")
    told = {call.path: call.params for call in fake.requests}
    assert told["/v1/customers"] == {"email": "ada@acme.test", "metadata": {"skene_subject": "ada"}}
    names = {"skene_subject": "ada", "skene_wall": "wall_1"}
    assert told["/v1/checkout/sessions"] == {
        "mode": "subscription",
        "line_items": [{"price": "price_starter", "quantity": "1"}],
        "client_reference_id": "ada",
        "customer": session.customer,
        "metadata": names,
        "subscription_data": {"metadata": names},
        "success_url": order().return_url,
        "cancel_url": order().cancel_url,
    }


@pytest.mark.parametrize(
    "subject", ["a/b", "ada@acme.test", "ünï", "with space", "x" * 201, "sha256:0a", "🦉"]
)
async def test_an_odd_id_goes_in_the_metadata_alone(
    billing: StripeBilling, fake: FakeStripe, subject: str
) -> None:
    session = await billing.checkout(order(subject), idempotency_key="k")
    assert "client_reference_id" not in fake.requests[-1].params
    assert (await billing.checkout_result(str(session.id))).subject == subject


async def test_without_a_wall_none_is_named(billing: StripeBilling) -> None:
    session = await billing.checkout(order(wall=None), idempotency_key="k")
    assert (await billing.checkout_result(str(session.id))).wall is None


async def test_a_known_customer_is_kept(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    session = await billing.checkout(order(customer=fake.customer("ada")), idempotency_key="k")
    assert session.customer == fake.customer("ada")
    assert [call.path for call in fake.requests] == ["/v1/checkout/sessions"]


async def test_a_customer_who_was_deleted_is_replaced(billing: StripeBilling, fake: FakeStripe) -> None:
    await fake.subscribe("ada", "price_pro")
    gone = fake.customer("ada")
    await fake.delete_customer("ada")
    session = await billing.checkout(order(customer=gone), idempotency_key="k")
    assert session.customer not in (None, gone)
    assert (await billing.fetch(str(session.customer))).subject == "ada"


async def test_a_fresh_customer_who_was_deleted_is_replaced(billing: StripeBilling, fake: FakeStripe) -> None:
    first = await billing.checkout(order(), idempotency_key="click 1")
    await fake.delete_customer("ada")
    second = await billing.checkout(order(), idempotency_key="click 2")
    assert second.customer not in (None, first.customer)


async def test_impatient_clicks_make_one_customer(billing: StripeBilling, fake: FakeStripe) -> None:
    found: set[str | None] = set()

    async def click(number: int) -> None:
        found.add((await billing.checkout(order(), idempotency_key=f"click {number}")).customer)

    async with anyio.create_task_group() as clicks:
        for number in range(5):
            clicks.start_soon(click, number)
    assert len(found) == 1
    assert [event["type"] for event in fake.events] == ["customer.created"]


async def test_the_same_click_twice_is_one_session(billing: StripeBilling) -> None:
    first = await billing.checkout(order(), idempotency_key="click")
    assert await billing.checkout(order(), idempotency_key="click") == first
    assert await billing.checkout(order(), idempotency_key="another") != first


async def test_a_changed_order_with_the_same_key_is_no_conflict(billing: StripeBilling) -> None:
    first = await billing.checkout(order(), idempotency_key="click")
    assert await billing.checkout(order(wall="wall_2"), idempotency_key="click") != first


@pytest.mark.parametrize("email", ["not an address", None, ""])
async def test_no_address_or_a_bad_one_stands_in_nobodys_way(
    billing: StripeBilling, fake: FakeStripe, email: str | None
) -> None:
    session = await billing.checkout(order(email=email), idempotency_key="k")
    assert (await billing.fetch(str(session.customer))).email is None


@pytest.mark.parametrize(
    ("plans", "more", "sold"),
    [
        ({"pro_yearly": "pro", "price_pro": "pro", "price_team": "team"}, {}, "price_pro"),
        ({"price_pro": "pro"}, {"checkout_price": "price_team"}, "price_team"),
        ({"pro_yearly": "pro"}, {}, "price_for_pro_yearly"),
        ({"prod_gold": "gold", "pro_yearly": "pro"}, {}, "price_of_prod_gold"),
        ({"*": "paid"}, {"checkout_price": "pro_yearly"}, "price_for_pro_yearly"),
        ({"price_starter": "free", "price_pro": "pro"}, {}, "price_pro"),
    ],
)
async def test_what_is_sold(fake: FakeStripe, plans: dict[str, str], more: dict[str, str], sold: str) -> None:
    billing = stripe_billing(fake, plans, **more)
    await billing.checkout(order(), idempotency_key="k")
    assert fake.requests[-1].params["line_items"][0]["price"] == sold
    asked = len(fake.requests)
    await billing.checkout(order(), idempotency_key="k 2")
    assert len(fake.requests) - asked == 2, "what a key stands for is asked once"
    await billing.aclose()


@pytest.mark.parametrize(
    ("plans", "said"),
    [
        ({"*": "paid"}, "checkout_price"),
        ({"no_such_key": "paid"}, "no active price with the lookup key 'no_such_key'"),
        ({"prod_bare": "paid"}, "the product 'prod_bare' has no default price"),
        ({"prod_none": "paid"}, "refuses to sell 'prod_none'.*resource_missing"),
        ({"price_none": "paid"}, r"refuses to sell 'price_none'.*line_items\[0\]\[price\]"),
        ({"price_once": "paid"}, "refuses to sell 'price_once'"),
    ],
)
async def test_what_cannot_be_sold(fake: FakeStripe, plans: dict[str, str], said: str) -> None:
    fake.add_price("price_once", interval="")
    fake.add_price("price_b", product="prod_bare")
    fake.get("prod_bare")["default_price"] = None
    billing = stripe_billing(fake, plans)
    with pytest.raises(CheckoutUnavailable, match=said):
        await billing.checkout(order(), idempotency_key="k")
    await billing.aclose()


async def test_promotion_codes_are_asked_for_if_wished(fake: FakeStripe) -> None:
    billing = stripe_billing(fake, allow_promotion_codes=True)
    await billing.checkout(order(), idempotency_key="k")
    assert fake.requests[-1].params["allow_promotion_codes"] == "true"
    await billing.aclose()


async def test_a_customer_that_stripe_does_not_take(billing: StripeBilling, fake: FakeStripe) -> None:
    fake.fail(400, path="/v1/customers")
    with pytest.raises(CheckoutUnavailable, match="status 400"):
        await billing.checkout(order(), idempotency_key="k")


async def test_an_outage_at_the_checkout(billing: StripeBilling, fake: FakeStripe) -> None:
    fake.down = True
    with pytest.raises(BillingUnavailable):
        await billing.checkout(order(), idempotency_key="k")


@pytest.mark.parametrize(
    "session", ["cs_test_none", "", "cs_", "../customers", "cs_test_1?expand[]=customer", "é", "\0"]
)
async def test_a_session_that_never_was(billing: StripeBilling, fake: FakeStripe, session: str) -> None:
    with pytest.raises(LookupError):
        await billing.checkout_result(session)
    assert all(call.path == "/v1/checkout/sessions/cs_test_none" for call in fake.requests)

"""StripeBilling over HTTP, with the real SDK, against the local Stripe."""

import traceback
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta

import anyio
import httpx
import pytest
import stripe

from skene.adapters.stripe import StripeBilling
from skene.errors import BillingUnavailable, CheckoutUnavailable
from skene.ports.billing import Account, Billing
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import NOW, Switchboard, Time, fake_stripe, order, stripe_billing, switchboard


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def board() -> Iterator[tuple[Switchboard, str]]:
    with switchboard() as running:
        yield running


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def fake(board: tuple[Switchboard, str], now: Time) -> FakeStripe:
    made = fake_stripe(now, base_url=board[1])
    board[0].app = made.app
    return made


@pytest.fixture
async def billing(fake: FakeStripe) -> AsyncIterator[StripeBilling]:
    made = stripe_billing(fake)
    yield made
    await made.aclose()


@pytest.fixture(autouse=True)
def impatient_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)


async def account(billing: StripeBilling, fake: FakeStripe, subject: str = "ada") -> Account:
    customer = fake.customer(subject)
    assert customer is not None
    return await billing.fetch(customer)


async def test_it_is_a_billing(billing: StripeBilling) -> None:
    port: Billing = billing
    assert port.plans == ("starter", "pro", "team")
    assert (port.default, port.grace) == ("free", timedelta(days=14))


# --- fetch -----------------------------------------------------------------------------------------


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


# --- faults ----------------------------------------------------------------------------------------


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


# --- checkout --------------------------------------------------------------------------------------


async def test_a_checkout_from_the_click_to_the_plan(billing: StripeBilling, fake: FakeStripe) -> None:
    session = await billing.checkout(order(), idempotency_key="click 1")
    assert session.url == f"{fake.base_url}/c/pay/{session.id}"
    assert session.customer == fake.customer("ada")
    before = await billing.checkout_result(str(session.id))
    assert (before.complete, before.customer, before.subject, before.wall) == (
        False, session.customer, "ada", "wall_1",
    )  # fmt: skip

    async with httpx.AsyncClient() as browser:
        assert "Pay 20.00 USD" in (await browser.get(session.url)).text
        paid = await browser.post(session.url, data={"email": "ada@acme.test"})
    assert paid.status_code == 303
    assert paid.headers["location"] == f"http://app.test/skene/checkout/return?session_id={session.id}"

    after = await billing.checkout_result(str(session.id))
    assert (after.complete, after.customer, after.subject, after.wall) == (
        True, session.customer, "ada", "wall_1",
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


# --- portal, links, connections --------------------------------------------------------------------


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

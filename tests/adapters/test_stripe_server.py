"""The local Stripe itself, through the SDK: does it behave as Stripe says it does?"""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import anyio
import httpx
import pytest
import stripe

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    NOW,
    Inbox,
    Switchboard,
    Time,
    fake_stripe,
    order,
    stripe_billing,
    switchboard,
)


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


@pytest.fixture
def inbox(fake: FakeStripe, billing: StripeBilling, now: Time) -> Inbox:
    made = Inbox(billing, now)
    fake.connect(made)
    return made


@pytest.fixture
async def http(fake: FakeStripe) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {fake.api_key}"}
    async with httpx.AsyncClient(base_url=fake.base_url, headers=headers, trust_env=False) as client:
        yield client


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(
        subscriptions, plans=billing.plans, default="free", grace=timedelta(days=14), now=at
    )
    assert not warnings
    return standing.plan


# --- the API ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given", [{}, {"authorization": "Bearer sk_test_other"}, {"authorization": "Basic x"}]
)
async def test_only_the_key_opens_the_api(fake: FakeStripe, given: dict[str, str]) -> None:
    async with httpx.AsyncClient(base_url=fake.base_url, headers=given) as client:
        answer = await client.get("/v1/customers")
    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.headers["request-id"].startswith("req_")


async def test_errors_have_stripes_form(http: httpx.AsyncClient) -> None:
    answer = await http.get("/v1/customers/cus_none")
    assert answer.status_code == 404
    assert answer.json() == {
        "error": {
            "code": "resource_missing",
            "message": "No such customer: 'cus_none'",
            "param": "id",
            "type": "invalid_request_error",
        }
    }


@pytest.mark.parametrize(
    ("path", "form", "param"),
    [
        ("/v1/customers", {"emial": "ada@acme.test"}, "emial"),
        ("/v1/customers", {"expand[0]": "subscriptions"}, "expand"),
        ("/v1/customers", {"email": "ada"}, "email"),
        ("/v1/customers", {"metadata": "x"}, "metadata"),
        ("/v1/customers", {"metadata": "x", "metadata[a]": "b"}, "metadata[a]"),
        ("/v1/customers", {"metadata[a]": "x" * 501}, "metadata[a]"),
        ("/v1/customers", {f"metadata[{'k' * 41}]": "x"}, "metadata"),
        ("/v1/customers", {f"metadata[{n}]": "x" for n in range(100, 151)}, "metadata"),
        ("/v1/subscriptions", {"customer": "cus_none", "items[0][price]": "price_pro"}, "customer"),
        ("/v1/subscriptions", {"customer": "cus_none"}, "items"),
        ("/v1/checkout/sessions", {"mode": "payment"}, "mode"),
        ("/v1/checkout/sessions", {"mode": "subscription"}, "success_url"),
        ("/v1/checkout/sessions", {"mode": "subscription", "success_url": "x"}, "line_items"),
        ("/v1/billing_portal/sessions", {"customer": "cus_none"}, "customer"),
    ],
)  # fmt: skip
async def test_requests_that_stripe_refuses(
    http: httpx.AsyncClient, path: str, form: dict[str, str], param: str
) -> None:
    answer = await http.post(path, data=form)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


async def test_a_session_is_for_a_customer_or_an_address_but_not_both(http: httpx.AsyncClient) -> None:
    form = {
        "mode": "subscription",
        "success_url": "x",
        "customer": "cus_1",
        "customer_email": "ada@acme.test",
    }
    assert (
        "only specify one" in (await http.post("/v1/checkout/sessions", data=form)).json()["error"]["message"]
    )
    long = {"mode": "subscription", "success_url": "x", "client_reference_id": "x" * 201}
    assert (await http.post("/v1/checkout/sessions", data=long)).json()["error"][
        "param"
    ] == "client_reference_id"


async def test_an_idempotency_key_is_good_for_one_request(http: httpx.AsyncClient, fake: FakeStripe) -> None:
    key = {"idempotency-key": "once"}
    first = await http.post("/v1/customers", data={"email": "ada@acme.test"}, headers=key)
    again = await http.post("/v1/customers", data={"email": "ada@acme.test"}, headers=key)
    assert again.json() == first.json()
    assert (first.headers.get("idempotent-replayed"), again.headers["idempotent-replayed"]) == (None, "true")
    assert len(fake.events) == 1

    for path, form in [("/v1/customers", {"email": "bob@acme.test"}), ("/v1/billing_portal/sessions", {})]:
        other = await http.post(path, data=form, headers=key)
        assert (other.status_code, other.json()["error"]["type"]) == (400, "idempotency_error")
    long = await http.post("/v1/customers", data={}, headers={"idempotency-key": "k" * 256})
    assert long.status_code == 400


async def test_a_request_that_failed_can_be_sent_again_with_its_key(
    http: httpx.AsyncClient, fake: FakeStripe
) -> None:
    fake.down = True
    assert (await http.post("/v1/customers", data={}, headers={"idempotency-key": "k"})).status_code == 503
    fake.down = False
    assert (await http.post("/v1/customers", data={}, headers={"idempotency-key": "k"})).status_code == 200


async def test_lists_come_in_pages_newest_first(http: httpx.AsyncClient, fake: FakeStripe) -> None:
    made = [(await http.post("/v1/customers", data={})).json()["id"] for _ in range(25)]
    newest_first = made[::-1]

    async def page(**params: Any) -> tuple[list[str], bool]:
        answer = (await http.get("/v1/customers", params=params)).json()
        assert (answer["object"], answer["url"]) == ("list", "/v1/customers")
        return [one["id"] for one in answer["data"]], answer["has_more"]

    assert await page() == (newest_first[:10], True)
    assert await page(limit=25) == (newest_first, False)
    assert await page(limit=10, starting_after=newest_first[9]) == (newest_first[10:20], True)
    assert await page(limit=10, starting_after=newest_first[14]) == (newest_first[15:], False)
    assert await page(limit=10, ending_before=newest_first[12]) == (newest_first[2:12], True)
    assert await page(limit=10, ending_before=newest_first[4]) == (newest_first[:4], False)
    for wrong in ({"limit": 0}, {"limit": 101}, {"limit": "x"}, {"starting_after": "cus_none"}):
        assert (await http.get("/v1/customers", params=wrong)).status_code == 400


async def test_the_operations_that_skene_itself_does_not_need(fake: FakeStripe) -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(fake.app), base_url="http://x") as client:
        client.headers["authorization"] = f"Bearer {fake.api_key}"

        async def ask(method: str, path: str, **form: str) -> Any:
            answer = await client.request(
                method, path, **({"data": form} if method == "POST" else {"params": form})
            )
            return answer.json()

        ada = await ask(
            "POST", "/v1/customers", email="ada@acme.test", **{"metadata[team]": "a", "metadata[b]": "c"}
        )
        changed = await ask(
            "POST", f"/v1/customers/{ada['id']}", name="Ada", **{"metadata[b]": "", "metadata[d]": "e"}
        )
        assert (changed["name"], changed["metadata"]) == ("Ada", {"team": "a", "d": "e"})
        assert (await ask("GET", "/v1/customers", email="ada@acme.test"))["data"] == [changed]
        sub = await ask(
            "POST", "/v1/subscriptions", customer=ada["id"], trial_period_days="7",
            **{"items[0][price]": "price_pro", "items[0][quantity]": "2"},
        )  # fmt: skip
        assert (sub["status"], sub["items"]["data"][0]["quantity"]) == ("trialing", 2)
        path = f"/v1/subscriptions/{sub['id']}"
        moved = await ask(
            "POST", path, cancel_at_period_end="true", **{"items[0][price]": "price_team", "metadata[x]": "y"}
        )
        assert moved["items"]["data"][0]["price"]["id"] == "price_team"
        assert (moved["cancel_at_period_end"], moved["metadata"]) == (True, {"x": "y"})
        assert "error" in await ask(
            "POST", path, **{"items[0][id]": "si_none", "items[0][price]": "price_team"}
        )
        assert (await ask("POST", f"{path}/pause"))["status"] == "paused"
        assert (await ask("POST", f"{path}/resume"))["status"] == "active"
        assert "error" in await ask("POST", f"{path}/resume")
        assert [one["id"] for one in (await ask("GET", "/v1/subscriptions", price="price_team"))["data"]] == [
            sub["id"]
        ]
        assert (await ask("DELETE", path))["status"] == "canceled"
        assert "error" in await ask("DELETE", path)
        assert (await ask("GET", "/v1/subscriptions"))["data"] == []
        assert len((await ask("GET", "/v1/subscriptions", status="canceled"))["data"]) == 1
        assert len((await ask("GET", "/v1/products"))["data"]) == 5
        assert (await ask("GET", "/v1/prices/price_pro"))["unit_amount"] == 2000
        assert (await ask("DELETE", f"/v1/customers/{ada['id']}"))["deleted"] is True
        assert "error" in await ask("DELETE", f"/v1/customers/{ada['id']}")
        events = (await ask("GET", "/v1/events", limit="100"))["data"]
        assert events == fake.events[::-1]
        assert (await ask("GET", f"/v1/events/{events[0]['id']}")) == events[0]
        assert "error" in await ask("GET", "/v1/events/evt_none")
        assert len((await ask("GET", "/v1/events", type="customer.created"))["data"]) == 1
        assert (await client.get("/v1/nothing")).status_code == 404


async def test_objects_have_no_field_that_stripe_does_not_have(
    billing: StripeBilling, fake: FakeStripe, http: httpx.AsyncClient
) -> None:
    number = await fake.subscribe("ada", "price_pro")
    session = await billing.checkout(order(), idempotency_key="k")
    await billing.portal(str(fake.customer("ada")), return_url="http://app.test/")
    portal = next(call for call in fake.requests if "portal" in call.path)
    assert portal.params["return_url"] == "http://app.test/"
    for made, kind in [
        (fake.get(str(fake.customer("ada"))), stripe.Customer),
        (fake.get("price_pro"), stripe.Price),
        (fake.get("prod_pro"), stripe.Product),
        (fake.get(number), stripe.Subscription),
        (fake.get(number)["items"]["data"][0], stripe.SubscriptionItem),
        (fake.get(str(session.id)), stripe.checkout.Session),
        (fake.events[0], stripe.Event),
    ]:
        known = {name.rstrip("_") for name in kind.__annotations__}
        assert set(made) <= known, kind.__name__
    assert "current_period_end" not in fake.get(number)


# --- Checkout --------------------------------------------------------------------------------------


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
    assert not (await billing.checkout_result(str(session.id))).complete
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


# --- webhooks --------------------------------------------------------------------------------------


async def test_every_change_is_told_in_order(fake: FakeStripe, inbox: Inbox) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.cancel("ada", at_period_end=True)
    await fake.keep("ada")
    await fake.switch_price("ada", "price_team")
    await fake.set_status("ada", "past_due")
    await fake.set_status("ada", "active")
    await fake.pause("ada")
    await fake.resume("ada")
    await fake.cancel("ada")
    await fake.subscribe("ada", "price_pro")
    await fake.set_status("ada", "canceled")
    await fake.subscribe("ada", "price_pro")
    await fake.delete_customer("ada")
    changes = [event.type.removeprefix("customer.") for event in inbox.events]
    assert changes == [
        "created", "subscription.created",
        *["subscription.updated"] * 6,  # end set, end taken back, price, late, its period, paid
        "subscription.paused", "subscription.updated", "subscription.resumed", "subscription.updated",
        "subscription.deleted", "subscription.created", "subscription.deleted",
        "subscription.created", "subscription.deleted", "deleted",
    ]  # fmt: skip
    assert {event.customer for event in inbox.events} == {fake.customer("ada")}
    assert len({event.id for event in inbox.events}) == len(inbox.events)
    assert fake.events[2]["data"]["previous_attributes"]["cancel_at_period_end"] is False


async def test_lost_webhooks_can_be_sent_again(fake: FakeStripe, inbox: Inbox) -> None:
    fake.webhooks_dropped = True
    await fake.subscribe("ada", "price_pro")
    assert inbox.events == []
    assert fake.undelivered == fake.events
    assert not await fake.redeliver()

    fake.webhooks_dropped = False
    inbox.status = 500
    assert not await fake.redeliver()
    assert fake.undelivered == fake.events
    inbox.status = 200
    assert await fake.redeliver()
    assert (fake.undelivered, len(inbox.events)) == ([], 4)
    assert await fake.send(fake.events[0])


async def test_an_application_that_is_not_there_gets_its_webhooks_later(
    fake: FakeStripe, inbox: Inbox
) -> None:
    fake.connect("http://127.0.0.1:1/webhooks")
    await fake.subscribe("ada", "price_pro")
    assert len(fake.undelivered) == 2
    fake.connect(inbox)
    assert await fake.redeliver()
    assert len(inbox.events) == 2


async def test_without_an_endpoint_webhooks_are_only_recorded(now: Time) -> None:
    fake = fake_stripe(now)
    await fake.subscribe("ada", "price_pro")
    assert (len(fake.events), fake.undelivered) == (2, [])
    assert not await fake.send(fake.events[0])


async def test_webhooks_travel_over_the_network(billing: StripeBilling, now: Time) -> None:
    got: list[tuple[bytes, dict[str, str]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            got.append(((await receive())["body"], headers))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with serving(app) as url:
        fake = fake_stripe(now, webhook_url=f"{url}/skene/webhooks/stripe")
        await fake.subscribe("ada", "price_pro")
    assert fake.undelivered == []
    events = [billing.parse_webhook(body, headers, now()) for body, headers in got]
    assert [event.subject for event in events] == ["ada", "ada"]


async def test_after_any_order_of_events_the_truth_is_read(
    billing: StripeBilling, fake: FakeStripe, now: Time
) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.switch_price("ada", "price_team")
    await fake.cancel("ada", at_period_end=True)
    await fake.cancel("ada")
    truth = await plan_of(billing, fake.customer("ada"), NOW)
    seen: list[str] = []

    async def apply(body: bytes, headers: Any) -> int:
        event = billing.parse_webhook(body, headers, now())
        seen.append(await plan_of(billing, event.customer, NOW))
        return 200

    fake.connect(apply)
    orders = list(permutations(fake.events[1:]))
    assert len(orders) == 24
    for events in orders:
        for event in (*events, events[0]):
            assert await fake.send(event)
    assert set(seen) == {truth} == {"free"}


# --- time ------------------------------------------------------------------------------------------


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


# --- mistakes in a test ----------------------------------------------------------------------------


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

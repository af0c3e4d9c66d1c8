"""The local Stripe itself, through the SDK: does it behave as Stripe says it does: the API."""

from datetime import datetime
from typing import Any

import httpx
import pytest
import stripe

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    order,
)


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(subscriptions, billing.policy, now=at)
    assert not warnings
    return standing.plan


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
    await fake.refund("ada", 500)
    await fake.dispute("ada")
    tables = fake._state.tables
    for made, kind in [
        *((made, stripe.Invoice) for made in tables["invoice"].values()),
        *((made, stripe.Charge) for made in tables["charge"].values()),
        *((made, stripe.Refund) for made in tables["refund"].values()),
        *((made, stripe.Dispute) for made in tables["dispute"].values()),
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

"""Whose payment it is: what skene wrote into custom data, and what anybody could have."""

import json
from typing import Any

import pytest

from skene.adapters.paddle import PaddleBilling
from skene.ports.billing import BillingEvent, Refund
from skene.testing.billing_conformance.base import order
from skene.testing.paddle_server import FakePaddle
from tests.support.billing_drivers import paddle_billing
from tests.support.stripe_kit import NOW

FAKE = FakePaddle(now=lambda: NOW, prices=["pri_starter", "pri_pro"])
BILLING = paddle_billing(FAKE)
OURS = BILLING.custom_data("ada", "wall-1")


def parse(kind: str, billing: PaddleBilling = BILLING, **data: Any) -> BillingEvent:
    event = {"event_id": "evt_1", "event_type": kind, "occurred_at": "2026-11-20T12:00:00Z", "data": data}
    body = json.dumps(event).encode()
    return billing.parse_webhook(body, FAKE.headers(body), NOW)


def test_what_skene_wrote_names_subject_and_wall() -> None:
    found = parse("subscription.created", id="sub_1", customer_id="ctm_1", custom_data=OURS)
    assert found == BillingEvent("evt_1", "subscription.created", "ctm_1", "ada", "wall-1", at=NOW)
    assert parse("subscription.created", custom_data=BILLING.custom_data("ada")).wall is None


@pytest.mark.parametrize(
    "forged",
    [
        {"skene_subject": "ada"},
        {"skene_subject": "ada", "skene_proof": ""},
        {"skene_subject": "ada", "skene_proof": "0" * 64},
        {"skene_subject": "ada", "skene_proof": "\ud800"},
        {**OURS, "skene_subject": "eve"},
        {**OURS, "skene_wall": "wall-2"},
        {key: value for key, value in OURS.items() if key != "skene_wall"},
        BILLING.custom_data('ada","wall-1'),
        PaddleBilling("a1" * 25, "pdl_ntfset_another0accounts0secret", {"*": "paid"}).custom_data(
            "ada", "wall-1"
        ),
    ],
)
def test_what_anybody_could_have_written_names_nobody(forged: dict[str, str]) -> None:
    """A visitor opens a checkout with custom data of their own, in the page, with the token that is there."""
    found = parse("subscription.created", id="sub_1", customer_id="ctm_1", custom_data=forged)
    assert found.subject in (None, 'ada","wall-1')
    assert found.wall is None
    assert found.customer == "ctm_1"


async def test_a_forged_subscription_gives_its_payer_nothing_in_another_name() -> None:
    await FAKE.subscribe("eve", "pri_pro", custom_data={"skene_subject": "victim", "skene_proof": "0" * 64})
    account = await BILLING.fetch(FAKE.customer("eve") or "")
    assert account.subject == "eve"


def test_a_customers_own_custom_data_is_the_apis_alone_and_needs_no_proof() -> None:
    found = parse("customer.updated", id="ctm_1", custom_data={"skene_subject": "ada", "skene_wall": "w"})
    assert found == BillingEvent("evt_1", "customer.updated", "ctm_1", "ada", at=NOW)


@pytest.mark.parametrize(
    ("kind", "origin", "checkout"),
    [
        ("transaction.completed", "api", "txn_1"),
        ("transaction.paid", "web", "txn_1"),
        ("transaction.completed", "subscription_recurring", None),
        ("transaction.created", "api", None),
        ("subscription.created", None, None),
    ],
)
def test_a_renewal_is_no_checkout(kind: str, origin: str | None, checkout: str | None) -> None:
    assert parse(kind, id="txn_1", customer_id="ctm_1", origin=origin).checkout == checkout


TOTALS = {"total": "500", "currency_code": "EUR"}


@pytest.mark.parametrize(
    ("changes", "refund"),
    [
        ({}, Refund("adj_1", 500, "eur")),
        ({"status": "pending_approval"}, None),
        ({"status": "rejected"}, None),
        ({"action": "credit"}, None),
        ({"action": "chargeback"}, None),
        ({"totals": {**TOTALS, "total": "-5"}}, None),
        ({"totals": {**TOTALS, "total": "5.5"}}, None),
        ({"totals": {**TOTALS, "total": "٥"}}, None),
        ({"totals": {**TOTALS, "total": "9" * 5000}}, None),
        ({"totals": {"total": "500"}}, None),
        ({"totals": None}, None),
    ],
)
def test_what_was_given_back_once_it_is_approved(changes: dict[str, Any], refund: Refund | None) -> None:
    data = {"id": "adj_1", "action": "refund", "status": "approved", "totals": TOTALS, **changes}
    found = parse("adjustment.updated", customer_id="ctm_1", transaction_id="txn_1", **data)
    assert (found.refund, found.customer, found.payment) == (refund, "ctm_1", None)
    nameless = parse("adjustment.updated", transaction_id="txn_1", **data)
    assert (nameless.customer, nameless.payment) == (None, "txn_1")


@pytest.mark.parametrize("kind", ["product.updated", "payout.paid", "api_key.created", "some.thing_new"])
def test_an_event_of_another_kind_concerns_nobody(kind: str) -> None:
    assert parse(kind, id="x_1", custom_data=None) == BillingEvent("evt_1", kind, None, at=NOW)


def test_while_a_secret_is_exchanged_either_signature_will_do() -> None:
    body = json.dumps({"event_id": "evt_1", "event_type": "product.updated", "data": {}}).encode()
    stamp, _, good = FAKE.headers(body)["paddle-signature"].partition(";")
    for header in (f"{stamp};h1={'0' * 64};{good}", f"{stamp};{good};h1={'0' * 64}", f" {stamp} ; {good} "):
        assert BILLING.parse_webhook(body, {"paddle-signature": header}, NOW).id == "evt_1"


# --- checkouts -------------------------------------------------------------------------------------


async def test_the_page_is_the_default_link_or_the_one_that_is_set() -> None:
    fake = FakePaddle(now=lambda: NOW, prices=["pri_starter", "pri_pro"])
    plain = await paddle_billing(fake).checkout(order(), idempotency_key="k")
    assert plain.url == f"http://app.test/pay?_ptxn={plain.id}"
    own = paddle_billing(fake, checkout_page="https://acme.test/pay?lang=en")
    made = await own.checkout(order(), idempotency_key="k")
    assert made.url == f"https://acme.test/pay?lang=en&_ptxn={made.id}"
    assert (await own.checkout_result(made.id or "")).url == made.url


async def test_an_archived_customer_buys_again() -> None:
    fake = FakePaddle(now=lambda: NOW, prices=["pri_starter", "pri_pro"])
    billing = paddle_billing(fake)
    known = await fake.add_customer("ada", "ada@acme.test")
    await fake.archive("ada")
    made = await billing.checkout(order(customer=known), idempotency_key="k")
    assert made.customer is None
    await fake.pay(made.id or "", "ada@new.test")
    result = await billing.checkout_result(made.id or "")
    assert (result.state, result.paid, result.subject, result.wall) == ("complete", True, "ada", "wall-1")


@pytest.mark.parametrize(
    ("status", "state", "paid"),
    [
        ("draft", "open", False),
        ("ready", "open", False),
        ("billed", "complete", False),
        ("past_due", "complete", False),
        ("paid", "complete", True),
        ("completed", "complete", True),
        ("canceled", "expired", False),
    ],
)
async def test_the_status_of_a_transaction_is_the_state_of_a_checkout(
    status: str, state: str, paid: bool
) -> None:
    made = await BILLING.checkout(order("bob"), idempotency_key="k")
    FAKE.get(made.id or "")["status"] = status
    result = await BILLING.checkout_result(made.id or "")
    assert (result.state, result.paid) == (state, paid)
    assert (result.url is not None) is (state == "open")

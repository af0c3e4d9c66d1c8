"""Webhooks: what is read from them, and that nothing but a refusal comes of hostile ones."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
import stripe
from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.stripe import StripeBilling
from skene.errors import WebhookRejected
from skene.ports.billing import BillingEvent
from tests.support.stripe_kit import NOW

KEY = "sk_test_51Abcdefghijklmnop"
SECRET = "whsec_0123456789abcdefABCDEF"
BILLING = StripeBilling(KEY, SECRET, {"*": "paid"})
SUBSCRIPTION = {
    "id": "sub_1",
    "object": "subscription",
    "customer": "cus_1",
    "metadata": {"skene_subject": "ada", "skene_wall": "wall_1"},
}


def event(
    source: Any = SUBSCRIPTION, kind: str = "customer.subscription.updated", **more: Any
) -> dict[str, Any]:
    made = {"id": "evt_1", "object": "event", "type": kind, "livemode": False, "data": {"object": source}}
    return {**made, **more}


def signed(body: bytes, *, secret: str = SECRET, age: float = 0) -> Mapping[str, str]:
    at = int(NOW.timestamp() - age)
    if body.isascii():
        made = stripe.WebhookSignature.generate_signature_header(body.decode(), secret, timestamp=at)
        return {"stripe-signature": made}
    # The SDK signs text only.
    mac = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={at},v1={mac}"}


def parse(source: Any, billing: StripeBilling = BILLING, **how: Any) -> BillingEvent:
    body = source if isinstance(source, bytes) else json.dumps(source).encode()
    return billing.parse_webhook(body, signed(body, **how), NOW)


def rejection(source: Any, billing: StripeBilling = BILLING, **how: Any) -> WebhookRejected:
    with pytest.raises(WebhookRejected) as caught:
        parse(source, billing, **how)
    return caught.value


def header_rejection(header: str | None, body: bytes = b"{}") -> WebhookRejected:
    with pytest.raises(WebhookRejected) as caught:
        BILLING.parse_webhook(body, {} if header is None else {"stripe-signature": header}, NOW)
    return caught.value


# --- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["created", "updated", "deleted", "paused", "resumed", "trial_will_end"])
def test_a_subscription_event_names_customer_subject_and_wall(change: str) -> None:
    kind = f"customer.subscription.{change}"
    assert parse(event(kind=kind)) == BillingEvent("evt_1", kind, "cus_1", "ada", "wall_1")


@pytest.mark.parametrize("end", ["completed", "async_payment_succeeded", "async_payment_failed", "expired"])
def test_a_checkout_event_names_its_session_too(end: str) -> None:
    source = {
        "id": "cs_test_1",
        "object": "checkout.session",
        "customer": "cus_1",
        "client_reference_id": "ada",
        "metadata": {"skene_wall": "wall_1"},
    }
    kind = f"checkout.session.{end}"
    assert parse(event(source, kind)) == BillingEvent("evt_1", kind, "cus_1", "ada", "wall_1", "cs_test_1")


def test_the_metadata_outranks_the_reference() -> None:
    source = {
        "object": "checkout.session",
        "client_reference_id": "bob",
        "metadata": {"skene_subject": "ada/é"},
    }
    assert parse(event(source)).subject == "ada/é"


def test_the_reference_in_a_payment_link_is_the_visitors_own_invention() -> None:
    source = {
        "object": "checkout.session",
        "client_reference_id": "ada",
        "payment_link": "plink_1",
        "customer": "c",
    }
    assert parse(event(source)) == BillingEvent("evt_1", "customer.subscription.updated", "c")


def test_a_reference_means_nothing_on_other_objects() -> None:
    assert parse(event({"object": "charge", "client_reference_id": "ada"})).subject is None


@pytest.mark.parametrize("change", ["created", "updated", "deleted"])
def test_a_customer_event_is_about_the_customer(change: str) -> None:
    source = {"id": "cus_1", "object": "customer", "metadata": {"skene_subject": "ada"}}
    assert parse(event(source, f"customer.{change}")).customer == "cus_1"
    assert parse(event(source, f"customer.{change}")).subject == "ada"


def test_an_invoice_names_the_subject_through_its_subscription() -> None:
    source = {
        "object": "invoice",
        "customer": "cus_1",
        "metadata": {},
        "parent": {"subscription_details": {"metadata": {"skene_subject": "ada"}, "subscription": "sub_1"}},
    }
    found = parse(event(source, "invoice.paid"))
    assert (found.customer, found.subject) == ("cus_1", "ada")


@pytest.mark.parametrize("source", [{"object": "charge", "customer": {"id": "cus_1", "object": "customer"}}])
def test_an_expanded_customer_is_a_customer(source: dict[str, Any]) -> None:
    assert parse(event(source, "charge.refunded")).customer == "cus_1"


@pytest.mark.parametrize(
    "source", [{}, None, [], "x", 7, {"customer": None}, {"customer": []}, {"customer": 7}, {"customer": ""},
               {"customer": {}}, {"metadata": []}, {"metadata": {"skene_subject": 7, "skene_wall": []}},
               {"object": "price"}, {"object": "invoice", "parent": "x"}],
)  # fmt: skip
def test_an_event_of_another_kind_concerns_nobody(source: Any) -> None:
    assert parse(event(source, "some.thing_new")) == BillingEvent("evt_1", "some.thing_new", None)


def test_an_event_of_an_account_connected_to_ours_concerns_nobody() -> None:
    assert parse(event(account="acct_1")) == BillingEvent("evt_1", "customer.subscription.updated", None)


@pytest.mark.parametrize("wall", ["", "a b", "x" * 256, "é", "\0", "\ud800"])
def test_a_wall_that_cannot_be_one_is_left_out(wall: str) -> None:
    source = {**SUBSCRIPTION, "metadata": {"skene_wall": wall}}
    assert parse(event(source)).wall is None


# --- mode ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "live", "said"),
    [
        ("sk_live_51Abcdef", False, "a test event, but api_key is a live key"),
        ("rk_live_51Abcdef", False, "a test event, but api_key is a live key"),
        ("sk_test_51Abcdef", True, "a live event, but api_key is a test key"),
    ],
)
def test_an_event_of_the_other_mode_is_refused(key: str, live: bool, said: str) -> None:
    billing = StripeBilling(key, SECRET, {"*": "paid"})
    refused = rejection(event(livemode=live), billing)
    assert refused.status == 400
    assert said in str(refused)
    assert parse(event(livemode=not live), billing).customer == "cus_1"


def test_a_key_that_does_not_say_its_mode_takes_both() -> None:
    billing = StripeBilling("sk_51Abcdef", SECRET, {"*": "paid"})
    assert parse(event(livemode=True), billing) == parse(event(livemode=False), billing)


@pytest.mark.parametrize("mode", [None, "false", 0, "", []])
def test_an_event_that_does_not_say_its_mode_is_refused(mode: Any) -> None:
    assert rejection(event(livemode=mode)).status == 400


# --- signatures ------------------------------------------------------------------------------------


def test_a_signature_of_another_secret_is_refused() -> None:
    refused = rejection(event(), secret=SECRET + "x")
    assert refused.status == 401
    assert SECRET not in str(refused)


def test_the_first_of_two_secrets_while_one_is_rolled_is_enough() -> None:
    body = json.dumps(event()).encode()
    old = signed(body, secret="whsec_old")["stripe-signature"]
    new = signed(body)["stripe-signature"].partition(",")[2]
    headers = {"stripe-signature": f"{old},{new},v0=ignored"}
    assert BILLING.parse_webhook(body, headers, NOW).id == "evt_1"


@pytest.mark.parametrize("change", [b" ", b"}", b"x"])
def test_one_byte_more_is_another_body(change: bytes) -> None:
    body = json.dumps(event()).encode()
    with pytest.raises(WebhookRejected) as caught:
        BILLING.parse_webhook(body + change, signed(body), NOW)
    assert caught.value.status == 401


def test_every_changed_byte_of_body_and_header_is_noticed() -> None:
    body = json.dumps(event()).encode()
    header = signed(body)["stripe-signature"]
    for place in range(len(body)):
        changed = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        assert header_rejection(header, changed).status == 401
    for place in range(2, len(header)):
        changed_header = header[:place] + chr(ord(header[place]) ^ 1) + header[place + 1 :]
        assert header_rejection(changed_header, body).status in (400, 401)


HEADERS = [
    *[None, "", ",", "=", "t", "t=", "v1=", "t=1", "v1=00", "\0", "\ud800"],
    *["t=,v1=", "t=x,v1=00", "t=1.5,v1=00", "t=-1,v1=00", "t=1_0,v1=00", "t=١٢٣,v1=00"],
    *["t=9999999999999,v1=00", f"t={'9' * 4000},v1=00", f"t={'9' * 5000},v1=00"],
    *["t=1,v0=00", "t=1,t=2,v1=00", "t=1,v1=" + "0" * 5000, "t=1" * 3000],
    ",".join(["t=1", *["v1=" + "0" * 64] * 10_000]),
]


@pytest.mark.parametrize("header", HEADERS, ids=range(len(HEADERS)))
def test_a_malformed_header_is_refused(header: str | None) -> None:
    assert header_rejection(header).status == 400


@pytest.mark.parametrize("value", ["", "0", "é" * 64, "\udc80", "=", "00=00", " "])
def test_a_signature_that_cannot_be_one_does_not_match(value: str) -> None:
    assert header_rejection(f"t={int(NOW.timestamp())},v1={value}").status == 401


@pytest.mark.parametrize("age", [-300, -1, 0, 1, 300])
def test_within_the_tolerance_either_way(age: int) -> None:
    assert parse(event(), age=age).id == "evt_1"


@pytest.mark.parametrize(
    ("age", "said"), [(301, "past"), (10**9, "past"), (-301, "future"), (-(10**10), "future")]
)
def test_outside_the_tolerance_either_way(age: int, said: str) -> None:
    refused = rejection(event(), age=age)
    assert refused.status == 400
    assert said in str(refused)


def test_the_tolerance_can_be_set() -> None:
    strict = StripeBilling(KEY, SECRET, {"*": "paid"}, webhook_tolerance=timedelta(seconds=1))
    assert parse(event(), strict, age=1).id == "evt_1"
    assert "past" in str(rejection(event(), strict, age=2))


# --- bodies ----------------------------------------------------------------------------------------

BODIES = {
    "empty": b"",
    "not UTF-8": b"\xff\xfe\xfa",
    "half a character": b'{"id":"\xc3',
    "null": b"null",
    "list": b"[]",
    "string": b'"event"',
    "number": b"7",
    "not a number": b"NaN",
    "true": b"true",
    "no JSON": b"<html>",
    "two documents": b"{}{}",
    "cut off": json.dumps(event()).encode()[:-1],
    "byte order mark": b"\xef\xbb\xbf{",
    "nested lists": b"[" * 200_000,
    "closed nested lists": b"[" * 200_000 + b"]" * 200_000,
    "nested objects": b'{"a":' * 200_000,
    "long number": b'{"id":' + b"9" * 10_000 + b"}",
    "NUL": b"\0",
    "surrogates in UTF-16": json.dumps(event()).encode("utf-16-le")[:7],
    "no event": b"{}",
    "another object": b'{"object":"charge"}',
    "thin event": json.dumps({"object": "v2.core.event", "id": "evt_1", "type": "v1.billing.meter"}).encode(),
    "cloud envelope": json.dumps({"detail": event()}).encode(),
    "id missing": json.dumps(event(id=None)).encode(),
    "id empty": json.dumps(event(id="")).encode(),
    "id too long": json.dumps(event(id="e" * 256)).encode(),
    "id with NUL": json.dumps(event(id="evt_\0")).encode(),
    "id with a surrogate": json.dumps(event(id="evt_\ud800")).encode(),
    "id a number": json.dumps(event(id=1)).encode(),
    "type missing": json.dumps(event(type=None)).encode(),
    "type with a new line": json.dumps(event(type="a\nb")).encode(),
    "customer with a surrogate": json.dumps(event({"customer": "\udfff"})).encode(),
    "customer too long": json.dumps(event({"customer": "c" * 256})).encode(),
}


@pytest.mark.parametrize("name", BODIES)
def test_an_authentic_body_that_is_no_event_is_refused(name: str) -> None:
    assert rejection(BODIES[name]).status == 400


@pytest.mark.parametrize("name", BODIES)
def test_and_so_is_one_that_is_not_authentic(name: str) -> None:
    assert rejection(BODIES[name], secret="whsec_another0secret000000").status == 401


def test_a_thin_event_is_told_apart() -> None:
    assert "snapshot events" in str(rejection(BODIES["thin event"]))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
fields = st.sampled_from(
    ["id", "object", "type", "livemode", "data", "account", "customer", "metadata", "parent"]
)


@given(st.binary(max_size=200), st.text(max_size=200) | st.none())
def test_any_bytes_with_any_header_are_refused(body: bytes, header: str | None) -> None:
    assert header_rejection(header, body).status in (400, 401)


@given(st.binary(max_size=200))
def test_any_authentic_bytes_are_refused(body: bytes) -> None:
    assert rejection(body).status == 400


@given(st.dictionaries(fields, json_values), st.dictionaries(fields, json_values))
def test_any_authentic_json_is_read_or_refused(outside: dict[str, Any], inside: dict[str, Any]) -> None:
    with suppress(WebhookRejected):
        found = parse({**event(inside), **outside})
        assert found.id
        assert found.type
        return
    assert rejection({**event(inside), **outside}).status == 400

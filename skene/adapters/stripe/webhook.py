"""Verifies and reads Stripe's webhooks.

The signature is checked here, over the bytes as received, and not by the SDK: that one decodes the body
before verifying it, accepts times in the future, reads the wall clock, and lets other exceptions out.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from skene.adapters.signing import SignatureScheme, clean_identifier, identifier, json_object
from skene.adapters.stripe.reading import SUBJECT_KEY, WALL_KEY, Json, instant, mapping, reference, text
from skene.errors import WebhookRejected
from skene.ports.billing import BillingEvent, Refund

__all__ = ["read_event", "reduce_event", "verify"]

_SCHEME = SignatureScheme("Stripe-Signature", ",", "t", "v1", b".")


def verify(body: bytes, headers: Mapping[str, str], secret: str, tolerance: timedelta, now: datetime) -> None:
    """Check that Stripe signed these very bytes, lately; see `SignatureScheme.verify`.

    Raises:
        WebhookRejected: 401 if the signature is not ours, 400 for everything else.
    """
    _SCHEME.verify(body, headers, secret, tolerance, now)


def read_event(body: bytes, livemode: bool | None) -> BillingEvent:
    """Reduce an authentic body to whom it is about.

    Args:
        body: verified.
        livemode: the mode of our key; None if that cannot be told.

    Raises:
        WebhookRejected: it is no event, or one of the other mode.
    """
    return reduce_event(json_object(body), livemode)


def reduce_event(event: Json, livemode: bool | None) -> BillingEvent:
    """Reduce an event to whom it is about; see `read_event`."""
    if event.get("object") == "v2.core.event":
        raise WebhookRejected("this is a thin event; let the endpoint send snapshot events")
    if event.get("object") != "event":
        raise WebhookRejected("the body is not a Stripe event")
    _check_mode(event.get("livemode"), livemode)
    kind = identifier(event.get("type"), "type")
    number = identifier(event.get("id"), "id")
    if event.get("account"):  # happened on an account connected to ours: none of our customers
        return BillingEvent(number, kind, None)
    source = mapping(mapping(event.get("data")).get("object"))
    customer = source.get("id") if source.get("object") == "customer" else reference(source.get("customer"))
    metadata = _metadata(source)
    return BillingEvent(
        id=number,
        type=kind,
        customer=None if customer is None else identifier(customer, "customer"),
        subject=subject_of(source, metadata),
        wall=clean_identifier(metadata.get(WALL_KEY)),
        checkout=clean_identifier(source.get("id")) if kind.startswith("checkout.session.") else None,
        payment=None if customer is not None else _payment(source),
        refund=_refund(source) if kind == "charge.refunded" else None,
        at=instant(event.get("created")),
    )


def _payment(source: Json) -> str | None:
    """The payment that a dispute or a refund is about: these name no customer."""
    if source.get("object") not in ("dispute", "refund"):
        return None
    return clean_identifier(reference(source.get("charge")) or reference(source.get("payment_intent")))


def _refund(source: Json) -> Refund | None:
    """What was given back of a charge, all in all: every refund of it is told of with the whole charge."""
    payment, amount, currency = (
        clean_identifier(source.get("id")),
        source.get("amount_refunded"),
        source.get("currency"),
    )
    if payment is None or isinstance(amount, bool) or not isinstance(amount, int) or amount < 0:
        return None
    return Refund(payment, amount, currency.lower()) if isinstance(currency, str) and currency else None


def subject_of(source: Json, metadata: Mapping[str, Any]) -> str | None:
    """The subject an object names.

    The reference of a session that came from a payment link is left alone: whoever opens one can put
    anything there. So is that of a session that sells no subscription: it may number an order.
    """
    named = text(metadata.get(SUBJECT_KEY))
    if named is not None or source.get("object") != "checkout.session":
        return named
    if source.get("payment_link") or source.get("mode", "subscription") != "subscription":
        return None
    return text(source.get("client_reference_id"))


def _metadata(source: Json) -> Json:
    if source.get("object") == "invoice":  # carries its subscription's metadata one level down
        return mapping(mapping(mapping(source.get("parent")).get("subscription_details")).get("metadata"))
    return mapping(source.get("metadata"))


def _check_mode(given: object, ours: bool | None) -> None:
    if not isinstance(given, bool):
        raise WebhookRejected("the event does not say whether it is live")
    if ours is not None and given is not ours:
        modes = {True: "live", False: "test"}
        raise WebhookRejected(f"a {modes[given]} event, but api_key is a {modes[ours]} key")

"""Verifies and reads Stripe's webhooks.

The signature is checked here, over the bytes as received, and not by the SDK: that one decodes the body
before verifying it, accepts times in the future, reads the wall clock, and lets other exceptions out.
"""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from skene.adapters.stripe.reading import SUBJECT_KEY, WALL_KEY, Json, mapping, reference, text
from skene.errors import WebhookRejected
from skene.ports.billing import BillingEvent, Refund

__all__ = ["read_event", "verify"]

_MAX_HEADER = 4096  # characters; Stripe sends one or two signatures, some 160 characters
_IDENTIFIER = re.compile(r"[!-~]{1,255}")
_SIGNED_AT = re.compile(r"[0-9]{1,12}")


def verify(body: bytes, header: str | None, secret: str, tolerance: timedelta, now: datetime) -> None:
    """Check that Stripe signed these very bytes, lately.

    Args:
        body: as received.
        header: the `Stripe-Signature` header.
        secret: the endpoint's signing secret.
        tolerance: how far the time-stamp may lie from `now`, in the past or in the future.
        now: aware UTC.

    Raises:
        WebhookRejected: 401 if the signature is not ours, 400 for everything else.
    """
    if not header:
        raise WebhookRejected("there is no Stripe-Signature header")
    if len(header) > _MAX_HEADER:
        raise WebhookRejected("the Stripe-Signature header is too long")
    parts = [part.strip().partition("=") for part in header.split(",")]
    times = [value for name, _, value in parts if name == "t"]
    signatures = [value for name, _, value in parts if name == "v1"]
    if len(times) != 1 or not _SIGNED_AT.fullmatch(times[0]) or not signatures:
        raise WebhookRejected("the Stripe-Signature header is malformed")
    mac = hmac.new(secret.encode(), times[0].encode() + b"." + body, hashlib.sha256).hexdigest().encode()
    if not any(hmac.compare_digest(mac, value.encode("utf-8", "replace")) for value in signatures):
        raise WebhookRejected(
            "the signature does not match: is webhook_secret this endpoint's own?", status=401
        )
    age = now.timestamp() - int(times[0])
    if abs(age) > tolerance.total_seconds():
        when = "past" if age > 0 else "future"
        raise WebhookRejected(f"the webhook was signed too far in the {when}: is this machine's clock right?")


def read_event(body: bytes, livemode: bool | None) -> BillingEvent:
    """Reduce an authentic body to whom it is about.

    Args:
        body: verified.
        livemode: the mode of our key; None if that cannot be told.

    Raises:
        WebhookRejected: it is no event, or one of the other mode.
    """
    try:
        # RecursionError: nested too deeply. ValueError: neither UTF-8 nor JSON, or a number too long.
        event = mapping(json.loads(body))
    except (ValueError, RecursionError):
        raise WebhookRejected("the body is not JSON") from None
    if event.get("object") == "v2.core.event":
        raise WebhookRejected("this is a thin event; let the endpoint send snapshot events")
    if event.get("object") != "event":
        raise WebhookRejected("the body is not a Stripe event")
    _check_mode(event.get("livemode"), livemode)
    kind = _identifier(event.get("type"), "type")
    number = _identifier(event.get("id"), "id")
    if event.get("account"):  # happened on an account connected to ours: none of our customers
        return BillingEvent(number, kind, None)
    source = mapping(mapping(event.get("data")).get("object"))
    customer = source.get("id") if source.get("object") == "customer" else reference(source.get("customer"))
    metadata = _metadata(source)
    return BillingEvent(
        id=number,
        type=kind,
        customer=None if customer is None else _identifier(customer, "customer"),
        subject=subject_of(source, metadata),
        wall=_clean(metadata.get(WALL_KEY)),
        checkout=_clean(source.get("id")) if kind.startswith("checkout.session.") else None,
        payment=None if customer is not None else _payment(source),
        refund=_refund(source) if kind == "charge.refunded" else None,
    )


def _payment(source: Json) -> str | None:
    """The payment that a dispute or a refund is about: these name no customer."""
    if source.get("object") not in ("dispute", "refund"):
        return None
    return _clean(reference(source.get("charge")) or reference(source.get("payment_intent")))


def _refund(source: Json) -> Refund | None:
    """What was given back of a charge, all in all: every refund of it is told of with the whole charge."""
    payment, amount, currency = (
        _clean(source.get("id")),
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


def _identifier(value: object, field: str) -> str:
    if not isinstance(value, str) or not _IDENTIFIER.fullmatch(value):
        raise WebhookRejected(f"the event's {field} is not an identifier")
    return value


def _clean(value: object) -> str | None:
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None

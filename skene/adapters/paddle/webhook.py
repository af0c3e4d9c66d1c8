"""Verifies and reads Paddle's webhooks."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from skene.adapters.paddle.naming import Naming
from skene.adapters.paddle.reading import SUBJECT_KEY, Json, instant, mapping, text
from skene.adapters.signing import SignatureScheme, clean_identifier, identifier, json_object
from skene.errors import WebhookRejected
from skene.ports.billing import BillingEvent, Refund

__all__ = ["read_event", "read_webhook"]

_SCHEME = SignatureScheme("Paddle-Signature", ";", "ts", "h1", b":")
_CHECKOUT_ORIGINS = ("api", "web")  # others are renewals and changes of a subscription


def read_webhook(
    body: bytes,
    headers: Mapping[str, str],
    *,
    secret: str,
    tolerance: timedelta,
    now: datetime,
    naming: Naming,
) -> BillingEvent:
    """Verify a webhook and reduce it to whom it is about.

    Args:
        body: as received.
        headers: with lower-case names.
        secret: the notification destination's secret key.
        tolerance: how far the time-stamp may lie from `now`, either way.
        now: aware UTC.
        naming: reads the names in custom data.

    Raises:
        WebhookRejected: 401 if the signature is not ours, 400 for everything else.
    """
    _SCHEME.verify(body, headers, secret, tolerance, now)
    event = json_object(body)
    if "event_type" not in event or not isinstance(event.get("data"), dict):
        raise WebhookRejected("the body is not a Paddle event")
    return read_event(event, naming)


def read_event(event: Json, naming: Naming) -> BillingEvent:
    """Reduce an authentic event, from a webhook or the list of events, to whom it is about.

    Raises:
        WebhookRejected: it is no event.
    """
    kind = identifier(event.get("event_type"), "event_type")
    number = identifier(event.get("event_id"), "event_id")
    source = mapping(event.get("data"))
    entity = kind.partition(".")[0]
    customer = source.get("id") if entity == "customer" else source.get("customer_id")
    custom = mapping(source.get("custom_data"))
    # Only the API writes a customer's custom data, so it needs no proof.
    subject, wall = (text(custom.get(SUBJECT_KEY)), None) if entity == "customer" else naming.read(custom)
    begun = (
        kind in ("transaction.paid", "transaction.completed") and source.get("origin") in _CHECKOUT_ORIGINS
    )
    return BillingEvent(
        id=number,
        type=kind,
        customer=None if customer is None else identifier(customer, "customer"),
        subject=subject,
        wall=clean_identifier(wall),
        checkout=clean_identifier(source.get("id")) if begun else None,
        payment=clean_identifier(source.get("transaction_id")) if customer is None else None,
        refund=_refund(source) if entity == "adjustment" else None,
        at=instant(event.get("occurred_at")),
    )


def _refund(source: Json) -> Refund | None:
    """What an adjustment gave back, once Paddle has approved it.

    Paddle tells of one adjustment at a time and never of their sum, so each counts as a payment of its own:
    several in part add up, and one that is told of twice counts once.
    """
    number, totals = clean_identifier(source.get("id")), mapping(source.get("totals"))
    amount, currency = text(totals.get("total")), text(totals.get("currency_code"))
    if source.get("action") != "refund" or source.get("status") != "approved" or number is None:
        return None
    if currency is None or amount is None or not (amount.isascii() and amount.isdigit() and len(amount) < 18):
        return None
    return Refund(number, int(amount), currency.lower())

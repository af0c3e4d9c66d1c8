"""Stripe's objects as its API writes them (version 2026-10-28), reduced to what anybody here reads.

Fields that never vary are left out; those that are there have Stripe's names and types. Billing periods live
on a subscription's items and nowhere else.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

__all__ = [
    "API_VERSION",
    "Obj",
    "billing_cycle",
    "charge",
    "checkout_session",
    "customer",
    "entitlement",
    "event",
    "feature",
    "invoice",
    "listing",
    "meter",
    "meter_event",
    "portal_session",
    "price",
    "product",
    "subscription",
    "subscription_item",
]

API_VERSION = "2026-10-28.endive"

Obj: TypeAlias = dict[str, Any]


def customer(number: str, created: int, email: str | None, name: str | None, metadata: Obj) -> Obj:
    """A customer."""
    return {
        "id": number,
        "object": "customer",
        "balance": 0,
        "created": created,
        "currency": None,
        "delinquent": False,
        "description": None,
        "email": email,
        "livemode": False,
        "metadata": metadata,
        "name": name,
        "phone": None,
        "preferred_locales": [],
        "tax_exempt": "none",
    }


def product(number: str, created: int, name: str) -> Obj:
    """A product without a default price."""
    return {
        "id": number,
        "object": "product",
        "active": True,
        "created": created,
        "default_price": None,
        "description": None,
        "livemode": False,
        "metadata": {},
        "name": name,
        "type": "service",
        "updated": created,
    }


def price(
    number: str,
    created: int,
    of_product: str,
    amount: int,
    currency: str,
    interval: str,
    lookup_key: str | None,
) -> Obj:
    """A recurring price per unit; `interval` is empty for a price that is paid once."""
    recurring = {
        "interval": interval,
        "interval_count": 1,
        "meter": None,
        "trial_period_days": None,
        "usage_type": "licensed",
    }
    return {
        "id": number,
        "object": "price",
        "active": True,
        "billing_scheme": "per_unit",
        "created": created,
        "currency": currency,
        "livemode": False,
        "lookup_key": lookup_key,
        "metadata": {},
        "nickname": None,
        "product": of_product,
        "recurring": recurring if interval else None,
        "tax_behavior": "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if interval else "one_time",
        "unit_amount": amount,
        "unit_amount_decimal": str(amount),
    }


def subscription(number: str, created: int, of_customer: str, currency: str, metadata: Obj) -> Obj:
    """An active subscription without items."""
    return {
        "id": number,
        "object": "subscription",
        "automatic_tax": {"disabled_reason": None, "enabled": False, "liability": None},
        "billing_cycle_anchor": created,
        "cancel_at": None,
        "cancel_at_period_end": False,
        "canceled_at": None,
        "cancellation_details": {"comment": None, "feedback": None, "reason": None},
        "collection_method": "charge_automatically",
        "created": created,
        "currency": currency,
        "customer": of_customer,
        "discounts": [],
        "ended_at": None,
        "items": listing([], f"/v1/subscription_items?subscription={number}"),
        "latest_invoice": None,
        "livemode": False,
        "metadata": metadata,
        "pause_collection": None,
        "schedule": None,
        "start_date": created,
        "status": "active",
        "trial_end": None,
        "trial_start": None,
    }


def subscription_item(
    number: str, created: int, of_subscription: str, of_price: Obj, quantity: int, period: tuple[int, int]
) -> Obj:
    """An item of a subscription, in its current period."""
    return {
        "id": number,
        "object": "subscription_item",
        "created": created,
        "current_period_end": period[1],
        "current_period_start": period[0],
        "discounts": [],
        "metadata": {},
        "price": of_price,
        "quantity": quantity,
        "subscription": of_subscription,
        "tax_rates": [],
    }


def checkout_session(number: str, created: int, url: str, params: Obj) -> Obj:
    """An open Checkout session for a subscription, as the parameters of its creation ask."""
    return {
        "id": number,
        "object": "checkout.session",
        "allow_promotion_codes": params.get("allow_promotion_codes") == "true" or None,
        "amount_total": None,
        "cancel_url": params.get("cancel_url"),
        "client_reference_id": params.get("client_reference_id"),
        "created": created,
        "currency": None,
        "customer": params.get("customer"),
        "customer_details": None,
        "customer_email": params.get("customer_email"),
        "expires_at": created + 86_400,
        "invoice": None,
        "livemode": False,
        "metadata": params.get("metadata", {}),
        "mode": params["mode"],
        "payment_intent": None,
        "payment_link": None,
        "payment_method_types": ["card"],
        "payment_status": "unpaid",
        "status": "open",
        "subscription": None,
        "success_url": params.get("success_url"),
        "ui_mode": "hosted_page",
        "url": url,
    }


def portal_session(number: str, created: int, of_customer: str, return_url: str | None, url: str) -> Obj:
    """A session of the customer portal."""
    return {
        "id": number,
        "object": "billing_portal.session",
        "configuration": "bpc_default",
        "created": created,
        "customer": of_customer,
        "flow": None,
        "livemode": False,
        "locale": None,
        "on_behalf_of": None,
        "return_url": return_url,
        "url": url,
    }


def invoice(number: str, created: int, of_subscription: Obj, total: int) -> Obj:
    """An invoice that nobody has paid yet."""
    details = {"metadata": of_subscription["metadata"], "subscription": of_subscription["id"]}
    return {
        "id": number,
        "object": "invoice",
        "created": created,
        "currency": of_subscription["currency"],
        "customer": of_subscription["customer"],
        "livemode": False,
        "metadata": {},
        "parent": {"subscription_details": details, "type": "subscription_details"},
        "status": "open",
        "total": total,
    }


def charge(number: str, created: int, intent: str, of_invoice: Obj) -> Obj:
    """A payment of an invoice that came through."""
    return {
        "id": number,
        "object": "charge",
        "amount": of_invoice["total"],
        "amount_refunded": 0,
        "created": created,
        "currency": of_invoice["currency"],
        "customer": of_invoice["customer"],
        "disputed": False,
        "livemode": False,
        "metadata": {},
        "paid": True,
        "payment_intent": intent,
        "refunded": False,
        "status": "succeeded",
    }


def event(number: str, created: int, kind: str, source: Obj, previous: Obj | None) -> Obj:
    """What is sent to webhooks and kept for `GET /v1/events`."""
    data: Obj = {"object": source}
    if previous is not None:
        data["previous_attributes"] = previous
    return {
        "id": number,
        "object": "event",
        "api_version": API_VERSION,
        "created": created,
        "data": data,
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def meter(number: str, created: int, display_name: str, event_name: str) -> Obj:
    """A billing meter that adds up the values of its events."""
    return {
        "id": number,
        "object": "billing.meter",
        "created": created,
        "customer_mapping": {"event_payload_key": "stripe_customer_id", "type": "by_id"},
        "default_aggregation": {"formula": "sum"},
        "display_name": display_name,
        "event_name": event_name,
        "event_time_window": None,
        "livemode": False,
        "status": "active",
        "status_transitions": {"deactivated_at": None},
        "updated": created,
        "value_settings": {"event_payload_key": "value"},
    }


def meter_event(identifier: str, created: int, event_name: str, payload: Obj, timestamp: int) -> Obj:
    """Use that was reported."""
    return {
        "object": "billing.meter_event",
        "created": created,
        "event_name": event_name,
        "identifier": identifier,
        "livemode": False,
        "payload": payload,
        "timestamp": timestamp,
    }


def feature(number: str, lookup_key: str) -> Obj:
    """Something that products can entitle to."""
    return {
        "id": number,
        "object": "entitlements.feature",
        "active": True,
        "livemode": False,
        "lookup_key": lookup_key,
        "metadata": {},
        "name": lookup_key,
    }


def entitlement(number: str, of_feature: Obj) -> Obj:
    """What a customer is entitled to at present."""
    return {
        "id": number,
        "object": "entitlements.active_entitlement",
        "feature": of_feature["id"],
        "livemode": False,
        "lookup_key": of_feature["lookup_key"],
    }


def listing(data: Sequence[Obj], url: str, has_more: bool = False) -> Obj:
    """One page of a list."""
    return {"object": "list", "data": list(data), "has_more": has_more, "url": url}


def billing_cycle(of_price: Obj) -> tuple[str, int]:
    """The interval a price recurs in, and how many of them."""
    recurring = of_price["recurring"]
    return recurring["interval"], recurring["interval_count"]

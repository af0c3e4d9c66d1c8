"""Paddle's entities as its API writes them (version 1), reduced to what anybody here reads.

Fields that never vary are left out; those that are there have Paddle's names and types.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

__all__ = [
    "Obj",
    "add_cycle",
    "adjustment",
    "customer",
    "item",
    "parsed",
    "price",
    "subscription",
    "transaction",
    "written",
]

Obj: TypeAlias = dict[str, Any]


def written(moment: datetime) -> str:
    """A time as Paddle writes it."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parsed(moment: str) -> datetime:
    """The same, read."""
    return datetime.fromisoformat(moment)


def add_cycle(start: datetime, cycle: Obj) -> datetime:
    """The end of the period that begins at `start`."""
    days = {"day": 1, "week": 7}.get(cycle["interval"])
    if days is not None:
        return start + timedelta(days=days * cycle["frequency"])
    months = start.month - 1 + cycle["frequency"] * (12 if cycle["interval"] == "year" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    following = datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)
    return start.replace(year=year, month=month, day=min(start.day, (following - timedelta(days=1)).day))


def price(number: str, of_product: str, amount: int, currency: str, interval: str, trial_days: int) -> Obj:
    """A recurring price per unit."""
    return {
        "id": number,
        "product_id": of_product,
        "type": "standard",
        "description": number,
        "name": number,
        "billing_cycle": {"interval": interval, "frequency": 1},
        "trial_period": {"interval": "day", "frequency": trial_days} if trial_days else None,
        "tax_mode": "account_setting",
        "unit_price": {"amount": str(amount), "currency_code": currency},
        "unit_price_overrides": [],
        "quantity": {"minimum": 1, "maximum": 999},
        "status": "active",
        "custom_data": None,
        "import_meta": None,
    }


def customer(number: str, now: str, email: str, name: str | None, custom_data: Obj | None) -> Obj:
    """An active customer."""
    return {
        "id": number,
        "name": name,
        "email": email,
        "marketing_consent": False,
        "status": "active",
        "custom_data": custom_data,
        "locale": "en",
        "created_at": now,
        "updated_at": now,
        "import_meta": None,
    }


def item(
    of_price: Obj, quantity: int, status: str, now: str, next_billed_at: str | None, trial: Obj | None
) -> Obj:
    """An item of a subscription."""
    return {
        "status": status,
        "quantity": quantity,
        "recurring": True,
        "created_at": now,
        "updated_at": now,
        "previously_billed_at": None if trial else now,
        "next_billed_at": next_billed_at,
        "trial_dates": trial,
        "price": of_price,
        "product": {"id": of_price["product_id"], "name": of_price["product_id"], "status": "active"},
    }


def subscription(
    number: str,
    now: str,
    of_customer: str,
    items: Sequence[Obj],
    *,
    status: str,
    period_end: str,
    custom_data: Obj | None,
) -> Obj:
    """A subscription that begins now, with a trial or without one."""
    main = items[0]["price"]
    return {
        "id": number,
        "status": status,
        "customer_id": of_customer,
        "address_id": number.replace("sub_", "add_"),
        "business_id": None,
        "currency_code": main["unit_price"]["currency_code"],
        "created_at": now,
        "updated_at": now,
        "started_at": now,
        "first_billed_at": None if status == "trialing" else now,
        "next_billed_at": period_end,
        "paused_at": None,
        "canceled_at": None,
        "discount": None,
        "collection_mode": "automatic",
        "billing_details": None,
        "current_billing_period": {"starts_at": now, "ends_at": period_end},
        "billing_cycle": main["billing_cycle"],
        "scheduled_change": None,
        "items": list(items),
        "custom_data": custom_data,
        "import_meta": None,
    }


def transaction(number: str, now: str, items: Sequence[Obj], origin: str, custom_data: Obj | None) -> Obj:
    """A draft for an automatically collected payment."""
    total = str(sum(int(one["price"]["unit_price"]["amount"]) * one["quantity"] for one in items))
    currency = items[0]["price"]["unit_price"]["currency_code"]
    totals = {"subtotal": total, "tax": "0", "total": total, "grand_total": total, "currency_code": currency}
    return {
        "id": number,
        "status": "draft",
        "customer_id": None,
        "address_id": None,
        "business_id": None,
        "custom_data": custom_data,
        "currency_code": currency,
        "origin": origin,
        "subscription_id": None,
        "invoice_id": None,
        "invoice_number": None,
        "collection_mode": "automatic",
        "discount_id": None,
        "billing_details": None,
        "billing_period": None,
        "items": list(items),
        "details": {"totals": totals, "line_items": []},
        "payments": [],
        "checkout": {"url": None},
        "created_at": now,
        "updated_at": now,
        "billed_at": None,
        "revised_at": None,
    }


def adjustment(number: str, now: str, of: Obj, action: str, amount: int, status: str) -> Obj:
    """Something given back of a transaction, or taken back."""
    currency = of["currency_code"]
    return {
        "id": number,
        "action": action,
        "type": "partial",
        "transaction_id": of["id"],
        "subscription_id": of["subscription_id"],
        "customer_id": of["customer_id"],
        "reason": "requested",
        "credit_applied_to_balance": None,
        "currency_code": currency,
        "status": status,
        "items": [],
        "totals": {"subtotal": str(amount), "tax": "0", "total": str(amount), "currency_code": currency},
        "created_at": now,
        "updated_at": now,
    }

"""From Stripe's objects to plain values: tolerant of what may be missing, never of what would be wrong."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

import stripe

from skene.ports.billing import Subscription

__all__ = [
    "SUBJECT_KEY",
    "WALL_KEY",
    "Json",
    "instant",
    "items",
    "mapping",
    "plain",
    "reference",
    "subscription",
    "text",
]

Json: TypeAlias = Mapping[str, Any]

SUBJECT_KEY = "skene_subject"
"""Where Stripe's metadata names the subject."""

WALL_KEY = "skene_wall"
"""Where Stripe's metadata names the wall that led to a checkout."""


def plain(source: stripe.StripeObject) -> Json:
    """An object of the SDK's as plain data: that can be asked for what may be absent, the object cannot."""
    return cast("Json", source.to_dict())


def text(value: object) -> str | None:
    """`value` if it is a string with something in it."""
    return value if isinstance(value, str) and value else None


def mapping(value: object) -> Json:
    """`value` if it is a JSON object, else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def items(value: object) -> list[Json]:
    """The objects of a Stripe list, e.g. a subscription's items."""
    data = mapping(value).get("data")
    return [mapping(entry) for entry in cast("list[object]", data)] if isinstance(data, list) else []


def reference(value: object) -> str | None:
    """The id in a field that holds an id or, when expanded, the whole object."""
    return text(value) or text(mapping(value).get("id"))


def instant(value: object) -> datetime | None:
    """A Unix time in seconds as aware UTC."""
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def subscription(
    source: Json,
    lines: Sequence[Json],
    plans: Mapping[str, str],
    order: Sequence[str],
    unpaid_since: datetime | None = None,
) -> Subscription:
    """Reduce a Stripe subscription to what entitles and what it costs.

    Args:
        source: the subscription, with the fields of API version 2026-10-28.
        lines: all of its items.
        plans: price id, lookup key, product id or `"*"` to plan.
        order: plans from least to most valuable; of several items the most valuable one counts, and one that
            means the default plan counts more than one that means nothing.
        unpaid_since: as in `Subscription`.
    """
    rank: dict[str | None, int] = {plan: position for position, plan in enumerate(order)}
    rank[None] = -2
    mapped = [(plan_of(mapping(line.get("price")), plans), line) for line in lines]
    plan, main = max(mapped, key=lambda pair: rank.get(pair[0], -1), default=(None, cast("Json", {})))
    recurring = mapping(mapping(main.get("price")).get("recurring"))
    period_end = instant(main.get("current_period_end"))
    ends_at = instant(source.get("cancel_at"))
    if ends_at is None and source.get("cancel_at_period_end") is True:
        ends_at = period_end
    return Subscription(
        id=text(source.get("id")) or "",
        status=text(source.get("status")) or "",
        plan=plan,
        period_start=instant(main.get("current_period_start")),
        period_end=period_end,
        ends_at=ends_at,
        anchor=instant(source.get("billing_cycle_anchor")),
        interval=text(recurring.get("interval")) or "month",
        interval_count=_count(recurring.get("interval_count")),
        amount=_amount(line for line in lines if _cycle(line) == _cycle(main)),
        currency=text(source.get("currency")),
        quantity=_count(main.get("quantity")),
        started_at=instant(source.get("trial_end")) or instant(source.get("start_date")),
        collection_paused=bool(mapping(source.get("pause_collection"))),
        unpaid_since=unpaid_since,
    )


def plan_of(price: Json, plans: Mapping[str, str]) -> str | None:
    """The plan that a price maps to: by its id, else its lookup key, else its product, else `"*"`."""
    for key in (text(price.get("id")), text(price.get("lookup_key")), reference(price.get("product")), "*"):
        if key is not None and key in plans:
            return plans[key]
    return None


def _cycle(line: Json) -> tuple[str | None, int]:
    recurring = mapping(mapping(line.get("price")).get("recurring"))
    return text(recurring.get("interval")), _count(recurring.get("interval_count"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _amount(lines: Iterable[Json]) -> int | None:
    """What the items cost together, before discounts and tax; None if one of them has no fixed price."""
    total = Decimal(0)
    for line in lines:
        price, quantity = mapping(line.get("price")), line.get("quantity")
        unit = price.get("unit_amount_decimal") or price.get("unit_amount")
        if unit is None or quantity is None or price.get("transform_quantity"):
            return None  # tiers, metered use, packages: known only on the invoice
        try:
            total += Decimal(str(unit)) * Decimal(str(quantity))
        except InvalidOperation:
            return None
    return int(total.to_integral_value())

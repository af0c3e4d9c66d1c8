"""From Paddle's objects to plain values: tolerant of what may be missing, never of what would be wrong."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, TypeAlias, cast

from skene.ports.billing import Subscription

__all__ = ["SUBJECT_KEY", "WALL_KEY", "Json", "instant", "mapping", "objects", "subscription", "text"]

Json: TypeAlias = Mapping[str, Any]

SUBJECT_KEY = "skene_subject"
"""Where Paddle's custom data names the subject."""

WALL_KEY = "skene_wall"
"""Where Paddle's custom data names the wall that led to a checkout."""


def text(value: object) -> str | None:
    """`value` if it is a string with something in it."""
    return value if isinstance(value, str) and value else None


def mapping(value: object) -> Json:
    """`value` if it is a JSON object, else an empty one."""
    return cast("Json", value) if isinstance(value, dict) else {}


def objects(value: object) -> list[Json]:
    """The objects of a JSON list.

    Raises:
        ValueError: it is no list.
    """
    if not isinstance(value, list):
        raise ValueError("not a list")
    return [mapping(entry) for entry in cast("list[object]", value)]


def instant(value: object) -> datetime | None:
    """An RFC 3339 time as aware UTC."""
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def subscription(source: Json, plans: Mapping[str, str], order: Sequence[str]) -> Subscription:
    """Reduce a subscription of Paddle's to what entitles and what it costs.

    Args:
        source: the subscription, with the fields of API version 1.
        plans: price id, product id or `"*"` to plan.
        order: plans from least to most valuable; of several items the most valuable one counts.

    Raises:
        ValueError: that is no subscription.
    """
    number, status = text(source.get("id")), text(source.get("status"))
    if number is None or status is None:
        raise ValueError("a subscription without id or status")
    rank = {plan: position for position, plan in enumerate(order)}
    lines = [line for line in objects(source.get("items")) if line.get("recurring") is not False]
    entitling = [(_plan_of(line, plans), line) for line in lines if line.get("status") != "inactive"]
    plan, main = max(
        entitling, key=lambda pair: rank.get(pair[0] or "", -1), default=(None, cast("Json", {}))
    )
    period = mapping(source.get("current_billing_period"))
    change = mapping(source.get("scheduled_change"))
    cycle = mapping(source.get("billing_cycle"))
    currency = text(source.get("currency_code"))
    return Subscription(
        id=number,
        status=status,
        plan=plan,
        period_start=instant(period.get("starts_at")),
        period_end=instant(period.get("ends_at")),
        ends_at=instant(change.get("effective_at")) if change.get("action") in ("cancel", "pause") else None,
        anchor=_anchor(source, period),
        interval=text(cycle.get("interval")) or "month",
        interval_count=_count(cycle.get("frequency")),
        amount=_amount(lines, currency),
        currency=currency.lower() if currency else None,
        quantity=_count(main.get("quantity")),
        started_at=_started(source, main),
    )


def _plan_of(line: Json, plans: Mapping[str, str]) -> str | None:
    """The plan that an item maps to: by its price, else its product, else `"*"`."""
    price, product = mapping(line.get("price")), mapping(line.get("product"))
    for key in (text(price.get("id")), text(product.get("id")) or text(price.get("product_id")), "*"):
        if key is not None and key in plans:
            return plans[key]
    return None


def _anchor(source: Json, period: Json) -> datetime | None:
    """What the billing dates are counted from: the first bill, unless they were moved since."""
    first, start = instant(source.get("first_billed_at")), instant(period.get("starts_at"))
    if first is None or start is None:
        return start
    clamped = start.day < first.day and start.day >= 28
    return first if start.day == first.day or clamped else start


def _started(source: Json, main: Json) -> datetime | None:
    """When paying begins: the first bill, or the end of a trial that comes later."""
    trial = instant(mapping(main.get("trial_dates")).get("ends_at"))
    known = [moment for moment in (instant(source.get("first_billed_at")), trial) if moment is not None]
    return max(known) if known else instant(source.get("started_at"))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 1


def _amount(lines: Sequence[Json], currency: str | None) -> int | None:
    """What the items cost together, before discounts and tax.

    None where that is known only on the bill: a price in another currency, converted for the customer.
    """
    total = Decimal(0)
    for line in lines:
        unit = mapping(mapping(line.get("price")).get("unit_price"))
        if unit.get("currency_code") != currency or line.get("quantity") is None:
            return None
        try:
            total += Decimal(str(unit.get("amount"))) * Decimal(str(line["quantity"]))
        except InvalidOperation:
            return None
    return int(total) if total.is_finite() else None

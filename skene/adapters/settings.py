"""Checks of settings that billing back-ends share, each naming the class whose setting it is."""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from typing import cast

from skene.definitions.faults import Fault, describe, join, key_path, nearest

__all__ = [
    "PLACEHOLDER",
    "as_entries",
    "keeping_faults",
    "name_faults",
    "plan_order",
    "plans_faults",
    "prices_faults",
    "secret_description",
    "sold_prices",
    "time_faults",
]

PLACEHOLDER = re.compile(r"(.)\1*|(?:your|change_?me|replace|placeholder|example|secret).*", re.IGNORECASE)
"""What stands in the place of a secret until somebody fills one in."""


def as_entries(value: object) -> Mapping[object, object]:
    """A mapping as given; an empty one in the place of anything else."""
    return cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {}


def secret_description(value: object) -> str:
    """What was given in the place of a secret, without a character of it."""
    if not isinstance(value, str):
        return describe(value, "secret")
    if not value.strip():
        return "an empty string"
    if value != value.strip():
        return "a value with white space around it"
    return "a placeholder or a value of the wrong form"


def name_faults(owner: str, setting: str, value: object) -> Iterator[Fault]:
    """What is wrong with the name of a plan."""
    if not isinstance(value, str) or not value or value != value.strip() or len(value) > 100:
        yield Fault(f"{owner}.{setting}", describe(value), 'the name of a plan, e.g. "paid"')


def plans_faults(
    owner: str, plans: object, example: str, is_key: Callable[[str], bool], ids: re.Pattern[str], keys: str
) -> Iterator[Fault]:
    """What is wrong with the plans that prices mean.

    Args:
        owner: whose setting it is.
        plans: as given.
        example: a mapping that would do.
        is_key: whether a text can stand for something that is sold.
        ids: the ids of what is sold: as a plan one of these is the wrong way round.
        keys: words for what may be a key.
    """
    path = f"{owner}.plans"
    entries = as_entries(plans)
    if not entries:
        yield Fault(path, describe(plans), f"a mapping such as {example}")
    for key, plan in entries.items():
        where = join(path, key_path(key))
        if not isinstance(key, str) or not is_key(key):
            yield Fault(where, describe(key), f"{keys} as the key")
        elif isinstance(plan, str) and ids.fullmatch(plan):
            hint = f'{{"{plan}": "{key}"}}'
            yield Fault(where, describe(plan), "a plan as the value, its price as the key", hint)
        else:
            yield from name_faults(owner, f"plans.{key_path(key)}", plan)


def prices_faults(
    owner: str,
    prices: object,
    plans: object,
    default: object,
    example: str,
    price_faults: Callable[[str, object], Iterator[Fault]],
) -> Iterator[Fault]:
    """What is wrong with the prices that plans are sold at.

    Args:
        owner: whose setting it is.
        prices: as given; None is none.
        plans, default: what prices mean, as given.
        example: a mapping that would do.
        price_faults: what is wrong with one price, given the setting's name.
    """
    if prices is None:
        return
    path = f"{owner}.checkout_prices"
    entries = as_entries(prices)
    if not entries:
        yield Fault(path, describe(prices), f"a mapping such as {example}")
        return
    meant = as_entries(plans)
    named = [plan for plan in meant.values() if isinstance(plan, str) and plan != default]
    names = list(dict.fromkeys(named))
    for plan, price in entries.items():
        where = join(path, key_path(plan))
        if plan not in names:
            allowed = f"a plan that plans= names: {', '.join(names) or 'none'}"
            yield Fault(where, describe(plan), allowed, nearest(plan, names))
            continue
        faults = list(price_faults(f"checkout_prices.{key_path(plan)}", price))
        yield from faults
        if not faults and meant.get(price, plan) != plan:
            given = f"{price!r}, which means the plan {meant[price]!r}"
            yield Fault(where, given, "a price of this very plan")


def keeping_faults(owner: str, setting: str, value: object) -> Iterator[Fault]:
    """What is wrong with a choice between keeping a plan and falling back to the default one."""
    if value not in ("keep", "default"):
        yield Fault(f"{owner}.{setting}", describe(value), '"keep" or "default"')


def time_faults(owner: str, grace: object, timeout: object, tolerance: object) -> Iterator[Fault]:
    """What is wrong with the times that every billing back-end has."""
    yield from _span_faults(owner, "grace", grace, timedelta(0), timedelta(days=365))
    yield from _span_faults(owner, "timeout", timeout, timedelta(milliseconds=50), timedelta(seconds=10))
    yield from _span_faults(owner, "webhook_tolerance", tolerance, timedelta(seconds=1), timedelta(hours=1))


def plan_order(plans: Mapping[str, str], default: str) -> tuple[str, ...]:
    """The plans besides the default, least valuable first: each at the place of its last mention."""
    backwards = dict.fromkeys(reversed(list(plans.values())))
    return tuple(plan for plan in reversed(backwards) if plan != default)


def sold_prices(
    plans: Mapping[str, str],
    default: str,
    listed: Mapping[str, str],
    prices: Mapping[str, str] | None,
    price: str | None,
) -> Mapping[str, str]:
    """What a checkout sells each plan as, least valuable first.

    Args:
        plans, default: what prices mean.
        listed: what each plan is sold as if nobody says otherwise.
        prices: `checkout_prices` as given.
        price: `checkout_price` as given; without `prices` it is all that is sold.
    """
    chosen = prices or listed
    if price is not None and prices is None:
        plan = plans.get(price)
        chosen = {} if plan is None else {plan: price}
    return {plan: chosen[plan] for plan in plan_order(plans, default) if plan in chosen}


def _span_faults(
    owner: str, setting: str, value: object, least: timedelta, most: timedelta
) -> Iterator[Fault]:
    if not isinstance(value, timedelta) or not least <= value <= most:
        allowed = f"a timedelta from {_span(least)} to {_span(most)}"
        yield Fault(f"{owner}.{setting}", describe(value), allowed)


def _span(value: timedelta) -> str:
    return f"{value.days} days" if value.days else f"{value.total_seconds():g} s"

"""What StripeBilling is given, checked at once: every fault in one error, and never a secret in it."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

from skene.adapters.stripe.offers import (
    derived_prices,
    options_faults,
    price_faults,
    prices_faults,
    trial_faults,
)
from skene.definitions.faults import Fault, describe, join, key_path
from skene.engine.standing import Keeping, PlanPolicy
from skene.errors import ConfigurationError

__all__ = ["Settings"]

_KEY = re.compile(r"(?:sk|rk)_(?:org_)?(?:(live|test)_)?([A-Za-z0-9_]{3,})")
_SECRET = re.compile(r"whsec_([A-Za-z0-9_+/=-]{16,})")
_PLACEHOLDER = re.compile(r"(.)\1*|(?:your|change_?me|replace|placeholder|example|secret).*", re.IGNORECASE)
_STRIPE_ID = re.compile(r"(?:price|prod|plan)_\w+")

_KEY_ALLOWED = "the secret key from Stripe's dashboard; it begins with sk_ or rk_"
_SIGNING_ALLOWED = "the webhook endpoint's signing secret; it begins with whsec_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a StripeBilling knows. Made only from values that can work."""

    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    plans: Mapping[str, str]
    default: str
    checkout_price: str | None
    allow_promotion_codes: bool
    grace: timedelta
    timeout: timedelta
    webhook_tolerance: timedelta
    checkout_prices: Mapping[str, str] | None = None
    trial_days: int = 0
    checkout_options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    collection_paused: Keeping = "keep"
    disputed: Keeping = "keep"

    def __post_init__(self) -> None:
        """Refuse what cannot work, everything at once."""
        faults = [
            *_key_faults(self.api_key),
            *_secret_faults(self.webhook_secret),
            *_plan_faults(self.plans),
            *_name_faults("default", self.default),
            *(price_faults("checkout_price", self.checkout_price) if self.checkout_price is not None else ()),
            *prices_faults(self.checkout_prices, self.plans, self.default),
            *trial_faults(self.trial_days),
            *options_faults(self.checkout_options),
            *_keeping_faults("collection_paused", self.collection_paused),
            *_keeping_faults("disputed", self.disputed),
            *_span_faults("grace", self.grace, timedelta(0), timedelta(days=365)),
            *_span_faults("timeout", self.timeout, timedelta(milliseconds=50), timedelta(seconds=10)),
            *_span_faults(
                "webhook_tolerance", self.webhook_tolerance, timedelta(seconds=1), timedelta(hours=1)
            ),
        ]
        if faults:
            raise ConfigurationError(faults)
        # The caller's own may change later.
        object.__setattr__(self, "plans", dict(self.plans))
        object.__setattr__(self, "checkout_options", deepcopy(dict(self.checkout_options)))
        if self.checkout_prices is not None:
            object.__setattr__(self, "checkout_prices", dict(self.checkout_prices))

    @property
    def livemode(self) -> bool | None:
        """Whether the key is for live data; None if it does not say."""
        match = _KEY.fullmatch(self.api_key)
        mode = match.group(1) if match else None
        return None if mode is None else mode == "live"

    @property
    def order(self) -> tuple[str, ...]:
        """The plans besides the default, least valuable first: each at the place of its last mention."""
        backwards = dict.fromkeys(reversed(list(self.plans.values())))
        return tuple(plan for plan in reversed(backwards) if plan != self.default)

    @property
    def policy(self) -> PlanPolicy:
        """What subscriptions are worth."""
        return PlanPolicy(self.order, self.default, self.grace, self.collection_paused, self.disputed)

    @property
    def sold(self) -> Mapping[str, str]:
        """What a checkout sells each plan as, least valuable first.

        A single `checkout_price` without `checkout_prices` is all that is sold.
        """
        prices = self.checkout_prices or derived_prices(self.plans, self.default)
        if self.checkout_price is not None and self.checkout_prices is None:
            plan = self.plans.get(self.checkout_price)
            prices = {} if plan is None else {plan: self.checkout_price}
        return {plan: prices[plan] for plan in self.order if plan in prices}

    @property
    def sells(self) -> str | None:
        """What a checkout sells when no plan is named: a price id, a product id or a lookup key."""
        derived = derived_prices(self.plans, self.default)
        return self.checkout_price or next(iter((self.checkout_prices or derived).values()), None)


def _key_faults(value: object) -> Iterator[Fault]:
    path = "StripeBilling.api_key"
    match = _KEY.fullmatch(value) if isinstance(value, str) else None
    if match and not _PLACEHOLDER.fullmatch(match.group(2)):
        return
    hint = None
    given = _secret_description(value)
    if isinstance(value, str) and value.startswith("pk_"):
        given, hint = "a publishable key (pk_…)", "the secret key next to it"
    elif isinstance(value, str) and value.startswith("whsec_"):
        given, hint = "a webhook signing secret (whsec_…)", "webhook_secret="
    yield Fault(path, given, _KEY_ALLOWED, hint)


def _secret_faults(value: object) -> Iterator[Fault]:
    match = _SECRET.fullmatch(value) if isinstance(value, str) else None
    if match and not _PLACEHOLDER.fullmatch(match.group(1)):
        return
    given, hint = _secret_description(value), None
    if isinstance(value, str) and value.startswith(("sk_", "rk_", "pk_")):
        given, hint = "an API key", "api_key="
    yield Fault("StripeBilling.webhook_secret", given, _SIGNING_ALLOWED, hint)


def _secret_description(value: object) -> str:
    if not isinstance(value, str):
        return describe(value, "secret")
    if not value.strip():
        return "an empty string"
    if value != value.strip():
        return "a value with white space around it"
    return "a placeholder or a value of the wrong form"


def _plan_faults(plans: object) -> Iterator[Fault]:
    path = "StripeBilling.plans"
    entries = _entries(plans)
    if not entries:
        yield Fault(path, describe(plans), 'a mapping such as {"price_123": "paid"}')
    for key, plan in entries:
        where = join(path, key_path(key))
        if not isinstance(key, str) or not key or key != key.strip() or len(key) > 200:
            yield Fault(where, describe(key), 'a price id, a product id, a lookup key or "*" as the key')
        elif isinstance(plan, str) and _STRIPE_ID.fullmatch(plan):
            yield Fault(
                where, describe(plan), "a plan as the value, its price as the key", f'{{"{plan}": "{key}"}}'
            )
        else:
            yield from _name_faults(f"plans.{key_path(key)}", plan)


def _entries(plans: object) -> list[tuple[object, object]]:
    return list(cast("Mapping[object, object]", plans).items()) if isinstance(plans, Mapping) else []


def _name_faults(setting: str, value: object) -> Iterator[Fault]:
    if not isinstance(value, str) or not value or value != value.strip() or len(value) > 100:
        yield Fault(f"StripeBilling.{setting}", describe(value), 'the name of a plan, e.g. "paid"')


def _keeping_faults(setting: str, value: object) -> Iterator[Fault]:
    if value not in ("keep", "default"):
        yield Fault(f"StripeBilling.{setting}", describe(value), '"keep" or "default"')


def _span_faults(setting: str, value: object, least: timedelta, most: timedelta) -> Iterator[Fault]:
    if not isinstance(value, timedelta) or not least <= value <= most:
        yield Fault(
            f"StripeBilling.{setting}", describe(value), f"a timedelta from {_span(least)} to {_span(most)}"
        )


def _span(value: timedelta) -> str:
    return f"{value.days} days" if value.days else f"{value.total_seconds():g} s"

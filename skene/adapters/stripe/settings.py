"""What StripeBilling is given, checked at once: every fault in one error, and never a secret in it."""

import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from skene.adapters.settings import (
    PLACEHOLDER,
    keeping_faults,
    name_faults,
    plan_order,
    plans_faults,
    prices_faults,
    secret_description,
    sold_prices,
    time_faults,
)
from skene.adapters.stripe.offers import derived_prices, options_faults, price_faults, trial_faults
from skene.definitions.faults import Fault
from skene.engine.standing import Keeping, PlanPolicy
from skene.errors import ConfigurationError

__all__ = ["Settings"]

_OWNER = "StripeBilling"
_KEY = re.compile(r"(?:sk|rk)_(?:org_)?(?:(live|test)_)?([A-Za-z0-9_]{3,})")
_SECRET = re.compile(r"whsec_([A-Za-z0-9_+/=-]{16,})")
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
            *name_faults(_OWNER, "default", self.default),
            *(price_faults("checkout_price", self.checkout_price) if self.checkout_price is not None else ()),
            *prices_faults(
                _OWNER,
                self.checkout_prices,
                self.plans,
                self.default,
                '{"paid": "price_123"}',
                price_faults,
            ),
            *trial_faults(self.trial_days),
            *options_faults(self.checkout_options),
            *keeping_faults(_OWNER, "collection_paused", self.collection_paused),
            *keeping_faults(_OWNER, "disputed", self.disputed),
            *time_faults(_OWNER, self.grace, self.timeout, self.webhook_tolerance),
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
        return plan_order(self.plans, self.default)

    @property
    def policy(self) -> PlanPolicy:
        """What subscriptions are worth."""
        return PlanPolicy(self.order, self.default, self.grace, self.collection_paused, self.disputed)

    @property
    def sold(self) -> Mapping[str, str]:
        """What a checkout sells each plan as, least valuable first.

        A single `checkout_price` without `checkout_prices` is all that is sold.
        """
        listed = derived_prices(self.plans, self.default)
        return sold_prices(self.plans, self.default, listed, self.checkout_prices, self.checkout_price)

    @property
    def sells(self) -> str | None:
        """What a checkout sells when no plan is named: a price id, a product id or a lookup key."""
        derived = derived_prices(self.plans, self.default)
        return self.checkout_price or next(iter((self.checkout_prices or derived).values()), None)


def _key_faults(value: object) -> Iterator[Fault]:
    path = "StripeBilling.api_key"
    match = _KEY.fullmatch(value) if isinstance(value, str) else None
    if match and not PLACEHOLDER.fullmatch(match.group(2)):
        return
    hint = None
    given = secret_description(value)
    if isinstance(value, str) and value.startswith("pk_"):
        given, hint = "a publishable key (pk_…)", "the secret key next to it"
    elif isinstance(value, str) and value.startswith("whsec_"):
        given, hint = "a webhook signing secret (whsec_…)", "webhook_secret="
    yield Fault(path, given, _KEY_ALLOWED, hint)


def _secret_faults(value: object) -> Iterator[Fault]:
    match = _SECRET.fullmatch(value) if isinstance(value, str) else None
    if match and not PLACEHOLDER.fullmatch(match.group(1)):
        return
    given, hint = secret_description(value), None
    if isinstance(value, str) and value.startswith(("sk_", "rk_", "pk_")):
        given, hint = "an API key", "api_key="
    yield Fault("StripeBilling.webhook_secret", given, _SIGNING_ALLOWED, hint)


def _plan_faults(plans: object) -> Iterator[Fault]:
    keys = 'a price id, a product id, a lookup key or "*"'
    return plans_faults(_OWNER, plans, '{"price_123": "paid"}', _is_key, _STRIPE_ID, keys)


def _is_key(key: str) -> bool:
    return bool(key) and key == key.strip() and len(key) <= 200

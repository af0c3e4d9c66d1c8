"""What PaddleBilling is given, checked at once: every fault in one error, and never a secret in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Literal, cast
from urllib.parse import urlsplit

from skene.definitions.faults import Fault, describe, join, key_path, nearest
from skene.errors import ConfigurationError

__all__ = ["LIVE_URL", "SANDBOX_URL", "Settings"]

LIVE_URL = "https://api.paddle.com"
SANDBOX_URL = "https://sandbox-api.paddle.com"

_KEY = re.compile(r"pdl_(live|sdbx|test)_apikey_([A-Za-z0-9_]{16,})")
_OLD_KEY = re.compile(r"[A-Za-z0-9]{50}")  # made before May 2025; it does not say which account it is for
_SECRET = re.compile(r"pdl_ntfset_([A-Za-z0-9_+/=-]{16,})")
_PLACEHOLDER = re.compile(r"(.)\1*|(?:your|change_?me|replace|placeholder|example|secret).*", re.IGNORECASE)
_PADDLE_ID = re.compile(r"(?:pri|pro)_\w+")

_KEY_ALLOWED = "an API key from Paddle's dashboard; it begins with pdl_live_apikey_ or pdl_sdbx_apikey_"
_SIGNING_ALLOWED = "the notification destination's secret key; it begins with pdl_ntfset_"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything a PaddleBilling knows. Made only from values that can work."""

    api_key: str = field(repr=False)
    webhook_secret: str = field(repr=False)
    plans: Mapping[str, str]
    default: str
    checkout_price: str | None
    checkout_page: str | None
    grace: timedelta
    timeout: timedelta
    webhook_tolerance: timedelta
    checkout_prices: Mapping[str, str] | None = None
    disputed: Literal["keep", "default"] = "keep"

    def __post_init__(self) -> None:
        """Refuse what cannot work, everything at once."""
        faults = [
            *_key_faults(self.api_key),
            *_secret_faults(self.webhook_secret),
            *_plan_faults(self.plans),
            *_name_faults("default", self.default),
            *(
                _price_faults("checkout_price", self.checkout_price)
                if self.checkout_price is not None
                else ()
            ),
            *_prices_faults(self.checkout_prices, self.plans, self.default),
            *_page_faults(self.checkout_page),
            *_span_faults("grace", self.grace, timedelta(0), timedelta(days=365)),
            *_span_faults("timeout", self.timeout, timedelta(milliseconds=50), timedelta(seconds=10)),
            *_span_faults(
                "webhook_tolerance", self.webhook_tolerance, timedelta(seconds=1), timedelta(hours=1)
            ),
        ]
        if self.disputed not in ("keep", "default"):
            faults.append(Fault("PaddleBilling.disputed", describe(self.disputed), '"keep" or "default"'))
        if faults:
            raise ConfigurationError(faults)
        # The caller's own may change later.
        object.__setattr__(self, "plans", dict(self.plans))
        if self.checkout_prices is not None:
            object.__setattr__(self, "checkout_prices", dict(self.checkout_prices))

    @property
    def livemode(self) -> bool | None:
        """Whether the key is for the live account; None if it does not say."""
        match = _KEY.fullmatch(self.api_key)
        return match.group(1) == "live" if match else None

    @property
    def order(self) -> tuple[str, ...]:
        """The plans besides the default, least valuable first: each at the place of its last mention."""
        backwards = dict.fromkeys(reversed(list(self.plans.values())))
        return tuple(plan for plan in reversed(backwards) if plan != self.default)

    @property
    def sold(self) -> Mapping[str, str]:
        """The price that a checkout sells each plan at, least valuable plan first.

        A single `checkout_price` without `checkout_prices` is all that is sold.
        """
        prices = self.checkout_prices or self._listed
        if self.checkout_price is not None and self.checkout_prices is None:
            plan = self.plans.get(self.checkout_price)
            prices = {} if plan is None else {plan: self.checkout_price}
        return {plan: prices[plan] for plan in self.order if plan in prices}

    @property
    def sells(self) -> str | None:
        """The price that a checkout sells when nobody asks for a plan."""
        return self.checkout_price or next(iter((self.checkout_prices or self._listed).values()), None)

    @property
    def _listed(self) -> dict[str, str]:
        """The first price that is listed for each plan."""
        found: dict[str, str] = {}
        for key, plan in self.plans.items():
            if key.startswith("pri_") and plan != self.default:
                found.setdefault(plan, key)
        return found


def _key_faults(value: object) -> Iterator[Fault]:
    given = value if isinstance(value, str) else ""
    match = _KEY.fullmatch(given)
    if (match and not _PLACEHOLDER.fullmatch(match.group(2))) or (
        _OLD_KEY.fullmatch(given) and not _PLACEHOLDER.fullmatch(given)
    ):
        return
    described, hint = _secret_description(value), None
    if given.startswith("pdl_ntfset_"):
        described, hint = "a notification destination's secret key (pdl_ntfset_…)", "webhook_secret="
    elif re.match(r"(?:live|test)_[a-z0-9]{10,}", given):
        described, hint = "a client-side token", "an API key, from the other tab there"
    yield Fault("PaddleBilling.api_key", described, _KEY_ALLOWED, hint)


def _secret_faults(value: object) -> Iterator[Fault]:
    match = _SECRET.fullmatch(value) if isinstance(value, str) else None
    if match and not _PLACEHOLDER.fullmatch(match.group(1)):
        return
    described, hint = _secret_description(value), None
    if isinstance(value, str) and _KEY.fullmatch(value):
        described, hint = "an API key", "api_key="
    yield Fault("PaddleBilling.webhook_secret", described, _SIGNING_ALLOWED, hint)


def _secret_description(value: object) -> str:
    if not isinstance(value, str):
        return describe(value, "secret")
    if not value.strip():
        return "an empty string"
    if value != value.strip():
        return "a value with white space around it"
    return "a placeholder or a value of the wrong form"


def _plan_faults(plans: object) -> Iterator[Fault]:
    path = "PaddleBilling.plans"
    entries = _mapping(plans)
    if not entries:
        yield Fault(path, describe(plans), 'a mapping such as {"pri_01…": "paid"}')
    for key, plan in entries.items():
        where = join(path, key_path(key))
        if not isinstance(key, str) or (key != "*" and not _PADDLE_ID.fullmatch(key)):
            yield Fault(where, describe(key), 'a price id (pri_…), a product id (pro_…) or "*" as the key')
        elif isinstance(plan, str) and _PADDLE_ID.fullmatch(plan):
            yield Fault(
                where, describe(plan), "a plan as the value, its price as the key", f'{{"{plan}": "{key}"}}'
            )
        else:
            yield from _name_faults(f"plans.{key_path(key)}", plan)


def _mapping(value: object) -> Mapping[object, object]:
    return cast("Mapping[object, object]", value) if isinstance(value, Mapping) else {}


def _name_faults(setting: str, value: object) -> Iterator[Fault]:
    if not isinstance(value, str) or not value or value != value.strip() or len(value) > 100:
        yield Fault(f"PaddleBilling.{setting}", describe(value), 'the name of a plan, e.g. "paid"')


def _price_faults(setting: str, value: object) -> Iterator[Fault]:
    if not isinstance(value, str) or not re.fullmatch(r"pri_\w+", value):
        yield Fault(f"PaddleBilling.{setting}", describe(value), "a price id (pri_…)")


def _prices_faults(prices: object, plans: object, default: object) -> Iterator[Fault]:
    if prices is None:
        return
    path = "PaddleBilling.checkout_prices"
    if not _mapping(prices):
        yield Fault(path, describe(prices), 'a mapping such as {"paid": "pri_01…"}')
        return
    meant = _mapping(plans)
    names = [plan for plan in dict.fromkeys(meant.values()) if isinstance(plan, str) and plan != default]
    for plan, price in _mapping(prices).items():
        where = join(path, key_path(plan))
        if plan not in names:
            allowed = f"a plan that plans= names: {', '.join(names) or 'none'}"
            yield Fault(where, describe(plan), allowed, nearest(plan, names))
        elif meant.get(price, plan) != plan:
            yield Fault(
                where, f"{price!r}, which means the plan {meant[price]!r}", "a price of this very plan"
            )
        else:
            yield from _price_faults(f"checkout_prices.{key_path(plan)}", price)


def _page_faults(value: object) -> Iterator[Fault]:
    if value is None:
        return
    try:
        parts = urlsplit(value) if isinstance(value, str) else None
    except ValueError:
        parts = None
    if not parts or parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        yield Fault(
            "PaddleBilling.checkout_page",
            describe(value),
            'the address of your page with Paddle.js, e.g. "https://acme.test/pay"',
        )


def _span_faults(setting: str, value: object, least: timedelta, most: timedelta) -> Iterator[Fault]:
    if not isinstance(value, timedelta) or not least <= value <= most:
        yield Fault(
            f"PaddleBilling.{setting}", describe(value), f"a timedelta from {_span(least)} to {_span(most)}"
        )


def _span(value: timedelta) -> str:
    return f"{value.days} days" if value.days else f"{value.total_seconds():g} s"

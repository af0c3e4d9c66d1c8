"""What PaddleBilling is given, checked at once: every fault in one error, and never a secret in it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import urlsplit

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
from skene.definitions.faults import Fault, describe
from skene.engine.standing import Keeping
from skene.errors import ConfigurationError

__all__ = ["LIVE_URL", "SANDBOX_URL", "Settings"]

LIVE_URL = "https://api.paddle.com"
SANDBOX_URL = "https://sandbox-api.paddle.com"

_OWNER = "PaddleBilling"
_KEY = re.compile(r"pdl_(live|sdbx|test)_apikey_([A-Za-z0-9_]{16,})")
_OLD_KEY = re.compile(r"[A-Za-z0-9]{50}")  # made before May 2025; it does not say which account it is for
_SECRET = re.compile(r"pdl_ntfset_([A-Za-z0-9_+/=-]{16,})")
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
    disputed: Keeping = "keep"

    def __post_init__(self) -> None:
        """Refuse what cannot work, everything at once."""
        faults = [
            *_key_faults(self.api_key),
            *_secret_faults(self.webhook_secret),
            *_plan_faults(self.plans),
            *name_faults(_OWNER, "default", self.default),
            *(
                _price_faults("checkout_price", self.checkout_price)
                if self.checkout_price is not None
                else ()
            ),
            *prices_faults(
                _OWNER,
                self.checkout_prices,
                self.plans,
                self.default,
                '{"paid": "pri_01…"}',
                _price_faults,
            ),
            *_page_faults(self.checkout_page),
            *keeping_faults(_OWNER, "disputed", self.disputed),
            *time_faults(_OWNER, self.grace, self.timeout, self.webhook_tolerance),
        ]
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
        return plan_order(self.plans, self.default)

    @property
    def sold(self) -> Mapping[str, str]:
        """The price that a checkout sells each plan at, least valuable plan first.

        A single `checkout_price` without `checkout_prices` is all that is sold.
        """
        return sold_prices(self.plans, self.default, self._listed, self.checkout_prices, self.checkout_price)

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
    if (match and not PLACEHOLDER.fullmatch(match.group(2))) or (
        _OLD_KEY.fullmatch(given) and not PLACEHOLDER.fullmatch(given)
    ):
        return
    described, hint = secret_description(value), None
    if given.startswith("pdl_ntfset_"):
        described, hint = "a notification destination's secret key (pdl_ntfset_…)", "webhook_secret="
    elif re.match(r"(?:live|test)_[a-z0-9]{10,}", given):
        described, hint = "a client-side token", "an API key, from the other tab there"
    yield Fault("PaddleBilling.api_key", described, _KEY_ALLOWED, hint)


def _secret_faults(value: object) -> Iterator[Fault]:
    match = _SECRET.fullmatch(value) if isinstance(value, str) else None
    if match and not PLACEHOLDER.fullmatch(match.group(1)):
        return
    described, hint = secret_description(value), None
    if isinstance(value, str) and _KEY.fullmatch(value):
        described, hint = "an API key", "api_key="
    yield Fault("PaddleBilling.webhook_secret", described, _SIGNING_ALLOWED, hint)


def _plan_faults(plans: object) -> Iterator[Fault]:
    keys = 'a price id (pri_…), a product id (pro_…) or "*"'
    return plans_faults(_OWNER, plans, '{"pri_01…": "paid"}', _is_key, _PADDLE_ID, keys)


def _is_key(key: str) -> bool:
    return key == "*" or _PADDLE_ID.fullmatch(key) is not None


def _price_faults(setting: str, value: object) -> Iterator[Fault]:
    if not isinstance(value, str) or not re.fullmatch(r"pri_\w+", value):
        yield Fault(f"PaddleBilling.{setting}", describe(value), "a price id (pri_…)")


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

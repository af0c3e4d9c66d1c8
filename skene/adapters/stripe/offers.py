"""What a checkout sells, which price for which plan, and how else the session is set up: checked at once."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from skene.definitions.faults import Fault, describe, join, key_path

__all__ = ["OWN_OPTIONS", "derived_prices", "options_faults", "price_faults", "trial_faults"]

OWN_OPTIONS = frozenset(
    {
        "allow_promotion_codes",
        "cancel_url",
        "client_reference_id",
        "customer",
        "customer_account",
        "customer_creation",
        "customer_email",
        "line_items",
        "metadata",
        "mode",
        "return_url",
        "setup_intent_data",
        "subscription_data",
        "success_url",
        "ui_mode",
    }
)
"""Parameters of a session that are not the caller's to set: who buys what, and where the browser goes."""

_INSTEAD = {
    "allow_promotion_codes": "allow_promotion_codes=True of StripeBilling itself",
    "line_items": "checkout_prices=",
    "subscription_data": "trial_days=, if it is about a trial",
}
_PRICE = "a price id, a product id or a lookup key"


def derived_prices(plans: Mapping[str, str], default: str) -> dict[str, str]:
    """The first price listed for each plan; a product or lookup key for a plan that lists no price."""
    keys = [key for key, plan in plans.items() if key != "*" and plan != default]
    found: dict[str, str] = {}
    for key in [*(key for key in keys if key.startswith("price_")), *keys]:
        found.setdefault(plans[key], key)
    return found


def price_faults(setting: str, value: object) -> Iterator[Fault]:
    """What is wrong with something to sell."""
    if not isinstance(value, str) or not value or value != value.strip() or value == "*":
        yield Fault(f"StripeBilling.{setting}", describe(value), _PRICE)


def trial_faults(days: object) -> Iterator[Fault]:
    """What is wrong with the length of trials."""
    if isinstance(days, bool) or not isinstance(days, int) or not 0 <= days <= 730:
        yield Fault("StripeBilling.trial_days", describe(days), "whole days, from 0 (no trial) to 730")


def options_faults(options: object) -> Iterator[Fault]:
    """What is wrong with further parameters of a session."""
    path = "StripeBilling.checkout_options"
    if not isinstance(options, Mapping):
        yield Fault(path, describe(options), 'a mapping such as {"automatic_tax": {"enabled": True}}')
        return
    for name in cast("Mapping[Any, object]", options):
        if not isinstance(name, str) or not name.isidentifier():
            yield Fault(join(path, key_path(name)), describe(name), "a parameter of Checkout sessions")
        elif name in OWN_OPTIONS:
            where = join(path, key_path(name))
            yield Fault(where, "a parameter that skene sets itself", "another one", _INSTEAD.get(name))

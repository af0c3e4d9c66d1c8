"""What an account sells, and what a key may not do: for the commands that set skene up."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import stripe

from skene.adapters.stripe.reading import plain, reference

__all__ = ["Priced", "Survey", "survey"]

_MOST = 100
_READS = {
    "customers": "/v1/customers",
    "subscriptions": "/v1/subscriptions",
    "events": "/v1/events",
    "prices": "/v1/prices",
    "products": "/v1/products",
    "invoices": "/v1/invoices",
    "charges": "/v1/charges",
}
# Asked for what cannot be: a key that may write is told so, one that may not is refused before.
_WRITES = {
    "customers": "/v1/customers/cus_skene_asks_for_nobody",
    "checkout sessions": "/v1/checkout/sessions",
    "customer portal sessions": "/v1/billing_portal/sessions",
}


@dataclass(frozen=True, slots=True)
class Priced:
    """A price that can be bought.

    Attributes:
        price, product: their ids.
        name: of the product.
        amount: in the currency's minor unit; None if it is tiered or chosen by the buyer.
        currency: ISO 4217, lower case.
        interval: `month`, `year`, …; None if it is paid once.
        lookup_key: if it has one.
    """

    price: str
    product: str
    name: str
    amount: int | None
    currency: str
    interval: str | None
    lookup_key: str | None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found out.

    Attributes:
        prices: active ones, at most 100.
        missing: permissions that the key lacks, as Stripe's dashboard calls them: `read customers`.
    """

    prices: tuple[Priced, ...]
    missing: tuple[str, ...]


async def survey(client: stripe.StripeClient) -> Survey:
    """Look at an account. Changes nothing there.

    Raises:
        stripe.AuthenticationError: the key is refused altogether.
        stripe.StripeError: Stripe cannot be asked.
    """
    missing = [f"read {name}" for name, path in _READS.items() if not await _may(client, "get", path)]
    missing += [f"write {name}" for name, path in _WRITES.items() if not await _may(client, "post", path)]
    found: list[Priced] = []
    if "read prices" not in missing:
        listed = await client.v1.prices.list_async({"active": True, "limit": _MOST})
        names: Mapping[str, str] = {} if "read products" in missing else await _names(client)
        found = [_priced(plain(one), names) for one in listed.data]
    return Survey(tuple(found), tuple(missing))


async def _may(client: stripe.StripeClient, method: str, path: str) -> bool:
    """Whether a key may do something."""
    try:
        ask = client.raw_request_async  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - partly untyped in the SDK
        await (ask("get", path, limit=1) if method == "get" else ask("post", path, success_url=""))
    except stripe.PermissionError:
        return False
    except stripe.InvalidRequestError:  # it may, and there is no such thing
        return True
    return True


async def _names(client: stripe.StripeClient) -> Mapping[str, str]:
    listed = await client.v1.products.list_async({"limit": _MOST})
    return {str(one["id"]): str(one.get("name") or "") for one in map(plain, listed.data)}


def _priced(one: Mapping[str, Any], names: Mapping[str, str]) -> Priced:
    product = reference(one.get("product")) or ""
    recurring: Mapping[str, Any] = one.get("recurring") or {}
    return Priced(
        price=str(one["id"]),
        product=product,
        name=names.get(product, ""),
        amount=one.get("unit_amount"),
        currency=str(one.get("currency") or ""),
        interval=recurring.get("interval"),
        lookup_key=one.get("lookup_key"),
    )

"""Opens Checkout sessions."""

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

import stripe

from skene.adapters.stripe.connection import is_missing
from skene.adapters.stripe.reading import SUBJECT_KEY, WALL_KEY, items, plain, reference, text
from skene.adapters.stripe.settings import Settings
from skene.errors import CheckoutUnavailable
from skene.ports.billing import CheckoutOrder, CheckoutSession

if TYPE_CHECKING:
    from stripe.params import CustomerCreateParams
    from stripe.params.checkout import SessionCreateParams

__all__ = ["Seller"]

_PLAIN_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")  # what every kind of Checkout accepts


class Seller:
    """Sells a price for each plan.

    Args:
        settings: which, and how.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._resolved: dict[str, str] = {}

    def sells(self, plan: str | None) -> str | None:
        """What a plan is sold as: a price id, a product id or a lookup key; None if it is not sold."""
        return self._settings.sells if plan is None else self._settings.sold.get(plan)

    async def open(
        self, client: stripe.StripeClient, order: CheckoutOrder, idempotency_key: str
    ) -> CheckoutSession:
        """Open a session for a customer who exists: the order's, or a new one named after its subject.

        Raises:
            CheckoutUnavailable: there is nothing to sell.
            stripe.StripeError: whatever Stripe answers.
            ValueError: what answered was not Stripe.
        """
        price = await self._price(client, order.plan)
        params = self._params(order, price)
        # The same key for every click, so that impatience makes no second customer.
        customer = order.customer or await _create_customer(client, order, "customer")
        if self._settings.trial_days and await _is_new(client, customer):
            trial = {**params["subscription_data"], "trial_period_days": self._settings.trial_days}
            params = {**params, "subscription_data": trial}
            await _expire_others(client, customer)
        try:
            return await _create_session(client, params, customer, idempotency_key)
        except stripe.InvalidRequestError as error:
            if not is_missing(error, "customer"):
                raise
        # Deleted at Stripe since; nobody should be kept from buying by that. What they had is not known any
        # more, so this is no first time either.
        customer = await _create_customer(client, order, idempotency_key)
        params = self._params(order, price)
        return await _create_session(client, params, customer, idempotency_key)

    def _params(self, order: CheckoutOrder, price: str) -> dict[str, Any]:
        metadata = {SUBJECT_KEY: order.subject}
        if order.wall:
            metadata[WALL_KEY] = order.wall
        params: dict[str, Any] = {
            **self._settings.checkout_options,
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "metadata": metadata,
            "subscription_data": {"metadata": metadata},
            "success_url": order.return_url,
            "cancel_url": order.cancel_url,
        }
        if _PLAIN_REFERENCE.fullmatch(order.subject):
            params["client_reference_id"] = order.subject  # for people; what counts is the metadata
        if self._settings.allow_promotion_codes:
            params["allow_promotion_codes"] = True
        return params

    async def _price(self, client: stripe.StripeClient, plan: str | None) -> str:
        sells = self.sells(plan)
        if sells is None:
            message = (
                '`plans` names no price to sell; give checkout_price="price_…"'
                if plan is None
                else f"no price is sold for the plan {plan!r}; give checkout_prices={{{plan!r}: …}}"
            )
            raise CheckoutUnavailable(message)
        if sells.startswith("price_"):
            return sells
        if sells not in self._resolved:
            self._resolved[sells] = await _resolve(client, sells)
        return self._resolved[sells]


async def _create_session(
    client: stripe.StripeClient, params: dict[str, Any], customer: str, idempotency_key: str
) -> CheckoutSession:
    given = cast("SessionCreateParams", {**params, "customer": customer})
    key = _key(idempotency_key, given)
    made = await client.v1.checkout.sessions.create_async(given, {"idempotency_key": key})
    if not made.url:
        raise ValueError("a session without an address")
    return CheckoutSession(made.id, made.url, customer)


async def _is_new(client: stripe.StripeClient, customer: str) -> bool:
    """Whether a customer has never had a subscription."""
    try:
        page = await client.v1.subscriptions.list_async({"customer": customer, "status": "all", "limit": 1})
    except stripe.InvalidRequestError as error:
        if is_missing(error, "customer"):
            return False
        raise
    return not items(plain(page))


async def _expire_others(client: stripe.StripeClient, customer: str) -> None:
    """End the customer's checkouts that are still open: each offers a trial, and two are one too many."""
    page = await client.v1.checkout.sessions.list_async(
        {"customer": customer, "status": "open", "limit": 100}
    )
    for session in items(plain(page)):
        try:
            await client.v1.checkout.sessions.expire_async(session["id"])
        except stripe.InvalidRequestError:
            continue  # paid or expired this very moment


async def _create_customer(client: stripe.StripeClient, order: CheckoutOrder, idempotency_key: str) -> str:
    params: CustomerCreateParams = {"metadata": {SUBJECT_KEY: order.subject}}
    if order.email:
        try:
            named: CustomerCreateParams = {**params, "email": order.email}
            made = await client.v1.customers.create_async(
                named, {"idempotency_key": _key(idempotency_key, named)}
            )
        except stripe.InvalidRequestError as error:
            if error.param != "email":
                raise
        else:
            return made.id
    # Without an address, or with one that Stripe does not take: the person types it at the checkout.
    made = await client.v1.customers.create_async(params, {"idempotency_key": _key(idempotency_key, params)})
    return made.id


async def _resolve(client: stripe.StripeClient, sells: str) -> str:
    """The price behind a product id or a lookup key."""
    if sells.startswith("prod_"):
        price = reference(plain(await client.v1.products.retrieve_async(sells)).get("default_price"))
        if price is None:
            raise CheckoutUnavailable(f"the product {sells!r} has no default price in Stripe")
        return price
    page = await client.v1.prices.list_async({"lookup_keys": [sells], "active": True, "limit": 1})
    found = items(plain(page))
    price = text(found[0].get("id")) if found else None
    if price is None:
        raise CheckoutUnavailable(f"Stripe has no active price with the lookup key {sells!r}")
    return price


def _key(seed: str, params: object) -> str:
    """An idempotency key that names what is sent too: a changed order is a new one, not a conflict."""
    written = json.dumps([seed, cast("dict[str, Any]", params)], sort_keys=True).encode()
    return "skene-" + hashlib.sha256(written).hexdigest()

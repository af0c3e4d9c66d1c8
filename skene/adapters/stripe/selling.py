"""Opens Checkout sessions."""

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

import stripe

from skene.adapters.stripe.connection import is_missing
from skene.adapters.stripe.reading import SUBJECT_KEY, WALL_KEY, items, plain, reference, text
from skene.errors import CheckoutUnavailable
from skene.ports.billing import CheckoutOrder, CheckoutSession

if TYPE_CHECKING:
    from stripe.params import CustomerCreateParams
    from stripe.params.checkout import SessionCreateParams

__all__ = ["Seller"]

_PLAIN_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")  # what every kind of Checkout accepts


class Seller:
    """Sells one price.

    Args:
        sells: a price id, a product id or a lookup key; None: nothing.
        allow_promotion_codes: let people enter a promotion code.
    """

    def __init__(self, sells: str | None, allow_promotion_codes: bool) -> None:
        self._sells = sells
        self._allow_promotion_codes = allow_promotion_codes
        self._resolved: str | None = None

    async def open(
        self, client: stripe.StripeClient, order: CheckoutOrder, idempotency_key: str
    ) -> CheckoutSession:
        """Open a session for a customer who exists: the order's, or a new one named after its subject.

        Raises:
            CheckoutUnavailable: there is nothing to sell.
            stripe.StripeError: whatever Stripe answers.
            ValueError: what answered was not Stripe.
        """
        price = await self._price(client)
        # The same key for every click, so that impatience makes no second customer.
        customer = order.customer or await _create_customer(client, order, "customer")
        try:
            return await self._create_session(client, order, price, customer, idempotency_key)
        except stripe.InvalidRequestError as error:
            if not is_missing(error, "customer"):
                raise
        # Deleted at Stripe since; nobody should be kept from buying by that.
        customer = await _create_customer(client, order, idempotency_key)
        return await self._create_session(client, order, price, customer, idempotency_key)

    async def _create_session(
        self,
        client: stripe.StripeClient,
        order: CheckoutOrder,
        price: str,
        customer: str,
        idempotency_key: str,
    ) -> CheckoutSession:
        metadata = {SUBJECT_KEY: order.subject}
        if order.wall:
            metadata[WALL_KEY] = order.wall
        params: SessionCreateParams = {
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "customer": customer,
            "metadata": metadata,
            "subscription_data": {"metadata": metadata},
            "success_url": order.return_url,
            "cancel_url": order.cancel_url,
        }
        if _PLAIN_REFERENCE.fullmatch(order.subject):
            params["client_reference_id"] = order.subject  # for people; what counts is the metadata
        if self._allow_promotion_codes:
            params["allow_promotion_codes"] = True
        key = _key(idempotency_key, params)
        made = await client.v1.checkout.sessions.create_async(params, {"idempotency_key": key})
        if not made.url:
            raise ValueError("a session without an address")
        return CheckoutSession(made.id, made.url, customer)

    async def _price(self, client: stripe.StripeClient) -> str:
        if self._sells is None:
            message = '`plans` names no price to sell; give checkout_price="price_…"'
            raise CheckoutUnavailable(message)
        if self._sells.startswith("price_"):
            return self._sells
        if self._resolved is None:
            self._resolved = await _resolve(client, self._sells)
        return self._resolved


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

"""StripeBilling: reads what a customer pays for, and sells."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import anyio
import httpx
import stripe

from skene.adapters.stripe.connection import Connection, is_missing, where
from skene.adapters.stripe.reading import (
    SUBJECT_KEY,
    WALL_KEY,
    Json,
    items,
    mapping,
    reference,
    subscription,
    text,
)
from skene.adapters.stripe.settings import Settings
from skene.adapters.stripe.webhook import read_event, subject_of, verify
from skene.errors import BillingUnavailable, CheckoutUnavailable
from skene.ports.billing import Account, BillingEvent, CheckoutOrder, CheckoutResult, CheckoutSession

if TYPE_CHECKING:
    from stripe.params import checkout as checkout_params

__all__ = ["StripeBilling"]

_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,250}")
_PLAIN_REFERENCE = re.compile(r"[A-Za-z0-9_-]{1,200}")  # what every kind of Checkout accepts


class StripeBilling:
    """Stripe as the billing service, on the official SDK. Implements `skene.ports.billing.Billing`.

    Args:
        api_key: a secret (`sk_…`) or restricted (`rk_…`) key. A restricted one needs to read customers,
            subscriptions, prices and products, and to write checkout and customer portal sessions.
        webhook_secret: the signing secret (`whsec_…`) of the webhook endpoint.
        plans: what each price means: a price id, a lookup key or a product id (the first of these that fits,
            in this order), or `"*"` for any price, mapped to a plan. List the least valuable plan first: of
            several plans held at once the one listed last wins.
        default: the plan of those who pay for nothing.
        checkout_price: what a checkout sells: a price id, a product id (its default price) or a lookup key.
            Left out, the first price of `plans`, else its first product or lookup key.
        allow_promotion_codes: let people enter a promotion code at checkout.
        grace: how long a subscription that is past due keeps its plan.
        timeout: for one call of this class, the SDK's repeats included; 50 ms to 10 s.
        webhook_tolerance: how far a webhook's time-stamp may lie from now, either way; 1 s to 1 h.
        base_url: for tests, another address than Stripe's.
        transport: for tests, an httpx transport such as `httpx.ASGITransport(fake.app)`, not the network.

    Raises:
        ConfigurationError: naming every setting that cannot work, and no secret.
    """

    def __init__(
        self,
        api_key: str,
        webhook_secret: str,
        plans: Mapping[str, str],
        *,
        default: str = "free",
        checkout_price: str | None = None,
        allow_promotion_codes: bool = False,
        grace: timedelta = timedelta(days=14),
        timeout: timedelta = timedelta(seconds=5),
        webhook_tolerance: timedelta = timedelta(minutes=5),
        base_url: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._settings = Settings(
            api_key=api_key,
            webhook_secret=webhook_secret,
            plans=plans,
            default=default,
            checkout_price=checkout_price,
            allow_promotion_codes=allow_promotion_codes,
            grace=grace,
            timeout=timeout,
            webhook_tolerance=webhook_tolerance,
        )
        self._connection = Connection(api_key, base_url, transport)
        self._resolved_price: str | None = None

    def __repr__(self) -> str:
        mode = {True: "live", False: "test", None: "unknown"}[self._settings.livemode]
        return f"<StripeBilling mode={mode} plans={self._settings.plans!r}>"

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan besides `default`, least to most valuable."""
        return self._settings.order

    @property
    def prices(self) -> Mapping[str, str]:
        """What each price id, product id, lookup key or `"*"` means, as given."""
        return self._settings.plans

    @property
    def default(self) -> str:
        """The plan of a subject who pays for nothing."""
        return self._settings.default

    @property
    def grace(self) -> timedelta:
        """How long a subscription that is past due keeps its plan."""
        return self._settings.grace

    @property
    def livemode(self) -> bool | None:
        """Whether the key is a live one; None if it does not say."""
        return self._settings.livemode

    @property
    def link_key(self) -> bytes | None:
        """Derived from the webhook secret, so every process has the same and it gives nothing away."""
        return hmac.new(
            self._settings.webhook_secret.encode(), b"skene: signing links", hashlib.sha256
        ).digest()

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> BillingEvent:
        """Verify and read a webhook; see the port.

        Raises:
            WebhookRejected: with status 401 if the signature is not Stripe's, 400 for everything else.
        """
        settings = self._settings
        verify(
            body, headers.get("stripe-signature"), settings.webhook_secret, settings.webhook_tolerance, now
        )
        return read_event(body, settings.livemode)

    async def fetch(  # the deadline is part of the port: noqa below
        self,
        customer: str,
        *,
        timeout: timedelta | None = None,  # noqa: ASYNC109
    ) -> Account:
        """Ask Stripe for a customer and all of its subscriptions; see the port.

        Raises:
            BillingUnavailable: no answer, a server error, too many requests, or a key that Stripe refuses.
        """
        if not customer:
            return Account(customer, deleted=True)
        try:
            found, entries = await self._connection.ask(
                lambda client: _customer_and_subscriptions(client, customer),
                timeout or self._settings.timeout,
            )
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                return Account(customer, deleted=True)
            raise BillingUnavailable(f"Stripe refused to show a customer: {where(error)}") from error
        if found.get("deleted") is True:
            return Account(customer, deleted=True)
        newest_first = sorted(entries, key=lambda entry: entry[0].get("created") or 0, reverse=True)
        named = [
            mapping(found.get("metadata")),
            *(mapping(entry[0].get("metadata")) for entry in newest_first),
        ]
        return Account(
            customer=customer,
            subject=next((subject for data in named if (subject := text(data.get(SUBJECT_KEY)))), None),
            email=text(found.get("email")),
            subscriptions=tuple(
                subscription(entry, lines, self._settings.plans, self._settings.order)
                for entry, lines in newest_first
            ),
        )

    async def checkout(self, order: CheckoutOrder, *, idempotency_key: str) -> CheckoutSession:
        """Open a Checkout session for a subscription; see the port.

        A customer that Stripe no longer has, or an address that it does not take, is left out rather than
        standing between a person and their purchase.

        Raises:
            CheckoutUnavailable: there is no price to sell, or Stripe does not sell it this way.
            BillingUnavailable: as for `fetch`.
        """
        try:
            session = await self._connection.ask(
                lambda client: self._open(client, order, idempotency_key), self._settings.timeout
            )
        except stripe.InvalidRequestError as error:
            sells = self._settings.sells
            raise CheckoutUnavailable(f"Stripe refuses to sell {sells!r} ({where(error)})") from error
        if not session.url:
            raise BillingUnavailable("Stripe opened a checkout without an address")
        return CheckoutSession(session.id, session.url)

    async def checkout_result(self, session: str) -> CheckoutResult:
        """Say what became of a Checkout session; see the port.

        Raises:
            LookupError: Stripe knows no such session.
            BillingUnavailable: as for `fetch`.
        """
        if not _SESSION_ID.fullmatch(session):
            raise LookupError("that is not the id of a checkout session")
        try:
            found = await self._connection.ask(
                lambda client: client.v1.checkout.sessions.retrieve_async(session), self._settings.timeout
            )
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                raise LookupError("Stripe knows no such checkout session") from None
            raise BillingUnavailable(f"Stripe refused to show a checkout: {where(error)}") from error
        source = _plain(found)
        metadata = mapping(source.get("metadata"))
        return CheckoutResult(
            complete=source.get("status") == "complete",
            customer=reference(source.get("customer")),
            subject=subject_of(source, metadata),
            wall=text(metadata.get(WALL_KEY)),
        )

    async def portal(self, customer: str, *, return_url: str) -> str:
        """Open a customer portal session; see the port.

        Raises:
            CheckoutUnavailable: no such customer, or the portal is not set up in Stripe's dashboard.
            BillingUnavailable: as for `fetch`.
        """
        try:
            session = await self._connection.ask(
                lambda client: client.v1.billing_portal.sessions.create_async(
                    {"customer": customer, "return_url": return_url}
                ),
                self._settings.timeout,
            )
        except stripe.InvalidRequestError as error:
            if is_missing(error, "customer"):
                raise CheckoutUnavailable("Stripe has no such customer any more") from None
            hint = "is the customer portal set up in Stripe's dashboard?"
            raise CheckoutUnavailable(f"Stripe opens no customer portal ({where(error)}); {hint}") from error
        return session.url

    async def aclose(self) -> None:
        """Release this event loop's connections. May be called twice."""
        await self._connection.aclose()

    async def _open(
        self, client: stripe.StripeClient, order: CheckoutOrder, idempotency_key: str
    ) -> stripe.checkout.Session:
        params = self._session_params(order, await self._price(client))
        while True:
            # What is sent is part of the key: a changed order is a new one, not a conflict with the earlier.
            written = json.dumps([idempotency_key, params], sort_keys=True).encode()
            key = "skene-" + hashlib.sha256(written).hexdigest()
            try:
                return await client.v1.checkout.sessions.create_async(
                    cast("checkout_params.SessionCreateParams", params), {"idempotency_key": key}
                )
            except stripe.InvalidRequestError as error:
                if "customer" in params and is_missing(error, "customer"):
                    del params["customer"]
                    if order.email:
                        params["customer_email"] = order.email
                elif "customer_email" in params and error.param == "customer_email":
                    del params["customer_email"]
                else:
                    raise

    def _session_params(self, order: CheckoutOrder, price: str) -> dict[str, Any]:
        metadata = {SUBJECT_KEY: order.subject}
        if order.wall:
            metadata[WALL_KEY] = order.wall
        params: dict[str, Any] = {
            "mode": "subscription",
            "line_items": [{"price": price, "quantity": 1}],
            "metadata": metadata,
            "subscription_data": {"metadata": metadata},
            "success_url": order.return_url,
            "cancel_url": order.cancel_url,
        }
        if _PLAIN_REFERENCE.fullmatch(order.subject):
            # Shown in the dashboard; what counts is the metadata.
            params["client_reference_id"] = order.subject
        if order.customer:
            params["customer"] = order.customer
        elif order.email:
            params["customer_email"] = order.email
        if self._settings.allow_promotion_codes:
            params["allow_promotion_codes"] = True
        return params

    async def _price(self, client: stripe.StripeClient) -> str:
        sells = self._settings.sells
        if sells is None:
            raise CheckoutUnavailable(
                'there is no price to sell: `plans` names none; give checkout_price="price_…"'
            )
        if sells.startswith("price_"):
            return sells
        if self._resolved_price is None:
            self._resolved_price = await _resolve(client, sells)
        return self._resolved_price


async def _resolve(client: stripe.StripeClient, sells: str) -> str:
    """The price behind a product id or a lookup key."""
    if sells.startswith("prod_"):
        product = _plain(await client.v1.products.retrieve_async(sells))
        price = reference(product.get("default_price"))
        if price is None:
            raise CheckoutUnavailable(f"the product {sells!r} has no default price in Stripe")
        return price
    found = items(
        _plain(await client.v1.prices.list_async({"lookup_keys": [sells], "active": True, "limit": 1}))
    )
    price = text(found[0].get("id")) if found else None
    if price is None:
        raise CheckoutUnavailable(f"Stripe has no active price with the lookup key {sells!r}")
    return price


async def _customer_and_subscriptions(
    client: stripe.StripeClient, customer: str
) -> tuple[Json, list[tuple[Json, list[Json]]]]:
    """Read both at once: somebody may be waiting for it."""
    found: list[Json] = []
    entries: list[tuple[Json, list[Json]]] = []
    errors: list[stripe.StripeError] = []

    async def read_customer() -> None:
        try:
            found.append(_plain(await client.v1.customers.retrieve_async(customer)))
        except stripe.StripeError as error:
            errors.append(error)
            group.cancel_scope.cancel()

    async def read_subscriptions() -> None:
        try:
            page = await client.v1.subscriptions.list_async(
                {"customer": customer, "status": "all", "limit": 100}
            )
            async for entry in page.auto_paging_iter():
                source = _plain(entry)
                entries.append((source, await _lines(client, source)))
        except stripe.StripeError as error:
            errors.append(error)
            group.cancel_scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(read_customer)
        group.start_soon(read_subscriptions)
    if errors:
        raise errors[0]
    return found[0], entries


async def _lines(client: stripe.StripeClient, source: Json) -> list[Json]:
    """All items of a subscription; Stripe embeds only the first ones."""
    embedded = mapping(source.get("items"))
    if embedded.get("has_more") is not True:
        return items(embedded)
    page = await client.v1.subscription_items.list_async({"subscription": source["id"], "limit": 100})
    return [_plain(entry) async for entry in page.auto_paging_iter()]


def _plain(source: stripe.StripeObject) -> Json:
    # The SDK's objects raise on a field that is absent; plain data can be asked.
    return cast("Json", source.to_dict())

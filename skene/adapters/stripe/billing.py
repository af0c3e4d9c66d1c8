"""StripeBilling: reads what a customer pays for, and sells."""

import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any, TypeVar

import httpx
import stripe

from skene.adapters.stripe.connection import Connection, is_missing, where
from skene.adapters.stripe.fetching import customer_and_subscriptions
from skene.adapters.stripe.listing import event_page, subscription_page
from skene.adapters.stripe.metering import send_report
from skene.adapters.stripe.payments import customer_of_payment, is_disputed, unpaid_since
from skene.adapters.stripe.reading import SUBJECT_KEY, WALL_KEY, mapping, plain, reference, subscription, text
from skene.adapters.stripe.selling import Seller
from skene.adapters.stripe.settings import Settings
from skene.adapters.stripe.survey import Survey, survey
from skene.adapters.stripe.webhook import read_event, subject_of, verify
from skene.engine.standing import GRACE_STATUSES, PLAN_STATUSES, Keeping, PlanPolicy
from skene.errors import BillingUnavailable, CheckoutUnavailable
from skene.ports.billing import (
    Account,
    BillingEvent,
    CheckoutOrder,
    CheckoutResult,
    CheckoutSession,
    CheckoutState,
    EventPage,
    SubscriptionPage,
    UsageReport,
)

__all__ = ["StripeBilling"]

T = TypeVar("T")

_CUSTOMER_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
_PAYMENT_ID = re.compile(r"(?:ch|py|pi)_[A-Za-z0-9_]{1,250}")
_STATES: Mapping[object, CheckoutState] = {"open": "open", "complete": "complete", "expired": "expired"}
_SESSION_ID = re.compile(r"cs_[A-Za-z0-9_]{1,250}")


class StripeBilling:
    """Stripe as the billing service, on the official SDK. Implements `skene.ports.billing.Billing`.

    Args:
        api_key: a secret (`sk_…`) or restricted (`rk_…`) key. A restricted one needs to read customers,
            subscriptions, events, prices, products, invoices and entitlements, with `disputed="default"`
            charges and disputes too; and to write customers, checkout and portal sessions, and billing meter
            events.
        webhook_secret: the signing secret (`whsec_…`) of the webhook endpoint.
        plans: what each price means: a price id, a lookup key or a product id (the first of these that fits,
            in this order), or `"*"` for any price, mapped to a plan. List the least valuable plan first: of
            several plans held at once the one listed last wins.
        default: the plan of those who pay for nothing.
        checkout_price: what a checkout sells: a price id, a product id (its default price) or a lookup key.
            Left out, the first price of `plans`, else its first product or lookup key. Alone, it is all that
            is sold; beside `checkout_prices`, what is sold when no plan is asked for.
        checkout_prices: what a checkout sells each plan as, where more than one is sold: plan to price.
            Left out, the first price that `plans` lists for each.
        trial_days: let somebody who has never had a subscription try it for that long first; 0 to 730.
        allow_promotion_codes: let people enter a promotion code at checkout.
        checkout_options: further parameters of a session, e.g. `{"automatic_tax": {"enabled": True}}`.
        grace: how long a subscription that is past due keeps its plan.
        collection_paused: `"default"` gives the default plan while a subscription's collection is paused.
        disputed: `"default"` gives it while a payment is in dispute, or lost to one and none was made since.
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
        checkout_prices: Mapping[str, str] | None = None,
        trial_days: int = 0,
        allow_promotion_codes: bool = False,
        checkout_options: Mapping[str, Any] | None = None,
        grace: timedelta = timedelta(days=14),
        collection_paused: Keeping = "keep",
        disputed: Keeping = "keep",
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
            checkout_prices=checkout_prices,
            trial_days=trial_days,
            checkout_options={} if checkout_options is None else checkout_options,
            collection_paused=collection_paused,
            disputed=disputed,
        )
        self._connection = Connection(api_key, base_url, transport)
        self._seller = Seller(self._settings)

    def __repr__(self) -> str:
        mode = {True: "live", False: "test", None: "unknown"}[self._settings.livemode]
        return f"<StripeBilling mode={mode} plans={self._settings.plans!r}>"

    @property
    def name(self) -> str:
        """`stripe`."""
        return "stripe"

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan besides `default`, least to most valuable."""
        return self._settings.order

    @property
    def prices(self) -> Mapping[str, str]:
        """What each price id, product id, lookup key or `"*"` means, as given."""
        return self._settings.plans

    @property
    def sells(self) -> str | None:
        """What a checkout sells: a price id, a product id or a lookup key; None if nothing can be sold."""
        return self._settings.sells

    @property
    def default(self) -> str:
        """The plan of a subject who pays for nothing."""
        return self._settings.default

    @property
    def offers(self) -> tuple[str, ...]:
        """The plans that a checkout can sell, least to most valuable."""
        return tuple(self._settings.sold)

    @property
    def policy(self) -> PlanPolicy:
        """What subscriptions are worth."""
        return self._settings.policy

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

    async def survey(self) -> Survey:
        """What the account sells, and which permissions the key lacks; for the commands that set skene up.

        Raises:
            BillingUnavailable: Stripe cannot be reached, or refuses the key.
        """
        return await self._connection.ask(survey, timedelta(seconds=30))

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> BillingEvent:
        """Verify and read a webhook; see the port.

        Raises:
            WebhookRejected: with status 401 if the signature is not Stripe's, 400 for everything else.
        """
        settings = self._settings
        verify(body, headers, settings.webhook_secret, settings.webhook_tolerance, now)
        return read_event(body, settings.livemode)

    async def fetch(
        self,
        customer: str,
        *,
        timeout: timedelta | None = None,
        features: bool = False,
    ) -> Account:
        """Ask Stripe for a customer, its subscriptions and, if told, entitlements; see the port.

        Raises:
            LookupError: Stripe knows no such customer under this key.
            BillingUnavailable: no answer, a server error, too many requests, or a key that Stripe refuses.
        """
        if not _CUSTOMER_ID.fullmatch(customer):
            raise LookupError("this cannot be the id of a customer at Stripe")
        try:
            return await self._connection.ask(
                lambda client: self._account(client, customer, features), timeout or self._settings.timeout
            )
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                raise LookupError("Stripe knows no such customer under this key") from error
            raise BillingUnavailable(f"Stripe refused to show a customer: {where(error)}") from error

    async def _account(self, client: stripe.StripeClient, customer: str, features: bool) -> Account:
        found, entries, held = await customer_and_subscriptions(client, customer, features=features)
        if found.get("deleted") is True:
            return Account(customer, deleted=True)
        settings = self._settings
        read = [
            subscription(
                source,
                lines,
                settings.plans,
                settings.order,
                await unpaid_since(client, source["id"]) if source.get("status") in GRACE_STATUSES else None,
            )
            for source, lines in entries
        ]
        naming = [mapping(source.get("metadata")) for source in (found, *(source for source, _ in entries))]
        # Only where it decides something: who holds no plan loses none.
        asks = settings.disputed == "default" and any(one.status in PLAN_STATUSES for one in read)
        return Account(
            customer=customer,
            subject=next((subject for data in naming if (subject := text(data.get(SUBJECT_KEY)))), None),
            email=text(found.get("email")),
            subscriptions=tuple(read),
            features=tuple(held),
            disputed=asks and await is_disputed(client, customer),
        )

    async def customer_of(self, payment: str) -> str | None:
        """Whose a charge or a payment intent is; None if nobody's, or there is none.

        Raises:
            BillingUnavailable: as for `fetch`.
        """
        if not _PAYMENT_ID.fullmatch(payment):
            return None
        try:
            return await self._connection.ask(
                lambda client: customer_of_payment(client, payment), self._settings.timeout
            )
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                return None
            raise BillingUnavailable(f"Stripe refused to show a payment: {where(error)}") from error

    async def checkout(self, order: CheckoutOrder, *, idempotency_key: str) -> CheckoutSession:
        """Open a Checkout session for a subscription; see the port.

        An order without a customer gets one, named after its subject; so does one whose customer was deleted.
        An address that Stripe does not take is left out.

        Raises:
            CheckoutUnavailable: there is no price to sell, or Stripe does not sell it this way.
            BillingUnavailable: as for `fetch`.
        """
        try:
            return await self._connection.ask(
                lambda client: self._seller.open(client, order, idempotency_key), self._settings.timeout
            )
        except stripe.InvalidRequestError as error:
            sells = self._seller.sells(order.plan)
            raise CheckoutUnavailable(f"Stripe refuses to sell {sells!r} ({where(error)})") from error

    async def checkout_result(self, session: str) -> CheckoutResult:
        """Say what became of a Checkout session; see the port.

        Raises:
            LookupError: Stripe knows no such session.
            BillingUnavailable: as for `fetch`.
        """
        if not _SESSION_ID.fullmatch(session):
            raise LookupError("that is not the id of a checkout session")

        async def read(client: stripe.StripeClient) -> CheckoutResult:
            source = plain(await client.v1.checkout.sessions.retrieve_async(session))
            metadata = mapping(source.get("metadata"))
            return CheckoutResult(
                state=_STATES[source["status"]],
                customer=reference(source.get("customer")),
                subject=subject_of(source, metadata),
                wall=text(metadata.get(WALL_KEY)),
                paid=source.get("payment_status") != "unpaid",
                url=text(source.get("url")),
            )

        try:
            return await self._connection.ask(read, self._settings.timeout)
        except stripe.InvalidRequestError as error:
            if is_missing(error):
                raise LookupError("Stripe knows no such checkout session") from None
            raise BillingUnavailable(f"Stripe refused to show a checkout: {where(error)}") from error

    async def portal(self, customer: str, *, return_url: str) -> str:
        """Open a customer portal session; see the port.

        Raises:
            CheckoutUnavailable: no such customer, or the portal is not set up in Stripe's dashboard.
            BillingUnavailable: as for `fetch`.
        """

        async def create(client: stripe.StripeClient) -> str:
            made = await client.v1.billing_portal.sessions.create_async(
                {"customer": customer, "return_url": return_url}
            )
            return made.url

        try:
            return await self._connection.ask(create, self._settings.timeout)
        except stripe.InvalidRequestError as error:
            if is_missing(error, "customer"):
                raise CheckoutUnavailable("Stripe has no such customer any more") from None
            hint = "is the customer portal set up in Stripe's dashboard?"
            raise CheckoutUnavailable(f"Stripe opens no customer portal ({where(error)}); {hint}") from error

    async def subscriptions(self, after: str | None = None) -> SubscriptionPage:
        """Read all customers' subscriptions that are not over, 100 a page; see the port.

        Raises:
            LookupError: Stripe does not know any more where the page would begin.
            BillingUnavailable: as for `fetch`.
        """
        settings = self._settings
        return await self._page(lambda client: subscription_page(client, after, settings))

    async def events(self, since: datetime, after: str | None = None) -> EventPage:
        """Read what has happened since, 100 a page; see the port.

        Raises:
            LookupError: as for `subscriptions`.
            BillingUnavailable: as for `fetch`.
        """
        settings = self._settings
        return await self._page(lambda client: event_page(client, since, after, settings.livemode))

    async def _page(self, read: Callable[[stripe.StripeClient], Awaitable[T]]) -> T:
        try:
            return await self._connection.ask(read, self._settings.timeout)
        except stripe.InvalidRequestError as error:
            if is_missing(error, "starting_after"):
                raise LookupError("Stripe does not know any more where this page begins") from None
            raise BillingUnavailable(f"Stripe refused to show a list: {where(error)}") from error

    async def report_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """Send a meter event; see the port.

        Args:
            report: its `meter` is the `event_name` of an active billing meter that adds up `value`, the
                default. Use of up to 35 days ago is taken.
            idempotency_key: the event's identifier; at most 100 characters.

        Raises:
            DeliveryFailed, DeliveryRefused, DeliveryUnknown: as the port says.
        """
        await send_report(self._connection, self._settings.timeout, report, idempotency_key)

    def against(
        self,
        *,
        api_key: str,
        webhook_secret: str,
        base_url: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> "StripeBilling":
        """The same plans and prices on another account: how a test puts a local Stripe in Stripe's place."""
        given = {one.name: getattr(self._settings, one.name) for one in fields(self._settings)}
        given |= {"api_key": api_key, "webhook_secret": webhook_secret}
        return StripeBilling(**given, base_url=base_url, transport=transport)

    async def aclose(self) -> None:
        """Release this event loop's connections. May be called twice."""
        await self._connection.aclose()

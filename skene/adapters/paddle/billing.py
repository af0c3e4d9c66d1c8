"""PaddleBilling: reads what a customer pays for, and sells."""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Literal

import httpx

from skene.adapters.paddle.connection import Connection, PaddleRefused, Page
from skene.adapters.paddle.fetching import account
from skene.adapters.paddle.naming import Naming
from skene.adapters.paddle.reading import mapping, subscription, text
from skene.adapters.paddle.selling import Seller, result
from skene.adapters.paddle.settings import LIVE_URL, SANDBOX_URL, Settings
from skene.adapters.paddle.webhook import read_event, read_webhook
from skene.engine.standing import PlanPolicy
from skene.errors import BillingUnavailable, CheckoutUnavailable, DeliveryRefused, WebhookRejected
from skene.ports.billing import (
    Account,
    BillingEvent,
    CheckoutOrder,
    CheckoutResult,
    CheckoutSession,
    EventPage,
    SubscriptionPage,
    UsageReport,
)

__all__ = ["PaddleBilling"]

_CUSTOMER_ID = re.compile(r"ctm_[a-z0-9]{26}")
_TRANSACTION_ID = re.compile(r"txn_[a-z0-9]{26}")


class PaddleBilling:
    """Paddle Billing as the billing service, on its HTTP API. Implements `skene.ports.billing.Billing`.

    Args:
        api_key: a server-side key (`pdl_live_apikey_…`, `pdl_sdbx_apikey_…`). It needs to read and write
            customers and transactions, to read subscriptions and events, with `disputed="default"`
            adjustments too, and to write customer portal sessions.
        webhook_secret: the secret key (`pdl_ntfset_…`) of the notification destination.
        plans: what each price means: a price id or a product id (the first of these that fits, in this
            order), or `"*"` for any price, mapped to a plan. List the least valuable plan first: of several
            plans held at once the one listed last wins.
        default: the plan of those who pay for nothing.
        checkout_price: the price that a checkout sells. Left out, the first price of `plans`. Alone, it is
            all that is sold; beside `checkout_prices`, what is sold when no plan is asked for.
        checkout_prices: the price that a checkout sells each plan at, where more than one is sold: plan to
            price. Left out, the first price that `plans` lists for each.
        checkout_page: your page with Paddle.js, on a domain that Paddle has approved; people are sent there
            with `?_ptxn=txn_…` to pay. Left out, the default payment link of your account.
        grace: how long a subscription that is past due keeps its plan.
        disputed: `"default"` gives the default plan while a payment was charged back and not won back.
        timeout: for one call of this class, repeats included; 50 ms to 10 s.
        webhook_tolerance: how far a webhook's time-stamp may lie from now, either way; 1 s to 1 h.
        base_url: for tests, another address than Paddle's. Else the key says which of its two it is.
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
        checkout_page: str | None = None,
        grace: timedelta = timedelta(days=14),
        disputed: Literal["keep", "default"] = "keep",
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
            checkout_page=checkout_page,
            grace=grace,
            timeout=timeout,
            webhook_tolerance=webhook_tolerance,
            checkout_prices=checkout_prices,
            disputed=disputed,
        )
        own = SANDBOX_URL if self._settings.livemode is False else LIVE_URL
        self._connection = Connection(api_key, base_url or own, transport)
        self._naming = Naming(webhook_secret)
        self._seller = Seller(self._connection, self._settings, self._naming)

    def __repr__(self) -> str:
        mode = {True: "live", False: "sandbox", None: "unknown"}[self._settings.livemode]
        return f"<PaddleBilling mode={mode} plans={self._settings.plans!r}>"

    @property
    def name(self) -> str:
        """`paddle`."""
        return "paddle"

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan besides `default`, least to most valuable."""
        return self._settings.order

    @property
    def prices(self) -> Mapping[str, str]:
        """What each price id, product id or `"*"` means, as given."""
        return self._settings.plans

    @property
    def offers(self) -> tuple[str, ...]:
        """The plans that a checkout can sell, least to most valuable."""
        return tuple(self._settings.sold)

    @property
    def default(self) -> str:
        """The plan of a subject who pays for nothing."""
        return self._settings.default

    @property
    def policy(self) -> PlanPolicy:
        """What subscriptions are worth, as the settings say."""
        settings = self._settings
        return PlanPolicy(settings.order, settings.default, settings.grace, disputed=settings.disputed)

    @property
    def grace(self) -> timedelta:
        """How long a subscription that is past due keeps its plan."""
        return self._settings.grace

    @property
    def livemode(self) -> bool | None:
        """Whether the key is for the live account; None if it does not say."""
        return self._settings.livemode

    @property
    def link_key(self) -> bytes | None:
        """Derived from the webhook secret, so every process has the same and it gives nothing away."""
        secret = self._settings.webhook_secret.encode()
        return hmac.new(secret, b"skene: signing links", hashlib.sha256).digest()

    def custom_data(self, subject: str, wall: str | None = None) -> dict[str, str]:
        """Custom data for a checkout that the app opens itself, so that skene knows whose payment it is.

        Pass it to `Paddle.Checkout.open({customData: …})`. It proves that the app named the subject: hand it
        to nobody but that person.
        """
        return self._naming.write(subject, wall)

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> BillingEvent:
        """Verify and read a webhook; see the port.

        Raises:
            WebhookRejected: with status 401 if the signature is not Paddle's, 400 for everything else.
        """
        settings = self._settings
        return read_webhook(
            body,
            headers,
            secret=settings.webhook_secret,
            tolerance=settings.webhook_tolerance,
            now=now,
            naming=self._naming,
        )

    async def fetch(
        self, customer: str, *, timeout: timedelta | None = None, features: bool = False
    ) -> Account:
        """Ask Paddle for a customer and all of its subscriptions; see the port.

        Paddle deletes no customers, so none is ever `deleted`, and knows no features besides what is bought.

        Raises:
            LookupError: Paddle knows no such customer under this key.
            BillingUnavailable: no answer, a server error, too many requests, or a key that Paddle refuses.
        """
        if not _CUSTOMER_ID.fullmatch(customer):
            raise LookupError("this cannot be the id of a customer at Paddle")
        settings = self._settings
        try:
            return await self._connection.ask(
                lambda: account(self._connection, customer, settings, self._naming),
                timeout or settings.timeout,
            )
        except PaddleRefused as refused:
            if refused.status == 404:
                raise LookupError("Paddle knows no such customer under this key") from None
            raise BillingUnavailable(f"Paddle refused to show a customer: {refused}") from None

    async def checkout(self, order: CheckoutOrder, *, idempotency_key: str) -> CheckoutSession:
        """Open a checkout: a draft transaction, and the page on which the person completes it; see the port.

        An order without a customer but with an address gets one, named after its subject. Paddle has no
        idempotency keys, so a repeated order makes a second draft, which costs nobody anything. Where the
        browser goes after payment is said by the page itself: `return_url` and `cancel_url` are not used.

        Raises:
            CheckoutUnavailable: there is no price to sell, or Paddle does not sell it this way.
            BillingUnavailable: as for `fetch`.
        """
        try:
            return await self._connection.ask(lambda: self._seller.open(order), self._settings.timeout)
        except PaddleRefused as refused:
            raise CheckoutUnavailable(
                f"Paddle refuses to sell {self._settings.sells!r} ({refused})"
            ) from None

    async def checkout_result(self, session: str) -> CheckoutResult:
        """Say what became of a transaction; see the port.

        Raises:
            LookupError: Paddle knows no such transaction.
            BillingUnavailable: as for `fetch`.
        """
        source = await self._transaction(session)
        if source is None:
            raise LookupError("Paddle knows no such transaction")
        return source

    async def portal(self, customer: str, *, return_url: str) -> str:
        """Open a session of the customer portal; see the port.

        Paddle's portal has no way back, so `return_url` is not used.

        Raises:
            CheckoutUnavailable: no such customer.
            BillingUnavailable: as for `fetch`.
        """
        if not _CUSTOMER_ID.fullmatch(customer):
            raise CheckoutUnavailable("this cannot be the id of a customer at Paddle")

        async def create() -> str:
            made = await self._connection.post(f"/customers/{customer}/portal-sessions", {})
            url = text(mapping(mapping(made.get("urls")).get("general")).get("overview"))
            if url is None:
                raise ValueError("a portal without an address")
            return url

        try:
            return await self._connection.ask(create, self._settings.timeout)
        except PaddleRefused as refused:
            raise CheckoutUnavailable(f"Paddle opens no customer portal ({refused})") from None

    async def subscriptions(self, after: str | None = None) -> SubscriptionPage:
        """Read all customers' subscriptions that are not over, 200 a page; see the port.

        Raises:
            LookupError: Paddle does not know any more where the page would begin.
            BillingUnavailable: as for `fetch`.
        """
        params = {"status": "active,past_due,paused,trialing"}
        page = await self._page("/subscriptions", params, after)
        plans, order = self._settings.plans, self._settings.order
        try:
            entries = tuple(
                (str(one["customer_id"]), subscription(one, plans, order)) for one in page.entries
            )
        except (LookupError, ValueError) as error:
            raise BillingUnavailable("what answered in Paddle's place cannot be understood") from error
        return SubscriptionPage(entries, page.after)

    async def events(self, since: datetime, after: str | None = None) -> EventPage:
        """Read what has happened since, 200 a page; see the port.

        Raises:
            LookupError: as for `subscriptions`.
            BillingUnavailable: as for `fetch`.
        """
        page = await self._page("/events", {}, after)
        found: list[BillingEvent] = []
        for one in page.entries:
            try:
                event = read_event(one, self._naming)
            except WebhookRejected:
                continue  # of a kind that nobody here reads; the others count
            if event.at is not None and event.at < since:
                return EventPage(tuple(found), None)
            if event.customer is not None:
                found.append(event)
        return EventPage(tuple(found), page.after)

    async def customer_of(self, payment: str) -> str | None:
        """Whose transaction it is; None if nobody's.

        Raises:
            BillingUnavailable: as for `fetch`.
        """
        found = await self._transaction(payment)
        return found.customer if found else None

    async def report_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """Refuse: Paddle bills no usage by itself.

        Raises:
            DeliveryRefused: always.
        """
        raise DeliveryRefused("Paddle has no usage meters; billed(…) needs a billing service that has")

    async def aclose(self) -> None:
        """Release this event loop's connections. May be called twice."""
        await self._connection.aclose()

    async def _transaction(self, number: str) -> CheckoutResult | None:
        if not _TRANSACTION_ID.fullmatch(number):
            return None

        async def read() -> CheckoutResult:
            found = await self._connection.get(f"/transactions/{number}")
            return result(mapping(found["data"]), self._naming)

        try:
            return await self._connection.ask(read, self._settings.timeout)
        except PaddleRefused as refused:
            if refused.status == 404:
                return None
            raise BillingUnavailable(f"Paddle refused to show a transaction: {refused}") from None

    async def _page(self, path: str, params: Mapping[str, str], after: str | None) -> Page:
        async def read() -> Page:
            asked = {**params, "order_by": "id[DESC]", "per_page": "200"}
            return Page(await self._connection.get(path, {**asked, "after": after} if after else asked))

        try:
            return await self._connection.ask(read, self._settings.timeout)
        except PaddleRefused as refused:
            if after is not None and refused.status in (400, 404):
                raise LookupError("Paddle does not know where the page would begin") from None
            raise BillingUnavailable(f"Paddle refused to list {path[1:]}: {refused}") from None

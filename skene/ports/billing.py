"""Who pays: the port that speaks to the billing service, and the plain values it speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from skene.engine.standing import PlanPolicy, Subscription

__all__ = [
    "Account",
    "Billing",
    "BillingEvent",
    "CheckoutOrder",
    "CheckoutResult",
    "CheckoutSession",
    "CheckoutState",
    "EventPage",
    "Refund",
    "Subscription",
    "SubscriptionPage",
    "UsageReport",
]

CheckoutState: TypeAlias = Literal["open", "complete", "expired"]
"""What became of a checkout: nobody has gone through with it yet, somebody has, or nobody can any more."""


@dataclass(frozen=True, slots=True)
class Refund:
    """What has been given back of one payment, all in all.

    Attributes:
        payment: the provider's id of the payment.
        amount: in the currency's minor unit, everything that was ever given back of it.
        currency: ISO 4217, lower case.
    """

    payment: str
    amount: int
    currency: str


@dataclass(frozen=True, slots=True)
class BillingEvent:
    """An authentic webhook, reduced to what matters: whose state has changed.

    Attributes:
        id: the provider's id of the event, unique for ever.
        type: the provider's name for it, for logs.
        customer: whose subscriptions to fetch again; None when the event concerns no customer.
        subject: the subject that the provider's object names (client reference or metadata), if any.
        wall: the id of the wall that the checkout came from, if the object names one.
        checkout: the checkout session's id when this event completes one.
        payment: the provider's id of a payment, where the event names no customer but a payment of theirs
            (a dispute): `Billing.customer_of` says whose it is.
        refund: what was given back, when the event is about that.
        at: when it happened, if that is known.
    """

    id: str
    type: str
    customer: str | None
    subject: str | None = None
    wall: str | None = None
    checkout: str | None = None
    payment: str | None = None
    refund: Refund | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Everything the billing service says of one customer at one moment.

    Attributes:
        customer: the provider's id.
        subject: the subject that the customer's or its subscriptions' metadata names, if any.
        email: the customer's address, used when the app gives no profile.
        deleted: the customer no longer exists at the provider.
        subscriptions: all of them, ended ones included, in no particular order.
        features: lookup keys of what the customer is entitled to whatever the plan; empty if not asked for.
        disputed: a payment of theirs is in dispute, or was lost to one. Only looked for where that matters.
    """

    customer: str
    subject: str | None = None
    email: str | None = field(default=None, repr=False)
    deleted: bool = False
    subscriptions: tuple[Subscription, ...] = ()
    features: tuple[str, ...] = ()
    disputed: bool = False


@dataclass(frozen=True, slots=True)
class CheckoutOrder:
    """What to sell to whom.

    Attributes:
        subject: who buys; comes back in the provider's events.
        wall: the id of the wall that led here, or None.
        customer: the provider's id of the subject, if it is known already.
        email: prefilled for a new customer.
        return_url: where the provider sends the browser after payment; `{CHECKOUT_SESSION_ID}` is filled in.
        cancel_url: where it sends the browser when the person changes their mind.
        plan: the plan to sell, one of `Billing.offers`; None: whatever the back-end sells by itself.
    """

    subject: str
    wall: str | None
    customer: str | None
    email: str | None = field(repr=False)
    return_url: str
    cancel_url: str
    plan: str | None = None


@dataclass(frozen=True, slots=True)
class CheckoutSession:
    """Where to send the browser.

    Attributes:
        id: the provider's id; None when the back-end has no session (a plain pricing page).
        url: the page to send the browser to.
        customer: the customer the session is for. Adapters create one, named after the subject, when the
            order has
            none: tied before anything is paid, a payer can be looked up even if every webhook is lost.
    """

    id: str | None
    url: str
    customer: str | None = None


@dataclass(frozen=True, slots=True)
class CheckoutResult:
    """What became of a checkout session.

    Attributes:
        state: whether the person went through with it.
        customer, subject, wall: as in `BillingEvent`.
        paid: the money is there, or none was due; False while a bank takes its days.
        url: where the person can go on with it, while it is open.
    """

    state: CheckoutState
    customer: str | None
    subject: str | None
    wall: str | None
    paid: bool = True
    url: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class SubscriptionPage:
    """Some of all subscriptions that are not over, in an order that stays.

    Attributes:
        entries: the customer's id and the subscription.
        after: what to ask for the next page with; None: this was the last.
    """

    entries: tuple[tuple[str, Subscription], ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class EventPage:
    """Some of what has happened, latest first.

    Attributes:
        events: those that concern a customer.
        after: as in `SubscriptionPage`.
    """

    events: tuple[BillingEvent, ...]
    after: str | None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Units to put on a customer's bill.

    Attributes:
        customer: the provider's id.
        meter: the name of the provider's meter.
        units: how many; negative takes back what was reported too much.
        at: when they were used.
    """

    customer: str
    meter: str
    units: int
    at: datetime


class Billing(Protocol):
    """Reads what a customer pays for, and sells.

    Every call that leaves the process ends within 10 s (`fetch` within `timeout` when given) and raises
    `BillingUnavailable` for anything that may work later.
    """

    @property
    def name(self) -> str:
        """Lower-case name of the service, and the last part of its webhook's address."""
        ...

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan this back-end can yield besides `default`, least to most valuable.

        The last one held wins.
        """
        ...

    @property
    def default(self) -> str:
        """The plan of a subject who pays for nothing."""
        ...

    @property
    def policy(self) -> PlanPolicy:
        """What subscriptions are worth: `plans` and `default` once more, and how trouble is dealt with."""
        ...

    @property
    def grace(self) -> timedelta:
        """How long a subscription that is past due keeps its plan; as in `policy`."""
        ...

    @property
    def link_key(self) -> bytes | None:
        """Key material for signing links when the app sets no secret of its own; stable across processes."""
        ...

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> BillingEvent:
        """Verify and read a webhook.

        Args:
            body: the raw bytes as received.
            headers: with lower-case names.
            now: for the age check.

        Raises:
            WebhookRejected: whatever is wrong with it; never anything else, for any bytes at all.
        """
        ...

    @property
    def offers(self) -> tuple[str, ...]:
        """The plans that a checkout can sell, least to most valuable."""
        ...

    async def fetch(
        self, customer: str, *, timeout: timedelta | None = None, features: bool = False
    ) -> Account:
        """Ask the provider for a customer's present state.

        A customer that the provider once had and deleted is an account that says so. `features` asks for what
        the customer is entitled to whatever the plan, too.

        Raises:
            LookupError: the provider knows no such customer, perhaps because the key belongs to another
                account. That says nothing of what was paid: the last known plan stands.
            BillingUnavailable: no answer, a server error, or too many requests.
        """
        ...

    async def checkout(self, order: CheckoutOrder, *, idempotency_key: str) -> CheckoutSession:
        """Open a checkout.

        Raises:
            CheckoutUnavailable: there is nothing to sell.
            BillingUnavailable: as above.
        """
        ...

    async def checkout_result(self, session: str) -> CheckoutResult:
        """Say what became of a checkout session.

        Raises:
            LookupError: there is no such session.
            BillingUnavailable: as above.
        """
        ...

    async def portal(self, customer: str, *, return_url: str) -> str:
        """Address of a page where the customer manages what they pay for.

        Raises:
            CheckoutUnavailable: this back-end has none.
            BillingUnavailable: as above.
        """
        ...

    async def subscriptions(self, after: str | None = None) -> SubscriptionPage:
        """Read all customers' subscriptions that are not over, page by page, those begun last first.

        Each is reduced as by `fetch`, to the last field: they are compared.

        Raises:
            LookupError: what `after` stands for is not known any more; begin with the first page.
            BillingUnavailable: as above.
        """
        ...

    async def events(self, since: datetime, after: str | None = None) -> EventPage:
        """Read what has happened since, page by page: what webhooks should have told. At most 30 days back.

        What `subscriptions` and `fetch` show anyway may be left out: what counts is who has bought, what was
        given back, what is disputed.

        Raises:
            LookupError: as above.
            BillingUnavailable: as above.
        """
        ...

    async def customer_of(self, payment: str) -> str | None:
        """Whose payment it is; None if nobody's.

        Raises:
            BillingUnavailable: as above.
        """
        ...

    async def report_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """Put units on a customer's bill.

        The provider takes a repeated key for the same report for a day.

        Raises:
            DeliveryFailed: not accepted, worth another try.
            DeliveryRefused: not accepted, and never will be.
            DeliveryUnknown: handed over, but no answer came.
        """
        ...

    async def aclose(self) -> None:
        """Release connections. May be called twice."""
        ...

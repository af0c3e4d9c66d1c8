"""Who pays: the port that speaks to the billing service, and the plain values it speaks in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from skene.engine.standing import Subscription

__all__ = [
    "Account",
    "Billing",
    "BillingEvent",
    "CheckoutOrder",
    "CheckoutResult",
    "CheckoutSession",
    "Subscription",
]


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
    """

    id: str
    type: str
    customer: str | None
    subject: str | None = None
    wall: str | None = None
    checkout: str | None = None


@dataclass(frozen=True, slots=True)
class Account:
    """Everything the billing service says of one customer at one moment.

    Attributes:
        customer: the provider's id.
        subject: the subject that the customer's or its subscriptions' metadata names, if any.
        email: the customer's address, used when the app gives no profile.
        deleted: the customer no longer exists at the provider.
        subscriptions: all of them, ended ones included, in no particular order.
    """

    customer: str
    subject: str | None = None
    email: str | None = field(default=None, repr=False)
    deleted: bool = False
    subscriptions: tuple[Subscription, ...] = ()


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
    """

    subject: str
    wall: str | None
    customer: str | None
    email: str | None = field(repr=False)
    return_url: str
    cancel_url: str


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
        complete: the person went through with it.
        customer, subject, wall: as in `BillingEvent`.
    """

    complete: bool
    customer: str | None
    subject: str | None
    wall: str | None


class Billing(Protocol):
    """Reads what a customer pays for, and sells.

    Every call that leaves the process ends within 10 s (`fetch` within `timeout` when given) and raises
    `BillingUnavailable` for anything that may work later.
    """

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
    def grace(self) -> timedelta:
        """How long a subscription that is past due keeps its plan."""
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

    async def fetch(self, customer: str, *, timeout: timedelta | None = None) -> Account:
        """Ask the provider for a customer's present state.

        A customer that the provider once had and deleted is an account that says so.

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

    async def aclose(self) -> None:
        """Release connections. May be called twice."""
        ...

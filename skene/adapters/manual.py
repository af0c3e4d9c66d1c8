"""Plans without a billing service: set in code, on the command line or in a test."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import cast
from urllib.parse import urlsplit

from skene.definitions.faults import Fault, describe
from skene.engine.standing import PlanPolicy
from skene.errors import CheckoutUnavailable, ConfigurationError, DeliveryRefused, WebhookRejected
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

__all__ = ["ManualBilling"]


class ManualBilling:
    """Nobody is charged; a subject's plan is what somebody set it to. A `skene.ports.billing.Billing`.

    No subject has a customer record here, so nothing is ever synced, and a plan set by hand stays as it is.

    Args:
        plans: the plans besides `default`, least valuable first.
        default: the plan of those for whom none was set.
        upgrade_url: a pricing page or contact form to send people to; without it no upgrade can be offered.

    Raises:
        ConfigurationError: naming every setting that cannot work.
    """

    def __init__(
        self, plans: Sequence[str] = ("paid",), *, default: str = "free", upgrade_url: str | None = None
    ) -> None:
        faults = [*_plan_faults(plans, default), *_url_faults(upgrade_url)]
        if faults:
            raise ConfigurationError(faults)
        self._plans = tuple(plans)
        self._default = default
        self._upgrade_url = upgrade_url

    def __repr__(self) -> str:
        return f"<ManualBilling plans={self._plans!r} default={self._default!r}>"

    @property
    def name(self) -> str:
        """`manual`."""
        return "manual"

    @property
    def plans(self) -> tuple[str, ...]:
        """Every plan besides `default`, least to most valuable."""
        return self._plans

    @property
    def default(self) -> str:
        """The plan of a subject for whom none was set."""
        return self._default

    @property
    def policy(self) -> PlanPolicy:
        """The plans; there are no subscriptions that could be in trouble."""
        return PlanPolicy(self._plans, self._default)

    @property
    def grace(self) -> timedelta:
        """None: nothing here is ever past due."""
        return self.policy.grace

    @property
    def link_key(self) -> bytes | None:
        """None: there is no secret to derive one from."""
        return None

    def parse_webhook(self, body: bytes, headers: Mapping[str, str], now: datetime) -> BillingEvent:
        """Refuse: nobody has a reason to send any.

        Raises:
            WebhookRejected: always.
        """
        raise WebhookRejected("plans are set by hand here; no billing service sends webhooks")

    @property
    def offers(self) -> tuple[str, ...]:
        """None in particular: `upgrade_url` is for all of them."""
        return ()

    async def fetch(
        self, customer: str, *, timeout: timedelta | None = None, features: bool = False
    ) -> Account:
        """Know nothing of a customer.

        A sync asks about customers, and no subject has one here. So this is called only for a customer that
        was linked while another back-end was in use; it holds nothing any more.
        """
        return Account(customer)

    async def checkout(self, order: CheckoutOrder, *, idempotency_key: str) -> CheckoutSession:
        """Send the person to `upgrade_url`.

        Raises:
            CheckoutUnavailable: there is none.
        """
        if self._upgrade_url is None:
            raise CheckoutUnavailable("plans are set by hand here, and no upgrade_url is set")
        return CheckoutSession(None, self._upgrade_url)

    async def checkout_result(self, session: str) -> CheckoutResult:
        """Find no session.

        Raises:
            LookupError: always.
        """
        raise LookupError("plans are set by hand here; there are no checkout sessions")

    async def portal(self, customer: str, *, return_url: str) -> str:
        """Offer none.

        Raises:
            CheckoutUnavailable: always.
        """
        raise CheckoutUnavailable("plans are set by hand here; there is no customer portal")

    async def subscriptions(self, after: str | None = None) -> SubscriptionPage:
        """List none: there are no subscriptions."""
        return SubscriptionPage((), None)

    async def events(self, since: datetime, after: str | None = None) -> EventPage:
        """List none: nothing happens here."""
        return EventPage((), None)

    async def customer_of(self, payment: str) -> str | None:
        """Know of no payment."""
        return None

    async def report_usage(self, report: UsageReport, *, idempotency_key: str) -> None:
        """Refuse: there is no bill.

        Raises:
            DeliveryRefused: always.
        """
        raise DeliveryRefused("plans are set by hand here; there is nobody to bill")

    async def aclose(self) -> None:
        """Nothing to release."""


def _plan_faults(plans: object, default: object) -> list[Fault]:
    names = _entries(plans)
    if names is None:
        return [Fault("ManualBilling.plans", describe(plans), 'a sequence of plans, e.g. ("paid",)')]
    faults: list[Fault] = []
    for position, plan in enumerate([*names, default]):
        where = "default" if position == len(names) else f"plans[{position}]"
        if not _is_name(plan):
            faults.append(Fault(f"ManualBilling.{where}", describe(plan), 'the name of a plan, e.g. "paid"'))
        elif plan in names[:position]:
            faults.append(Fault(f"ManualBilling.{where}", f"{plan!r} a second time", "every plan once"))
    return faults


def _entries(plans: object) -> list[object] | None:
    if isinstance(plans, str) or not isinstance(plans, Sequence):
        return None
    return list(cast("Sequence[object]", plans))


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value == value.strip() and len(value) <= 100


def _url_faults(url: object) -> list[Fault]:
    if url is None:
        return []
    try:
        parts = urlsplit(url) if isinstance(url, str) else None
    except ValueError:
        parts = None
    if parts and parts.scheme in ("http", "https") and parts.hostname and str(url).isprintable():
        return []
    return [
        Fault("ManualBilling.upgrade_url", describe(url), 'an address such as "https://acme.test/pricing"')
    ]

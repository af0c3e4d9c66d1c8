"""What the tests are given: a back-end, a driver of the account behind it, and what the provider lacks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Protocol, TypeAlias

import anyio
import anyio.to_thread
import pytest

from skene.engine.standing import Standing, entitle
from skene.errors import WebhookRejected
from skene.ports.billing import Account, Billing, BillingEvent, CheckoutOrder, Subscription

__all__ = [
    "DAY",
    "BillingBasics",
    "BillingDriver",
    "BillingSuite",
    "Delivery",
    "assert_rejected",
    "in_another_loop",
    "only_subscription",
    "order",
    "parsed",
    "standing",
]

DAY = timedelta(days=1)

Delivery: TypeAlias = tuple[bytes, Mapping[str, str]]
"""A webhook as it arrives: the body, and the headers with lower-case names."""


class BillingDriver(Protocol):
    """An account at the provider, as a test drives it. Everything takes effect at once."""

    @property
    def secrets(self) -> Sequence[str]:
        """What must never be shown: the API key first, the webhook secret last."""
        ...

    def now(self) -> datetime:
        """The account's time, aware UTC. It stands still."""
        ...

    async def add_customer(self, subject: str, email: str) -> str:
        """Make a customer named after a subject, with nothing bought; its id."""
        ...

    async def subscribe(self, subject: str, plan: str) -> str:
        """Let a subject's customer, made on first use, buy a plan, monthly, at 20.00; the customer's id."""
        ...

    async def subscribe_with_trial(self, subject: str, plan: str, days: int) -> str:
        """The same, with a trial before it."""
        ...

    async def cancel(self, subject: str, *, at_period_end: bool = False) -> None:
        """End the subject's subscription: at once, or with its period."""
        ...

    async def keep(self, subject: str) -> None:
        """Take a cancellation with the period's end back."""
        ...

    async def fall_behind(self, subject: str) -> None:
        """Let the renewal of the subject's subscription fail: a period begins now that is not paid for."""
        ...

    async def pause(self, subject: str) -> None:
        """Pause the subject's subscription at once."""
        ...

    async def resume(self, subject: str) -> None:
        """Resume it."""
        ...

    async def switch(self, subject: str, plan: str) -> None:
        """Put the subject's subscription on another plan's price."""
        ...

    async def delete_customer(self, subject: str) -> None:
        """Delete the subject's customer; called only if the provider deletes any."""
        ...

    async def complete(self, session: str) -> None:
        """Go through with a checkout and pay."""
        ...

    async def expire(self, session: str) -> None:
        """Let a checkout end unpaid."""
        ...

    async def payment(self, subject: str) -> str:
        """The id of a payment of the subject's, as `Billing.customer_of` takes it."""
        ...

    def deliveries(self) -> Sequence[Delivery]:
        """Every webhook so far, oldest first, signed now."""
        ...

    def sign(self, body: bytes, *, at: datetime, secret: str | None = None) -> Mapping[str, str]:
        """Headers for any body, signed as the provider does; with another secret if one is given."""
        ...

    def of_other_mode(self) -> Delivery | None:
        """A signed webhook from the test account if ours is live, or the reverse; None if none say so."""
        ...

    def fail(self, status: int, *, times: int, retry_after: timedelta | None = None) -> None:
        """Answer the next requests with an error."""
        ...

    def garble(self, text: str, *, times: int) -> None:
        """Answer the next requests with 200 and a text that is none of the provider's."""
        ...

    def hang(self, seconds: float) -> None:
        """Let every answer take so long from now on."""
        ...

    def recover(self) -> None:
        """Answer properly again, at once."""
        ...

    def refuse_key(self) -> None:
        """Refuse the API key from now on, with an answer that quotes it as far as the provider does."""
        ...


class BillingSuite(ABC):
    """What all parts share.

    Attributes:
        meters: the provider bills usage that is reported to it.
        deletes_customers: it forgets customers, and says so.
        modes: test and live webhooks are told apart by their bodies.
        email_is_one_customer: there is at most one customer for an address.
        meter: the name of a usage meter in the account, if it has meters.
    """

    meters: ClassVar[bool] = True
    deletes_customers: ClassVar[bool] = True
    modes: ClassVar[bool] = True
    email_is_one_customer: ClassVar[bool] = False
    meter: ClassVar[str] = "calls"

    pytestmark = pytest.mark.anyio

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """Both; a back-end whose library knows only one overrides this."""
        return str(request.param)

    @pytest.fixture
    @abstractmethod
    def billing(self, driver: BillingDriver) -> Billing:
        """The back-end under test, connected to the driver's account."""

    @pytest.fixture
    @abstractmethod
    def driver(self) -> BillingDriver:
        """The account at the provider, with nothing in it."""


class BillingBasics(BillingSuite):
    """What even a back-end without a service behind it must do."""

    async def test_its_plans_are_in_order_and_without_the_default(self, billing: Billing) -> None:
        """Least valuable first."""
        assert billing.plans == ("starter", "pro")
        assert billing.default == "free"
        assert set(billing.offers) <= set(billing.plans)
        assert list(billing.offers) == [plan for plan in billing.plans if plan in billing.offers]

    async def test_its_name_can_stand_in_an_address(self, billing: Billing) -> None:
        """Its webhooks come to `/skene/webhooks/<name>`."""
        assert billing.name.isascii()
        assert billing.name.isidentifier()
        assert billing.name == billing.name.lower()

    async def test_its_repr_shows_no_secret(self, billing: Billing, driver: BillingDriver) -> None:
        """For logs: no secret, no address of an object."""
        assert " object at 0x" not in repr(billing)
        assert not [secret for secret in driver.secrets if secret in repr(billing)]

    async def test_its_link_key_is_stable_and_gives_no_secret_away(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Every process signs with the same; None if there is nothing to derive one from."""
        key = billing.link_key
        assert key == billing.link_key
        assert key is None or len(key) >= 32
        assert key is None or not [secret for secret in driver.secrets if secret.encode() in key]

    async def test_closing_twice_is_allowed(self, billing: Billing) -> None:
        """Without having been used, too."""
        await billing.aclose()
        await billing.aclose()

    async def test_an_unsigned_webhook_is_rejected(self, billing: Billing, driver: BillingDriver) -> None:
        """By everybody."""
        await assert_rejected(billing, b"{}", {}, driver.now())


async def assert_rejected(
    billing: Billing, body: bytes, headers: Mapping[str, str], now: datetime, status: int | None = None
) -> None:
    """Fail unless a webhook is refused in the one way there is."""
    with pytest.raises(WebhookRejected) as caught:
        billing.parse_webhook(body, headers, now)
    assert caught.value.status in ((400, 401, 413) if status is None else (status,))


def order(subject: str = "ada", **more: Any) -> CheckoutOrder:
    """A first order, with an address."""
    given: dict[str, Any] = {
        "wall": "wall-1",
        "customer": None,
        "email": f"{subject}@acme.test",
        "return_url": "https://app.test/skene/checkout/return?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "https://app.test/",
    }
    return CheckoutOrder(subject, **{**given, **more})


def standing(billing: Billing, account: Account, at: datetime) -> Standing:
    """What an account gives, as the runtime reads it. No subscription may be unintelligible."""
    found, warnings = entitle(account.subscriptions, billing.policy, now=at, disputed=account.disputed)
    assert not warnings
    return found


def only_subscription(account: Account) -> Subscription:
    """The one subscription there is."""
    (found,) = account.subscriptions
    return found


def parsed(billing: Billing, driver: BillingDriver) -> list[BillingEvent]:
    """Every webhook so far, read."""
    return [billing.parse_webhook(body, headers, driver.now()) for body, headers in driver.deliveries()]


async def in_another_loop(backend: str, call: Any) -> Any:
    """Run a coroutine function in an event loop of its own."""
    return await anyio.to_thread.run_sync(lambda: anyio.run(call, backend=backend))

"""A local Stripe on loopback that every test starts afresh, and a StripeBilling that talks to it."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from skene.adapters.stripe import StripeBilling
from skene.ports.billing import BillingEvent, CheckoutOrder
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRICES = ("price_starter", "price_pro", "price_team", "pro_yearly", "prod_gold")


class Time:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def move(self, by: timedelta) -> None:
        self.now += by


class Switchboard:
    """One server for all tests; each plugs in its own application."""

    def __init__(self) -> None:
        self.app: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.app(scope, receive, send)


class Inbox:
    """The application's webhook route: reads what arrives, or refuses it."""

    def __init__(self, billing: StripeBilling, now: Time) -> None:
        self.billing = billing
        self.now = now
        self.status = 200
        self.events: list[BillingEvent] = []

    async def __call__(self, body: bytes, headers: Mapping[str, str]) -> int:
        self.events.append(self.billing.parse_webhook(body, headers, self.now()))
        return self.status


@contextmanager
def switchboard() -> Generator[tuple[Switchboard, str]]:
    board = Switchboard()

    async def nothing(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        await send({"type": message["type"] + ".complete"})

    board.app = nothing  # answers the server's own start; a test's application comes afterwards
    with serving(board) as url:
        yield board, url


def fake_stripe(now: Time, **more: Any) -> FakeStripe:
    return FakeStripe(now=now, prices=PRICES, **more)


def stripe_billing(fake: FakeStripe, plans: Mapping[str, str] | None = None, **more: Any) -> StripeBilling:
    given = {"price_starter": "starter", "price_pro": "pro", "price_team": "team"} if plans is None else plans
    more.setdefault("base_url", fake.base_url)
    return StripeBilling(fake.api_key, fake.webhook_secret, given, **more)


def order(subject: str = "ada", **more: Any) -> CheckoutOrder:
    given: dict[str, Any] = {
        "wall": "wall_1",
        "customer": None,
        "email": "ada@acme.test",
        "return_url": "http://app.test/skene/checkout/return?session_id={CHECKOUT_SESSION_ID}",
        "cancel_url": "http://app.test/",
    }
    return CheckoutOrder(subject, **{**given, **more})

"""A shop that sells through StripeBilling, and the local Stripe behind it, without a network."""

import json
from collections.abc import Mapping
from typing import Any

import httpx

from skene import UNLIMITED, Loop, Skene
from skene.adapters.stripe import StripeBilling
from skene.errors import BillingUnavailable, StorageUnavailable, WebhookRejected
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from skene.testing.stripe_server.webhooks import sign
from tests.runtime.shop import Shop, freemium

PLANS = {"price_starter": "starter", "price_pro": "pro"}
LIMITS = {"free": 3, "starter": 10, "pro": UNLIMITED}


def fake_stripe(clock: ManualClock) -> FakeStripe:
    return FakeStripe(now=clock.now, prices=PLANS)


def billing(fake: FakeStripe, **options: Any) -> StripeBilling:
    return StripeBilling(
        fake.api_key,
        fake.webhook_secret,
        PLANS,
        base_url=fake.base_url,
        transport=httpx.ASGITransport(fake.app),
        **options,
    )


class Till(Shop):
    """One process of an app that takes Stripe's webhooks."""

    def __init__(self, *loops: Loop, stripe: FakeStripe | None = None, **options: Any) -> None:
        clock = options.pop("clock", None) or ManualClock()
        self.stripe = stripe or fake_stripe(clock)
        options.setdefault("billing", billing(self.stripe))
        super().__init__(*(loops or (freemium(limits=LIMITS),)), clock=clock, **options)

    def twin(self, *loops: Loop, **options: Any) -> "Till":
        options.setdefault("mail", self.mail)
        options.setdefault("billing", self.skene.billing)
        return Till(
            *(loops or self.skene.loops), stripe=self.stripe, memory=self.memory, clock=self.clock, **options
        )

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> int:
        """What the webhook route does."""
        return await answered(self.skene, body, headers)

    def listen(self) -> "Till":
        """From now on webhooks come here."""
        self.stripe.connect(self.receive)
        return self

    def plan(self, subject: str = "ada") -> str:
        return self.memory.plan_of(subject) or "free"

    @property
    def fetches(self) -> int:
        """How often Stripe was asked for a customer's state."""
        return sum(
            call.method == "GET" and call.path.startswith("/v1/customers/") for call in self.stripe.requests
        )


def signed(
    fake: FakeStripe, event: dict[str, Any], secret: str | None = None
) -> tuple[bytes, dict[str, str]]:
    body = json.dumps(event).encode()
    return body, {"stripe-signature": sign(body, secret or fake.webhook_secret, fake._now())}


async def answered(skene: Skene, body: bytes, headers: Mapping[str, str]) -> int:
    """The status that the webhook route answers."""
    try:
        await skene.billing_sync.receive(body, headers)
    except WebhookRejected as error:
        return error.status
    except (BillingUnavailable, StorageUnavailable):
        return 503
    return 200


class NewestWins:
    """Naive: believes the newest event, and of two of the same second the one that came last."""

    def __init__(self) -> None:
        self.plan, self.newest, self.conversions = "free", 0, 0

    def receive(self, event: dict[str, Any]) -> None:
        if event["created"] < self.newest:
            return
        self.newest = event["created"]
        subscription = event["data"]["object"]
        price = subscription["items"]["data"][0]["price"]["id"]
        paying = subscription["status"] == "active"
        before, self.plan = self.plan, PLANS[price] if paying else "free"
        self.conversions += before == "free" and self.plan != "free"

"""Drives the local Paddle for the conformance suite of billing back-ends; a model for drivers of others."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from skene.testing.billing_conformance.base import Delivery
from skene.testing.paddle_server.fake import FakePaddle
from skene.testing.paddle_server.webhooks import sign

__all__ = ["PaddleDriver"]

_NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


class PaddleDriver:
    """An empty account at Paddle, on sale the plans `starter` and `pro`; see `BillingDriver`.

    Attributes:
        fake: the account.
        prices: the price id of each plan.
        secrets: the API key and the webhook secret.
    """

    def __init__(self) -> None:
        self.prices = {"starter": "pri_starter", "pro": "pri_pro"}
        self.fake = FakePaddle(now=self.now, prices=self.prices.values())
        self.secrets: Sequence[str] = (self.fake.api_key, self.fake.webhook_secret)

    def now(self) -> datetime:
        """It stands still."""
        return _NOW

    async def add_customer(self, subject: str, email: str) -> str:
        """See `BillingDriver`."""
        return await self.fake.add_customer(subject, email)

    async def subscribe(self, subject: str, plan: str) -> str:
        """See `BillingDriver`."""
        await self.fake.subscribe(subject, self.prices[plan])
        return self.fake.customer(subject) or ""

    async def subscribe_with_trial(self, subject: str, plan: str, days: int) -> str:
        """At Paddle a trial belongs to the price."""
        self.fake.add_price(self.prices[plan], trial_days=days)
        return await self.subscribe(subject, plan)

    async def cancel(self, subject: str, *, at_period_end: bool = False) -> None:
        """See `BillingDriver`."""
        await self.fake.cancel(subject, at_period_end=at_period_end)

    async def keep(self, subject: str) -> None:
        """See `BillingDriver`."""
        await self.fake.keep(subject)

    async def fall_behind(self, subject: str) -> None:
        """See `BillingDriver`."""
        await self.fake.fall_behind(subject)

    async def pause(self, subject: str) -> None:
        """See `BillingDriver`."""
        await self.fake.pause(subject)

    async def resume(self, subject: str) -> None:
        """See `BillingDriver`."""
        await self.fake.resume(subject)

    async def switch(self, subject: str, plan: str) -> None:
        """See `BillingDriver`."""
        await self.fake.switch_price(subject, self.prices[plan])

    async def delete_customer(self, subject: str) -> None:
        """Never called: Paddle deletes nobody."""
        raise AssertionError("the suite asks nobody for what `deletes_customers` rules out")

    async def complete(self, session: str) -> None:
        """See `BillingDriver`."""
        await self.fake.pay(session)

    async def expire(self, session: str) -> None:
        """See `BillingDriver`."""
        await self.fake.drop(session)

    async def payment(self, subject: str) -> str:
        """See `BillingDriver`."""
        return self.fake.payment(subject)

    def deliveries(self) -> Sequence[Delivery]:
        """See `BillingDriver`."""
        bodies = [json.dumps({**event, "notification_id": "ntf_1"}).encode() for event in self.fake.events]
        return [(body, self.sign(body, at=self.now())) for body in bodies]

    def sign(self, body: bytes, *, at: datetime, secret: str | None = None) -> Mapping[str, str]:
        """See `BillingDriver`."""
        key = self.fake.webhook_secret if secret is None else secret
        return {"paddle-signature": sign(body, key, at)}

    def of_other_mode(self) -> Delivery | None:
        """None: a Paddle webhook does not say, but each account has secrets of its own."""
        return None

    def fail(self, status: int, *, times: int, retry_after: timedelta | None = None) -> None:
        """See `BillingDriver`."""
        self.fake.fail(status, times=times, retry_after=retry_after)

    def garble(self, text: str, *, times: int) -> None:
        """See `BillingDriver`."""
        self.fake.garble(text, times=times)

    def hang(self, seconds: float) -> None:
        """See `BillingDriver`."""
        self.fake.delay = seconds

    def recover(self) -> None:
        """See `BillingDriver`."""
        self.fake.recover()

    def refuse_key(self) -> None:
        """See `BillingDriver`."""
        self.fake.refuse_key()

"""The local Stripe and the local Paddle, as the conformance suite of billing back-ends drives them."""

import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import httpx
from starlette.responses import JSONResponse, PlainTextResponse, Response

from skene.adapters.paddle import PaddleBilling
from skene.adapters.stripe import StripeBilling
from skene.testing.paddle_server import FakePaddle
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import NOW

PADDLE_PLANS = {"pri_starter": "starter", "pri_pro": "pro"}
STRIPE_PRICES = {"starter": "price_starter", "pro": "price_pro"}


def paddle_billing(fake: FakePaddle, **more: Any) -> PaddleBilling:
    more.setdefault("transport", httpx.ASGITransport(fake.app))
    return PaddleBilling(
        fake.api_key, fake.webhook_secret, more.pop("plans", PADDLE_PLANS), base_url=fake.base_url, **more
    )


def stripe_billing(driver: "StripeDriver", **more: Any) -> StripeBilling:
    fake, plans = driver.fake, {price: plan for plan, price in STRIPE_PRICES.items()}
    transport = httpx.ASGITransport(driver)
    return StripeBilling(
        fake.api_key, fake.webhook_secret, plans, base_url=fake.base_url, transport=transport, **more
    )


class StripeDriver:
    """Also the ASGI application in front of the local Stripe: it answers with what Stripe would never."""

    prices = STRIPE_PRICES

    def __init__(self) -> None:
        self.fake = FakeStripe(now=self.now, prices=STRIPE_PRICES.values())
        self.fake.add_meter("calls")
        self.secrets = (self.fake.api_key, self.fake.webhook_secret)
        self._answers: list[Response] = []

    def now(self) -> datetime:
        return NOW

    async def subscribe(self, subject: str, plan: str) -> str:
        await self.fake.subscribe(subject, self.prices[plan])
        return str(self.fake.customer(subject))

    async def cancel(self, subject: str, *, at_period_end: bool = False) -> None:
        await self.fake.cancel(subject, at_period_end=at_period_end)

    async def keep(self, subject: str) -> None:
        await self.fake.keep(subject)

    async def pause(self, subject: str) -> None:
        await self.fake.pause(subject)

    async def resume(self, subject: str) -> None:
        await self.fake.resume(subject)

    async def switch(self, subject: str, plan: str) -> None:
        await self.fake.switch_price(subject, self.prices[plan])

    async def complete(self, session: str) -> None:
        await self.fake.pay(session)

    def hang(self, seconds: float) -> None:
        self.fake.delay = seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._answers.pop() if self._answers else self.fake.app)(scope, receive, send)

    async def add_customer(self, subject: str, email: str) -> str:
        form = {"email": email, "metadata[skene_subject]": subject}
        return str((await self._ask("POST", "/v1/customers", data=form))["id"])

    async def subscribe_with_trial(self, subject: str, plan: str, days: int) -> str:
        await self.fake.subscribe(subject, self.prices[plan], trial_days=days, status="trialing")
        return str(self.fake.customer(subject))

    async def fall_behind(self, subject: str) -> None:
        await self.fake.set_status(subject, "past_due")

    async def delete_customer(self, subject: str) -> None:
        await self.fake.delete_customer(subject)

    async def expire(self, session: str) -> None:
        await self.fake.expire(session)

    async def payment(self, subject: str) -> str:
        answer = await self._ask("GET", "/v1/charges", params={"customer": str(self.fake.customer(subject))})
        return str(answer["data"][0]["id"])

    def deliveries(self) -> Sequence[tuple[bytes, Mapping[str, str]]]:
        bodies = [json.dumps(event).encode() for event in self.fake.events]
        return [(body, self.sign(body, at=NOW)) for body in bodies]

    def sign(self, body: bytes, *, at: datetime, secret: str | None = None) -> Mapping[str, str]:
        key = self.fake.webhook_secret if secret is None else secret
        seconds = int(at.timestamp())
        mac = hmac.new(key.encode(), f"{seconds}.".encode() + body, hashlib.sha256).hexdigest()
        return {"stripe-signature": f"t={seconds},v1={mac}"}

    def of_other_mode(self) -> tuple[bytes, Mapping[str, str]]:
        source = {"id": "sub_1", "object": "subscription", "customer": "cus_1"}
        event = {"id": "evt_1", "object": "event", "type": "customer.subscription.updated", "livemode": True}
        body = json.dumps({**event, "data": {"object": source}}).encode()
        return body, self.sign(body, at=NOW)

    def fail(self, status: int, *, times: int, retry_after: timedelta | None = None) -> None:
        wish = {} if retry_after is None else {"retry-after": f"{retry_after.total_seconds():g}"}
        error = {"type": "api_error", "message": "A fault was asked for."}
        self._answers = [JSONResponse({"error": error}, status, wish)] * times

    def garble(self, text: str, *, times: int) -> None:
        self._answers = [PlainTextResponse(text)] * times

    def recover(self) -> None:
        self._answers, self.fake.delay = [], 0

    def refuse_key(self) -> None:
        error = {"type": "invalid_request_error", "message": f"Invalid API Key: {self.secrets[0]}"}
        self._answers = [JSONResponse({"error": error}, 401)] * 99

    async def _ask(self, method: str, path: str, **content: Any) -> Any:
        key = {"authorization": f"Bearer {self.fake.api_key}"}
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self.fake.app)) as client:
            answer = await client.request(method, f"{self.fake.base_url}{path}", headers=key, **content)
        return answer.json()

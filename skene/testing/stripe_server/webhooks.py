"""Signs events and takes them to the application, as unreliably as a test wishes."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TypeAlias, cast

import httpx
import stripe

from skene.testing.stripe_server.objects import Obj

__all__ = ["Deliver", "Order", "Webhooks", "sign"]

Deliver: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[int]]
"""Takes the body and headers of a webhook to the application and returns the status it answered."""

Order: TypeAlias = Callable[[list[Obj]], Iterable[Obj]]
"""Takes events, oldest first, and returns those that arrive, in the order in which they do."""


def sign(body: bytes, secret: str, at: datetime) -> str:
    """The `Stripe-Signature` header for a body."""
    make = cast(  # partly untyped in the SDK
        "Callable[..., str]",
        stripe.WebhookSignature.generate_signature_header,  # pyright: ignore[reportUnknownMemberType] - as above
    )
    return make(body.decode(), secret, timestamp=int(at.timestamp()))


class Webhooks:
    """Delivers events.

    Attributes:
        dropped: while set, nothing is delivered; what would have been waits in `undelivered`.
        undelivered: events that were dropped, or not answered with 2xx, oldest first.
        url: where to send events when no `deliver` was given; None: nowhere.
        deliver: how to send them instead.
        held: while this is a list, what happens is put there and delivered by whoever holds it.
    """

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._now = now
        self.dropped = False
        self.undelivered: list[Obj] = []
        self.held: list[Obj] | None = None
        self.url: str | None = None
        self.deliver: Deliver | None = None

    async def offer(self, event: Obj) -> None:
        """Deliver an event that has just happened; keep it if that fails."""
        if self.deliver is None and self.url is None:
            return
        if self.held is not None:
            self.held.append(event)
        elif self.dropped or not await self.send(event):
            self.undelivered.append(event)

    async def redeliver(self) -> bool:
        """Try everything undelivered again, oldest first. Whether nothing is left."""
        waiting, self.undelivered = self.undelivered, []
        for event in waiting:
            await self.offer(event)
        return not self.undelivered

    async def send(self, event: Obj) -> bool:
        """Deliver an event now, however often that has been done; whether it was answered with 2xx."""
        body = json.dumps(event, indent=2).encode()
        try:
            status = await (self.deliver or self._post)(body, self.headers(body))
        except (OSError, httpx.HTTPError):
            return False
        return 200 <= status < 300

    @asynccontextmanager
    async def holding(self, order: Order, copies: int) -> AsyncGenerator[None]:
        """Hold events back while the block runs, and then deliver them; see `FakeStripe.held`."""
        if copies < 1:
            raise ValueError(f"held(…, copies={copies!r}): give a whole number of 1 or more")
        if self.held is not None:
            raise RuntimeError("webhooks are held already; held() cannot be nested")
        held = self.held = []
        try:
            yield
        except BaseException:
            self.undelivered += held
            raise
        finally:
            self.held = None
        arriving = list(order([event for event in held for _ in range(copies)]))
        self.undelivered += [event for event in held if event not in arriving]
        for event in arriving:
            await self.offer(event)

    def headers(self, body: bytes) -> Mapping[str, str]:
        """What a body is sent with."""
        return {
            "content-type": "application/json; charset=utf-8",
            "user-agent": "Stripe/1.0 (+https://stripe.com/docs/webhooks)",
            "stripe-signature": sign(body, self._secret, self._now()),
        }

    async def _post(self, body: bytes, headers: Mapping[str, str]) -> int:
        if self.url is None:
            raise ConnectionError("there is no webhook endpoint")
        async with httpx.AsyncClient(timeout=20, trust_env=False) as client:
            return (await client.post(self.url, content=body, headers=dict(headers))).status_code

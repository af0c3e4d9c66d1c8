"""Signs events and takes them to the application, as unreliably as a test wishes."""

import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeAlias, cast

import httpx
import stripe

from skene.testing.stripe_server.objects import Obj

__all__ = ["Deliver", "Webhooks", "sign"]

Deliver: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[int]]
"""Takes the body and headers of a webhook to the application and returns the status it answered."""


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
    """

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        self._secret = secret
        self._now = now
        self.dropped = False
        self.undelivered: list[Obj] = []
        self.url: str | None = None
        self.deliver: Deliver | None = None

    async def offer(self, event: Obj) -> None:
        """Deliver an event that has just happened; keep it if that fails."""
        if self.deliver is None and self.url is None:
            return
        if self.dropped or not await self.send(event):
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

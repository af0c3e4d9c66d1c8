"""Signs events as Paddle does."""

import hashlib
import hmac
from collections.abc import Callable, Mapping
from datetime import datetime

from skene.testing.stripe_server.webhooks import Webhooks

__all__ = ["PaddleWebhooks", "sign"]


def sign(body: bytes, secret: str, at: datetime) -> str:
    """The `Paddle-Signature` header for a body."""
    seconds = int(at.timestamp())
    mac = hmac.new(secret.encode(), f"{seconds}:".encode() + body, hashlib.sha256).hexdigest()
    return f"ts={seconds};h1={mac}"


class PaddleWebhooks(Webhooks):
    """Delivers events, signed as Paddle signs them; see `Webhooks`."""

    def __init__(self, secret: str, now: Callable[[], datetime]) -> None:
        super().__init__(secret, now)
        self._signing = secret, now

    def headers(self, body: bytes) -> Mapping[str, str]:
        """What a body is sent with."""
        secret, now = self._signing
        return {
            "content-type": "application/json",
            "user-agent": "Paddle",
            "paddle-signature": sign(body, secret, now()),
        }

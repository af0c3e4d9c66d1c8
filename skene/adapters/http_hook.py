"""A hook that posts events to one address of yours, signed as https://www.standardwebhooks.com describes."""

import json
from collections.abc import Mapping
from datetime import timedelta

import httpx

from skene.adapters.webhook.line import SignedLine
from skene.ports.clock import Clock
from skene.ports.hooks import Event

__all__ = ["HttpHook"]


class HttpHook:
    """Posts every event as JSON: `{"id": …, "type": …, "timestamp": …, "data": {"subject": …, …}}`.

    Every attempt at an event has the same body and the same `webhook-id`, which is the event's id: whoever
    receives it acts once on each. The secret is the receiver's, too: any library for Standard Webhooks
    verifies the signature.

    Args:
        url: where events are posted to: https, or http on this machine. Redirects are not followed.
        secret: signs them: `whsec_` and 24 bytes or more in base64.
        headers: further ones to send, such as a token of the receiver's gateway.
        timeout: for one attempt from beginning to end, up to 10 s.
        transport: for tests, an httpx transport such as `httpx.ASGITransport(app)`, not the network.
        clock: for tests; None takes this machine's.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named, no secret is shown.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: timedelta = timedelta(seconds=8),
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._line = SignedLine("HttpHook", url, secret, headers, timeout, transport, clock)

    def __repr__(self) -> str:
        return f"HttpHook({self._line.origin!r})"

    async def handle(self, event: Event) -> None:
        """Post an event; see `Hook.handle`."""
        body = {
            "id": event.id,
            "type": event.kind.value,
            "timestamp": event.at.isoformat(),
            "data": {"subject": event.subject, **event.data},
        }
        # Whatever order a database keeps the keys in, the bytes are the same.
        await self._line.post(event.id, json.dumps(body, sort_keys=True, separators=(",", ":")))

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later event opens new ones."""
        await self._line.aclose()

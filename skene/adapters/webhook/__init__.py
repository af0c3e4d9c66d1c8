"""Webhooks signed as https://www.standardwebhooks.com describes: out by a notifier, in through a source."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta

import httpx
from pydantic import JsonValue

from skene.adapters.mail.message import check_key
from skene.adapters.webhook.line import SignedLine
from skene.adapters.webhook.source import StandardWebhookSource
from skene.adapters.webhook.words import check_words, fill_words
from skene.errors import DeliveryRefused
from skene.ports.clock import Clock
from skene.ports.notifier import FOREVER, About, Body, MessageContext

__all__ = ["StandardWebhookSource", "WebhookNotifier"]

_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")


class WebhookNotifier:
    """Sends signed events to one address of yours.

    A loop names the notifier and never an address, so nothing but what is configured here is ever called. The
    body is `{"type": …, "data": {…}}`; the time is in the signed header `webhook-timestamp`, so that every
    attempt at an event has the same bytes and the same `webhook-id`.

    Args:
        url: where events are posted to: https, or http on this machine. Redirects are not followed.
        secret: signs them: `whsec_` and 24 bytes or more in base64; the receiver has the same.
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
        timeout: timedelta = timedelta(seconds=10),
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._line = SignedLine("WebhookNotifier", url, secret, headers, timeout, transport, clock)

    def __repr__(self) -> str:
        return f"WebhookNotifier({self._line.origin!r})"

    @property
    def remembers_keys(self) -> timedelta:
        """For ever: a receiver of Standard Webhooks acts once on each `webhook-id`."""
        return FOREVER

    @property
    def pace(self) -> timedelta | None:
        """As fast as they come."""
        return None

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "loop",
    ) -> None:
        """See `Notifier.check`. The template is the type of the event: `trial.ending`."""
        if not _TYPE.fullmatch(template):
            raise ValueError(
                f"event type {template[:60]!r} is not allowed as template; give 1 to 100 of A-Z a-z 0-9 _ . -"
            )
        if subject_line is not None:
            raise ValueError("a webhook has no subject line")
        check_words(personalization or {})

    def render(self, context: MessageContext) -> Body:
        """See `Notifier.render`. The action's own values stand beside `subject`, `loop`, `event`, `row`."""
        try:
            self.check(context.template)
        except ValueError as error:
            raise DeliveryRefused(str(error)) from error
        data: dict[str, JsonValue] = {name: context.data.get(name) for name in ("subject", "loop")}
        data |= {"event": context.event, "row": context.row, **fill_words(context)}
        return {"type": context.template, "data": data}

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Post the event; see `Notifier.send`. The key is its `webhook-id`."""
        key = check_key(idempotency_key)
        if body.keys() != {"type", "data"} or not isinstance(body["data"], dict):
            raise DeliveryRefused("the message was rendered for another kind of notifier")
        # Whatever order a database keeps the keys in, the bytes are the same.
        text = json.dumps(body, sort_keys=True, separators=(",", ":"))
        await self._line.post(key, text)
        return None

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later `send` opens new ones."""
        await self._line.aclose()

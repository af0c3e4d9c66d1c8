"""Webhooks signed as https://www.standardwebhooks.com describes: out by a notifier, in through a source."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import anyio
import httpx
from anyio.lowlevel import RunVar
from pydantic import JsonValue
from standardwebhooks import Webhook

from skene.adapters.mail.message import check_key, timeout_faults
from skene.adapters.system import SystemClock
from skene.adapters.webhook.answers import answer_error
from skene.adapters.webhook.secrets import secret_faults
from skene.adapters.webhook.settings import header_faults, is_local, origin, url_faults
from skene.adapters.webhook.source import StandardWebhookSource
from skene.adapters.webhook.words import check_words, fill_words
from skene.errors import ConfigurationError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.clock import Clock
from skene.ports.notifier import FOREVER, About, Body, MessageContext

__all__ = ["StandardWebhookSource", "WebhookNotifier"]

_TYPE = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_LARGEST_ANSWER = 64 * 1024
_PATIENCE = 1.0  # seconds for the rest of an answer that has said all with its status
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


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
        faults = (
            *url_faults("WebhookNotifier.url", url),
            *secret_faults("WebhookNotifier.secret", secret),
            *header_faults("WebhookNotifier.headers", headers),
            *timeout_faults("WebhookNotifier.timeout", timeout),
        )
        if faults:
            raise ConfigurationError(faults)
        self._url = url
        self._signer = Webhook(secret)
        self._headers = dict(headers or {})
        self._timeout = timeout.total_seconds()
        self._transport = transport
        self._clock = clock or SystemClock()
        # A client's connections belong to the event loop that opened them.
        self._client: RunVar[httpx.AsyncClient | None] = RunVar("skene.adapters.webhook", None)

    def __repr__(self) -> str:
        return f"WebhookNotifier({origin(self._url)!r})"

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
        answer: httpx.Response | None = None
        try:
            with anyio.fail_after(self._timeout):
                async with self._open().stream(
                    "POST", self._url, content=text.encode(), headers=self._signed(key, text)
                ) as answer:
                    await _read(answer)
        except _NOT_SENT as error:
            raise DeliveryFailed(f"the receiver cannot be reached: {type(error).__name__}") from error
        except (httpx.HTTPError, TimeoutError) as error:
            if answer is None:
                raise DeliveryUnknown(f"the receiver did not answer: {type(error).__name__}") from error
        refusal = answer_error(answer.status_code, answer.headers, self._clock.now())
        if refusal is not None:
            raise refusal
        return None

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later `send` opens new ones."""
        client = self._client.get()
        self._client.set(None)
        if client is not None:
            await client.aclose()

    def _signed(self, key: str, text: str) -> dict[str, str]:
        now = self._clock.now()
        return {
            **self._headers,
            "content-type": "application/json",
            "user-agent": "skene",
            "webhook-id": key,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self._signer.sign(msg_id=key, timestamp=now, data=text),
        }

    def _open(self) -> httpx.AsyncClient:
        client = self._client.get()
        if client is None:
            # Half the time for the connection: if that fails, it is certain that nothing was sent.
            timeout = httpx.Timeout(self._timeout, connect=self._timeout / 2, pool=self._timeout / 2)
            public = not is_local(self._url)  # proxies of the environment are for the way out
            client = httpx.AsyncClient(timeout=timeout, transport=self._transport, trust_env=public)
            self._client.set(client)
        return client


async def _read(answer: httpx.Response) -> None:
    """Read the little that is answered, so that the connection can be used again. The status says all."""
    received = 0
    with anyio.move_on_after(_PATIENCE), suppress(httpx.HTTPError, httpx.StreamConsumed):
        async for chunk in answer.aiter_raw():
            received += len(chunk)
            if received > _LARGEST_ANSWER:
                return

"""The way to one receiver of Standard Webhooks: signs, posts, and says what the answer means."""

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import anyio
import httpx
from anyio.lowlevel import RunVar
from standardwebhooks import Webhook

from skene.adapters.mail.message import timeout_faults
from skene.adapters.system import SystemClock
from skene.adapters.webhook.answers import answer_error
from skene.adapters.webhook.secrets import secret_faults
from skene.adapters.webhook.settings import header_faults, is_local, origin, url_faults
from skene.errors import ConfigurationError, DeliveryFailed, DeliveryUnknown
from skene.ports.clock import Clock

__all__ = ["SignedLine"]

_LARGEST_ANSWER = 64 * 1024
_PATIENCE = 1.0  # seconds for the rest of an answer that has said all with its status
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


class SignedLine:
    """Posts signed JSON to one address. Redirects are not followed.

    Args:
        owner: whose settings these are, in what is said of faults: `WebhookNotifier`.
        url, secret, headers, timeout, transport, clock: as in `WebhookNotifier`.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named, no secret is shown.
    """

    def __init__(
        self,
        owner: str,
        url: str,
        secret: str,
        headers: Mapping[str, str] | None,
        timeout: timedelta,
        transport: httpx.AsyncBaseTransport | None,
        clock: Clock | None,
    ) -> None:
        faults = (
            *url_faults(f"{owner}.url", url),
            *secret_faults(f"{owner}.secret", secret),
            *header_faults(f"{owner}.headers", headers),
            *timeout_faults(f"{owner}.timeout", timeout),
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

    @property
    def origin(self) -> str:
        """What may be shown of the address."""
        return origin(self._url)

    async def post(self, key: str, text: str) -> None:
        """Post a body under a `webhook-id`.

        Raises:
            DeliveryFailed, DeliveryRefused, DeliveryUnknown: as `Notifier.send` says.
        """
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

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later `post` opens new ones."""
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

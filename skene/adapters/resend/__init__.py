"""Mail through Resend, with its official SDK.

The SDK keeps its key, address and HTTP client in module globals, which belong to the application. `_Request`
is the SDK's own request with those three taken from the notifier, so that any number of notifiers, and the
application's own use of `resend`, work side by side.
"""

import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn, cast
from urllib.parse import urlsplit

import anyio
import httpx
import resend
from anyio.lowlevel import RunVar
from pydantic import JsonValue
from resend.async_request import AsyncRequest
from resend.exceptions import NoContentError, ResendError, raise_for_code_and_type

from skene.adapters.mail.local import LocalNotifier
from skene.adapters.mail.message import check_key, recipient, timeout_faults, unsubscribe_headers
from skene.adapters.resend.domains import list_domains
from skene.adapters.resend.errors import delivery_error
from skene.adapters.resend.reports import read_report, secret_faults, verify
from skene.definitions.faults import Fault, describe
from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown, WebhookRejected
from skene.ports.notifier import About, Body, MessageContext, Report

__all__ = ["ResendNotifier"]

_KEY = re.compile(r"re_[A-Za-z0-9_]{3,}")
_HOSTED = "resend:"
_HOSTED_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_LARGEST_NUMBER = 2**53 - 1
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    httpx.ProxyError,
)


class ResendNotifier(LocalNotifier):
    """Sends mail through Resend.

    A template is a local one, or with `resend:TEMPLATE_ID` one that is published at Resend. That one is given
    the same values under flat names in capitals: `user.name` as `USER_NAME`, `resets_at` as `RESETS_AT`; what
    has no value is left out, so that the template's own fallback is used.

    Args:
        api_key: Resend's API key; it begins with `re_`.
        sender: `Name <address>` or an address, on a domain that is verified at Resend.
        base_url: another address of the API; None takes the SDK's own setting: `RESEND_API_URL`, or Resend.
        templates: the folder of local templates.
        reply_to: where answers go, if not to the sender.
        timeout: for one attempt from beginning to end, up to 10 s.
        transport: for tests, an httpx transport such as `httpx.ASGITransport(fake.app)`, not the network.
        per_second: how many requests a second your team may make, over all workers; Resend's default is 2.
        webhook_secret: the signing secret of the webhook at Resend that reports bounces and complaints; it
            begins with `whsec_`. None takes no reports.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named, none is shown.
    """

    def __init__(
        self,
        api_key: str,
        sender: str,
        *,
        base_url: str | None = None,
        templates: str = "templates",
        reply_to: str | None = None,
        timeout: timedelta = timedelta(seconds=10),
        transport: httpx.AsyncBaseTransport | None = None,
        per_second: float = 2,
        webhook_secret: str | None = None,
    ) -> None:
        url = resend.api_url if base_url is None else base_url
        faults = (
            *_key_faults(api_key),
            *_url_faults(url),
            *timeout_faults("ResendNotifier.timeout", timeout),
            *secret_faults("ResendNotifier.webhook_secret", webhook_secret),
            *_pace_faults(per_second),
        )
        super().__init__(sender, templates, reply_to=reply_to, faults=faults)
        self._api_key = api_key
        self._base_url = url.rstrip("/")
        self._timeout = timeout.total_seconds()
        self._transport = transport
        self._pace = timedelta(seconds=1 / per_second)
        self._webhook_secret = webhook_secret
        # A client's connections belong to the event loop that opened them.
        self._client: RunVar[httpx.AsyncClient | None] = RunVar("skene.adapters.resend", None)

    def __repr__(self) -> str:
        return f"ResendNotifier(sender={self._sender!r}, base_url={self._base_url!r})"

    @property
    def remembers_keys(self) -> timedelta:
        """23 hours: Resend keeps idempotency keys for 24, and clocks and queues take their share."""
        return timedelta(hours=23)

    @property
    def pace(self) -> timedelta:
        """What Resend allows: more would be answered with 429."""
        return self._pace

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """See `Notifier.check`. Of a hosted template only the form of its id can be checked."""
        hosted = _hosted(template)
        if hosted is None:
            super().check(template, subject_line=subject_line, personalization=personalization, about=about)
        elif not _HOSTED_ID.fullmatch(hosted):
            raise ValueError(
                f"{template[:60]!r} is not 'resend:' and the id or alias of a template at Resend"
            )
        else:
            self._templates.check_own(subject_line=subject_line, personalization=personalization, about=about)

    def render(self, context: MessageContext) -> Body:
        """See `Notifier.render`. The body is what Resend's `POST /emails` takes."""
        hosted = _hosted(context.template)
        if hosted is None:
            body = self._templates.mail(context, self._sender, self._reply_to).body()
            body.pop("template", None)  # there it would mean a hosted one
            return body
        to, headers = recipient(context), unsubscribe_headers(context)
        filled = self._templates.fill(context)
        # What the loop's author and skene say wins over what a row or payload happens to be called.
        variables = _flat({"row": context.row, "event": context.event}) | _flat(
            {
                "user": context.user.model_dump(mode="json"),
                **context.data,
                "unsubscribe_url": context.unsubscribe_url,
                **filled.personalization,
            }
        )
        made: Body = {"from": self._sender, "to": [to], "template": {"id": hosted, "variables": variables}}
        extra: Body = {
            "subject": filled.subject,
            "reply_to": self._reply_to,
            "headers": dict[str, JsonValue](headers) or None,
        }
        return made | {key: value for key, value in extra.items() if value is not None}

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Hand the message to Resend; see `Notifier.send`."""
        key = check_key(idempotency_key)
        if not {"from", "to"} <= body.keys() or not body.keys() & {"text", "html", "template"}:
            raise DeliveryRefused("the message was rendered for another kind of notifier")
        request = _Request(self._open(), self._base_url, self._api_key, "/emails", dict(body), key)
        try:
            with anyio.fail_after(self._timeout):
                answer = await request.perform_with_content()
        except _NOT_SENT as error:
            raise DeliveryFailed(f"Resend cannot be reached: {type(error).__name__}") from error
        except (httpx.HTTPError, TimeoutError, NoContentError) as error:
            raise DeliveryUnknown(f"Resend did not answer: {type(error).__name__}") from error
        except _Unreadable as error:
            raise DeliveryUnknown(str(error)) from error
        except ResendError as error:
            raise delivery_error(error.code, error.error_type, error.message, error.headers) from error
        sent = answer.get("id")
        return sent if isinstance(sent, str) else None

    @property
    def sender(self) -> str:
        """Who mails come from, as given."""
        return self._sender

    async def domains(self) -> Mapping[str, str] | None:
        """The domains of the account, each with its status, such as `verified` or `pending`.

        Returns:
            None if the key may send and nothing else, so that they cannot be listed.

        Raises:
            DeliveryFailed: Resend cannot be reached, or refuses the key.
        """
        return await list_domains(self._open(), self._base_url, self._api_key)

    def parse_report(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Report | None:
        """See `Reporting.parse_report`."""
        if self._webhook_secret is None:
            raise WebhookRejected(
                "there is no secret to check it with; give ResendNotifier(webhook_secret=…) the signing "
                "secret of the webhook at Resend",
                status=401,
            )
        return read_report(body, verify(body, headers, self._webhook_secret, now))

    async def aclose(self) -> None:
        """Close the connections of this event loop; a later `send` opens new ones."""
        client = self._client.get()
        self._client.set(None)
        if client is not None:
            await client.aclose()

    def _open(self) -> httpx.AsyncClient:
        client = self._client.get()
        if client is None:
            # Half the time for the connection: if that fails, it is certain that nothing was sent.
            timeout = httpx.Timeout(self._timeout, connect=self._timeout / 2, pool=self._timeout / 2)
            public = self._base_url.startswith("https://")  # proxies of the environment are for the way out
            client = httpx.AsyncClient(timeout=timeout, transport=self._transport, trust_env=public)
            self._client.set(client)
        return client


class _Unreadable(Exception):
    """An answer that says neither yes nor no."""


class _Request(AsyncRequest[dict[str, Any]]):
    """The SDK's request, with key, address and client of its own."""

    def __init__(
        self,
        client: httpx.AsyncClient,
        base_url: str,
        api_key: str,
        path: str,
        params: dict[str, Any],
        key: str,
    ) -> None:
        super().__init__(path=path, params=params, verb="post", options={"idempotency_key": key})
        self._client = client
        self._url = base_url + path
        self._headers = {
            "Accept": "application/json",
            "Authorization": f"Bearer {api_key}",
            "Idempotency-Key": key,
            "User-Agent": f"resend-python:{resend.get_version()}",
        }

    async def make_request(self, url: str) -> dict[str, Any] | list[Any]:
        """Send it and read the answer. The given address is the application's, so it is not used."""
        answer = await self._client.post(self._url, json=self.params, headers=self._headers)
        data = _json_object(answer.content)
        if not answer.is_success:
            _refused(answer, data or {})
        if data is None:
            raise _Unreadable(f"Resend answered {answer.status_code} without JSON")
        return data


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        data = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, Any]", data) if isinstance(data, dict) else None


def _refused(answer: httpx.Response, data: dict[str, Any]) -> NoReturn:
    raise_for_code_and_type(
        code=answer.status_code,
        error_type=str(data.get("name") or ""),
        message=str(data.get("message") or "no reason given"),
        headers=dict(answer.headers),
    )


def _hosted(template: str) -> str | None:
    return template.removeprefix(_HOSTED) if template.startswith(_HOSTED) else None


def _flat(values: Mapping[str, JsonValue], prefix: str = "") -> dict[str, JsonValue]:
    """Values under the names and of the types that Resend's templates take: text and whole numbers."""
    flat: dict[str, JsonValue] = {}
    for key, value in values.items():
        name = prefix + re.sub(r"[^A-Za-z0-9]+", "_", key).upper()
        if isinstance(value, dict):
            flat |= _flat(value, f"{name}_")
        elif isinstance(value, list):
            flat[name] = ", ".join(str(item) for item in value if isinstance(item, str | int | float))
        elif isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST_NUMBER:
            flat[name] = value
        elif value is not None:
            flat[name] = str(value).lower() if isinstance(value, bool) else str(value)
    return flat


def _key_faults(value: object) -> list[Fault]:
    if isinstance(value, str) and _KEY.fullmatch(value):
        return []
    given = "an empty string" if value == "" else f"a value of type {type(value).__name__} that is no key"
    return [Fault("ResendNotifier.api_key", given, "a key from Resend's dashboard; it begins with re_")]


def _url_faults(value: object) -> list[Fault]:
    split = urlsplit(value) if isinstance(value, str) else None
    if split is not None and split.scheme in ("http", "https") and split.hostname and not split.username:
        return []
    return [Fault("ResendNotifier.base_url", describe(value), 'an address such as "https://api.resend.com"')]


def _pace_faults(value: object) -> list[Fault]:
    if isinstance(value, int | float) and not isinstance(value, bool) and 0.1 <= value <= 1000:
        return []
    return [Fault("ResendNotifier.per_second", describe(value), "a number from 0.1 to 1000")]

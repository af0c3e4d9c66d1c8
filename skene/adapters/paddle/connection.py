"""The way to Paddle: one HTTP client for each event loop, a deadline on each call, errors in our words."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, TypeVar

import anyio
import httpx
from anyio.lowlevel import RunVar

from skene.adapters.paddle.reading import Json, mapping, objects, text
from skene.errors import BillingUnavailable

__all__ = ["Connection", "PaddleRefused", "Page"]

T = TypeVar("T")

_REPEATS = (0.1, 0.4)  # seconds before a question is asked again after a fault; inside the deadline
_UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)


class PaddleRefused(Exception):
    """Paddle refused the request itself.

    Attributes:
        status: of the answer.
        code: Paddle's, e.g. `not_found`; empty if there is none.
    """

    def __init__(self, status: int, code: str, request: str) -> None:
        self.status = status
        self.code = code
        # What to look for in Paddle's logs; not its own words, which may quote personal data.
        super().__init__(f"status {status}, code {code or 'none'}, request {request or 'unknown'}")


class Page:
    """A page of a list.

    Attributes:
        entries: the objects on it.
        after: what to ask for the next page with; None: this was the last.
    """

    def __init__(self, body: Json) -> None:
        self.entries = objects(body["data"])
        paging = mapping(mapping(body.get("meta")).get("pagination"))
        more = paging.get("has_more") is True and bool(self.entries)
        # The address that Paddle gives for the next page is not followed: the key goes nowhere else.
        self.after = text(self.entries[-1].get("id") or self.entries[-1].get("event_id")) if more else None


class Connection:
    """Calls Paddle's API.

    Args:
        api_key: a server-side key.
        base_url: of the API.
        transport: an httpx transport to use instead of the network, for tests.
    """

    def __init__(self, api_key: str, base_url: str, transport: httpx.AsyncBaseTransport | None) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._transport = transport
        # A pooled connection belongs to the loop that opened it, so every loop has a client of its own.
        self._clients: RunVar[httpx.AsyncClient | None] = RunVar("paddle", None)

    async def ask(self, call: Callable[[], Awaitable[T]], within: timedelta) -> T:
        """Make one or several calls within a deadline.

        Raises:
            BillingUnavailable: no answer in time, or none that is of use.
            PaddleRefused: Paddle refused the request itself.
        """
        try:
            with anyio.fail_after(within.total_seconds()):
                return await call()
        except TimeoutError:
            raise BillingUnavailable(f"Paddle did not answer within {within.total_seconds():g} s") from None
        except httpx.HTTPError as error:
            raise BillingUnavailable(f"Paddle cannot be reached ({type(error).__name__})") from None
        except _UNREADABLE as error:
            raise BillingUnavailable("what answered in Paddle's place cannot be understood") from error

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Json:
        """Ask a question, and again if the answer gets lost. The whole body, with `data` and `meta`."""
        for pause in _REPEATS:
            try:
                answer = await self._send("GET", path, params=params)
            except httpx.TransportError:
                pass
            else:
                if answer.status_code < 500:
                    return _read(answer)
            await anyio.sleep(pause)
        return _read(await self._send("GET", path, params=params))

    async def pages(self, path: str, params: Mapping[str, str]) -> Sequence[Json]:
        """Every entry of a list."""
        found: list[Json] = []
        after: str | None = None
        while True:
            page = Page(await self.get(path, {**params, **({"after": after} if after else {})}))
            found += page.entries
            if page.after is None or page.after == after:
                return found
            after = page.after

    async def post(self, path: str, body: Mapping[str, Any]) -> Json:
        """Make something, once: Paddle has no idempotency keys. What was made."""
        return mapping(_read(await self._send("POST", path, json=body))["data"])

    async def aclose(self) -> None:
        """Close this event loop's connections; a later call opens new ones."""
        opened = self._clients.get()
        self._clients.set(None)
        if opened is not None:
            await opened.aclose()

    async def _send(self, method: str, path: str, **content: Any) -> httpx.Response:
        return await self._client().request(method, path, **content)

    def _client(self) -> httpx.AsyncClient:
        opened = self._clients.get()
        if opened is None:
            local = self._transport is not None or self._base_url.startswith("http://")
            opened = httpx.AsyncClient(
                base_url=self._base_url,
                headers={"Authorization": f"Bearer {self._api_key}", "Paddle-Version": "1"},
                transport=self._transport,
                timeout=10,
                verify=not local,
                trust_env=not local,
            )
            self._clients.set(opened)
        return opened


def _read(answer: httpx.Response) -> Json:
    status = answer.status_code
    if 200 <= status < 300:
        body = mapping(answer.json())
        if "data" not in body:
            raise ValueError("an answer without data")
        return body
    if status == 429:
        raise BillingUnavailable("Paddle asks for fewer requests (429)", _retry_after(answer))
    body = _body(answer)
    error = mapping(body.get("error"))
    refused = PaddleRefused(
        status,
        (text(error.get("code")) or "")[:100],
        (text(mapping(body.get("meta")).get("request_id")) or "")[:100],
    )
    if status in (401, 403):
        raise BillingUnavailable(
            f"Paddle refuses the key in api_key: mistyped, expired or without a permission ({refused})"
        )
    if status >= 500 or not error:
        raise BillingUnavailable(f"Paddle failed: {refused}", _retry_after(answer))
    raise refused


def _body(answer: httpx.Response) -> Json:
    try:
        return mapping(answer.json())
    except (ValueError, RecursionError):
        return {}


def _retry_after(answer: httpx.Response) -> timedelta | None:
    try:
        seconds = float(answer.headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= 86_400 else None

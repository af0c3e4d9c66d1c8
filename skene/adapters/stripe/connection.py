"""The way to Stripe: one SDK client for each event loop, a deadline on each call, errors in skene's words."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import TypeVar

import anyio
import httpx
import stripe
from anyio.lowlevel import RunVar

from skene.errors import BillingUnavailable

__all__ = ["UNREADABLE", "Connection", "is_missing", "where"]

T = TypeVar("T")

UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError)
"""What the SDK or reading its objects raises for an answer that is none of Stripe's, e.g. a proxy's page."""

_RETRIES = 2  # the SDK's own, for connection faults and 5xx; all inside one deadline


class Connection:
    """Calls Stripe's API.

    Args:
        api_key: a secret or restricted key.
        base_url: another address than Stripe's, for tests; plain HTTP there needs no TLS and no proxy.
        transport: an httpx transport to use instead of the network, for tests.
    """

    def __init__(
        self, api_key: str, base_url: str | None, transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._transport = transport
        # A pooled connection belongs to the loop that opened it, so every loop has a client of its own.
        self._clients: RunVar[tuple[stripe.StripeClient, httpx.AsyncClient] | None] = RunVar("stripe", None)

    async def ask(self, call: Callable[[stripe.StripeClient], Awaitable[T]], within: timedelta) -> T:
        """Make one or several calls within a deadline.

        Args:
            call: does the calls with the client it is given. Its `InvalidRequestError`s pass through, since
                only the caller knows what they mean.
            within: for everything together, the SDK's own repeats included.

        Raises:
            BillingUnavailable: no answer in time, or none that is of use.
            stripe.InvalidRequestError: Stripe refused the request itself.
        """
        try:
            with anyio.fail_after(within.total_seconds()):
                return await call(self._client())
        except TimeoutError:
            raise BillingUnavailable(f"Stripe did not answer within {within.total_seconds():g} s") from None
        except stripe.InvalidRequestError:
            raise
        except (stripe.AuthenticationError, stripe.PermissionError) as error:
            # Without the cause: Stripe quotes part of the key in it.
            raise BillingUnavailable(_refused_key(error)) from None
        except stripe.RateLimitError as error:
            raise BillingUnavailable("Stripe asks for fewer requests (429)", _retry_after(error)) from error
        except stripe.APIConnectionError as error:
            raise BillingUnavailable("Stripe cannot be reached") from error
        except stripe.StripeError as error:
            raise BillingUnavailable(f"Stripe failed: {where(error)}", _retry_after(error)) from error
        except UNREADABLE as error:
            raise BillingUnavailable("what answered in Stripe's place cannot be understood") from error

    async def aclose(self) -> None:
        """Close this event loop's connections; a later call opens new ones."""
        opened = self._clients.get()
        self._clients.set(None)
        if opened is not None:
            await opened[1].aclose()

    def _client(self) -> stripe.StripeClient:
        opened = self._clients.get()
        if opened is None:
            local = self._transport is not None or (self._base_url or "").startswith("http://")
            session = httpx.AsyncClient(
                transport=self._transport, timeout=10, verify=not local, trust_env=not local
            )
            client = stripe.StripeClient(
                self._api_key,
                base_addresses={"api": self._base_url} if self._base_url else {},
                http_client=_Http(session),
                max_network_retries=_RETRIES,
            )
            opened = (client, session)
            self._clients.set(opened)
        return opened[0]


class _Http(stripe.HTTPClient):
    """Takes the SDK's requests over httpx.

    The SDK's own HTTPXClient hands bodies to httpx in a deprecated way, so every call fails in a program that
    turns warnings into errors; and it takes no transport.
    """

    name = "httpx"

    def __init__(self, session: httpx.AsyncClient) -> None:
        super().__init__()  # pyright: ignore[reportUnknownMemberType] - partly untyped in the SDK
        self._session = session

    def sleep_async(self, secs: float) -> Awaitable[None]:
        return anyio.sleep(secs)

    async def request_async(
        self, method: str, url: str, headers: Mapping[str, str], post_data: str | None = None
    ) -> tuple[bytes, int, Mapping[str, str]]:
        try:
            answer = await self._session.request(method, url, headers=headers, content=post_data)
        except httpx.HTTPError as error:
            fault = stripe.APIConnectionError(  # type: ignore[no-untyped-call] # untyped in the SDK
                type(error).__name__, should_retry=True
            )
            raise fault from error
        return answer.content, answer.status_code, answer.headers


def where(error: stripe.StripeError) -> str:
    """What to look for in Stripe's logs. Not its message, which may quote personal data."""
    parts = {
        "status": error.http_status,
        "code": error.code,
        "param": getattr(error, "param", None),
        "request": error.request_id,
    }
    return ", ".join(f"{name} {value}" for name, value in parts.items() if value) or type(error).__name__


def is_missing(error: stripe.InvalidRequestError, param: str | None = None) -> bool:
    """Whether Stripe refused because what a parameter names does not exist."""
    return error.code == "resource_missing" and param in (None, error.param)


def _refused_key(error: stripe.StripeError) -> str:
    if isinstance(error, stripe.PermissionError):
        return f"Stripe refuses: the key in api_key lacks a permission ({where(error)})"
    return f"Stripe refuses the key in api_key: mistyped, rolled or expired ({where(error)})"


def _retry_after(error: stripe.StripeError) -> timedelta | None:
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    try:
        seconds = float(headers["retry-after"])
    except (KeyError, ValueError):
        return None
    return timedelta(seconds=seconds) if 0 <= seconds <= 86_400 else None

"""The API over HTTP: keys, faults, and the bodies around data and errors."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import cast

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from skene.testing.paddle_server.api import OPERATIONS, Call, Operation
from skene.testing.paddle_server.objects import Obj
from skene.testing.paddle_server.state import ApiFault, State

__all__ = ["Api", "ApiCall"]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request as it arrived.

    Attributes:
        method: e.g. `POST`.
        path: e.g. `/customers`.
        body: its JSON object; empty for a question.
    """

    method: str
    path: str
    body: Obj = field(repr=False)


@dataclass(slots=True)
class _Fault:
    status: int
    times: int
    retry_after: timedelta | None
    body: str | None


class Api:
    """Answers API requests, or fails as told.

    Attributes:
        requests: everything asked so far, whatever became of it.
        down: while set, every request is answered with 503.
        delay: how long every answer takes.
        revoked: while set, the key is refused.
    """

    def __init__(self, state: State, api_key: str, urls: Callable[[], tuple[str, str | None]]) -> None:
        self._state = state
        self._api_key = api_key
        self._urls = urls
        self._faults: list[_Fault] = []
        self.requests: list[ApiCall] = []
        self.down = False
        self.delay = timedelta(0)
        self.revoked = False

    def recover(self) -> None:
        """Forget every fault."""
        self._faults.clear()
        self.down, self.delay, self.revoked = False, timedelta(0), False

    def fail(self, status: int, times: int, retry_after: timedelta | None, body: str | None) -> None:
        """Answer the next requests with an error, or with a text that is none of Paddle's."""
        self._faults.append(_Fault(status, times, retry_after, body))

    def routes(self, after: Callable[[], Awaitable[None]]) -> list[Route]:
        """The API's routes; `after` runs when something was made, before the client hears of it."""
        return [
            Route(path, self._endpoint(operation, after), methods=[method])
            for (method, path), operation in OPERATIONS.items()
        ]

    def _endpoint(
        self, operation: Operation, after: Callable[[], Awaitable[None]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            meta: Obj = {"request_id": self._state.new_id("req")}
            try:
                body = await _body(request)
                self.requests.append(ApiCall(request.method, request.url.path, body))
                await anyio.sleep(self.delay.total_seconds())
                if (text := self._fault()) is not None:
                    return PlainTextResponse(text)
                self._check(request)
                call = Call(self._state, request.path_params, request.query_params, body, self._urls())
                status, data, paging = operation(call)
                # A copy: what was answered must not change with the entity.
                data = json.loads(json.dumps(data))
            except ApiFault as fault:
                kind = "api_error" if fault.status >= 500 else "request_error"
                error = {"type": kind, "code": fault.code, "detail": fault.detail, "documentation_url": ""}
                return JSONResponse({"error": error, "meta": meta}, fault.status, fault.headers)
            if request.method == "POST":
                await after()
            if paging is not None:
                meta["pagination"] = paging
            return JSONResponse({"data": data, "meta": meta}, status)

        return endpoint

    def _fault(self) -> str | None:
        if self.down:
            raise ApiFault("service_unavailable", "The server is down.", 503)
        if not self._faults:
            return None
        fault = self._faults[0]
        fault.times -= 1
        if fault.times == 0:
            del self._faults[0]
        if fault.body is not None:
            return fault.body
        code = "too_many_requests" if fault.status == 429 else "internal_error"
        wish = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after.total_seconds():g}"}
        raise ApiFault(code, "A fault was asked for.", fault.status, wish)

    def _check(self, request: Request) -> None:
        if self.revoked or request.headers.get("authorization") != f"Bearer {self._api_key}":
            raise ApiFault("invalid_token", f"Invalid token {self._api_key[:24]}…", 403)
        if request.headers.get("paddle-version") != "1":
            raise ApiFault("bad_request", "Paddle-Version must be 1")


async def _body(request: Request) -> Obj:
    if request.method == "GET":
        return {}
    try:
        body = json.loads(await request.body())
    except ValueError:
        raise ApiFault("bad_request", "the body is not JSON") from None
    if not isinstance(body, dict):
        raise ApiFault("bad_request", "the body is not an object")
    return cast("Obj", body)

"""The API over HTTP: keys, faults, idempotency keys, and the error bodies that the official SDK reads."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from skene.testing.stripe_server.api import OPERATIONS, Operation
from skene.testing.stripe_server.forms import nested
from skene.testing.stripe_server.objects import API_VERSION, Obj
from skene.testing.stripe_server.payments import PAYMENT_OPERATIONS
from skene.testing.stripe_server.state import ApiFault, State
from skene.testing.stripe_server.usage import USAGE_OPERATIONS

__all__ = ["Api", "ApiCall"]


@dataclass(frozen=True, slots=True)
class ApiCall:
    """A request as it arrived.

    Attributes:
        method: e.g. `POST`.
        path: e.g. `/v1/customers`.
        params: of the query or the body, nested.
        idempotency_key: the header's value, if it was sent.
    """

    method: str
    path: str
    params: Obj = field(repr=False)
    idempotency_key: str | None = None


@dataclass(slots=True)
class _Fault:
    status: int
    times: int
    retry_after: timedelta | None
    path: str


@dataclass(frozen=True, slots=True)
class _Answer:
    request: str
    body: Obj


class Api:
    """Answers API requests, or fails as told.

    Attributes:
        requests: everything asked so far, whatever became of it.
        down: while set, every request is answered with 503.
        delay: how long every answer takes.
    """

    def __init__(self, state: State, api_key: str, base_url: Callable[[], str]) -> None:
        self._state = state
        self._api_key = api_key
        self._base_url = base_url
        self._answers: dict[str, _Answer] = {}
        self._faults: list[_Fault] = []
        self.requests: list[ApiCall] = []
        self.down = False
        self.delay = timedelta(0)

    def fail(self, status: int, times: int, retry_after: timedelta | None, path: str) -> None:
        """Answer the next requests whose path begins with `path` with an error."""
        self._faults.append(_Fault(status, times, retry_after, path))

    def routes(self, after: Callable[[], Awaitable[None]]) -> list[Route]:
        """The API's routes; `after` runs when a change has been made, before the client hears of it."""
        return [
            Route(path, self._endpoint(operation, after), methods=[method])
            for (method, path), operation in {**OPERATIONS, **PAYMENT_OPERATIONS, **USAGE_OPERATIONS}.items()
        ]

    def _endpoint(
        self, operation: Operation, after: Callable[[], Awaitable[None]]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            encoded = (await request.body()).decode() if request.method == "POST" else request.url.query
            call_id = self._state.new_id("req")
            headers = {"request-id": call_id, "stripe-version": API_VERSION}
            try:
                params = nested(encoded)
                key = request.headers.get("idempotency-key")
                self.requests.append(ApiCall(request.method, request.url.path, params, key))
                await anyio.sleep(self.delay.total_seconds())
                self._check(request)
                body, replayed = self._answer(operation, request, params, key)
            except ApiFault as fault:
                headers |= fault.headers
                return JSONResponse({"error": fault.error}, fault.status, headers)
            if request.method == "POST":
                # Not after a question: the app asks while it deals with a webhook, and would get the next
                # one inside that answer.
                await after()
            if replayed:
                headers["idempotent-replayed"] = "true"
            return JSONResponse(body, headers=headers)

        return endpoint

    def _answer(
        self, operation: Operation, request: Request, params: Obj, key: str | None
    ) -> tuple[Obj, bool]:
        written = json.dumps([request.method, request.url.path, params], sort_keys=True)
        if request.method != "POST":
            key = None
        if key is not None and len(key) > 255:
            raise ApiFault("Idempotency keys have at most 255 characters.")
        if key is not None and (earlier := self._answers.get(key)) is not None:
            if earlier.request != written:
                message = "Keys for idempotent requests can only be used with the same parameters."
                raise ApiFault(message, kind="idempotency_error")
            return earlier.body, True
        # A copy: what was answered once must not change with the object.
        body: Obj = json.loads(
            json.dumps(operation(self._state, request.path_params, params, self._base_url()))
        )
        if key is not None:
            self._answers[key] = _Answer(written, body)
        return body, False

    def _check(self, request: Request) -> None:
        if self.down:
            raise ApiFault("The server is down.", status=503, kind="api_error")
        for fault in self._faults:
            if request.url.path.startswith(fault.path):
                fault.times -= 1
                if fault.times == 0:
                    self._faults.remove(fault)
                kind = "api_error" if fault.status >= 500 else "invalid_request_error"
                raised = ApiFault("A fault was asked for.", status=fault.status, kind=kind)
                if fault.retry_after is not None:
                    raised.headers["retry-after"] = f"{fault.retry_after.total_seconds():g}"
                raise raised
        if request.headers.get("authorization") != f"Bearer {self._api_key}":
            raise ApiFault("Invalid API Key provided.", status=401)

"""skene for Starlette, and for any other ASGI app: a limit around an app or a route, with the same answers.

With FastAPI use `skene.fastapi.Gate`, which also finds routes by pattern and gates them after validation.
"""

import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress

from fastapi import FastAPI
from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from skene.definitions.faults import Fault, describe
from skene.errors import ConfigurationError, StorageUnavailable
from skene.fastapi.answers import Refused, refusal
from skene.fastapi.charging import Charging
from skene.fastapi.gate import answer_refused
from skene.fastapi.middleware import SettleMiddleware
from skene.fastapi.routes import make_routes
from skene.fastapi.visit import SCOPE_KEY, Visit
from skene.ports.storage import Storage
from skene.runtime.skene import Runtime

__all__ = ["Metered", "Who", "pages", "refusal"]

Who = Callable[[HTTPConnection], object | Awaitable[object]]
"""Says who is counted: the id of whom the app has authenticated, or None. May be async."""


class Metered:
    """A limit around an ASGI app: charges every request and websocket, and refuses those beyond.

    In Starlette it is a middleware of the route: `Route("/export", export, middleware=[Middleware(Metered,
    skene=skene, name="freemium", subject=current_user)])`; elsewhere `Metered(app, skene, "freemium", …)`.
    Authentication belongs outside. Answers of 400 and more, and exceptions, give back what was charged. A
    request that passes two of them for one step is charged once. There is no `Idempotency-Key` here.

    Args:
        app: what is charged for.
        skene: the loops and their back-ends.
        name: a loop (all of its steps must admit), or one step as `loop.step`.
        subject: says who is counted, from the connection. None is answered with 401.
        member: where subjects are teams, says who of the team calls.

    Raises:
        ConfigurationError: a part is of the wrong kind, or there is no such loop or step.
    """

    def __init__(
        self, app: ASGIApp, skene: Runtime, name: str, subject: Who, member: Who | None = None
    ) -> None:
        _check(skene, subject, member)
        try:
            self._steps = skene.program.named(name)
        except LookupError as error:
            raise ConfigurationError(f"Metered(name={name!r}): {error}") from None
        for step in self._steps:
            if step.by_route:
                allowed = "one counter: an ASGI app has no routes that could be told apart"
                where = f"{step.path}.condition.group_by"
                raise ConfigurationError([Fault(where, 'a counter for every "route"', allowed)])
        self._app, self._skene = app, skene
        self._subject, self._member = subject, member
        self._charging = Charging(skene.gatekeeper, None)
        self._settling = SettleMiddleware(self._charge, skene.gatekeeper, self._is_ready, self._start)
        self._started_on: Storage | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Charge, pass on, and settle."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
        elif not isinstance(scope.get(SCOPE_KEY), Visit):
            await self._settling(scope, receive, send)
        else:  # another one settles
            if not self._is_ready():
                await self._start()
            await self._charge(scope, receive, send)

    def _is_ready(self) -> bool:
        return self._started_on is self._skene.storage

    async def _start(self) -> None:
        """Where there is no lifespan, or a test has swapped the storage."""
        with suppress(StorageUnavailable):  # counting connects by itself, and says 503 until it can
            await self._skene.start()
        self._started_on = self._skene.storage

    async def _charge(self, scope: Scope, receive: Receive, send: Send) -> None:
        visit: Visit = scope[SCOPE_KEY]
        # Without `receive`: whoever read the body here would take it from the app.
        connection = Request(scope) if scope["type"] == "http" else WebSocket(scope, receive, send)
        visit.connection = connection
        visit.subject = await _asked(self._subject, connection)
        if self._member is not None:
            visit.member = await _asked(self._member, connection)
        answer = await self._charging.charge(visit, self._steps, "")
        if answer is None:
            await self._app(scope, receive, send)
        elif isinstance(connection, WebSocket):
            await answer_refused(connection, Refused(answer))
        else:
            await answer(scope, receive, send)


def pages(skene: Runtime, subject: Who) -> ASGIApp:
    """The routes that billing and people come back to: webhooks, upgrade, checkout, usage and the like.

    Mount it where links lead: `Mount("/skene", pages(skene, current_user))`.

    Args:
        skene: what they work on.
        subject: as in `Metered`.

    Raises:
        ConfigurationError: a part is of the wrong kind.
    """
    _check(skene, subject, None)

    async def who(connection: HTTPConnection) -> object:
        return await _asked(subject, connection)

    app = FastAPI(openapi_url=None)
    app.include_router(make_routes(skene, who))
    return app


async def _asked(who: Who, connection: HTTPConnection) -> object:
    answer = who(connection)
    return await answer if inspect.isawaitable(answer) else answer


def _check(skene: object, subject: object, member: object) -> None:
    faults: list[Fault] = []
    if not isinstance(skene, Runtime):
        faults.append(Fault("skene", describe(skene), "the Skene(…) of your configuration"))
    for name, one in (("subject", subject), ("member", member)):
        if not callable(one) and not (name == "member" and one is None):
            faults.append(Fault(name, describe(one), "a function from a connection to an id"))
    if faults:
        raise ConfigurationError(faults)

"""`Gate`: puts loops in front of routes."""

import inspect
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from typing import Any, TypeVar, cast

from fastapi import Depends, FastAPI, params
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp
from starlette.websockets import WebSocket

from skene.definitions.faults import Fault, describe
from skene.engine.decision import Decision
from skene.errors import ConfigurationError, StorageUnavailable
from skene.fastapi.answers import Refused
from skene.fastapi.arming import Arming, Gated
from skene.fastapi.charging import Charging
from skene.fastapi.coverage import RoutesSeen, find_routes
from skene.fastapi.freezing import frozen
from skene.fastapi.middleware import SettleMiddleware
from skene.fastapi.openapi import describe_refusals
from skene.fastapi.routes import include, make_routes
from skene.fastapi.visit import Visit, visit_of
from skene.ports.storage import Storage
from skene.runtime.skene import Runtime

__all__ = ["Gate"]

UNATTENDED = (
    "the app is served without its lifespan, as mounted apps are: nothing closes the back-ends, and messages"
    " wait until `skene worker` or another process delivers them"
)

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class Gate:
    """Counts and decides in front of FastAPI endpoints.

    The same gate works in three ways, and charges a request once however many of them meet:

    - `gate.install(app)` gates every route that a trigger's pattern covers;
    - `@gate.enforce("freemium")` gates one endpoint by hand;
    - `decision: Annotated[Decision, Depends(gate)]` gates an endpoint and shows it the decision.

    It stands behind authentication and validation: a request that these turn away costs nothing. All three
    need `gate.install(app)`, which also settles what was charged.
    """

    def __init__(
        self,
        skene: Runtime,
        subject: Callable[..., Any],
        *,
        member: Callable[..., Any] | None = None,
        idempotency_header: str | None = "Idempotency-Key",
    ) -> None:
        """Make a gate; `install` puts it on an app.

        Args:
            skene: the loops and their back-ends.
            subject: a FastAPI dependency that returns the caller's id (text, a number or a UUID), or None.
            member: where subjects are teams, another one that returns the id of the member who calls, or
                None; see `member_limit`.
            idempotency_header: name of the header that makes a retry free; None ignores it.

        Raises:
            ConfigurationError: one of them is something else.
        """
        _check_parts(skene, subject, member)
        self.skene = skene
        self._subject, self._member = subject, member
        self._charging = Charging(skene.gatekeeper, idempotency_header)
        # FastAPI reads this signature to solve the app's own dependency for us.
        connection = inspect.Parameter(
            "connection", inspect.Parameter.KEYWORD_ONLY, annotation=HTTPConnection
        )
        who = inspect.Parameter("subject", inspect.Parameter.KEYWORD_ONLY, default=Depends(subject))
        parameters = [connection, who]
        if member is not None:
            parameters.append(
                inspect.Parameter("member", inspect.Parameter.KEYWORD_ONLY, default=Depends(member))
            )
        self.__signature__ = inspect.Signature(parameters)
        self._arming = Arming(
            self, skene.program, self._charging, self.__signature__, self._arrive, subject, member
        )
        self._app: FastAPI | None = None
        self._routes_seen: RoutesSeen | None = None
        self._started_on: Storage | None = None

    def __repr__(self) -> str:
        name = getattr(self._subject, "__name__", type(self._subject).__name__)
        return f"Gate({', '.join(loop.key for loop in self.skene.loops)}; subject={name})"

    # -- as a dependency, as a decorator ---------------------------------------------------------------------

    async def __call__(self, connection: HTTPConnection, subject: object, member: object = None) -> Decision:
        """The decision about this request: `Annotated[Decision, Depends(gate)]`.

        As an endpoint's own parameter it is filled in after validation. Deeper down (in another dependency,
        or in `dependencies=[…]`) it charges when FastAPI gets there, and gives back if the request is then
        found invalid.
        """
        visit = self._arrive(connection, subject, member)
        gated = self._arming.gated_route(connection.scope.get("route"))
        if gated is not None:
            steps, path = gated.steps_for(connection.scope), gated.path
        else:
            steps, path = (
                self._arming.default_steps(),
                str(getattr(connection.scope.get("route"), "path", "")),
            )
        answer = await self._charging.charge(visit, steps, path)
        if answer is not None:
            raise Refused(answer)
        assert visit.decision is not None  # a charge without an answer leaves a decision
        return visit.decision

    def enforce(self, name: str) -> Callable[[Endpoint], Endpoint]:
        """Gate one endpoint by hand.

        `@gate.enforce("freemium")`, between the route's decorator and the function.

        Args:
            name: a loop (all of its steps must admit), or one step as `loop.step`.

        Raises:
            ConfigurationError: there is no such loop or step.
        """
        self._check_name(name)
        try:
            self.skene.program.named(name)
        except LookupError as error:
            raise ConfigurationError(f"gate.enforce({name!r}): {error}") from None

        def decorate(endpoint: Endpoint) -> Endpoint:
            return cast(Endpoint, self._arming.enforced(endpoint, name))

        return decorate

    def _check_name(self, name: object) -> None:
        if not isinstance(name, str):  # `@gate.enforce` without parentheses, most likely
            example = self.skene.loops[0].key if self.skene.loops else "freemium"
            allowed = f"a name: @gate.enforce({example!r})"
            raise ConfigurationError([Fault("gate.enforce", describe(name), allowed)])

    def _arrive(self, connection: HTTPConnection, subject: object, member: object) -> Visit:
        visit = visit_of(connection)
        visit.connection, visit.subject, visit.member = connection, subject, member
        return visit

    # -- on an app -------------------------------------------------------------------------------------------

    def install(self, app: FastAPI, *, freeze: bool = True) -> None:
        """Gate every route that a pattern covers, and mount skene's own routes.

        Call it once, anywhere before start-up.

        Routes are looked at when the app starts, so the order of declarations does not matter. Joins the
        app's lifespan: opens the back-ends, runs the recovery worker.

        Args:
            app: the FastAPI app; routers that it includes come with it.
            freeze: once the app has started, set everything it has loaded aside from garbage collection
                (`gc.freeze()`), until it ends: the collector's longest pauses come from looking at it.

        Raises:
            ConfigurationError: the app is serving already, or has a gate, or is no FastAPI app.
        """
        _check_app(app)
        if app.middleware_stack is not None or hasattr(app.state, "skene_gate"):
            raise ConfigurationError(
                "gate.install(app): call it once, before the app serves its first request"
            )
        self._app = app
        app.state.skene_gate = self  # `skene check --app` looks here
        self.skene.guarded = True
        app.add_exception_handler(Refused, answer_refused)
        include(make_routes(self.skene, self._subject, self._member), app, self.skene.prefix)
        build, lifespan, openapi = app.build_middleware_stack, app.router.lifespan_context, app.openapi

        def build_with_gate() -> ASGIApp:
            return SettleMiddleware(build(), self.skene.gatekeeper, self._ready, self._before_request)

        @asynccontextmanager
        async def lifespan_with_skene(running: FastAPI) -> AsyncGenerator[Mapping[str, Any] | None]:
            self.look_at_routes()
            async with self.skene.lifespan(running):
                self._started_on = self.skene.storage
                try:
                    async with lifespan(running) as state:
                        with frozen() if freeze else nullcontext():
                            yield state
                finally:
                    self._started_on = None

        def openapi_with_refusals() -> dict[str, Any]:
            self.look_at_routes()
            return describe_refusals(openapi(), app, self.gated)

        setattr(app, "build_middleware_stack", build_with_gate)  # noqa: B010 - a type checker forbids assigning methods
        setattr(app, "openapi", openapi_with_refusals)  # noqa: B010 - as above
        setattr(app.router, "lifespan_context", lifespan_with_skene)  # noqa: B010 - Starlette's type says None or state

    @property
    def gated(self) -> tuple[Gated, ...]:
        """The routes that are gated, and by which steps.

        Known once the app has started or `look_at_routes` was called.
        """
        return self._arming.gated

    def look_at_routes(self) -> None:
        """Settle which routes are gated. Done at start-up; again if routes were added since.

        Raises:
            ConfigurationError: a pattern covers no route, or one that cannot be gated; all faults at once.
        """
        app = self._app
        if app is None:
            raise ConfigurationError("gate.install(app) has not been called")
        if self._routes_seen is not None and not self._routes_seen.changed():
            return
        faults = self._arming.arm(tuple(find_routes(app)))
        if faults:
            raise ConfigurationError(faults)
        for lost in self._arming.astray():
            text = "%s: no route of the app is seen to call it; decorators around it need functools.wraps"
            self.skene.logger.warning(text, lost)
        for gated in self.gated:
            if gated.app is not None and gated.app is not app:
                gated.app.exception_handlers.setdefault(Refused, answer_refused)
        self._routes_seen = RoutesSeen(app)

    def _ready(self) -> bool:
        """Whether nothing is to be done before a request."""
        seen = self._routes_seen
        return self._started_on is self.skene.storage and seen is not None and not seen.changed()

    async def _before_request(self) -> None:
        """Gate routes that were added after start-up, and start an app that runs without a lifespan."""
        if self._app is not None:
            self.look_at_routes()
        storage = self.skene.storage
        if self._started_on is None:
            self.skene.logger.warning(UNATTENDED)
        if self._started_on is not storage:  # a test may have swapped it
            # Away at the first request: counting connects by itself, and says 503 until it can. Routes that
            # are not gated need no storage.
            with suppress(StorageUnavailable):
                await self.skene.start()
            self._started_on = storage


def _check_parts(skene: object, subject: object, member: object) -> None:
    """Say what is wrong here, instead of from deep inside FastAPI."""
    faults: list[Fault] = []
    if not isinstance(skene, Runtime):
        faults.append(Fault("Gate(skene)", describe(skene), "the Skene(…) of your configuration"))
    faults += _dependency_faults("subject", subject)
    if member is not None:
        faults += _dependency_faults("member", member)
    if faults:
        raise ConfigurationError(faults)


def _dependency_faults(name: str, given: object) -> list[Fault]:
    if isinstance(given, params.Depends):
        inner = getattr(given.dependency, "__name__", None)
        hint = f"{name}={inner}" if inner else None
        return [Fault(f"Gate({name}=…)", "Depends(…)", "the dependency itself", hint)]
    if not callable(given):
        allowed = "a FastAPI dependency: a function that returns the caller's id"
        return [Fault(f"Gate({name}=…)", describe(given), allowed)]
    return []


def _check_app(app: object) -> None:
    if not isinstance(app, FastAPI):
        allowed = "the FastAPI app; routers that it includes come with it"
        raise ConfigurationError([Fault("gate.install", describe(app), allowed)])


async def answer_refused(connection: HTTPConnection, refused: Exception) -> Any:
    """Give the answer that a dependency or a websocket could not give itself."""
    assert isinstance(refused, Refused)  # what it is registered for
    if not isinstance(connection, WebSocket):
        return refused.response
    if "websocket.http.response" in connection.scope.get("extensions", {}):
        await connection.send_denial_response(refused.response)
    else:
        await connection.close(1008, "refused")
    return None

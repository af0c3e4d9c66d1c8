"""Puts the gate on routes: behind FastAPI's validation, in front of the endpoint."""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from skene.definitions import Fault
from skene.engine.program import CompiledStep
from skene.fastapi.answers import Refused
from skene.fastapi.charging import Charging
from skene.fastapi.coverage import Covered, Found, match_routes
from skene.fastapi.visit import Visit
from skene.fastapi.wrapping import (
    VISIT_PARAMETER,
    Charge,
    enforced_names,
    gated_signature,
    injected_names,
    inner_endpoint,
    streams,
    wrap,
)

__all__ = ["Arming", "Gated"]

ANY = "*"


@dataclass(frozen=True, slots=True, eq=False)
class Gated:
    """A gated route.

    Attributes:
        path: its full template.
        by_method: the steps it is charged for, by method; `*` holds those that apply to every method.
        app, local_path: the application it belongs to, and its path there.
    """

    path: str
    by_method: dict[str, tuple[CompiledStep, ...]]
    app: FastAPI | None
    local_path: str

    def steps_for(self, scope: Scope) -> tuple[CompiledStep, ...]:
        """The steps that a request is charged for; a websocket's handshake is a GET."""
        method = scope.get("method", "GET")
        return self.by_method.get(method, self.by_method.get(ANY, ()))


class Arming:
    """Knows every gated route, and gates them.

    FastAPI describes each route, and each inclusion of it, by a `Dependant`: the endpoint and what it
    depends on. The
    gate replaces the endpoint there by one that charges first, and adds the app's subject dependency. So
    everything FastAPI does before it calls an endpoint is done before anything is charged.
    """

    def __init__(
        self,
        gate: Callable[..., Any],
        charging: Charging,
        signature: inspect.Signature,
        arrive: Callable[[HTTPConnection, object], Visit],
    ) -> None:
        self._gate = gate
        self._charging = charging
        self._signature = signature
        self._arrive = arrive
        self._by_route: dict[int, Gated] = {}
        self.gated: tuple[Gated, ...] = ()

    def gated_route(self, route: object) -> Gated | None:
        """What is known of a route object that a request names in its scope."""
        return self._by_route.get(id(route))

    def arm(self, found: Sequence[Found], steps: Sequence[CompiledStep], prefix: str) -> tuple[Fault, ...]:
        """Gate every route that is covered by a pattern or gated by hand.

        Returns:
            What would leave a hole. Nothing was gated then.
        """
        covered, faults = match_routes(found, steps, prefix)
        if faults:
            return faults
        by_pattern = {id(one.found): one for one in covered}
        gated: list[Gated] = []
        for one in found:
            if one.dependant is None:
                continue
            route = self._arm(one, by_pattern.get(id(one)), steps)
            if route is not None:
                gated.append(route)
        self.gated = tuple(gated)
        return ()

    def _arm(self, found: Found, covered: Covered | None, steps: Sequence[CompiledStep]) -> Gated | None:
        dependant = found.dependant
        endpoint = dependant.call
        names = enforced_names(endpoint)
        by_hand = tuple(s for s in steps if s.loop in names or s.key in names)
        inject = injected_names(endpoint) or tuple(
            d.name for d in dependant.dependencies if d.call is self._gate and d.name is not None
        )
        if inject and covered is None and not by_hand:
            by_hand = self._gate.default_steps()  # type: ignore[attr-defined]  # the Gate itself; no import in a circle
        if covered is None and not by_hand:
            return None
        by_method = {ANY: by_hand}
        for method in found.methods:
            pattern = tuple(
                step
                for step, methods in (covered.steps if covered else {}).items()
                if methods is None or method in methods
            )
            by_method[method] = tuple(dict.fromkeys((*pattern, *by_hand)))
        gated = Gated(found.path, by_method, found.app, found.local_path)
        self._put_on(found, gated, inject)
        return gated

    def _put_on(self, found: Found, gated: Gated, inject: tuple[str, ...]) -> None:
        dependant, route = found.dependant, found.route
        inner = inner_endpoint(dependant.call)
        hidden = self._hidden(gated, streams(inner))
        endpoint = wrap(inner, self._charger(gated), inject)
        endpoint.__skene_names__ = enforced_names(dependant.call)  # type: ignore[attr-defined]  # functions take attributes
        endpoint.__signature__ = gated_signature(inner, inject, Depends(hidden))  # type: ignore[attr-defined]  # as above
        dependant.dependencies[:] = [
            d for d in dependant.dependencies if d.name != VISIT_PARAMETER and d.name not in inject
        ]
        dependant.dependencies.append(
            get_dependant(path=dependant.path or found.path, call=hidden, name=VISIT_PARAMETER)
        )
        dependant.call = endpoint
        self._by_route[id(route)] = _merge(self._by_route.get(id(route)), gated)
        if isinstance(route, APIRoute | APIWebSocketRoute):
            # FastAPI describes an inclusion afresh when its router changes: it then starts from here.
            route.endpoint = endpoint

    def hidden_dependency(self, name: str, endpoint: Callable[..., Any]) -> tuple[Charge, Any]:
        """For an endpoint gated by hand, before any app knows it.

        What charges it, and the dependency it needs.
        """
        steps = tuple(self._gate.skene.program.named(name))  # type: ignore[attr-defined]  # the Gate itself
        gated = Gated("", {ANY: steps}, None, "")
        return self._charger(gated), Depends(self._hidden(gated, streams(endpoint)))

    def _charger(self, gated: Gated) -> Charge:
        async def charge(visit: Visit) -> Response | None:
            assert visit.connection is not None  # set on arrival
            scope = visit.connection.scope
            path = gated.path or str(getattr(scope.get("route"), "path", ""))
            answer = await self._charging.charge(visit, gated.steps_for(scope), path)
            if answer is not None and scope["type"] == "websocket":
                raise Refused(answer)
            return answer

        return charge

    def _hidden(self, gated: Gated, stream: bool) -> Callable[..., Any]:
        """The dependency that brings the visit.

        A stream's answer begins before its endpoint runs: it is charged here.
        """
        charge = self._charger(gated)

        async def visitor(*, connection: HTTPConnection, subject: object) -> Visit:
            visit = self._arrive(connection, subject)
            if stream:
                answer = await charge(visit)
                if answer is not None:
                    raise Refused(answer)
            return visit

        visitor.__signature__ = self._signature  # type: ignore[attr-defined]  # what inspect.signature looks for
        return visitor


def _merge(before: Gated | None, now: Gated) -> Gated:
    """One route object can be included in several places.

    Whoever knows only the object asks all of their steps.
    """
    if before is None:
        return now
    methods = {*before.by_method, *now.by_method}
    merged = {
        m: tuple(dict.fromkeys((*before.by_method.get(m, ()), *now.by_method.get(m, ())))) for m in methods
    }
    return Gated(now.path, merged, now.app, now.local_path)

"""Puts the gate on routes: behind FastAPI's validation, in front of the endpoint."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.dependencies.utils import get_dependant
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.types import Scope

from skene.definitions import Fault
from skene.engine.program import CompiledStep, Program
from skene.errors import ConfigurationError
from skene.fastapi.answers import Refused
from skene.fastapi.charging import Charging, subject_text
from skene.fastapi.coverage import Covered, Found, match_routes
from skene.fastapi.visit import Visit
from skene.fastapi.wrapping import (
    CONNECTION_PARAMETER,
    MEMBER_PARAMETER,
    SUBJECT_PARAMETER,
    VISIT_PARAMETER,
    Charge,
    Marks,
    Sources,
    gated,
    marks_of,
    streams,
)

__all__ = ["Arming", "Gated"]

ANY = "*"
HIDDEN = (VISIT_PARAMETER, SUBJECT_PARAMETER, MEMBER_PARAMETER)


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

    FastAPI describes each route, and each inclusion of it, by a `Dependant`: the endpoint and what it depends
    on. The gate replaces the endpoint there by one that charges first, and adds the app's subject dependency.
    So everything FastAPI does before it calls an endpoint is done before anything is charged.
    """

    def __init__(
        self,
        gate: Callable[..., Any],
        program: Program,
        charging: Charging,
        signature: inspect.Signature,
        arrive: Callable[[HTTPConnection, object, object], Visit],
        subject: Callable[..., Any],
        member: Callable[..., Any] | None,
    ) -> None:
        """Know nothing yet.

        Args:
            gate: what `Depends(gate)` names.
            program: the compiled loops.
            charging: charges visits.
            signature: of a dependency that gets the connection, the subject and perhaps the member.
            arrive: notes them in the request's visit.
            subject, member: the app's dependencies that tell them.
        """
        self._gate = gate
        self._program = program
        self._charging = charging
        self._signature = signature
        self._arrive = arrive
        self._subject, self._member = subject, member
        self._by_route: dict[int, Gated] = {}
        self._enforced: dict[str, str] = {}
        self._reached: set[str] = set()
        self._by_hand: list[tuple[Callable[..., Any], str]] = []
        self.gated: tuple[Gated, ...] = ()

    def gated_route(self, route: object) -> Gated | None:
        """What is known of a route object that a request names in its scope."""
        return self._by_route.get(id(route))

    def default_steps(self) -> tuple[CompiledStep, ...]:
        """What `Depends(gate)` asks on a route that no pattern covers: the only loop there is.

        Raises:
            ConfigurationError: there are several loops.
        """
        flows = self._program.flows
        loops = sorted({step.loop for step in flows})
        if len(loops) == 1:
            return flows
        raise ConfigurationError(
            "Depends(gate) on a route that no pattern covers: say which loop with @gate.enforce(…): "
            + ", ".join(loops)
        )

    def enforced(self, endpoint: Callable[..., Any], name: str) -> Callable[..., Any]:
        """An endpoint gated by hand, before any app knows it; several names add up."""
        before = marks_of(endpoint)
        route = Gated("", {ANY: self._program.named(name)}, None, "")
        charge_all = _ChargeByHand(before.charge, _RouteCharge(self._charging, route))
        self._enforced[_name(endpoint)] = name
        self._by_hand.append((before.inner, name))
        marks = Marks(before.inner, (*before.names, name), (), charge_all)
        return gated(marks, charge_all, Depends(self._bringing_visit(charge_all, streams(endpoint))))

    def astray(self) -> tuple[str, ...]:
        """Endpoints gated by hand that no route of the app calls, as far as can be seen; once each."""
        lost = {place: name for place, name in self._enforced.items() if place not in self._reached}
        self._reached |= lost.keys()
        return tuple(f"@gate.enforce({name!r}) on {place}" for place, name in lost.items())

    def arm(self, found: Sequence[Found]) -> tuple[Fault, ...]:
        """Gate every route that is covered by a pattern or gated by hand.

        Args:
            found: every route of the app.

        Returns:
            What would leave a hole. Nothing was gated then.
        """
        covered, faults = match_routes(found, self._program.steps)
        faults = (*faults, *(fault for one in found if (fault := _ungatable(one)) is not None))
        faults = (*faults, *self._gated_too_late(found))
        if faults:
            return faults
        self._reached |= {_name(one.dependant.call) for one in found if one.dependant is not None}
        self._by_route.clear()  # what is known of routes that are gone would hold for others at their address
        by_pattern = {id(one.found): one for one in covered}
        armed = (self._arm(one, by_pattern.get(id(one))) for one in found if one.dependant is not None)
        self.gated = tuple(route for route in armed if route is not None)
        return ()

    def _gated_too_late(self, found: Sequence[Found]) -> Iterator[Fault]:
        """Endpoints that became a route first, and were gated by hand after: the route has no gate."""
        seen = [(one, marks_of(one.dependant.call)) for one in found if one.dependant is not None]
        for inner, name in self._by_hand:
            routes = [(one, marks) for one, marks in seen if marks.inner is inner]
            if routes and not any(name in marks.names for _, marks in routes):
                yield Fault(
                    f"@gate.enforce({name!r})",
                    f"a place above the decorator of the route {routes[0][0].path!r}, which so has no gate",
                    "it the place below: between the route's decorator and the function",
                )

    def _arm(self, found: Found, covered: Covered | None) -> Gated | None:
        dependant = found.dependant
        marks = marks_of(dependant.call)
        by_hand = tuple(s for s in self._program.flows if s.loop in marks.names or s.key in marks.names)
        inject = marks.inject or tuple(
            d.name for d in dependant.dependencies if d.call is self._gate and d.name is not None
        )
        if inject and covered is None and not by_hand:
            by_hand = self.default_steps()
        if covered is None and not by_hand:
            if marks.inner is not dependant.call:
                # Described afresh, from a route that is gated where it is included elsewhere.
                dependant.call = marks.inner
                dependant.dependencies[:] = [d for d in dependant.dependencies if d.name not in HIDDEN]
            return None
        by_method = {ANY: by_hand}
        for method in found.methods:
            pattern = tuple(
                step
                for step, methods in (covered.steps if covered else {}).items()
                if methods is None or method in methods
            )
            by_method[method] = tuple(dict.fromkeys((*pattern, *by_hand)))
        route = Gated(found.path, by_method, found.app, found.local_path)
        self._put_on(found, route, Marks(marks.inner, marks.names, inject))
        return route

    def _put_on(self, found: Found, gated_route: Gated, marks: Marks) -> None:
        dependant, route = found.dependant, found.route
        charge = _RouteCharge(self._charging, gated_route)
        visit = self._bringing_visit(charge, streams(marks.inner))
        filled_in = (*HIDDEN, *marks.inject)
        dependant.dependencies[:] = [d for d in dependant.dependencies if d.name not in filled_in]
        sources = None
        if not streams(marks.inner) and dependant.http_connection_param_name in (None, CONNECTION_PARAMETER):
            dependant.http_connection_param_name = CONNECTION_PARAMETER
            member = None if self._member is None else _own(dependant, self._member, MEMBER_PARAMETER)
            sources = Sources(_own(dependant, self._subject, SUBJECT_PARAMETER), member)
        else:
            path = dependant.path or found.path
            dependant.dependencies.append(get_dependant(path=path, call=visit, name=VISIT_PARAMETER))
        endpoint = gated(marks, charge, Depends(visit), sources)
        dependant.call = endpoint
        self._by_route[id(route)] = _merge(self._by_route.get(id(route)), gated_route)
        if isinstance(route, APIRoute | APIWebSocketRoute):
            # FastAPI describes an inclusion afresh when its router changes: it then starts from here.
            route.endpoint = endpoint

    def _bringing_visit(self, charge: Charge, stream: bool) -> Callable[..., Any]:
        """The dependency that brings the visit to the endpoint.

        A stream's answer begins before its endpoint runs: it is charged here.
        """

        async def bring(*, connection: HTTPConnection, subject: object, member: object = None) -> Visit:
            visit = self._arrive(connection, subject, member)
            if stream:
                answer = await charge(visit)
                if answer is not None:
                    raise Refused(answer)
            return visit

        setattr(bring, "__signature__", self._signature)  # noqa: B010 - unknown to the function's type
        return bring


class _RouteCharge:
    """Charges the visits of one route."""

    def __init__(self, charging: Charging, route: Gated) -> None:
        self._charging, self._route, self._header = charging, route, charging.raw_header
        # By method: the one step that asks, where calls for it may be plain.
        self._plain = {
            method: charging.plain_of(steps[0], route.path) if len(steps) == 1 and route.path else None
            for method, steps in route.by_method.items()
        }

    def at_once(self, visit: Visit) -> bool:
        connection, subject = visit.connection, visit.subject
        if connection is None or visit.charged or visit.member is not None:
            return False
        scope = connection.scope
        method = scope.get("method", "GET")
        found = self._plain.get(method if method in self._plain else ANY)
        if found is None:
            return False
        for name, _ in scope["headers"]:
            if name == self._header:  # a key makes a repetition free
                return False
        if type(subject) is not str:
            subject = subject_text(subject) or ""
        plain, cost = found
        spent = plain.spend(subject, cost)
        if spent is None:
            visit.asked = (plain, subject, cost) if plain.short and subject else None
            return False
        visit.charged, visit.plain = (plain.step.key,), (plain, subject, cost, spent)
        visit.due = plain.warns and plain.due(spent)
        return not visit.due

    async def __call__(self, visit: Visit) -> Response | None:
        assert visit.connection is not None  # set on arrival
        scope = visit.connection.scope
        asked, visit.asked = visit.asked, None
        if asked is not None:
            answer = await self._charging.spend(visit, *asked)
        else:
            path = self._route.path or str(getattr(scope.get("route"), "path", ""))
            answer = await self._charging.charge(visit, self._route.steps_for(scope), path)
        if answer is not None and scope["type"] == "websocket":
            raise Refused(answer)
        return answer


class _ChargeByHand:
    """Charges what stands beside an endpoint, one after the other, until the app knows its route."""

    def __init__(self, before: Charge | None, charge: Charge) -> None:
        self._before, self._charge = before, charge

    def at_once(self, visit: Visit) -> bool:
        return False

    async def __call__(self, visit: Visit) -> Response | None:
        answer = await self._before(visit) if self._before is not None else None
        return answer if answer is not None else await self._charge(visit)


def _own(dependant: Any, call: Callable[..., Any], name: str) -> str:
    """The parameter that has what the app's dependency returns: the endpoint's own, or one that is added.

    A dependency that two ask for is called once, but FastAPI takes two turns at finding that out.
    """
    for one in dependant.dependencies:
        scopes = getattr(one, "own_oauth_scopes", None) or getattr(one, "parent_oauth_scopes", None)
        if one.call is call and one.name is not None and one.use_cache and not scopes and one.scope is None:
            return str(one.name)
    dependant.dependencies.append(get_dependant(path=dependant.path or "", call=call, name=name))
    return name


def _name(endpoint: object) -> str:
    """Where a function is written; whatever `functools.wraps` puts around it says the same."""
    return f"{getattr(endpoint, '__module__', '')}.{getattr(endpoint, '__qualname__', '')}"


def _ungatable(found: Found) -> Fault | None:
    """A route that is gated by hand but is not FastAPI's: its endpoint would be called past the gate."""
    endpoint: Any = getattr(found.route, "endpoint", None)
    marks = marks_of(endpoint)
    if found.dependant is not None or not marks.names:
        return None
    return Fault(
        f"@gate.enforce({marks.names[0]!r})",
        f"the route {found.path!r}, which is not a FastAPI route",
        "a FastAPI route (@app.post and the like): nothing else can carry a gate",
        None,
    )


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

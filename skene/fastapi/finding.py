"""Which route of an app a request would reach, without sending one."""

from dataclasses import dataclass

from fastapi import FastAPI

from skene.engine.match import Coverage, covers
from skene.engine.program import CompiledStep
from skene.fastapi.arming import Gated
from skene.fastapi.coverage import Found, find_routes
from skene.fastapi.gate import Gate

__all__ = ["Reached", "find_route"]


@dataclass(frozen=True, slots=True)
class Reached:
    """Where a request ends up.

    Attributes:
        path: the route's full template; None: no route has such a path.
        methods: what routes of such a path serve; without the request's own it is answered 405.
        steps: those that the route is charged for; empty where it is not gated.
    """

    path: str | None
    methods: tuple[str, ...]
    steps: tuple[CompiledStep, ...]


def find_route(app: FastAPI, gate: Gate, method: str, path: str) -> Reached:
    """The first route, in the order of the app, that a request matches, and what it is charged for.

    Args:
        app: the app.
        gate: the one installed on it.
        method: upper case.
        path: of the request, without a query.
    """
    gate.look_at_routes()
    found = [one for one in find_routes(app) if covers(path, one.path) is not Coverage.NONE]
    methods = tuple(sorted({one for route in found for one in route.methods}))
    for one in found:
        if one.opaque or method in one.methods or (method == "HEAD" and "GET" in one.methods):
            return Reached(one.path, methods, _steps(gate, one, method))
    return Reached(None, methods, ())


def _steps(gate: Gate, found: Found, method: str) -> tuple[CompiledStep, ...]:
    for gated in gate.gated:
        if gated.path == found.path and _serves(gated, found):
            return gated.steps_for({"method": method})
    return ()


def _serves(gated: Gated, found: Found) -> bool:
    """Two routes may share a path and differ in their methods."""
    return not found.methods or bool(found.methods & gated.by_method.keys())

"""Every route of an app with its full path, and which steps cover it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from starlette.routing import BaseRoute, Host, Mount, Route, WebSocketRoute

from skene.definitions import ApiTrigger, Fault
from skene.engine.match import Coverage, covers, method_covers
from skene.engine.program import CompiledStep
from skene.fastapi.routes import make_routes

__all__ = ["Covered", "Found", "RoutesSeen", "find_routes", "match_routes"]


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """A route as it can be reached.

    Attributes:
        path: full template, mounts and prefixes included, without `root_path`.
        methods: what it serves; a websocket's handshake is a GET; empty for an opaque mount.
        route: the route object that requests name in their scope.
        dependant: FastAPI's description of its endpoint; None where there is nothing to put a gate on.
        opaque: an application of unknown routes is mounted here.
        app: the FastAPI application that the route belongs to.
        local_path: the path as that application's OpenAPI document shows it.
    """

    path: str
    methods: frozenset[str]
    route: BaseRoute
    dependant: Any
    opaque: bool
    app: FastAPI | None
    local_path: str


@dataclass(frozen=True, slots=True, eq=False)
class Covered:
    """A route and the steps that cover it by pattern; each with the methods it covers."""

    found: Found
    steps: dict[CompiledStep, frozenset[str] | None]


def find_routes(app: FastAPI) -> Iterator[Found]:
    """All routes of an app: direct, included at any depth, and those of mounted applications."""
    yield from _walk(app.routes, "", app, "")


def _walk(routes: Sequence[BaseRoute], prefix: str, app: FastAPI | None, local: str) -> Iterator[Found]:
    own = _documentation_paths(app) if app is not None and not local else frozenset[str]()
    for context in iter_route_contexts(routes):
        route = context.original_route
        path = str(context.path or "")
        full, here = prefix + path, local + path
        if isinstance(route, Mount):
            # With middleware around it, `app` is that; what was mounted is below.
            mounted: Any = getattr(route, "_base_app", route.app)
            inner = mounted if isinstance(mounted, FastAPI) else None
            below: Sequence[BaseRoute] = route.routes or ()
            if below:
                yield from _walk(below, full.rstrip("/"), inner, "")
            else:
                yield Found(f"{full.rstrip('/')}/{{path:path}}", frozenset(), route, None, True, app, here)
        elif isinstance(route, Host):
            yield from _walk(route.routes or (), prefix, None, "")
        elif isinstance(route, APIWebSocketRoute | WebSocketRoute):
            dependant = getattr(context, "dependant", None)
            yield Found(full, frozenset({"GET"}), route, dependant, False, app, here)
        elif isinstance(route, APIRoute | Route) and path not in own:
            methods = frozenset(context.methods or ())
            dependant = getattr(context, "dependant", None)
            yield Found(full, methods, route, dependant, False, app, here)


class RoutesSeen:
    """Remembers the routes of an app, to notice at little cost when there are others."""

    def __init__(self, app: FastAPI) -> None:
        """Look at the app as it is now, down to the last included router and mounted application."""
        self._seen: list[tuple[Any, list[BaseRoute]]] = []
        owners: list[Any] = [app.router]
        known: set[int] = set()
        while owners:
            owner = owners.pop()
            if id(owner) in known:
                continue
            known.add(id(owner))
            routes: list[BaseRoute] = list(owner.routes or ())
            self._seen.append((owner, routes))
            for route in routes:
                if isinstance(route, Mount | Host):
                    owners.append(route)
                elif hasattr(route, "original_router"):  # FastAPI's note of an included router
                    owners.append(getattr(route, "original_router"))  # noqa: B009 - private to FastAPI

    def changed(self) -> bool:
        """Whether a route was added, removed or replaced anywhere since."""
        # Lists are compared by identity first: some microseconds for hundreds of routes.
        for owner, routes in self._seen:  # noqa: SIM110 - every request asks, and `any` would be half of it
            if owner.routes != routes and (owner.routes or routes):
                return True
        return False


def _documentation_paths(app: FastAPI) -> frozenset[str]:
    paths = (app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url)
    return frozenset(path for path in paths if path)


def match_routes(
    found: Sequence[Found], steps: Sequence[CompiledStep]
) -> tuple[tuple[Covered, ...], tuple[Fault, ...]]:
    """Which steps cover which routes.

    Args:
        found: all routes.
        steps: all steps; those without an API trigger cover nothing.

    Returns:
        The covered routes, and everything that would leave a hole: patterns without a route, routes that a
        pattern covers only in part, and routes that cannot carry a gate.
    """
    faults: list[Fault] = []
    covered: dict[int, Covered] = {}
    for step in steps:
        trigger = step.trigger
        if trigger is None:
            continue
        hits = 0
        for one in found:
            if _is_ours(one):
                continue
            methods = _methods(trigger, one)
            coverage = covers(trigger.endpoint, one.path)
            if coverage is Coverage.NONE or (not methods and not one.opaque):
                continue
            hits += 1
            fault = _hole(step, trigger, one, coverage)
            if fault is not None:
                faults.append(fault)
                continue
            covered.setdefault(id(one), Covered(one, {})).steps[step] = methods
        if not hits and not trigger.optional:
            faults.append(_uncovered(step, trigger, found))
    return tuple(covered.values()), tuple(faults)


def _is_ours(found: Found) -> bool:
    """Whether skene itself mounts it. The app may have routes of its own under the same prefix."""
    endpoint: Any = getattr(found.route, "endpoint", None)
    return getattr(endpoint, "__module__", None) == make_routes.__module__


def _methods(trigger: ApiTrigger, found: Found) -> frozenset[str]:
    return frozenset(m for m in found.methods if method_covers(trigger.methods, m))


def _hole(step: CompiledStep, trigger: ApiTrigger, found: Found, coverage: Coverage) -> Fault | None:
    where = f"{step.path}.trigger.endpoint"
    if found.opaque or found.dependant is None:
        return Fault(
            where,
            f"{trigger.endpoint!r} reaches {found.path!r}, which is not a FastAPI route",
            "a pattern that stays clear of it, or a FastAPI route instead: nothing else can carry a gate",
            None,
        )
    if coverage is Coverage.PART:
        return Fault(
            where,
            f"{trigger.endpoint!r} covers only some of the paths of {found.path!r}",
            "a pattern that covers all of its paths or none; or gate the route with @gate.enforce",
            None,
        )
    return None


def _uncovered(step: CompiledStep, trigger: ApiTrigger, found: Sequence[Found]) -> Fault:
    methods = ",".join(sorted(trigger.methods)) if trigger.methods else "any method"
    theirs = [one for one in found if one.dependant is not None and not _is_ours(one)]
    paths = [one.path for one in theirs]
    others = {
        m for one in theirs if covers(trigger.endpoint, one.path) is not Coverage.NONE for m in one.methods
    }
    near = [f'method="{method}"' for method in sorted(others)] or get_close_matches(
        trigger.endpoint, paths, 1, 0.5
    )
    listed = ", ".join(sorted(dict.fromkeys(paths))[:8]) or "none"
    return Fault(
        f"{step.path}.trigger.endpoint",
        f"{trigger.endpoint!r} ({methods}) covers no route",
        f"a pattern of an existing route (the app has: {listed}), or trigger.api(…, optional=True)",
        near[0] if near else None,
    )

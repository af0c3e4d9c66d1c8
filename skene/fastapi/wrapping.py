"""Endpoints with a gate in front: same signature for FastAPI and for tests that call them directly."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from dataclasses import dataclass
from functools import wraps
from typing import Any, Protocol

import anyio.from_thread
from starlette.requests import HTTPConnection
from starlette.responses import Response

from skene.fastapi.visit import Visit, visit_of

__all__ = [
    "CONNECTION_PARAMETER",
    "MEMBER_PARAMETER",
    "SUBJECT_PARAMETER",
    "VISIT_PARAMETER",
    "Charge",
    "Marks",
    "Sources",
    "gated",
    "marks_of",
    "streams",
]

VISIT_PARAMETER = "skene_visit"
_MARKS = "__skene__"

SUBJECT_PARAMETER, MEMBER_PARAMETER = "skene_subject", "skene_member"
CONNECTION_PARAMETER = "skene_connection"


class Charge(Protocol):
    """Charges a visit."""

    def at_once(self, visit: Visit) -> bool:
        """Charge it without waiting. False: call, and await."""
        ...

    def __call__(self, visit: Visit) -> Coroutine[Any, Any, Response | None]:
        """Charge it; returns the answer to give instead of the endpoint's, or None."""
        ...


@dataclass(frozen=True, slots=True)
class Sources:
    """How FastAPI hands an endpoint what the gate asks for, besides what is the endpoint's own.

    Attributes:
        subject, member: the parameters that have them: hidden ones, or the endpoint's own where it asks for
            the same; no member: None.
    """

    subject: str
    member: str | None

    def take(self, values: dict[str, Any]) -> Visit | None:
        """The visit; None when a test calls the endpoint directly. Hidden parameters are gone afterwards."""
        connection: HTTPConnection | None = values.pop(CONNECTION_PARAMETER, None)
        if connection is None:
            return _take_visit(values)
        visit = visit_of(connection)
        visit.connection = connection
        own = self.subject
        visit.subject = values.pop(own) if own == SUBJECT_PARAMETER else values[own]
        if self.member is not None:
            visit.member = values[self.member]
            values.pop(MEMBER_PARAMETER, None)
        return visit


@dataclass(frozen=True, slots=True)
class Marks:
    """What is known of an endpoint.

    Attributes:
        inner: the user's own function; the endpoint itself when it has no gate.
        names: the loops and steps that it is gated with by hand.
        inject: its parameters that receive the decision.
        charge: what charges it as long as it is on no app.
    """

    inner: Callable[..., Any]
    names: tuple[str, ...] = ()
    inject: tuple[str, ...] = ()
    charge: Charge | None = None


def marks_of(endpoint: Callable[..., Any]) -> Marks:
    """What is known of an endpoint, also when decorators of the user's stand around the gate."""
    marked: tuple[Callable[..., Any], Marks] | None = getattr(endpoint, _MARKS, None)
    if marked is None:
        return Marks(endpoint)
    function, marks = marked
    # functools.wraps copies our mark onto whatever stands around us: that is then the function to call.
    return marks if function is endpoint else Marks(endpoint, marks.names)


Take = Callable[[dict[str, Any]], Visit | None]


def gated(
    marks: Marks, charge: Charge, dependency: Any, sources: Sources | None = None
) -> Callable[..., Any]:
    """Put a charge in front of an endpoint; of the same kind as it: async, sync, or a generator of either.

    Called without a visit, as tests call functions directly, the endpoint runs as if there were no gate.

    Args:
        marks: the endpoint, and what to remember of it.
        charge: charges the visit; returns the answer to give instead, or None.
        dependency: FastAPI's dependency that brings the visit.
        sources: what brings it at less cost, where that is arranged.
    """
    inner, inject = marks.inner, marks.inject
    take = _take_visit if sources is None else sources.take
    unwrapped = inspect.unwrap(inner)
    if inspect.isasyncgenfunction(unwrapped):
        function = _async_stream(inner, take, inject)
    elif inspect.isgeneratorfunction(unwrapped):
        function = _stream(inner, take, inject)
    elif inspect.iscoroutinefunction(unwrapped) or _called_async(unwrapped):
        function = _asynchronous(inner, take, charge, inject)
    else:
        function = _synchronous(inner, take, charge, inject)
    setattr(function, _MARKS, (function, marks))
    setattr(function, "__signature__", _signature(inner, inject, dependency))  # noqa: B010 - unknown to the type
    return function


def streams(endpoint: Callable[..., Any]) -> bool:
    """Whether FastAPI streams what the endpoint yields: its answer has begun before the endpoint runs."""
    unwrapped = inspect.unwrap(endpoint)
    return inspect.isasyncgenfunction(unwrapped) or inspect.isgeneratorfunction(unwrapped)


def _asynchronous(
    inner: Callable[..., Any], take: Take, charge: Charge, inject: tuple[str, ...]
) -> Callable[..., Any]:
    @wraps(inner)
    async def gated(*args: Any, **values: Any) -> Any:
        visit = take(values)
        if visit is not None:
            if not charge.at_once(visit):
                answer = await charge(visit)
                if answer is not None:
                    return answer
            if inject:
                values.update(dict.fromkeys(inject, visit.decision))
        return await inner(*args, **values)

    return gated


def _synchronous(
    inner: Callable[..., Any], take: Take, charge: Charge, inject: tuple[str, ...]
) -> Callable[..., Any]:
    @wraps(inner)
    def gated(*args: Any, **values: Any) -> Any:
        visit = take(values)
        if visit is not None:
            # FastAPI runs sync endpoints in a thread; the charge belongs to the event loop.
            answer = anyio.from_thread.run(_charged, charge, visit)
            if answer is not None:
                return answer
            if inject:
                values.update(dict.fromkeys(inject, visit.decision))
        return inner(*args, **values)

    return gated


def _async_stream(inner: Callable[..., Any], take: Take, inject: tuple[str, ...]) -> Callable[..., Any]:
    """Charged already, by the dependency that brought the visit: its answer has begun by the time it runs."""

    @wraps(inner)
    async def gated(*args: Any, **values: Any) -> AsyncIterator[Any]:
        visit = take(values)
        if visit is not None:
            values.update(dict.fromkeys(inject, visit.decision))
        async for item in inner(*args, **values):
            yield item

    return gated


def _stream(inner: Callable[..., Any], take: Take, inject: tuple[str, ...]) -> Callable[..., Any]:
    """As `_async_stream`."""

    @wraps(inner)
    def gated(*args: Any, **values: Any) -> Iterator[Any]:
        visit = take(values)
        if visit is not None:
            values.update(dict.fromkeys(inject, visit.decision))
        yield from inner(*args, **values)

    return gated


async def _charged(charge: Charge, visit: Visit) -> Response | None:
    return None if charge.at_once(visit) else await charge(visit)


def _take_visit(values: dict[str, Any]) -> Visit | None:
    visit = values.pop(VISIT_PARAMETER, None)
    return visit if isinstance(visit, Visit) else None


def _called_async(endpoint: object) -> bool:
    """Whether an object's call is a coroutine: classes with `async def __call__` can be endpoints."""
    return inspect.iscoroutinefunction(getattr(type(endpoint), "__call__", None))  # noqa: B004 - its kind is asked


def _signature(endpoint: Callable[..., Any], inject: tuple[str, ...], dependency: Any) -> inspect.Signature:
    """The endpoint's signature: with a hidden parameter for the visit, without those the gate fills in."""
    signature = inspect.signature(endpoint)
    hidden = inspect.Parameter(VISIT_PARAMETER, inspect.Parameter.KEYWORD_ONLY, default=dependency)
    kept = [p for p in signature.parameters.values() if p.name not in (*inject, VISIT_PARAMETER)]
    at = len(kept) - (1 if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else 0)
    return signature.replace(parameters=[*kept[:at], hidden, *kept[at:]])

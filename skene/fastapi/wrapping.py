"""Endpoints with a gate in front: same signature for FastAPI and for tests that call them directly."""

import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

import anyio.from_thread
from starlette.responses import Response

from skene.fastapi.visit import Visit

__all__ = [
    "VISIT_PARAMETER",
    "Charge",
    "enforced_names",
    "gated_signature",
    "injected_names",
    "inner_endpoint",
    "mark_enforced",
    "streams",
    "wrap",
]

VISIT_PARAMETER = "skene_visit"

Charge = Callable[[Visit], Coroutine[Any, Any, Response | None]]
"""Charges a visit; returns the answer to give instead of the endpoint's, or None."""

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def inner_endpoint(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The user's own function inside a gated one."""
    inner: Callable[..., Any] = getattr(endpoint, "__skene_inner__", endpoint)
    return inner


def streams(endpoint: Callable[..., Any]) -> bool:
    """Whether FastAPI streams what the endpoint yields: its answer has begun before the endpoint runs."""
    unwrapped = inspect.unwrap(endpoint)
    return inspect.isasyncgenfunction(unwrapped) or inspect.isgeneratorfunction(unwrapped)


def wrap(endpoint: Callable[..., Any], charge: Charge, inject: tuple[str, ...] = ()) -> Callable[..., Any]:
    """Put a charge in front of an endpoint; of the same kind as it: async, sync, or a generator of either.

    Called without a visit, as tests call functions directly, the endpoint runs as if there were no gate.

    Args:
        endpoint: the user's function.
        charge: charges the visit; returns the answer to give instead, or None.
        inject: parameters that receive the decision.
    """
    inner = inner_endpoint(endpoint)
    unwrapped = inspect.unwrap(inner)
    if inspect.isasyncgenfunction(unwrapped):
        gated = _async_stream(inner, inject)
    elif inspect.isgeneratorfunction(unwrapped):
        gated = _stream(inner, inject)
    elif inspect.iscoroutinefunction(unwrapped) or _called_async(unwrapped):
        gated = _asynchronous(inner, charge, inject)
    else:
        gated = _synchronous(inner, charge, inject)
    gated.__skene_inject__ = inject  # type: ignore[attr-defined]  # functions take attributes
    gated.__skene_inner__ = inner  # type: ignore[attr-defined]  # as above
    return gated


def _asynchronous(inner: Callable[..., Any], charge: Charge, inject: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(inner)
    async def gated(*args: Any, **values: Any) -> Any:
        visit = _take_visit(values)
        if visit is not None:
            answer = await charge(visit)
            if answer is not None:
                return answer
            values.update(dict.fromkeys(inject, visit.decision))
        return await inner(*args, **values)

    return gated


def _synchronous(inner: Callable[..., Any], charge: Charge, inject: tuple[str, ...]) -> Callable[..., Any]:
    @wraps(inner)
    def gated(*args: Any, **values: Any) -> Any:
        visit = _take_visit(values)
        if visit is not None:
            # FastAPI runs sync endpoints in a thread; the charge belongs to the event loop.
            answer = anyio.from_thread.run(charge, visit)
            if answer is not None:
                return answer
            values.update(dict.fromkeys(inject, visit.decision))
        return inner(*args, **values)

    return gated


def _async_stream(inner: Callable[..., Any], inject: tuple[str, ...]) -> Callable[..., Any]:
    """Charged already, by the dependency that brought the visit: its answer has begun by the time it runs."""

    @wraps(inner)
    async def gated(*args: Any, **values: Any) -> AsyncIterator[Any]:
        visit = _take_visit(values)
        if visit is not None:
            values.update(dict.fromkeys(inject, visit.decision))
        async for item in inner(*args, **values):
            yield item

    return gated


def _stream(inner: Callable[..., Any], inject: tuple[str, ...]) -> Callable[..., Any]:
    """As `_async_stream`."""

    @wraps(inner)
    def gated(*args: Any, **values: Any) -> Iterator[Any]:
        visit = _take_visit(values)
        if visit is not None:
            values.update(dict.fromkeys(inject, visit.decision))
        yield from inner(*args, **values)

    return gated


def _take_visit(values: dict[str, Any]) -> Visit | None:
    visit = values.pop(VISIT_PARAMETER, None)
    return visit if isinstance(visit, Visit) else None


def _called_async(endpoint: object) -> bool:
    """Whether an object's call is a coroutine: classes with `async def __call__` can be endpoints."""
    return inspect.iscoroutinefunction(getattr(type(endpoint), "__call__", None))  # noqa: B004 - its kind is asked


def mark_enforced(endpoint: Endpoint, name: str, gating: tuple[Charge, Any]) -> Endpoint:
    """Gate an endpoint by hand, by the loop or step called `name`; several names add up.

    Args:
        gating: what charges it, and the dependency that brings the visit.
    """
    charge, dependency = gating
    inner = inner_endpoint(endpoint)
    names = (*enforced_names(endpoint), name)
    earlier: Charge | None = getattr(endpoint, "__skene_charge__", None)

    async def charge_all(visit: Visit) -> Response | None:
        answer = await earlier(visit) if earlier else None
        return answer if answer is not None else await charge(visit)

    gated = wrap(inner, charge_all)
    gated.__skene_charge__ = charge_all  # type: ignore[attr-defined]  # functions take attributes
    gated.__skene_names__ = names  # type: ignore[attr-defined]  # as above
    gated.__signature__ = gated_signature(inner, (), dependency)  # type: ignore[attr-defined]  # as above
    return cast(Endpoint, gated)


def enforced_names(endpoint: Callable[..., Any]) -> tuple[str, ...]:
    """The loops and steps that an endpoint is gated with by hand."""
    names: tuple[str, ...] = getattr(endpoint, "__skene_names__", ())
    return names


def injected_names(endpoint: Callable[..., Any]) -> tuple[str, ...]:
    """The parameters of a gated endpoint that receive the decision."""
    names: tuple[str, ...] = getattr(endpoint, "__skene_inject__", ())
    return names


def gated_signature(
    endpoint: Callable[..., Any], inject: tuple[str, ...], dependency: Any
) -> inspect.Signature:
    """The endpoint's signature: with a hidden parameter for the visit, without those the gate fills in."""
    signature = inspect.signature(endpoint)
    hidden = inspect.Parameter(VISIT_PARAMETER, inspect.Parameter.KEYWORD_ONLY, default=dependency)
    kept = [p for p in signature.parameters.values() if p.name not in inject]
    at = len(kept) - (1 if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else 0)
    return signature.replace(parameters=[*kept[:at], hidden, *kept[at:]])

"""Endpoints with a gate in front: same signature for FastAPI and for tests that call them directly."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import wraps
from typing import Any, TypeVar, cast

import anyio.from_thread
from starlette.responses import Response

from skene.fastapi.visit import Visit

__all__ = [
    "VISIT_PARAMETER",
    "enforced_names",
    "gated_signature",
    "injected_names",
    "inner_endpoint",
    "mark_enforced",
    "streams",
    "wrap",
]

VISIT_PARAMETER = "skene_visit"

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


def inner_endpoint(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """The user's own function inside a gated one."""
    inner: Callable[..., Any] = getattr(endpoint, "__skene_inner__", endpoint)
    return inner


def streams(endpoint: Callable[..., Any]) -> bool:
    """Whether FastAPI streams what the endpoint yields: its answer has begun before the endpoint runs."""
    unwrapped = inspect.unwrap(endpoint)
    return inspect.isasyncgenfunction(unwrapped) or inspect.isgeneratorfunction(unwrapped)


def wrap(
    endpoint: Callable[..., Any],
    charge: Callable[[Visit], Awaitable[Response | None]],
    inject: tuple[str, ...] = (),
) -> Callable[..., Any]:
    """Put a charge in front of an endpoint; of the same kind as it: async, sync, or a generator of either.

    Generators are charged before they are called (see `Gate`), since their answer has begun by the time they run.

    Args:
        endpoint: the user's function.
        charge: charges the visit; returns the answer to give instead, or None.
        inject: parameters that receive the decision.
    """
    inner = inner_endpoint(endpoint)

    def take(values: dict[str, Any]) -> Visit | None:
        visit = values.pop(VISIT_PARAMETER, None)
        return visit if isinstance(visit, Visit) else None

    def give(values: dict[str, Any], visit: Visit) -> dict[str, Any]:
        return {**values, **dict.fromkeys(inject, visit.decision)}

    if inspect.isasyncgenfunction(inspect.unwrap(inner)):

        @wraps(inner)
        async def async_stream(*args: Any, **values: Any) -> AsyncIterator[Any]:
            visit = take(values)
            async for item in inner(*args, **(give(values, visit) if visit else values)):
                yield item

        gated: Callable[..., Any] = async_stream
    elif inspect.isgeneratorfunction(inspect.unwrap(inner)):

        @wraps(inner)
        def stream(*args: Any, **values: Any) -> Iterator[Any]:
            visit = take(values)
            yield from inner(*args, **(give(values, visit) if visit else values))

        gated = stream
    elif _is_async(inner):

        @wraps(inner)
        async def asynchronous(*args: Any, **values: Any) -> Any:
            visit = take(values)
            if visit is None:
                return await inner(*args, **values)
            answer = await charge(visit)
            return answer if answer is not None else await inner(*args, **give(values, visit))

        gated = asynchronous
    else:

        @wraps(inner)
        def synchronous(*args: Any, **values: Any) -> Any:
            visit = take(values)
            if visit is None:
                return inner(*args, **values)
            # FastAPI runs sync endpoints in a thread; the charge belongs to the event loop.
            answer = anyio.from_thread.run(charge, visit)
            return answer if answer is not None else inner(*args, **give(values, visit))

        gated = synchronous
    gated.__skene_inject__ = inject  # type: ignore[attr-defined]  # functions take attributes; the type cannot say so
    gated.__skene_inner__ = inner  # type: ignore[attr-defined]  # as above
    return gated


def mark_enforced(endpoint: Endpoint, name: str, gating: tuple[Callable[..., Any], Any]) -> Endpoint:
    """Gate an endpoint by hand, by the loop or step called `name`; several names add up.

    Args:
        gating: what charges it, and the dependency that brings the visit.
    """
    charge, dependency = gating
    inner = inner_endpoint(endpoint)
    names = (*enforced_names(endpoint), name)
    earlier: Callable[[Visit], Awaitable[Response | None]] | None = getattr(endpoint, "__skene_charge__", None)

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
    """The endpoint's signature with a hidden parameter that brings the visit, and without those the gate fills in."""
    signature = inspect.signature(endpoint)
    hidden = inspect.Parameter(VISIT_PARAMETER, inspect.Parameter.KEYWORD_ONLY, default=dependency)
    kept = [p for p in signature.parameters.values() if p.name not in inject]
    at = len(kept) - (1 if kept and kept[-1].kind is inspect.Parameter.VAR_KEYWORD else 0)
    return signature.replace(parameters=[*kept[:at], hidden, *kept[at:]])


def _is_async(endpoint: Callable[..., Any]) -> bool:
    unwrapped = inspect.unwrap(endpoint)
    if inspect.iscoroutinefunction(unwrapped):
        return True
    return inspect.iscoroutinefunction(getattr(unwrapped, "__call__", None))  # noqa: B004 - callable objects

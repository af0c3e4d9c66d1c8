"""What starts a step: the `trigger` namespace."""

import re
from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field, PlainValidator

from skene.definitions.base import Definition, part
from skene.definitions.checks import Flag, choice, either, one_of, printable
from skene.definitions.faults import DefinitionError, Fault, nearest, refuse, under
from skene.definitions.values import as_list

__all__ = ["ApiTrigger", "api"]

METHODS = ("DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")

_LONGEST = 1000
_ALLOWED = (
    'a path such as "/api/features/*", where "*" stands for a whole segment and nothing else is a pattern'
)
_SEGMENT = re.compile(r"\*|[^\s*{}\\^$()\[\]|\"<>?#%]+")


def _is_path(value: str) -> bool:
    if value == "/":
        return True
    if not value.startswith("/") or len(value) > _LONGEST or not printable(value):
        return False
    segments = value[1:].split("/")
    return all(_SEGMENT.fullmatch(it) and it not in (".", "..") and ".+" not in it for it in segments)


def _repair(value: str) -> str | None:
    """Guesses which path was meant; None if that is no path either, or says nothing."""
    path = value.strip()[:_LONGEST]
    if "://" in path:
        path = re.sub(r"^[^:]*://[^/]*", "", path)
    path = re.split(r"[?#]", path, maxsplit=1)[0]
    path = re.sub(r"\{[^{}/]*\}|<[^<>/]*>", "*", path)
    path = re.sub(r"[^/]*\*[^/]*", "*", path)
    path = re.sub(r"/{2,}", "/", f"/{path}").rstrip("/")
    return f'"{path}"' if path and path != value and _is_path(path) else None


def _endpoint(value: object) -> str:
    if not isinstance(value, str) or not _is_path(value):
        raise refuse(value, _ALLOWED, _repair(value) if isinstance(value, str) else None)
    return value


def _one_method(value: object) -> str:
    if value == "*":
        raise refuse(value, "a method, or leave it out to mean every method")
    if not isinstance(value, str) or value.upper() not in METHODS:
        near = nearest(value, METHODS)
        raise refuse(value, f"{either(METHODS)}, in any case", near and f'"{near}"')
    return value.upper()


def _methods(value: object) -> tuple[str, ...]:
    """Reads one method or several, in any case, as sorted upper-case names."""
    given = as_list(value)
    if given is None:
        return (_one_method(value),)
    read: set[str] = set()
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            read.add(_one_method(one))
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    if faults:
        raise DefinitionError(faults)
    if not read:
        raise refuse(value, "at least one method, or leave it out to mean every method")
    return tuple(sorted(read))


class ApiTrigger(Definition, frozen=True):
    """Every call of the routes that a path pattern covers.

    Attributes:
        endpoint: The pattern. An inner `*` stands for exactly one segment, a last one for one or more.
        method: The methods it covers, upper case; None for every method but OPTIONS.
        optional: Whether the pattern may cover no route at all.
    """

    example: ClassVar[str] = 'trigger.api("/api/features/*")'

    type: Annotated[Literal["api"], choice("api")] = "api"
    endpoint: Annotated[str, BeforeValidator(_endpoint)] = Field(description=_ALLOWED)
    method: Annotated[tuple[str, ...], BeforeValidator(_methods)] | None = None
    optional: Flag = False

    @property
    def methods(self) -> frozenset[str] | None:
        """The methods it covers, upper case; None for every method but OPTIONS."""
        return None if self.method is None else frozenset(self.method)


AnyTrigger = Annotated[ApiTrigger, PlainValidator(one_of(ApiTrigger))]
"""A trigger as the field of a definition."""


def api(endpoint: str, *, method: str | Sequence[str] | None = None, optional: bool = False) -> ApiTrigger:
    """Starts the step at every call of the routes that a path pattern covers.

    Args:
        endpoint: The full path of the routes, such as `"/api/features/*"`. An inner `*` stands for one
            segment, a last one for one or more; the prefix alone is not covered. Case matters.
        method: One method or several, in any case. Left out: every method but OPTIONS. HEAD counts as GET.
        optional: True lets the pattern cover no route; otherwise that is an error at start-up.
    """
    return part(ApiTrigger, type="api", endpoint=endpoint, method=method, optional=optional)

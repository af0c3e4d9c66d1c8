"""Which routes a trigger's pattern covers. Works on route templates, before any request exists."""

import re
from enum import Enum

__all__ = ["Coverage", "covers", "method_covers"]

_PARAMETER = re.compile(r"\{[A-Za-z_]\w*(?::(\w+))?\}", re.ASCII)
_WIDE = re.compile(r"\{[A-Za-z_]\w*:path\}", re.ASCII)
_ANYTHING = "{anything:anything}"
_KINDS = {
    "anything": ".*",
    "int": "[0-9]+",
    "float": r"[0-9]+(?:\.[0-9]+)?",
    "uuid": "[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}",
}
"""What the framework's own converters take, within one segment; those of an app may take any text."""


class Coverage(Enum):
    """How much of what a route can serve a pattern covers."""

    NONE = "none"
    PART = "part"
    FULL = "full"


def method_covers(wanted: frozenset[str] | None, served: str) -> bool:
    """Whether a trigger's methods cover one that a route serves.

    HEAD counts as GET. A trigger without methods covers every method but OPTIONS.
    """
    served = "GET" if served == "HEAD" else served
    if wanted is None:
        return served != "OPTIONS"
    return served in {"GET" if method == "HEAD" else method for method in wanted}


def covers(pattern: str, template: str) -> Coverage:
    """Compare a trigger's pattern with a route's full path template.

    Args:
        pattern: `/api/features/*`; an inner `*` is exactly one segment, a trailing one is one or more.
        template: `/api/features/{name}` as FastAPI knows it; `{name:path}` stands for one or more segments,
            `{name:int}` for digits only.

    Returns:
        FULL when every path of the template matches, PART when only some do, NONE when none does.
    """
    return _compare(_segments(pattern), _segments(template))


def _segments(path: str) -> tuple[str, ...]:
    return tuple(path.strip("/").split("/")) if path.strip("/") else ()


def _compare(pattern: tuple[str, ...], template: tuple[str, ...]) -> Coverage:
    if not pattern or not template:
        return Coverage.FULL if pattern == template else Coverage.NONE
    if pattern == ("*",):
        return Coverage.FULL
    head, rest = template[0], template[1:]
    wide = _WIDE.search(head)
    if wide is not None:
        spans = {_compare(pattern, _spread(head, wide, n) + rest) for n in range(1, len(pattern) + 1)}
        return spans.pop() if len(spans) == 1 else Coverage.PART
    return _both(_compare_segment(pattern[0], head), pattern, rest)


def _spread(segment: str, wide: re.Match[str], segments: int) -> tuple[str, ...]:
    """A segment with a parameter that takes slashes, as it looks when it stands for so many segments."""
    before, after = segment[: wide.start()], segment[wide.end() :]
    if segments == 1:
        return (f"{before}{_ANYTHING}{after}",)
    return (f"{before}{_ANYTHING}", *(_ANYTHING,) * (segments - 2), f"{_ANYTHING}{after}")


def _both(first: Coverage, pattern: tuple[str, ...], rest: tuple[str, ...]) -> Coverage:
    if first is Coverage.NONE:
        return first
    second = _compare(pattern[1:], rest)
    return second if first is Coverage.FULL or second is Coverage.NONE else Coverage.PART


def _compare_segment(pattern: str, template: str) -> Coverage:
    if pattern == "*":
        return Coverage.FULL
    if "{" not in template:
        return Coverage.FULL if pattern == template else Coverage.NONE
    return Coverage.PART if re.fullmatch(_expression(template), pattern) else Coverage.NONE


def _expression(segment: str) -> str:
    """What a segment with parameters can be, as a regular expression."""
    literals = _PARAMETER.split(segment)[::2]
    kinds = [_KINDS.get(kind, ".+") for kind in _PARAMETER.findall(segment)]
    return re.escape(literals[0]) + "".join(
        kind + re.escape(literal) for kind, literal in zip(kinds, literals[1:], strict=True)
    )

"""Which routes a trigger's pattern covers. Works on route templates, before any request exists."""

from enum import Enum

__all__ = ["Coverage", "covers", "method_covers"]


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
        template: `/api/features/{name}` as FastAPI knows it; `{name:path}` stands for one or more segments.

    Returns:
        FULL when every path of the template matches, PART when only some do.
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
    if "{" in head and head.endswith(":path}"):
        spans = (_compare(pattern, ("{one}",) * n + rest) for n in range(1, len(pattern) + 1))
        return Coverage.NONE if all(span is Coverage.NONE for span in spans) else Coverage.PART
    return _both(_compare_segment(pattern[0], head), pattern, rest)


def _both(first: Coverage, pattern: tuple[str, ...], rest: tuple[str, ...]) -> Coverage:
    if first is Coverage.NONE:
        return first
    second = _compare(pattern[1:], rest)
    return second if first is Coverage.FULL or second is Coverage.NONE else Coverage.PART


def _compare_segment(pattern: str, template: str) -> Coverage:
    if pattern == "*":
        return Coverage.FULL
    if "{" in template:
        return Coverage.PART
    return Coverage.FULL if pattern == template else Coverage.NONE

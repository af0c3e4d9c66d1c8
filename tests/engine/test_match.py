"""Patterns against route templates, held against Starlette's own matching of every short path."""

import re
from functools import cache
from itertools import product

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from starlette.routing import compile_path

from skene.engine.match import Coverage, covers, method_covers

SEGMENTS = ("a", "b", "1", "22", "b.c", "z.c", "bz")
PATHS = tuple("/" + "/".join(path) for length in range(1, 5) for path in product(SEGMENTS, repeat=length))
PATTERN = st.lists(st.sampled_from(["a", "b", "1", "b.c", "bz", "*"]), max_size=3)
NARROW = ["a", "b", "{x}", "{x:int}", "{x}.c", "b{x}"]
WIDE = ["{x:path}", "b{x:path}", "{x:path}.c"]
# Two segments at most when one of them may be several: all that can differ lies within four segments then.
TEMPLATE = st.lists(st.sampled_from(NARROW), max_size=3) | st.lists(
    st.sampled_from(NARROW + WIDE), max_size=2
)


@cache
def matched(expression: str) -> frozenset[str]:
    return frozenset(path for path in PATHS if re.search(expression, path))


def paths_of_pattern(segments: list[str]) -> frozenset[str]:
    if not segments:
        return frozenset()
    inner = ["[^/]+" if segment == "*" else re.escape(segment) for segment in segments[:-1]]
    last = ".+" if segments[-1] == "*" else re.escape(segments[-1])
    return matched("^/" + "/".join([*inner, last]) + "$")


def paths_of_template(segments: list[str]) -> frozenset[str]:
    named = [segment.replace("x", f"x{n}") for n, segment in enumerate(segments)]
    return matched(compile_path("/" + "/".join(named))[0].pattern)


@given(PATTERN, TEMPLATE)
@example(["*", "*"], ["{x:path}", "a"])
@example(["a", "*", "*"], ["a", "{x:path}.c"])
@example(["b", "a"], ["b{x:path}"])
@example(["*"], ["{x:path}"])
@example(["bz"], ["{x:int}"])
def test_coverage_is_what_enumeration_says(pattern: list[str], template: list[str]) -> None:
    reached, routed = paths_of_pattern(pattern), paths_of_template(template)
    if not routed:  # the root, which has no segment
        expected = Coverage.NONE if pattern else Coverage.FULL
    elif routed <= reached:
        expected = Coverage.FULL
    else:
        expected = Coverage.PART if routed & reached else Coverage.NONE
    assert covers("/" + "/".join(pattern), "/" + "/".join(template)) is expected


@pytest.mark.parametrize(
    ("pattern", "template", "expected"),
    [
        ("/api/features/*", "/api/features/summarise", Coverage.FULL),
        ("/api/features/*", "/api/features/deep/er", Coverage.FULL),
        ("/api/features/*", "/api/features", Coverage.NONE),
        ("/api/features/*", "/api/features/", Coverage.NONE),
        ("/api/features/*", "/api/featuresque/x", Coverage.NONE),
        ("/api/features/*", "/API/features/x", Coverage.NONE),
        ("/api/features/*", "/api/{area}/x", Coverage.PART),
        ("/api/features/*", "/{rest:path}", Coverage.PART),
        ("/api/*/export", "/api/{team}/export", Coverage.FULL),
        ("/api/*/export", "/api/a/b/export", Coverage.NONE),
        ("/api/users/me", "/api/users/{id:int}", Coverage.NONE),
        ("/api/users/7", "/api/users/{id:int}", Coverage.PART),
        ("/api/users/7", "/api/users/{id:float}", Coverage.PART),
        ("/api/users/7.", "/api/users/{id:float}", Coverage.NONE),
        ("/api/users/me", "/api/users/{id:uuid}", Coverage.NONE),
        ("/api/users/me", "/api/users/{id:own}", Coverage.PART),
        ("/api/a+b", "/api/{x}+{y}", Coverage.PART),
        ("/api/aab", "/api/{x}+{y}", Coverage.NONE),
        ("/api/x", "/api/{not a parameter}", Coverage.NONE),
        ("/a/a/*", "/{x:path}.c/a/a", Coverage.PART),
        ("/a/*/b", "/{x:path}/b", Coverage.PART),
        ("/*/*/*", "/{x:path}/b/c", Coverage.FULL),
        ("/a/b", "/{x:path}/{y:path}/c", Coverage.NONE),
        ("/", "/", Coverage.FULL),
        ("/*", "/", Coverage.NONE),
        ("/*", "/{rest:path}", Coverage.FULL),
        ("/a", "/a/", Coverage.FULL),
    ],
)
def test_coverage_of_what_people_write(pattern: str, template: str, expected: Coverage) -> None:
    assert covers(pattern, template) is expected


@pytest.mark.parametrize(
    ("wanted", "served", "covered"),
    [
        (None, "GET", True),
        (None, "HEAD", True),
        (None, "PATCH", True),
        (None, "OPTIONS", False),
        ({"GET"}, "GET", True),
        ({"GET"}, "HEAD", True),
        ({"HEAD"}, "GET", True),
        ({"HEAD"}, "HEAD", True),
        ({"POST"}, "GET", False),
        ({"POST"}, "HEAD", False),
        ({"POST", "PUT"}, "PUT", True),
        ({"OPTIONS"}, "OPTIONS", True),
        (set[str](), "GET", False),
    ],
)
def test_methods(wanted: set[str] | None, served: str, covered: bool) -> None:
    assert method_covers(None if wanted is None else frozenset(wanted), served) is covered

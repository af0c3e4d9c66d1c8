import pytest

from skene import action, condition, define_loop, step, trigger
from skene.definitions import Trigger
from skene.engine.covering import Asked, Why, asked_about
from skene.engine.program import CompiledStep, compile_loops


def compiled(start: Trigger | None) -> CompiledStep:
    one = step(
        trigger=start, condition=condition.usage(limit={"free": 1}, period="1d"), action=action.block("No.")
    )
    program, faults = compile_loops([define_loop(type="freemium", steps=[one])])
    assert not faults
    return program.steps[0]


@pytest.mark.parametrize(
    ("endpoint", "method", "path", "why"),
    [
        ("/api/*", "POST", "/api/x", Why.COVERED),
        ("/api/*", "POST", "/api/x/y", Why.COVERED),
        ("/api/*", "POST", "/api/{name}", Why.COVERED),
        ("/api/*", "GET", "/api/x", Why.METHOD),
        ("/api/*", "POST", "/api", Why.PREFIX),
        ("/api/*/sub/*", "POST", "/api/x/sub", Why.PREFIX),
        ("/api/*", "POST", "/other", Why.PATH),
        ("/api/*", "GET", "/other", Why.PATH),
        ("/api/one", "POST", "/{name}/one", Why.PATH),  # only some of its paths: such a route is refused
    ],
)
def test_why_a_pattern_covers_a_call_or_does_not(endpoint: str, method: str, path: str, why: Why) -> None:
    one = compiled(trigger.api(endpoint, method="POST"))
    assert asked_about(one, method, path) is why
    assert Asked(one, why).matches is (why is Why.COVERED)


def test_a_step_without_a_trigger_waits_for_code() -> None:
    one = compiled(None)
    assert asked_about(one, "POST", "/api/x") is Why.CODE
    assert not Asked(one, Why.CODE).matches
    assert Asked(one, Why.BY_HAND).matches


def test_head_is_get() -> None:
    one = compiled(trigger.api("/api/*", method="GET"))
    assert asked_about(one, "HEAD", "/api/x") is Why.COVERED

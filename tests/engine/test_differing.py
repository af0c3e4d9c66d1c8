from typing import Any

import pytest

from skene import UNLIMITED, Loop, Recovery, action, calendar, condition, define_loop, step, trigger
from skene.engine.differing import ABSENT, Difference, differences


def loop(*steps: Any, name: str | None = None, **more: Any) -> Loop:
    return define_loop(type="freemium", name=name, steps=list(steps) or [limit()], **more)


def limit(name: str | None = None, free: Any = 100, *, message: str = "No.", **more: Any) -> Any:
    usage = {"limit": {"free": free, "paid": UNLIMITED}, "period": "30d", **more}
    return step(name=name, condition=condition.usage(**usage), action=action.block(message))


def told(old: Loop, new: Loop) -> list[tuple[str | None, str, Any, Any]]:
    found = differences([old], [new])
    return [(one.step, ".".join(one.path), one.before, one.after) for one in found]


def test_the_same_is_no_difference_however_it_was_written() -> None:
    assert differences([loop()], [loop(limit(period="720h"))]) == ()
    assert differences([], []) == ()


def test_values_deep_down() -> None:
    assert told(loop(), loop(limit(free=50))) == [("1", "condition.limit.free", 100, 50)]
    five = limit(limit={"free": 100, "paid": 5})
    assert told(loop(), loop(five)) == [("1", "condition.limit.paid", "Infinity", 5)]
    assert told(loop(), loop(limit(limit={"free": 100, "team": 5}))) == [
        ("1", "condition.limit.team", ABSENT, 5),
        ("1", "condition.limit.paid", "Infinity", ABSENT),
    ]
    assert told(loop(), loop(enforce=False, recovery=Recovery(base="2s"))) == [
        (None, "recovery.base", "1s", "2s"),
        (None, "enforce", True, False),
    ]
    assert told(loop(), loop(limit(period="7d"))) == [("1", "condition.period.length", "30d", "7d")]


def test_another_kind_is_told_whole() -> None:
    (one,) = differences([loop()], [loop(limit(period=calendar("month")))])
    assert one.path == ("condition", "period")
    assert (one.before, one.after) == (
        {"type": "fixed", "length": "30d"},
        {"type": "calendar", "unit": "month", "timezone": "UTC"},
    )


def test_loops_come_and_go() -> None:
    old, new = loop(name="a"), loop(name="b")
    assert [(one.loop, one.before is ABSENT, one.after is ABSENT) for one in differences([old], [new])] == [
        ("b", True, False),
        ("a", False, True),
    ]


def test_steps_are_known_by_name_wherever_they_stand() -> None:
    old = loop(limit("a", meter="a"), limit("b", meter="b"))
    new = loop(limit("b", 5, meter="b"), limit("c", meter="c"))
    assert [(one[0], one[1]) for one in told(old, new)] == [
        ("b", "condition.limit.free"),
        ("c", ""),
        ("a", ""),
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (["one", "two"], ["new", "one", "two"], [("1", ABSENT, "new")]),
        (["one", "two", "three"], ["one", "three"], [("2", "two", ABSENT)]),
        (["one", "two"], ["one", "other"], [("2", "two", "other")]),
        (["one"], ["other", "more"], [("1", "one", "other"), ("2", ABSENT, "more")]),
    ],
)
def test_steps_without_a_name_are_paired_by_what_is_alike(
    old: list[str], new: list[str], expected: list[tuple[str, Any, Any]]
) -> None:
    before, after = (loop(*(limit(message=text) for text in texts)) for texts in (old, new))

    def message(found: Difference, value: Any) -> Any:
        return value["action"]["message"] if isinstance(value, dict) else value

    found = differences([before], [after])
    assert [(one.step, message(one, one.before), message(one, one.after)) for one in found] == expected


def test_functions_are_the_same_if_name_and_code_are() -> None:
    def make(units: int) -> Any:
        def cost(request: Any) -> int:
            return units or len(request)

        return cost

    class Asks:
        def __call__(self, request: Any) -> int:
            return 1

    def cost(request: Any) -> int:
        return 2 * len(request)

    assert told(loop(limit(cost=make(1))), loop(limit(cost=make(1)))) == []
    ((_, path, before, after),) = told(loop(limit(cost=make(1))), loop(limit(cost=cost)))
    assert path == "condition.cost"
    assert before.startswith("function test_functions_are_the_same_if_name_and_code_are.<locals>.make")
    assert after != before
    ((*_, other),) = told(loop(limit(cost=cost)), loop(limit(cost=Asks())))
    assert "Asks" in other


def test_lists_are_told_whole() -> None:
    one, two = (
        step(
            trigger=trigger.api("/x", method=methods),
            condition=condition.usage(limit={"free": 1}, period="1d"),
            action=action.block("No."),
        )
        for methods in ("GET", ["GET", "POST"])
    )
    assert told(loop(one), loop(two)) == [("1", "trigger.method", ["GET"], ["GET", "POST"])]


def test_functions_that_differ_in_a_number_differ() -> None:
    def made(number: int) -> Any:
        names: dict[str, Any] = {}
        exec(f"def cost(request):\n    return [{number} for _ in request][0]\n", names)  # noqa: S102 - as a module does
        return names["cost"]

    assert told(loop(limit(cost=made(2))), loop(limit(cost=made(2)))) == []
    assert len(told(loop(limit(cost=made(2))), loop(limit(cost=made(3))))) == 1

"""Parts with several faults, parts of parts, and keys that do not go together."""

from typing import Any

import pytest

from skene.definitions import DefinitionError, action, condition, define_loop, load_loop, step, trigger, wait
from tests.definitions.written import (
    ASKS,
    COUNTS,
    STRANGER,
    asks,
    database,
    event,
    hook,
    plain,
    webhook,
)


def test_a_misspelt_key_is_one_fault_and_what_is_missing_by_it_another() -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop({"type": "activation", "steps": [plain(then={"type": "wait", "lenght": "2d"})]})
    assert [str(fault) for fault in caught.value.faults] == [
        "steps[0].then.lenght: got an unknown key; give one of type, length; did you mean length?",
        'steps[0].then.length: got nothing; give a duration such as "2d"',
    ]


def test_every_wrong_column_is_named() -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop(
            {
                "type": "activation",
                "steps": [database(where={"a b": 1, "c": [], "d": 1}, capture=["", "e", 5])],
            }
        )
    assert [fault.path for fault in caught.value.faults] == [
        'steps[0].trigger.where["a b"]',
        "steps[0].trigger.where.c",
        "steps[0].trigger.capture[0]",
        "steps[0].trigger.capture[2]",
    ]


def only_fault(written: Any) -> str:
    """The fault of a condition in Python."""
    with pytest.raises(DefinitionError) as caught:
        define_loop(
            type="activation",
            steps=[step(trigger=trigger.event("x"), condition=written, action=action.email("a"))],
        )
    (fault,) = caught.value.faults
    return str(fault).removeprefix("steps[0].condition.")


def test_counting_and_asking_do_not_mix() -> None:
    usage: Any = condition.usage
    assert only_fault(usage(at=0.8, period="30d")) == f"period: {STRANGER}; give {ASKS}"
    assert only_fault(usage(under=5, cost=2)) == f"cost: {STRANGER}; give {ASKS}"
    assert only_fault(usage(at=5, charge="attempt")) == f"charge: {STRANGER}; give {ASKS}"
    assert only_fault(usage(limit={"free": 1}, period="1d", at=0.8)) == f"at: {STRANGER}; give {COUNTS}"
    with pytest.raises(DefinitionError) as caught:
        load_loop({"type": "activation", "steps": [asks("usage", limit={"free": 1}, period="1d", under=5)]})
    assert str(caught.value.faults[0]) == f"steps[0].condition.under: {STRANGER}; give {COUNTS}"


def test_a_usage_that_says_nothing_lacks_a_limit_and_a_period() -> None:
    usage: Any = condition.usage
    for steps in (
        [step(trigger=trigger.event("x"), condition=usage(), action=action.email("a"))],
        [asks("usage")],
    ):
        with pytest.raises(DefinitionError) as caught:
            load_loop({"type": "activation", "steps": steps})
        assert [fault.path for fault in caught.value.faults] == [
            "steps[0].condition.limit",
            "steps[0].condition.period",
        ]


def test_a_count_is_no_part_of_a_condition_that_asks() -> None:
    counted: Any = condition.usage(limit={"free": 1}, period="1d")
    assert only_fault(condition.all_of(condition.plan("free"), counted)).startswith(
        "conditions[1]: got a value of type UsageCondition; give condition.query("
    )


def test_faulty_parts_of_conditions_and_lists_are_reported_together() -> None:
    with pytest.raises(DefinitionError) as caught:
        define_loop(
            type="activation",
            steps=[
                step(
                    trigger=trigger.database("a b", event="insert"),
                    condition=condition.any_of(
                        condition.not_(condition.plan()),
                        condition.all_of(condition.query("DROP TABLE a"), condition.usage(at=5.5)),
                    ),
                    action=[action.grant(0), action.email("a"), action.webhook("A", "b c")],
                    then=wait("soon"),
                )
            ],
            goal=trigger.event("a b"),
        )
    assert [fault.path for fault in caught.value.faults] == [
        "steps[0].trigger.table",
        "steps[0].condition.conditions[0].condition.plans",
        "steps[0].condition.conditions[1].conditions[0].query",
        "steps[0].condition.conditions[1].conditions[1].at",
        "steps[0].action[0].units",
        "steps[0].action[2].provider",
        "steps[0].action[2].event",
        "steps[0].then.length",
        "goal.event",
    ]


def nested(depth: int) -> Any:
    written: Any = {"type": "plan", "plans": "free"}
    for _ in range(depth):
        written = {"type": "not", "condition": written}
    return written


def test_conditions_are_nested_only_so_deep() -> None:
    made = condition.plan("free")
    for _ in range(19):
        made = condition.not_(made)  # type: ignore[assignment]  # one in another
    assert (
        load_loop({"type": "activation", "steps": [plain(condition=nested(19))]}).steps[0].condition == made
    )
    for refused in (
        condition.not_(made),
        condition.all_of(made, condition.plan("a")),
        condition.any_of(condition.plan("a"), made),
    ):
        assert "give conditions nested at most 20 deep" in only_fault(refused)
    with pytest.raises(DefinitionError, match="give conditions nested at most 20 deep"):
        load_loop({"type": "activation", "steps": [plain(condition=nested(20))]})


def test_what_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {"type": "not"}
    endless["condition"] = endless
    for deep in (endless, nested(5000)):
        with pytest.raises(
            DefinitionError, match="the loop has 1 fault:\n  got values nested too deeply to read"
        ):
            load_loop({"type": "activation", "steps": [plain(condition=deep)]})


@pytest.mark.parametrize(
    "written",
    [hook(provider="whsec_Hunter2"), webhook(source="sk_live_ Hunter2"), event(event="re_hunter2hunter2 x")],
)
def test_a_hint_never_shows_what_may_be_secret(written: Any) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_loop({"type": "activation", "steps": [written]})
    assert "hunter2" not in str(caught.value).lower()

"""What does not fit together in a loop whose parts are fine: all of it in one error, in the loop's order."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from skene.definitions import (
    DefinitionError,
    Loop,
    SkeneWarning,
    Step,
    action,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    step,
    trigger,
    wait,
)

MAIL = action.email("a")
BLOCK = action.block("No.")
COUNT = condition.usage(limit={"free": 1}, period="1d")
SCAN = condition.query("SELECT * FROM users")
ABOUT_ONE = condition.query("SELECT 1 FROM users WHERE id = $1")
ON_X = trigger.event("x")
CHANGED = trigger.event("plan.changed")
NINE = trigger.schedule("0 9 * * *")
COUNTED = 'condition.usage(limit={…}, period="30d")'
LIMITS_NONE = "got a value at a limit; give none: a limit refuses every call beyond it"


def faults_of(*steps: Step, **options: Any) -> list[str]:
    try:
        loop = define_loop(type="activation", steps=steps, **options)
    except DefinitionError as error:
        return [str(fault) for fault in error.faults]
    assert load_loop(dump_loop(loop)) == loop
    return []


TOGETHER: list[tuple[str, list[Step], list[str]]] = [
    (
        "a mail in front of calls",
        [step(trigger=trigger.api("/x"), action=MAIL)],
        [
            "steps[0].action: got an action of type 'email' at a limit; give action.block(\"…\"); "
            "did you mean trigger.event(…), and skene.emit(…) in the handler?",
            f"steps[0].condition: got nothing in front of calls; give {COUNTED}",
        ],
    ),
    (
        "a mail at a limit",
        [step(trigger=trigger.api("/x"), condition=COUNT, action=[MAIL, MAIL])],
        ['steps[0].action: got a list at a limit; give action.block("…")'],
    ),
    (
        "a block among others",
        [step(condition=COUNT, action=[BLOCK, MAIL])],  # type: ignore[list-item]  # a fault
        ['steps[0].action: got a list at a limit; give action.block("…")'],
    ),
    (
        "a block without a limit",
        [step(trigger=ON_X, condition=condition.plan("free"), action=BLOCK)],
        [
            f"steps[0].condition: got a condition of type 'plan' in front of calls; give {COUNTED}",
            "steps[0].trigger: got a trigger of type 'event' at a limit; "
            "give trigger.api(…), or none for a step that code calls",
        ],
    ),
    (
        "a count at a schedule",
        [step(trigger=NINE, condition=COUNT, action=MAIL)],
        [
            "steps[0].action: got an action of type 'email' at a limit; give action.block(\"…\")",
            "steps[0].trigger: got a trigger of type 'schedule' at a limit; "
            "give trigger.api(…), or none for a step that code calls; did you mean condition.usage(at=0.8)?",
        ],
    ),
    (
        "what a limit has no use for",
        [
            step(condition=COUNT, action=BLOCK, then=wait("1d"), cooldown="1d", max_fires=1),
            step(trigger=ON_X, action=MAIL),
        ],
        [
            f"steps[0].then: {LIMITS_NONE}",
            f"steps[0].cooldown: {LIMITS_NONE}",
            f"steps[0].max_fires: {LIMITS_NONE}",
            "steps[1].trigger: got a trigger, and steps[0] goes on here; give none; or no then in steps[0]",
        ],
    ),
    (
        "a schedule without a query",
        [step(trigger=NINE, action=MAIL)],
        [
            "steps[0].condition: got nothing at a schedule; "
            "give condition.query(…), whose rows say whom it is about; alone, or once within all_of(…)"
        ],
    ),
    *(
        (
            f"a schedule with {ask.type}",
            [step(trigger=NINE, condition=ask, action=MAIL)],
            [
                f"steps[0].condition: got a condition of type {ask.type!r} at a schedule; "
                "give condition.query(…), whose rows say whom it is about; alone, or once within all_of(…)"
            ],
        )
        for ask in (
            condition.plan("free"),
            condition.any_of(SCAN, condition.plan("free")),
            condition.all_of(SCAN, ABOUT_ONE),
            condition.all_of(condition.plan("free"), condition.not_(SCAN)),
        )
    ),
    (
        "a schedule that asks about one",
        [step(trigger=NINE, condition=ABOUT_ONE, action=MAIL)],
        [
            "steps[0].condition.query: got a query with $1, and at a schedule nobody is given yet; "
            "give a query that finds the subjects by itself"
        ],
    ),
    (
        "a schedule that asks about a row",
        [
            step(
                trigger=NINE,
                condition=condition.all_of(
                    condition.plan("free"), condition.query("SELECT 1 WHERE :plan = 'a'")
                ),
                action=MAIL,
            )
        ],
        [
            "steps[0].condition.conditions[1].query: got a query with :plan, and at a schedule "
            "nobody is given yet; "
            "give a query that finds the subjects by itself"
        ],
    ),
    (
        "a wait for nothing",
        [step(trigger=ON_X, action=MAIL, then=wait("2d"))],
        ["steps[0].then: got a wait after the last step; give another step behind it, or no then"],
    ),
    (
        "a wait for a limit",
        [step(trigger=ON_X, action=MAIL, then=wait("2d")), step(condition=COUNT, action=BLOCK)],
        [
            "steps[0].then: got a wait before steps[1], which is a limit; "
            "give a step without a trigger behind it, or no then"
        ],
    ),
    (
        "a trigger after a wait",
        [step(trigger=ON_X, action=MAIL, then=wait("2d")), step(trigger=ON_X, action=MAIL)],
        ["steps[1].trigger: got a trigger, and steps[0] goes on here; give none; or no then in steps[0]"],
    ),
    (
        "nothing that sets it off",
        [step(action=MAIL), step(condition=ABOUT_ONE, action=MAIL)],
        [
            "steps[0].trigger: got nothing; give trigger.database(…), .schedule(…), .webhook(…) or .event(…)",
            "steps[1].trigger: got nothing; give trigger.database(…), .schedule(…), .webhook(…) or "
            ".event(…); "
            "or then=wait(…) in steps[0], to go on with it",
        ],
    ),
    (
        "a plan that changes, after rows",
        [
            step(
                trigger=trigger.database("users", event="insert"),
                condition=condition.any_of(ABOUT_ONE, condition.not_(condition.plan(changed_to="paid"))),
                action=MAIL,
            )
        ],
        [
            "steps[0].trigger: got a trigger of type 'database' with a plan that changes; "
            'give trigger.event("plan.changed")'
        ],
    ),
    (
        "a plan that changes, after another event",
        [step(trigger=ON_X, condition=condition.plan(changed_from="trial"), action=MAIL)],
        ['steps[0].trigger.event: got "x" (str) with a plan that changes; give "plan.changed"'],
    ),
    (
        "a plan that changes, after nothing",
        [step(condition=condition.all_of(ABOUT_ONE, condition.plan(changed_from="trial")), action=MAIL)],
        ['steps[0].trigger: got nothing; give trigger.event("plan.changed")'],
    ),
    (
        "a plan that changes, in the middle",
        [
            step(trigger=CHANGED, action=MAIL, then=wait("2d")),
            step(condition=condition.plan(changed_to="paid"), action=MAIL),
        ],
        [
            "steps[1].condition: got a plan that changes, in a step that goes on with the one before; "
            'give condition.plan("…"), which is the plan held by then'
        ],
    ),
]


@pytest.mark.parametrize(
    ("steps", "said"), [pytest.param(steps, said, id=name) for name, steps, said in TOGETHER]
)
def test_what_does_not_fit_is_said(steps: list[Step], said: list[str]) -> None:
    assert faults_of(*steps) == said


@pytest.mark.parametrize(
    "steps",
    [
        [step(trigger=CHANGED, condition=condition.plan("team", changed_from="trial"), action=MAIL)],
        [step(trigger=CHANGED, condition=condition.not_(condition.plan(changed_to="free")), action=MAIL)],
        [step(trigger=NINE, condition=SCAN, action=MAIL)],
        [step(trigger=NINE, condition=condition.all_of(condition.plan("free"), SCAN), action=MAIL)],
        [
            step(
                trigger=ON_X, condition=condition.all_of(ABOUT_ONE, ABOUT_ONE), action=[MAIL, action.grant(1)]
            )
        ],
        [
            step(trigger=ON_X, action=MAIL, then=wait("2d")),
            step(condition=condition.plan("free"), action=MAIL, then=wait("2d")),
            step(action=action.grant(1)),
            step(trigger=ON_X, action=MAIL),
        ],
        [
            step(condition=COUNT, action=BLOCK),
            step(trigger=ON_X, condition=condition.usage(under=1), action=MAIL),
        ],
        [step(trigger=trigger.database("users", event="delete"), action=MAIL, cooldown="1d", max_fires=1)],
    ],
)
def test_what_fits_is_taken(steps: list[Step]) -> None:
    assert faults_of(*steps) == []


def test_a_goal_is_one_of_journeys() -> None:
    limit = step(condition=COUNT, action=BLOCK)
    for goal in (ON_X, ABOUT_ONE):
        assert faults_of(limit, goal=goal) == [
            "goal: got a goal of a loop whose steps only hold limits; "
            "give none: payments are the goal of a limit, and recorded as conversions"
        ]
        assert faults_of(limit, step(trigger=ON_X, action=MAIL), goal=goal) == []
    assert faults_of(step(trigger=ON_X, action=MAIL), goal=trigger.event("plan.changed")) == [
        'goal.event: got "plan.changed", which steps alone hear of; '
        "give an event of your own; a payment ends a journey by itself"
    ]
    assert faults_of(step(trigger=ON_X, action=MAIL), goal=5) == [
        'goal: got 5 (int); give trigger.event("project.created") or condition.query("SELECT … '
        'WHERE user_id = $1")'
    ]
    assert faults_of(step(trigger=ON_X, action=MAIL), goal=NINE)[0].startswith(
        "goal: got a value of type ScheduleTrigger; give trigger.event("
    )


def test_after_a_step_with_faults_of_its_own_only_what_is_certain_is_said() -> None:
    faulty: Any = step(trigger=trigger.event("a b"), action=MAIL, then=wait("2d"))
    assert [one.split(":")[0] for one in faults_of(faulty, step(action=MAIL))] == ["steps[0].trigger.event"]
    assert [one.split(":")[0] for one in faults_of(faulty, step(trigger=ON_X, action=MAIL))] == [
        "steps[0].trigger.event"
    ]
    before: Any = step(trigger=ON_X, action=MAIL, then=wait("2d"))
    assert [one.split(":")[0] for one in faults_of(before, faulty)] == ["steps[1].trigger.event"]


def scattered() -> Loop:
    return define_loop(
        type="retention",
        steps=[
            step(name="one", trigger=NINE, condition=ABOUT_ONE, action=MAIL),
            step(name="two", trigger=ON_X, action=action.grant(0)),
            step(name="one", action=MAIL, cooldown="soon"),
            step(name="four", condition=COUNT, action=MAIL),
            step(name="one", trigger=ON_X, action=MAIL, then=wait("2d")),
        ],
        goal=trigger.event(""),
        holdout=2,
    )


def test_all_faults_of_a_loop_come_in_one_error_in_its_order() -> None:
    with pytest.raises(DefinitionError) as caught:
        scattered()
    assert [fault.path for fault in caught.value.faults] == [
        "steps[0].condition.query",
        "steps[1].action.units",
        "steps[2].cooldown",
        "steps[2].name",
        "steps[3].action",
        "steps[4].name",
        "steps[4].then",
        "holdout",
        "goal.event",
    ]


def test_the_traceback_ends_at_the_users_line() -> None:
    with pytest.raises(DefinitionError) as caught:
        scattered()
    files = [Path(frame.filename).name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files == ["test_fitting.py", "test_fitting.py", "loop.py"]
    assert caught.value.__suppress_context__
    assert caught.value.__cause__ is None


def test_a_cron_that_is_probably_not_meant_is_pointed_out_at_the_users_line() -> None:
    with pytest.warns(SkeneWarning, match=r"steps\[0\]\.trigger\.cron: ") as caught:
        define_loop(
            type="retention",
            steps=[step(trigger=trigger.schedule("0 9 13 * 5"), condition=SCAN, action=MAIL)],
        )
    assert caught[0].filename == __file__


def test_a_misspelt_argument_is_a_type_error() -> None:
    database: Any = trigger.database
    with pytest.raises(TypeError, match="colums"):
        database("users", event="update", colums=["a"])
    hook: Any = trigger.webhook
    with pytest.raises(TypeError, match="subject"):
        hook("crm")

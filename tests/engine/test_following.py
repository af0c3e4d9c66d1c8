"""From a firing to what follows: keys, what messages are made of, and when to look again."""

import json
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from skene.definitions import (
    EmailAction,
    FiringAction,
    FunctionAction,
    Goal,
    Loop,
    action,
    condition,
    define_loop,
    step,
    trigger,
    wait,
)
from skene.engine.actions import (
    LATEST,
    SOONEST,
    action_data,
    action_key,
    goal_step,
    journey_id,
    next_look,
    waits_for_goal,
)
from skene.engine.keys import unique_key
from skene.engine.occasion import Occasion
from skene.engine.program import compile_loops
from skene.engine.reactions import Reaction

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
MAIL = action.email("welcome")


def reaction_of(*actions: FiringAction, name: str | None = None, goal: Goal | None = None) -> Reaction:
    loop = define_loop(
        type="activation",
        name=name,
        steps=[step(trigger=trigger.event("x"), action=list(actions) or MAIL)],
        goal=goal,
    )
    program, faults = compile_loops([loop])
    assert faults == ()
    return program.reactions.all[0]


def occasion(subject: str = "ada", key: str = "event:1") -> Occasion:
    return Occasion(
        subject=subject,
        loop="activation",
        step="activation",
        key=key,
        occurred_at=NOW,
        plan="free",
        event={"project": 7},
        row={"name": "Ada"},
    )


# -- keys --------------------------------------------------------------------------------------------------

words = st.text(max_size=6)
about = st.lists(words, min_size=1, max_size=3).map(tuple)


@given(one=about, other=about)
def test_a_firings_key_is_that_of_the_same_occurrence_and_of_no_other(
    one: tuple[str, ...], other: tuple[str, ...]
) -> None:
    assert unique_key("event", *one) == unique_key("event", *one)
    assert (unique_key("event", *one) == unique_key("event", *other)) == (one == other)
    assert unique_key("event", *one) != unique_key("goal", *one)


def test_keys_stay_as_they_are_in_tables_that_exist() -> None:
    """A key that changes with a release would post again what was posted before it."""
    assert unique_key("event", "a", "bc") == "event:5310a58788781ab25d5ad7c3f85035824b4eb7bd"
    assert journey_id(reaction_of(), "event:1", "ada") == "j_062a8d062564ac86625155372781ce0954b80e95"


def test_text_that_cannot_be_encoded_has_a_key_all_the_same() -> None:
    assert unique_key("event", "\ud800") != unique_key("event", "\ud801")


@given(one=st.tuples(words, words), other=st.tuples(words, words))
def test_a_journey_is_one_of_its_loop_firing_and_subject(
    one: tuple[str, str], other: tuple[str, str]
) -> None:
    first, second = reaction_of(), reaction_of(name="second")
    assert journey_id(first, *one) == journey_id(reaction_of(), *one)
    assert (journey_id(first, *one) == journey_id(first, *other)) == (one == other)
    assert journey_id(first, *one) != journey_id(second, *one)
    assert journey_id(first, *one).startswith("j_")


def test_each_action_subject_and_firing_has_a_message_of_its_own() -> None:
    hook = action.webhook("crm", "user.activated")
    reaction = reaction_of(MAIL, MAIL, hook)
    keys = {
        action_key(one, reaction, occasion(subject, key), index)
        for index, one in enumerate(reaction.actions)
        for subject in ("ada", "bob")
        for key in ("event:1", "event:2")
    }
    assert len(keys) == 12
    assert action_key(MAIL, reaction, occasion(), 0) == action_key(MAIL, reaction, occasion(), 0)
    other = reaction_of(MAIL, name="second")
    assert action_key(MAIL, reaction, occasion(), 0) != action_key(MAIL, other, occasion(), 0)


def test_waiting_for_a_goal_is_no_step_of_a_users() -> None:
    loop = define_loop(
        type="activation",
        steps=[
            step(name="?goal", trigger=trigger.event("x"), action=MAIL, then=wait("1d")),
            step(name="goal", action=MAIL),
        ],
    )
    program, _ = compile_loops([loop])
    assert goal_step("activation") not in {one.key for one in program.reactions.all}


def test_only_a_goal_that_a_query_tells_of_is_looked_for() -> None:
    assert waits_for_goal(reaction_of(goal=condition.query("SELECT 1 FROM a WHERE id = $1")))
    assert not waits_for_goal(reaction_of(goal=trigger.event("done")))
    assert not waits_for_goal(reaction_of())


# -- what messages are made of -----------------------------------------------------------------------------


def test_every_message_knows_the_occasion() -> None:
    tell = FunctionAction(function=print)
    for one in (MAIL, action.webhook("crm", "x"), action.grant(5), tell):
        data = action_data(one, occasion())
        assert data["values"] == {"loop": "activation", "subject": "ada"}
        assert (data["event"], data["row"]) == ({"project": 7}, {"name": "Ada"})
        assert json.loads(json.dumps(data)) == data


def test_a_mail_brings_its_own_words() -> None:
    mail = EmailAction(template="a", subject="Hello", personalization={"name": "{{user.name}}"})
    data = action_data(mail, occasion())
    assert (data["subject_line"], data["personalization"]) == ("Hello", {"name": "{{user.name}}"})
    plain = action_data(MAIL, occasion())
    assert (plain["subject_line"], plain["personalization"]) == (None, {})


def test_a_webhook_brings_its_payload() -> None:
    hook = action.webhook("crm", "user.activated", payload={"name": "{{user.name}}"})
    assert action_data(hook, occasion())["personalization"] == {"name": "{{user.name}}"}
    assert action_data(action.webhook("crm", "x"), occasion())["personalization"] == {}


def test_a_grant_says_how_much_of_what_and_for_how_long() -> None:
    assert action_data(action.grant(50, meter="calls", expires="90d", reason="thanks"), occasion())[
        "grant"
    ] == {
        "units": 50,
        "meter": "calls",
        "seconds": 90 * 86400,
        "reason": "thanks",
    }
    assert action_data(action.grant(1), occasion())["grant"] == {
        "units": 1,
        "meter": None,
        "seconds": None,
        "reason": "",
    }


def test_a_function_is_told_the_whole_occasion() -> None:
    assert action_data(FunctionAction(function=print), occasion())["occasion"] == {
        "step": "activation",
        "key": "event:1",
        "occurred_at": "2026-05-01T12:00:00+00:00",
        "plan": "free",
    }


def test_an_occasion_does_not_show_the_rows() -> None:
    assert "Ada" not in repr(occasion())
    assert "project" not in repr(occasion())


# -- looking again -----------------------------------------------------------------------------------------


def looks(timeout: timedelta) -> list[timedelta]:
    """When a condition is asked that never comes true, from the first time on."""
    waited, asked = timedelta(0), [timedelta(0)]
    while waited < timeout:
        waited += next_look(waited, timeout - waited)
        asked.append(waited)
    return asked


@given(seconds=st.integers(1, 90 * 86400) | st.floats(0.001, 60))
def test_waiting_costs_few_looks_and_the_last_is_when_the_time_is_up(seconds: float) -> None:
    asked = looks(timedelta(seconds=seconds))
    assert asked[-1] == timedelta(seconds=seconds)
    gaps = [later - sooner for sooner, later in pairwise(asked)]
    assert all(timedelta(0) < gap <= LATEST for gap in gaps)
    assert all(gap >= SOONEST for gap in gaps[:-1])
    assert len(asked) <= 6 + math.log(max(1, seconds)) / math.log(1.25) + seconds / LATEST.total_seconds()


def test_five_minutes_are_some_twenty_looks_and_a_month_one_every_ten_minutes() -> None:
    assert 15 <= len(looks(timedelta(minutes=5))) <= 30
    assert len(looks(timedelta(days=30))) <= 30 * 144 + 40


def test_nobody_notices_how_long_ago_it_came_true() -> None:
    for waited, gap in ((0, 1), (4, 1), (60, 15), (3600, 600), (86400, 600)):
        wanted = next_look(timedelta(seconds=waited), timedelta(days=9))
        assert wanted == timedelta(seconds=gap)


def loop_of(holdout: float) -> Loop:
    return define_loop(
        type="activation", steps=[step(trigger=trigger.event("x"), action=MAIL)], holdout=holdout
    )


def test_the_hold_out_of_a_loop_is_that_of_its_steps() -> None:
    program, _ = compile_loops([loop_of(0.25)])
    assert program.reactions.all[0].holdout == 0.25

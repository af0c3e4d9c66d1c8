"""The steps that firings set off: who hears what, how a chain hangs together, which meters are meant."""

from datetime import timedelta
from typing import Any

import pytest

from skene.definitions import (
    AllCondition,
    FiringCondition,
    Loop,
    QueryCondition,
    Step,
    action,
    condition,
    define_loop,
    step,
    trigger,
    wait,
)
from skene.engine.program import Program, compile_loops
from skene.engine.reactions import Reaction, Reactions, parts_of
from skene.engine.rowtrigger import RowTrigger

MAIL = action.email("welcome")
DORMANT = condition.query("SELECT * FROM users WHERE seen < now() - interval '7 days'")
DONE = condition.query("SELECT 1 FROM projects WHERE owner = $1", timeout="5m")
FREE = condition.plan("free")


def loop(*steps: Step, type: Any = "activation", **options: Any) -> Loop:  # noqa: A002 - as in define_loop
    return define_loop(type=type, steps=steps, **options)


def on(event: str, **options: Any) -> Step:
    return step(trigger=trigger.event(event), action=MAIL, **options)


def limited(meter: str | None = None, **usage: Any) -> Step:
    counted = condition.usage(limit={"free": 1}, period="1d", meter=meter, **usage)
    return step(condition=counted, action=action.block("No."))


def compiled(*loops: Loop, enforce: bool = True) -> Program:
    program, faults = compile_loops(loops, enforce=enforce)
    assert faults == ()
    return program


def faults_of(*loops: Loop) -> list[str]:
    return [str(fault) for fault in compile_loops(loops)[1]]


def only(*loops: Loop) -> Reaction:
    (found,) = compiled(*loops).reactions.all
    return found


def keys(found: Any) -> list[str]:
    return [one.key for one in found]


def test_it_says_where_its_actions_are_written() -> None:
    one = only(loop(on("signup")))
    assert one.place_of(0) == f"{one.path}.action"
    both = [MAIL, action.email("tips")]
    two = only(loop(step(trigger=trigger.event("signup"), action=both)))
    assert [two.place_of(index) for index in (0, 1)] == [f"{two.path}.action[0]", f"{two.path}.action[1]"]


# -- what a step becomes -----------------------------------------------------------------------------------


def test_everything_of_a_step_and_its_loop() -> None:
    goal = trigger.event("done")
    found = only(
        loop(
            step(
                trigger=trigger.event("x"),
                condition=DONE,
                action=[MAIL, action.grant(5, meter="calls")],
                cooldown="7d",
                max_fires=3,
            ),
            name="trial",
            goal=goal,
            attribution="14d",
            holdout=0.1,
        ),
        loop(limited("calls"), type="freemium"),
    )
    assert (found.key, found.loop, found.path) == ("trial", "trial", "trial.steps[0]")
    assert found.trigger == trigger.event("x")
    assert (found.condition, found.scan) == (DONE, None)
    assert found.actions == (MAIL, action.grant(5, meter="calls"))
    assert (found.next, found.wait) == (None, timedelta(0))
    assert (found.cooldown, found.max_fires) == (timedelta(days=7), 3)
    assert (found.goal, found.within, found.holdout) == (goal, timedelta(days=14), 0.1)
    assert found.enforce
    assert found.patience == timedelta(minutes=5)


def test_whoever_only_watches_does_so_in_every_step() -> None:
    assert not only(loop(on("x"), enforce=False)).enforce
    assert not compiled(loop(on("x")), enforce=False).reactions.all[0].enforce


def test_limits_and_reactions_live_in_one_loop() -> None:
    program = compiled(loop(limited(), on("x", condition=condition.usage(at=1.0))))
    assert keys(program.steps) == ["activation.1"]
    assert keys(program.reactions.all) == ["activation.2"]
    assert program.meters == ("activation.1",)


def test_a_chain_goes_on_with_the_next_step() -> None:
    program = compiled(
        loop(on("x", then=wait("2d"), name="first"), step(action=MAIL, then="1h"), step(action=MAIL), on("y"))
    )
    first, second, third, other = program.reactions.all
    assert (first.key, first.next, first.wait) == ("activation.first", second.key, timedelta(days=2))
    assert (second.trigger, second.next, second.wait) == (None, third.key, timedelta(hours=1))
    assert (third.trigger, third.next, third.wait) == (None, None, timedelta(0))
    assert (other.next, other.trigger) == (None, trigger.event("y"))


def at_nine(ask: FiringCondition) -> Reaction:
    return only(loop(step(trigger=trigger.schedule("0 9 * * *"), condition=ask, action=MAIL)))


def test_the_query_of_a_schedule_says_whom_it_is_about() -> None:
    assert (at_nine(DORMANT).scan, at_nine(DORMANT).condition, at_nine(DORMANT).patience) == (
        DORMANT,
        None,
        None,
    )


def test_what_is_beside_it_is_asked_about_each_subject() -> None:
    level = condition.not_(condition.plan("team"))
    two = at_nine(condition.all_of(FREE, DORMANT))
    assert (two.scan, two.condition) == (DORMANT, FREE)
    three = at_nine(condition.all_of(FREE, DORMANT, level))
    assert (three.scan, three.condition) == (DORMANT, AllCondition(conditions=(FREE, level)))


def test_after_an_event_no_query_is_a_scan() -> None:
    both = condition.all_of(FREE, DONE)
    found = only(loop(on("x", condition=both)))
    assert (found.scan, found.condition) == (None, both)


def test_a_condition_waits_as_long_as_its_most_patient_part() -> None:
    def slow(_: object) -> bool:
        return False

    hour = condition.function(slow, timeout="1h")
    for ask, patience in (
        (FREE, None),
        (condition.function(slow), None),
        (hour, timedelta(hours=1)),
        (condition.not_(hour), timedelta(hours=1)),
        (condition.all_of(FREE, DONE, hour), timedelta(hours=1)),
        (condition.any_of(FREE, condition.not_(FREE)), None),
    ):
        assert only(loop(on("x", condition=ask))).patience == patience
    assert only(loop(on("x"))).patience is None


def test_the_parts_of_a_condition() -> None:
    inner = condition.not_(FREE)
    either = condition.any_of(DONE, inner)
    assert list(parts_of(either)) == [either, DONE, inner, FREE]
    both = condition.all_of(FREE, DONE)
    assert list(parts_of(both)) == [both, FREE, DONE]
    assert list(parts_of(None)) == []


# -- who hears what ----------------------------------------------------------------------------------------


def everybody() -> Reactions:
    hook = trigger.webhook("crm", subject="data.id")
    deal = trigger.webhook("crm", event="deal.won", subject="data.owner")
    return compiled(
        loop(
            on("x", name="a"),
            on("y", name="b"),
            on("x", name="c"),
            step(name="any", trigger=hook, action=MAIL),
            step(name="deal", trigger=deal, action=MAIL),
            step(name="other", trigger=trigger.webhook("shop", subject="id"), action=MAIL),
            step(name="nine", trigger=trigger.schedule("0 9 * * *"), condition=DORMANT, action=MAIL),
            step(
                name="rows",
                trigger=trigger.database(
                    "shop.orders",
                    event="update",
                    columns=["status"],
                    where={"status": "paid", "test": False},
                    subject="user_id",
                    capture=["status"],
                ),
                action=MAIL,
            ),
            step(name="new", trigger=trigger.database("users", event="insert"), action=MAIL),
            name="l",
        )
    ).reactions


def test_an_event_is_heard_by_those_who_named_it() -> None:
    assert keys(everybody().listening("x")) == ["l.a", "l.c"]
    assert keys(everybody().listening("X")) == []
    assert everybody().events() == ("x", "y")


def test_a_webhook_is_heard_by_those_of_its_source_and_type() -> None:
    def heard(source: str, event: str) -> list[tuple[str, str]]:
        return [(one.key, told.subject) for one, told in everybody().from_source(source, event)]

    assert heard("crm", "deal.won") == [("l.any", "data.id"), ("l.deal", "data.owner")]
    assert heard("crm", "deal.lost") == [("l.any", "data.id")]
    assert heard("shop", "deal.won") == [("l.other", "id")]
    assert heard("nobody", "x") == []


def test_the_clock_is_heard_by_schedules() -> None:
    assert [(one.key, told.cron) for one, told in everybody().scheduled] == [("l.nine", "0 9 * * *")]


def test_what_the_database_tells_of() -> None:
    assert everybody().row_triggers == (
        RowTrigger(
            step="l.rows",
            loop="l",
            table="shop.orders",
            event="update",
            columns=("status",),
            where=(("status", "paid"), ("test", False)),
            subject="user_id",
            capture=("status",),
        ),
        RowTrigger(
            step="l.new",
            loop="l",
            table="users",
            event="insert",
            columns=(),
            where=(),
            subject="id",
            capture=None,
        ),
    )


def test_a_step_by_its_key() -> None:
    found = everybody().get("l.c")
    assert found is not None
    assert found.key == "l.c"
    assert everybody().get("l.gone") is None


def test_goals_that_events_tell_of() -> None:
    reactions = compiled(
        loop(on("x"), on("y"), goal=trigger.event("done"), attribution="7d"),
        loop(on("x"), name="second", goal=trigger.event("done")),
        loop(on("x"), name="third", goal=DONE),
        loop(on("x"), name="fourth"),
    ).reactions
    assert reactions.reached_by("done") == {"activation": timedelta(days=7), "second": timedelta(days=30)}
    assert reactions.reached_by("x") == {}
    assert reactions.events() == ("done", "x", "y")


def test_no_loops_hear_nothing() -> None:
    nothing = Reactions()
    assert (nothing.scheduled, nothing.row_triggers, nothing.events(), nothing.listening("x")) == (
        (),
        (),
        (),
        (),
    )


# -- what keeps loops apart --------------------------------------------------------------------------------


def test_two_loops_of_one_name() -> None:
    (fault,) = faults_of(loop(on("x")), loop(on("y")))
    assert fault == "activation: got two loops of this name; give name=… to one of them"


def test_names_that_make_one_key() -> None:
    (fault,) = faults_of(loop(on("x", name="b.c"), name="a"), loop(on("x", name="c"), name="a.b"))
    assert "a.b.steps[0].name: got 'a.b.c', which a.steps[0] is called too" in fault
    (between,) = faults_of(loop(limited(), on("x", name="1")))
    assert "activation.steps[1].name: got 'activation.1', which activation.steps[0] is called too" in between


CALLS, EXPORTS = limited("calls"), limited("exports")


@pytest.mark.parametrize(
    ("limits", "meter", "said"),
    [
        ([CALLS], None, None),
        ([CALLS], "calls", None),
        ([CALLS, EXPORTS], "exports", None),
        ([], None, "got nothing; give one of the meters that limits count on: none"),
        ([CALLS, EXPORTS], None, "got nothing; give one of the meters that limits count on: calls, exports"),
        (
            [CALLS, EXPORTS],
            "export",
            "got 'export'; give a meter that a limit counts on: calls, exports; did you mean exports?",
        ),
        ([CALLS], "zzz", "got 'zzz'; give a meter that a limit counts on: calls"),
        (
            [limited("calls", group_by="route"), EXPORTS],
            "calls",
            "got 'calls', which has a counter for each route; "
            "give a meter with one counter, without group_by: exports",
        ),
        (
            [limited("calls", group_by="route")],
            None,
            "got 'calls', which has a counter for each route; "
            "give a meter with one counter, without group_by: none",
        ),
    ],
)
def test_a_level_or_a_grant_is_of_a_meter_that_counts(
    limits: list[Step], meter: str | None, said: str | None
) -> None:
    ask = condition.any_of(FREE, condition.not_(condition.usage(at=0.8, meter=meter)))
    loops = [loop(on("x", condition=ask))]
    grants = [loop(step(trigger=trigger.event("x"), action=[MAIL, action.grant(5, meter=meter)]))]
    if limits:
        freemium = loop(*limits, type="freemium")
        loops, grants = [*loops, freemium], [*grants, freemium]
    expected = [] if said is None else [said]
    assert [
        one.removeprefix("activation.steps[0].condition.meter: ") for one in faults_of(*loops)
    ] == expected
    assert [one.removeprefix("activation.steps[0].action.meter: ") for one in faults_of(*grants)] == expected


def test_a_scan_is_no_part_of_what_is_asked() -> None:
    assert isinstance(at_nine(DORMANT).scan, QueryCondition)

"""Gauges, compiled."""

from datetime import UTC, datetime

from skene import action, condition, define_loop, step, trigger
from skene.definitions import Loop
from skene.engine.program import ALL_PLANS, Program, compile_loops
from skene.engine.window import Edges

NOW = datetime(2026, 1, 1, tzinfo=UTC)
GAUGE = condition.gauge(limit={"free": 3, "paid": 9}, meter="seats")
USAGE = condition.usage(limit={"free": 3, "paid": 9}, period="30d", meter="calls")


def team() -> Loop:
    block = action.block("No more.")
    return define_loop(
        type="freemium",
        name="team",
        steps=[
            step(name="calls", trigger=trigger.api("/api/*"), condition=USAGE, action=block),
            step(name="seats", condition=GAUGE, action=block),
        ],
    )


def program() -> Program:
    compiled, faults = compile_loops([team()])
    assert not faults
    return compiled


def test_a_gauge_is_one_counter_for_all_plans() -> None:
    calls, seats = program().steps
    assert (calls.held, calls.counted_as("paid")) == (False, "paid")
    assert (seats.held, seats.counted_as("paid")) == (True, ALL_PLANS)
    assert (seats.period, seats.rule(NOW)) == ("held", Edges(()))


def test_no_route_is_charged_for_a_gauge() -> None:
    compiled = program()
    assert [step.key for step in compiled.flows] == ["team.calls"]
    assert [step.key for step in compiled.named("team")] == ["team.calls"]
    assert [step.key for step in compiled.metered("seats")] == ["team.seats"]

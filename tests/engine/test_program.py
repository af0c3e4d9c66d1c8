"""Loops compiled: keys, meters, limits, windows, and what keeps loops from living together."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene import (
    UNLIMITED,
    Loop,
    Recovery,
    Step,
    action,
    billing_cycle,
    calendar,
    condition,
    define_loop,
    lifetime,
    rolling,
    step,
)
from skene.definitions import Period
from skene.engine.program import Program, compile_loops, counters_of, for_route
from skene.engine.window import Anchored, Edges, Rolling, window_at

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LIMITS: dict[str, Any] = {"free": 100, "paid": UNLIMITED}


def one(
    name: str | None = None, *, limit: Any = None, period: Any = "30d", block: Any = None, **usage: Any
) -> Step:
    return step(
        name=name,
        condition=condition.usage(limit=limit or LIMITS, period=period, **usage),
        action=block or action.block("Enough."),
    )


def loop(*steps: Step, **options: Any) -> Loop:
    return define_loop(type="freemium", steps=steps or (one(),), **options)


def compiled(*loops: Loop, enforce: bool = True) -> Program:
    program, faults = compile_loops(loops, enforce=enforce)
    assert faults == ()
    return program


def faults_of(*loops: Loop) -> list[str]:
    return [str(fault) for fault in compile_loops(loops)[1]]


# -- what a step becomes -----------------------------------------------------------------------------------


def test_the_only_step_is_called_as_its_loop() -> None:
    (found,) = compiled(loop()).steps
    assert (found.key, found.loop, found.meter, found.path) == (
        "freemium",
        "freemium",
        "freemium",
        "freemium.steps[0]",
    )
    assert found.limits == {"free": 100, "paid": None}
    assert found.counted_limits == found.limits
    assert (found.period, found.cost, found.charge, found.by_route) == ("30d", 1, "success", False)
    assert (found.prompt, found.warnings, found.trigger, found.status_code) == (None, (), None, None)
    assert found.enforce


def test_several_steps_are_called_by_name_or_by_number() -> None:
    steps = compiled(loop(one(), one("exports"), one(meter="tokens"), name="trial")).steps
    assert [s.key for s in steps] == ["trial.1", "trial.exports", "trial.3"]
    assert [s.meter for s in steps] == ["trial.1", "trial.exports", "tokens"]
    assert [s.path for s in steps] == ["trial.steps[0]", "trial.steps[1]", "trial.steps[2]"]


def test_a_named_only_step_goes_by_loop_and_name() -> None:
    (found,) = compiled(loop(one("exports"))).steps
    assert found.key == "freemium.exports"


def test_whoever_only_watches_counts_without_a_limit() -> None:
    for program in (compiled(loop(enforce=False)), compiled(loop(), enforce=False)):
        (found,) = program.steps
        assert not found.enforce
        assert found.limits == {"free": 100, "paid": None}
        assert found.counted_limits == {"free": None, "paid": None}


def test_the_mails_of_a_block() -> None:
    prompt, warning = action.email("ask"), action.email("warn")
    block = action.block(
        "Enough.", upgrade_prompt=prompt, notify_at=(0.5, 1), warning=warning, status_code=429
    )
    (found,) = compiled(loop(one(block=block), holdout=0.1)).steps
    assert found.prompt == prompt
    assert found.warnings == ((0.5, warning), (1.0, warning))
    assert (found.status_code, found.message, found.holdout) == (429, "Enough.", 0.1)


def test_a_step_cannot_be_changed() -> None:
    (found,) = compiled(loop()).steps
    with pytest.raises(TypeError):
        found.limits["free"] = 1  # type: ignore[index] # what is tried here
    assert compiled(loop()).steps[0] != found


def test_recoveries_and_the_longest_attribution() -> None:
    program = compiled(
        loop(recovery=Recovery(retries=0), attribution="7d"), loop(name="other", attribution="40d")
    )
    assert program.recoveries["freemium"].retries == 0
    assert program.recoveries["other"] == Recovery()
    assert program.attribution == timedelta(days=40)
    assert compiled(loop(attribution="1d")).attribution == timedelta(days=1)
    assert compiled().attribution == timedelta(days=30)


# -- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("period", "text", "rule"),
    [
        ("30d", "30d", Anchored(timedelta(days=30))),
        ("90m", "1h30m", Anchored(timedelta(minutes=90))),
        (rolling("7d"), "rolling 7d", Rolling(timedelta(days=7))),
        (lifetime(), "lifetime", Edges(())),
    ],
)
def test_a_period_as_text_and_as_a_rule(period: str | Period, text: str, rule: object) -> None:
    (found,) = compiled(loop(one(period=period))).steps
    assert (found.period, found.rule(NOW)) == (text, rule)


def test_a_calendar_month_in_its_zone() -> None:
    (found,) = compiled(loop(one(period=calendar("month", timezone="Europe/Helsinki")))).steps
    assert found.period == "calendar month"
    start, end = window_at(found.rule(NOW), NOW)
    assert start == datetime(2026, 10, 31, 22, tzinfo=UTC)
    assert end == datetime(2026, 11, 30, 22, tzinfo=UTC)


def test_a_billing_cycle_follows_the_customers_own_edges_or_months_in_utc() -> None:
    (found,) = compiled(loop(one(period=billing_cycle()))).steps
    assert found.period == "billing_cycle"
    rule = found.rule(NOW)
    assert window_at(rule, NOW) == (datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))
    own = (datetime(2026, 11, 7, tzinfo=UTC), datetime(2026, 12, 7, tzinfo=UTC))
    assert window_at(rule, NOW, own) == own


@given(
    at=st.integers(0, 7 * 10**9).map(lambda n: datetime(1990, 1, 1, tzinfo=UTC) + timedelta(seconds=n)),
    unit=st.sampled_from(["day", "week", "month", "year"]),
    zone=st.sampled_from(
        ["UTC", "Pacific/Kiritimati", "Pacific/Pago_Pago", "Europe/Helsinki", "America/St_Johns"]
    ),
    error=st.integers(-600, 600),
)
def test_a_clock_that_is_wrong_by_minutes_gets_the_same_window(
    at: datetime, unit: Any, zone: str, error: int
) -> None:
    """The rule is made with the application's clock, the window is found with the database's."""
    (found,) = compiled(loop(one(period=calendar(unit, timezone=zone)))).steps
    right = window_at(found.rule(at), at)
    assert window_at(found.rule(at + timedelta(seconds=error)), at) == right
    assert right[0] <= at < right[1]


# -- looking things up -------------------------------------------------------------------------------------


def test_steps_by_name_and_by_meter() -> None:
    program = compiled(loop(one("a"), one("b", meter="tokens")), loop(one(meter="tokens"), name="other"))
    assert [s.key for s in program.named("freemium")] == ["freemium.a", "freemium.b"]
    assert [s.key for s in program.named("freemium.b")] == ["freemium.b"]
    assert [s.key for s in program.metered("tokens")] == ["freemium.b", "other"]


def test_an_unknown_name_says_what_there_is_and_what_was_meant() -> None:
    program = compiled(loop(one("a"), one("b", meter="tokens")))
    with pytest.raises(LookupError, match=r"no meter is called 'token'.*tokens; did you mean 'tokens'\?"):
        program.metered("token")
    with pytest.raises(LookupError, match=r"no loop or step is called 'fremium'.*did you mean 'freemium'\?"):
        program.named("fremium")
    with pytest.raises(LookupError, match=r"there are: freemium, freemium\.a, freemium\.b$"):
        program.named("zzz")


def test_a_counter_for_each_route_only_where_it_was_asked_for() -> None:
    (apart,) = compiled(loop(one(group_by="route"))).steps
    (together,) = compiled(loop()).steps
    assert for_route(apart, "/a/{b}").meter == "freemium:/a/{b}"
    assert for_route(apart, "/a/{b}").key == "freemium"
    assert for_route(together, "/a/{b}") is together


def test_the_counters_of_a_step_are_those_of_its_routes() -> None:
    (apart,) = compiled(loop(one(group_by="route"))).steps
    (together,) = compiled(loop()).steps
    kept = ("freemium", "freemium:/a", "freemium:/b/{c}", "freemium:other", "freemium.2:/a")
    assert [counter.meter for counter in counters_of(apart, kept)] == ["freemium:/a", "freemium:/b/{c}"]
    assert counters_of(apart, ()) == ()
    assert counters_of(together, kept) == (together,)


# -- what does not go together -----------------------------------------------------------------------------


def test_two_loops_of_one_name() -> None:
    (fault,) = faults_of(loop(), loop())
    assert fault == "freemium: got two loops of this name; give name=… to one of them"


def test_two_steps_of_one_key() -> None:
    (dotted,) = faults_of(loop(one("b"), name="a"), loop(one(), name="a.b"))
    assert dotted.startswith("a.b.steps[0].name: got 'a.b', which a.steps[0] is called too; give a name that")
    (fault,) = faults_of(loop(one("2"), one()))
    assert "freemium.steps[1].name: got 'freemium.2', which freemium.steps[0] is called too" in fault


def test_a_shared_meter_means_the_same_everywhere() -> None:
    fine = loop(one("a", meter="m"), one("b", meter="m"))
    assert faults_of(fine) == []
    (limit,) = faults_of(loop(one("a", meter="m"), one("b", meter="m", limit={"free": 5, "paid": UNLIMITED})))
    assert "freemium.steps[1].condition.meter" in limit
    assert "another limit or period than freemium.steps[0]" in limit
    (period,) = faults_of(loop(one(meter="m")), loop(one(meter="m", period="1d"), name="other"))
    assert "other.steps[0].condition.meter" in period
    (watching,) = faults_of(loop(one(meter="m"), enforce=False), loop(one(meter="m"), name="other"))
    assert "another enforce than freemium.steps[0]" in watching


plans = st.lists(st.sampled_from(["free", "starter", "pro", "paid", "team"]), max_size=8)


@given(
    billing=plans,
    default=st.sampled_from(["free", "none"]),
    given_limits=st.sets(st.sampled_from(["free", "pro", "paid"]), min_size=1),
)
def test_every_plan_that_billing_can_yield_needs_a_limit(
    billing: list[str], default: str, given_limits: set[str]
) -> None:
    program = compiled(loop(one(limit=dict.fromkeys(sorted(given_limits), 5))))
    faults = program.plan_faults(billing, default)
    missing = dict.fromkeys(plan for plan in (default, *billing) if plan not in given_limits)
    assert [fault.given.split("'")[1] for fault in faults] == list(missing)
    assert {fault.path for fault in faults} <= {"freemium.steps[0].condition.limit"}
    assert all(", ".join(sorted(given_limits)) in fault.allowed for fault in faults)


def test_a_plan_without_a_limit_is_named_with_the_nearest_that_has_one() -> None:
    (fault,) = compiled(loop()).plan_faults(["payd"], "free")
    assert "no limit for the plan 'payd'" in str(fault)
    assert "there are limits for free, paid" in str(fault)
    assert str(fault).endswith("did you mean paid?")
    (far,) = compiled(loop()).plan_faults(["enterprise"], "free")
    assert far.hint is None

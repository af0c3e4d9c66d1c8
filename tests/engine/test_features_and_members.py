"""Features and members of teams, compiled and decided."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from skene import Decision, Loop, Reason, action, condition, define_loop, step, trigger
from skene.definitions.units import LARGEST
from skene.engine.decide import decide, tightest
from skene.engine.program import (
    CompiledStep,
    Program,
    compile_loops,
    for_member,
    member_of,
    members_of,
)
from skene.engine.window import FOREVER, Edges

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def loop(asked: Any, *more: Any, enforce: bool = True, **block: Any) -> Loop:
    steps = [step(condition=one, action=action.block("Ask to upgrade.", **block)) for one in (asked, *more)]
    return define_loop(type="freemium", enforce=enforce, steps=steps)


def compiled(asked: Any, **options: Any) -> CompiledStep:
    return program(loop(asked, **options)).steps[0]


def program(*loops: Loop) -> Program:
    made, faults = compile_loops(loops)
    assert faults == ()
    return made


def team(**options: Any) -> CompiledStep:
    limits = {"free": 10, "team": 100}
    asked = condition.usage(limit=limits, period="30d", meter="exports", member_limit={"team": 5})
    return compiled(asked, notify_at=(0.8,), upgrade_prompt=action.email("upgrade_prompt"), **options)


def decided(one: CompiledStep, limit: int | None, used: int = 0, **more: Any) -> Decision:
    given: dict[str, Any] = {"plan": "team", "cost": 1, "fits": False, "admitted": False, "replayed": False}
    times = {"start": NOW, "end": NOW + timedelta(days=30), "now": NOW}
    return decide(one, subject="acme", limit=limit, used=used, **{**given, **times, **more})


# -- features ----------------------------------------------------------------------------------------------


def test_a_feature_is_a_step_without_limits_of_plans() -> None:
    one = compiled(condition.feature("sso"))
    assert (one.feature, one.meter, dict(one.limits), one.cost) == ("sso", "freemium", {}, 1)
    assert one.rule(NOW) == Edges(())
    assert compiled(condition.feature("sso", meter="logins")).meter == "logins"
    assert program(loop(condition.feature("sso"))).plan_faults(("pro",), "free") == ()


def test_who_lacks_a_feature_is_forbidden_and_who_holds_it_is_not() -> None:
    one = compiled(condition.feature("sso"))
    refused = decided(one, 0, end=FOREVER)
    assert (refused.allowed, refused.reason, refused.status_code) == (False, Reason.NOT_IN_PLAN, 403)
    assert (refused.message, refused.resets_at) == ("Ask to upgrade.", None)
    held = decided(one, None, 7, fits=True, admitted=True)
    assert (held.allowed, held.reason, held.used) == (True, Reason.UNLIMITED, 7)


@pytest.mark.parametrize(
    ("limit", "granted", "reason"),
    [(None, 0, Reason.UNLIMITED), (LARGEST, 0, Reason.SHADOW), (LARGEST, 1, Reason.WITHIN_LIMIT)],
)
def test_a_loop_that_only_watches_tells_holders_by_the_limit(
    limit: int | None, granted: int, reason: Reason
) -> None:
    one = compiled(condition.feature("sso"), enforce=False)
    seen = decided(one, limit, 1, granted=granted, fits=True, admitted=True)
    assert (seen.allowed, seen.reason) == (True, reason)


def test_a_program_knows_whether_it_asks_for_features() -> None:
    plain = condition.usage(limit={"free": 1}, period="30d")
    nested = condition.any_of(condition.plan("free"), condition.not_(condition.feature("sso")))
    hears = [
        define_loop(
            type="activation",
            steps=[step(trigger=trigger.event("x"), condition=asked, action=action.email("hello"))],
        )
        for asked in (nested, condition.plan("free"))
    ]
    assert program(loop(condition.feature("sso"))).asks_features
    assert program(hears[0]).asks_features
    assert not program(hears[1], loop(plain)).asks_features


def test_two_features_share_no_meter() -> None:
    one, other = condition.feature("sso", meter="logins"), condition.feature("audit", meter="logins")
    assert len(compile_loops([loop(one, other)])[1]) == 1
    assert program(loop(one, one)).meters == ("logins",)


# -- members -----------------------------------------------------------------------------------------------


def test_a_member_has_a_counter_of_the_team() -> None:
    one = team()
    assert dict(one.member_limits) == {"free": None, "team": 5}
    ada = for_member(one, "ada")
    assert (ada.meter, ada.member, dict(ada.limits)) == ("exports@ada", "ada", {"free": None, "team": 5})
    assert (dict(ada.counted_limits), ada.prompt, ada.warnings) == ({"free": None, "team": 5}, None, ())
    assert dict(for_member(team(enforce=False), "ada").counted_limits) == {"free": None, "team": None}


def test_members_are_found_by_their_counters() -> None:
    kept = ("exports", "exports@ada", "exports@bob@acme.test", "exportsx@eve", "other@ada")
    assert [one.member for one in members_of(team(), kept)] == ["ada", "bob@acme.test"]
    assert members_of(compiled(condition.feature("sso")), kept) == ()
    assert [member_of(one) for one in (*kept, "calls:/a@b")] == [
        None, "ada", "bob@acme.test", "eve", "ada", None
    ]  # fmt: skip


def test_a_members_refusal_asks_nobody_to_pay() -> None:
    refused = decided(for_member(team(), "ada"), 5, 5)
    assert (refused.reason, refused.status_code, refused.member) == (Reason.MEMBER_LIMIT_REACHED, 403, "ada")
    assert refused.message == "You have used your share of the team's units for this period."
    assert decided(for_member(team(), "ada"), 0).reason is Reason.MEMBER_LIMIT_REACHED
    assert decided(for_member(team(status_code=429), "ada"), 5, 5).status_code == 429
    watched = decided(for_member(team(enforce=False), "ada"), None, 6, fits=True, admitted=True)
    assert (watched.allowed, watched.reason) == (True, Reason.SHADOW)


def test_of_two_refusals_the_teams_is_told() -> None:
    pool, share = decided(team(), 100, 97, cost=5), decided(for_member(team(), "ada"), 5, 5, cost=5)
    assert pool.remaining == 3
    assert share.remaining == 0
    assert tightest((pool, share)) == 0
    assert tightest((share, pool)) == 1
    admitted = decided(team(), 100, 10, fits=True)
    assert tightest((admitted, share)) == 1


def test_steps_that_share_a_meter_share_the_limit_of_members() -> None:
    common: dict[str, Any] = {"limit": {"team": 100}, "period": "30d", "meter": "exports"}
    one = condition.usage(**common, member_limit={"team": 5})
    assert len(compile_loops([loop(one, condition.usage(**common))])[1]) == 1
    assert program(loop(one, one)).meters == ("exports",)

"""From a count to a decision: reasons, statuses, the tightest of several, warnings, the hold-out."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene import UNLIMITED, Decision, Reason, action, billed, condition, define_loop, step
from skene.engine.decide import (
    crossed,
    decide,
    held_out,
    notice_name,
    shadow_name,
    tightest,
    unavailable,
    would_refuse,
)
from skene.engine.effects import subject_digest
from skene.engine.program import CompiledStep, compile_loops
from skene.engine.window import FOREVER

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def compiled(limit: Any = 100, *, enforce: bool = True, holdout: float = 0.0, **block: Any) -> CompiledStep:
    loop = define_loop(
        type="freemium",
        enforce=enforce,
        holdout=holdout,
        steps=[
            step(
                condition=condition.usage(limit={"free": limit, "paid": UNLIMITED}, period="30d"),
                action=action.block("Enough.", **block),
            )
        ],
    )
    return compile_loops([loop])[0].steps[0]


def decided(one: CompiledStep, used: int = 5, **more: Any) -> Decision:
    given: dict[str, Any] = {
        "subject": "ada",
        "plan": "free",
        "cost": 1,
        "start": NOW - timedelta(days=1),
        "end": NOW + timedelta(days=29),
        "fits": True,
        "admitted": True,
        "replayed": False,
        "now": NOW,
    }
    given["limit"] = one.counted_limits.get(more.get("plan", "free"))
    return decide(one, used=used, **{**given, **more})


# -- one decision ------------------------------------------------------------------------------------------


def test_within_the_limit() -> None:
    made = decided(compiled(), used=37)
    assert (made.allowed, made.reason, made.status_code, made.message) == (
        True,
        Reason.WITHIN_LIMIT,
        200,
        None,
    )
    assert (made.limit, made.used, made.remaining, made.cost) == (100, 37, 63, 1)
    assert (made.window_start, made.resets_at, made.decided_at) == (
        NOW - timedelta(days=1),
        NOW + timedelta(days=29),
        NOW,
    )
    assert (made.loop, made.step, made.meter, made.period, made.plan) == (
        "freemium",
        "freemium",
        "freemium",
        "30d",
        "free",
    )


def test_unlimited_and_replayed() -> None:
    assert decided(compiled(), plan="paid").reason is Reason.UNLIMITED
    assert decided(compiled(), plan="paid").remaining is None
    assert decided(compiled(), replayed=True).reason is Reason.REPLAYED
    assert decided(compiled(), plan="paid", replayed=True).allowed


@pytest.mark.parametrize(
    ("limit", "status", "expected", "reason"),
    [
        (100, None, 402, Reason.LIMIT_REACHED),
        (0, None, 403, Reason.NOT_IN_PLAN),
        (100, 429, 429, Reason.LIMIT_REACHED),
        (0, 429, 429, Reason.NOT_IN_PLAN),
    ],
)
def test_a_refusal_and_its_status(limit: int, status: int | None, expected: int, reason: Reason) -> None:
    made = decided(compiled(limit, status_code=status), used=limit, fits=False, admitted=False)
    assert (made.allowed, made.reason, made.status_code, made.message) == (False, reason, expected, "Enough.")
    assert made.remaining == 0


def test_a_step_that_fits_is_no_refusal_because_another_one_does_not() -> None:
    made = decided(compiled(), fits=True, admitted=False)
    assert made.allowed
    assert made.status_code == 200


def test_a_lifetime_never_resets() -> None:
    assert decided(compiled(), end=FOREVER).resets_at is None


def test_whoever_only_watches_lets_through_and_says_so() -> None:
    watching = compiled(3, enforce=False)
    assert decided(watching, used=3).reason is Reason.WITHIN_LIMIT
    over = decided(watching, used=4)
    assert (over.allowed, over.reason, over.status_code, over.message) == (True, Reason.SHADOW, 200, None)
    assert over.remaining == 0
    # Another loop refused: this call was not counted, so it is not one more than the limit.
    assert decided(watching, used=4, admitted=False).reason is Reason.WITHIN_LIMIT
    assert decided(watching, used=400, plan="paid").reason is Reason.UNLIMITED


def test_the_limit_is_the_one_that_was_held_against_the_count() -> None:
    made = decided(compiled(3), used=4, limit=5)
    assert (made.allowed, made.limit, made.remaining) == (True, 5, 1)
    refused = {"fits": False, "admitted": False}
    assert decided(compiled(0), used=0, limit=0, **refused).reason is Reason.NOT_IN_PLAN
    spent = decided(compiled(0), used=2, limit=2, **refused)
    assert (spent.reason, spent.status_code) == (Reason.LIMIT_REACHED, 402)


def test_who_only_watches_refuses_nobody_with_a_grant() -> None:
    watching = compiled(3, enforce=False)
    assert decided(watching, used=5, granted=2).reason is Reason.WITHIN_LIMIT
    over = decided(watching, used=6, granted=2)
    assert (over.reason, over.limit) == (Reason.SHADOW, 5)
    assert decided(watching, used=6, granted=2, plan="paid").limit is None


@given(
    limit=st.none() | st.integers(0, 10),
    used=st.integers(0, 12),
    fits=st.booleans(),
    admitted=st.booleans(),
    enforce=st.booleans(),
)
def test_only_an_enforced_step_that_does_not_fit_is_refused(
    limit: int | None, used: int, fits: bool, admitted: bool, enforce: bool
) -> None:
    one = (
        compiled(UNLIMITED if limit is None else limit, enforce=enforce)
        if limit is not None
        else compiled(enforce=enforce)
    )
    plan = "paid" if limit is None else "free"
    made = decided(one, used=used, plan=plan, fits=fits, admitted=admitted)
    assert made.allowed == (fits or not enforce)
    refused = would_refuse(one, limit, used, fits=fits, admitted=admitted)
    assert refused == (made.reason in (Reason.LIMIT_REACHED, Reason.NOT_IN_PLAN, Reason.SHADOW))
    assert (made.status_code >= 400) == (not made.allowed) == (made.message is not None)


def test_when_nothing_could_be_counted() -> None:
    made = unavailable(compiled(), "ada", "free", 3)
    assert (made.allowed, made.reason, made.used, made.limit, made.cost) == (
        True,
        Reason.STORAGE_UNAVAILABLE,
        0,
        100,
        3,
    )
    assert (made.window_start, made.resets_at, made.decided_at) == (None, None, None)
    assert unavailable(compiled(), "ada", "unheard-of", 1).limit is None


# -- the tightest of several -------------------------------------------------------------------------------

counts = st.tuples(st.booleans(), st.none() | st.integers(0, 10), st.integers(0, 12))


@given(st.lists(counts, min_size=1, max_size=6))
def test_the_tightest_is_a_refusal_or_else_has_the_least_left(
    several: list[tuple[bool, int | None, int]],
) -> None:
    made = []
    for fits, limit, used in several:
        one = compiled(5 if limit is None else limit)
        plan = "paid" if limit is None else "free"
        made.append(decided(one, used=used, plan=plan, fits=fits or limit is None, admitted=False))
    index = tightest(tuple(made))
    best = made[index]
    if any(not d.allowed for d in made):
        assert not best.allowed
    same = [d for d in made if d.allowed == best.allowed]
    left = [float("inf") if d.remaining is None else d.remaining for d in same]
    assert (float("inf") if best.remaining is None else best.remaining) == min(left)
    # Of equals the first, so that the answer does not depend on chance.
    ranked = [(d.allowed, float("inf") if d.remaining is None else d.remaining) for d in made]
    assert ranked.index(min(ranked)) == index


# -- warnings ----------------------------------------------------------------------------------------------


def test_thresholds_are_reached_not_passed() -> None:
    one = compiled(10, notify_at=(0.5, 0.8, 1.0))
    due = {used: crossed(one, "free", 10, used, ()) for used in range(11)}
    assert [used for used in due if due[used]] == list(range(5, 11))
    assert due[4] == ()
    assert due[5] == (0.5,)
    assert due[8] == (0.5, 0.8)
    assert due[10] == (0.5, 0.8, 1.0)


def test_what_was_told_is_not_told_again() -> None:
    one = compiled(10, notify_at=(0.5, 0.8))
    told = (notice_name(one, "free", 0.5),)
    assert told == ("freemium@0.5",)
    assert crossed(one, "free", 10, 9, told) == (0.8,)
    assert crossed(one, "free", 10, 9, (*told, notice_name(one, "free", 0.8))) == ()
    assert crossed(one, "free", 10, 9, ("other@0.5", "other@0.8")) == (0.5, 0.8)


def test_a_gauge_warns_of_each_plans_limit() -> None:
    gauge = condition.gauge(limit={"free": 3, "paid": 10}, meter="seats")
    block = action.block("All taken.", notify_at=(0.5,))
    loop = define_loop(type="freemium", steps=[step(condition=gauge, action=block)])
    one = compile_loops([loop])[0].steps[0]
    told = (notice_name(one, "free", 0.5),)
    assert crossed(one, "free", 3, 3, told) == ()
    assert crossed(one, "paid", 10, 8, told) == (0.5,)
    assert crossed(one, "paid", 10, 8, (*told, notice_name(one, "paid", 0.5))) == ()


def test_nobody_is_warned_of_no_limit_or_of_nothing() -> None:
    one = compiled(10, notify_at=(0.5,))
    assert crossed(one, "free", None, 10**9, ()) == ()
    assert crossed(one, "free", 0, 0, ()) == ()
    assert crossed(compiled(10), "free", 10, 10, ()) == ()


@pytest.mark.parametrize("limit", [3, 10, 100, 1000, 12_345])
def test_a_share_means_what_is_written(limit: int) -> None:
    """Not what binary fractions make of it: 7 of 100 is 0.07 although 0.07 * 100 is more than 7."""
    for percent in range(1, 101):
        one = compiled(limit, notify_at=(percent / 100,))
        reached = -(-limit * percent // 100)  # rounded up
        assert crossed(one, "free", limit, reached, ())
        assert not crossed(one, "free", limit, reached - 1, ())


def test_what_only_watches_remembers_under_a_name_of_its_own() -> None:
    one = compiled(10, notify_at=(0.5, 1.0), enforce=False)
    assert shadow_name(one) not in {one.key, *(notice_name(one, "free", share) for share, _ in one.warnings)}


# -- the hold-out ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5, 0.9])
def test_the_share_that_is_not_asked_is_the_share_that_was_wanted(share: float) -> None:
    among = 20_000
    out = sum(held_out(share, subject_digest("freemium", f"user-{n}")) for n in range(among))
    deviation = (share * (1 - share) / among) ** 0.5
    assert abs(out / among - share) < 4 * deviation


@given(subject=st.text(max_size=20), share=st.floats(0, 0.99), more=st.floats(0, 0.99))
def test_who_is_held_out_stays_so_and_a_larger_share_only_adds(
    subject: str, share: float, more: float
) -> None:
    low, high = sorted((share, more))
    digest = subject_digest("freemium", subject)
    assert held_out(low, digest) == held_out(low, digest)
    assert not held_out(low, digest) or held_out(high, digest)
    assert not held_out(0.0, digest)


def test_loops_divide_subjects_differently() -> None:
    groups = [
        [held_out(0.5, subject_digest(loop, f"user-{n}")) for n in range(1000)]
        for loop in ("first", "second")
    ]
    agreeing = sum(a == b for a, b in zip(*groups, strict=True))
    assert 400 < agreeing < 600


# -- use that is billed ------------------------------------------------------------------------------------


def paying_by_use(*, enforce: bool = True) -> CompiledStep:
    loop = define_loop(
        type="freemium",
        enforce=enforce,
        steps=[
            step(
                condition=condition.usage(
                    limit={"free": 10, "paid": billed(included=100, meter="calls", cap=500)}, period="30d"
                ),
                action=action.block("Upgrade."),
            )
        ],
    )
    return compile_loops([loop])[0].steps[0]


def test_a_cap_refuses_in_its_own_words() -> None:
    one = decided(paying_by_use(), used=500, plan="paid", limit=500, fits=False, admitted=False)
    assert (one.allowed, one.reason, one.status_code) == (False, Reason.CAP_REACHED, 402)
    assert one.message is not None
    assert "Upgrade" not in one.message


@pytest.mark.parametrize(("plan", "used", "units"), [("paid", 99, 0), ("paid", 130, 30), ("free", 9, 0)])
def test_units_beyond_those_included_are_billed(plan: str, used: int, units: int) -> None:
    one = decided(paying_by_use(), used=used, plan=plan)
    assert (one.billed_units, one.included) == (units, 100 if plan == "paid" else None)


def test_a_loop_that_only_watches_bills_nobody() -> None:
    assert paying_by_use().reported == ("paid",)
    assert paying_by_use(enforce=False).reported == ()


def test_those_who_pay_for_nothing_get_no_bill() -> None:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit={"free": billed(meter="calls")}, period="30d"),
                action=action.block("Upgrade."),
            )
        ],
    )
    (fault,) = compile_loops([loop])[0].plan_faults((), "free")
    assert "those who pay for nothing" in fault.given

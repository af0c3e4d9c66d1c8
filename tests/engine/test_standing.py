"""Which plan a customer's subscriptions give: the whole table, and that nothing else plays a part."""

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.standing import (
    KNOWN_STATUSES,
    PLAN_STATUSES,
    Keeping,
    PlanPolicy,
    Standing,
    Subscription,
    entitle,
)

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLANS = ("starter", "pro", "team")
GRACE = timedelta(days=14)
SECOND = timedelta(seconds=1)
POLICY = PlanPolicy(PLANS, "free", GRACE)


def subscription(
    number: str = "sub_1", status: str = "active", plan: str | None = "pro", **more: object
) -> Subscription:
    period = {"period_start": NOW - timedelta(days=3), "period_end": NOW + timedelta(days=27)}
    return Subscription(number, status, plan, **{**period, **more})  # type: ignore[arg-type] # keywords of mixed types


def entitled(*subscriptions: Subscription, grace: timedelta = GRACE, now: datetime = NOW) -> Standing:
    standing, warnings = entitle(subscriptions, PlanPolicy(PLANS, "free", grace), now=now)
    assert warnings == ()
    return standing


# Every status of Stripe's: the plan while it lasts, after the grace for late payment, and whether it pays.
TABLE = {
    "active": ("pro", "pro", True),
    "trialing": ("pro", "pro", False),
    "past_due": ("pro", "free", True),
    "unpaid": ("free", "free", False),
    "canceled": ("free", "free", False),
    "incomplete": ("free", "free", False),
    "incomplete_expired": ("free", "free", False),
    "paused": ("free", "free", False),
}
OPTIONS: tuple[Keeping, ...] = ("keep", "default")


def test_the_table_has_every_status_that_is_known() -> None:
    assert TABLE.keys() == KNOWN_STATUSES
    assert {status for status, row in TABLE.items() if row[0] == "pro"} == PLAN_STATUSES


@pytest.mark.parametrize("status", TABLE)
@pytest.mark.parametrize("paused_option", OPTIONS)
@pytest.mark.parametrize("disputed_option", OPTIONS)
def test_every_status_with_every_option_in_every_situation(
    status: str, paused_option: Keeping, disputed_option: Keeping
) -> None:
    within, after_grace, pays = TABLE[status]
    policy = PlanPolicy(PLANS, "free", GRACE, paused_option, disputed_option)
    for ends, lapsed, paused, disputed in product([False, True], repeat=4):
        one = subscription(
            status=status, collection_paused=paused, ends_at=NOW + timedelta(days=20) if ends else None
        )
        now = NOW - timedelta(days=3) + GRACE if lapsed else NOW
        found, warnings = entitle([one], policy, now=now, disputed=disputed)

        lost = (paused and paused_option == "default") or (disputed and disputed_option == "default")
        plan = "free" if lost else after_grace if lapsed else within
        grace_ends = status == "past_due" and not lapsed
        until = NOW - timedelta(days=3) + GRACE if grace_ends else one.ends_at
        expected = Standing("free") if plan == "free" else Standing(plan, until, pays, one)
        assert (found, warnings) == (expected, ()), (ends, lapsed, paused, disputed)


def test_one_subscription_whose_collection_is_paused_does_not_take_another_along() -> None:
    policy = PlanPolicy(PLANS, "free", GRACE, collection_paused="default")
    paused, other = subscription("sub_a", plan="team", collection_paused=True), subscription("sub_b")
    assert entitle([paused, other], policy, now=NOW)[0].plan == "pro"


def test_what_is_in_dispute_is_the_customers_whole_account_and_warnings_are_still_given() -> None:
    policy = PlanPolicy(PLANS, "free", GRACE, disputed="default")
    several = [subscription("sub_a"), subscription("sub_b", plan="team"), subscription("sub_c", plan="gold")]
    found, warnings = entitle(several, policy, now=NOW, disputed=True)
    assert (found, len(warnings)) == (Standing("free"), 1)


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_a_set_end_is_the_first_instant_without_the_plan(status: str) -> None:
    one = subscription(status=status, ends_at=NOW)
    assert entitled(one, now=NOW - SECOND).plan == "pro"
    assert entitled(one, now=NOW).plan == "free"


def test_the_grace_is_counted_from_the_start_of_the_unpaid_period() -> None:
    one = subscription(status="past_due", period_start=NOW)
    assert entitled(one, now=NOW + GRACE - SECOND) == Standing("pro", NOW + GRACE, True, one)
    assert entitled(one, now=NOW + GRACE) == Standing("free")


def test_the_grace_is_counted_once_however_many_periods_pass_unpaid() -> None:
    """Left past due for ever: each new period would begin another grace."""
    since = NOW - timedelta(days=30)
    for periods in range(3):
        start = since + timedelta(days=30 * periods)
        one = subscription(status="past_due", period_start=start, unpaid_since=since)
        assert entitled(one, now=start).plan == ("free" if periods else "pro")
    assert entitled(subscription(status="past_due", period_start=NOW), now=NOW).plan == "pro", "the control"


def test_a_charge_within_a_paid_period_gets_the_whole_grace() -> None:
    one = subscription(status="past_due", period_start=NOW - timedelta(days=25), unpaid_since=NOW)
    assert entitled(one, now=NOW) == Standing("pro", NOW + GRACE, True, one)


def test_a_set_end_within_the_grace_comes_first() -> None:
    soon = NOW + timedelta(days=1)
    assert entitled(subscription(status="past_due", period_start=NOW, ends_at=soon)).until == soon


def test_no_grace_means_no_plan_once_a_payment_is_late() -> None:
    one = subscription(status="past_due", period_start=NOW)
    assert entitled(one, grace=timedelta(0)) == Standing("free")


def test_a_late_payment_of_an_unknown_period_keeps_the_plan() -> None:
    assert entitled(subscription(status="past_due", period_start=None)).until is None


def test_nobody_without_subscriptions_holds_anything() -> None:
    assert entitled() == Standing("free")


@pytest.mark.parametrize("order", list(permutations(["starter", "pro", "team"])))
def test_of_several_plans_the_one_listed_last_wins_in_any_order(order: tuple[str, ...]) -> None:
    found = entitled(*(subscription(f"sub_{i}", plan=plan) for i, plan in enumerate(order)))
    assert found.plan == "team"


def test_a_better_plan_that_has_ended_does_not_hide_a_lesser_one_that_has_not() -> None:
    ended = subscription("sub_a", "canceled", "team")
    over = subscription("sub_b", ends_at=NOW, plan="team")
    assert entitled(ended, over, subscription("sub_c", plan="starter")).plan == "starter"


def test_of_two_on_one_plan_the_paid_one_counts_and_then_the_one_that_lasts() -> None:
    trial = subscription("sub_a", "trialing", ends_at=None)
    ending = subscription("sub_b", ends_at=NOW + SECOND)
    lasting = subscription("sub_c", ends_at=NOW + 2 * SECOND)
    endless = subscription("sub_d")
    for order in permutations([trial, ending, lasting, endless]):
        assert entitled(*order).subscription == endless
    for order in permutations([trial, ending, lasting]):
        assert entitled(*order).subscription == lasting


@pytest.mark.parametrize("status", ["", "Active", "frozen", "active "])
def test_an_unknown_status_gives_the_default_plan_and_a_warning(status: str) -> None:
    found, warnings = entitle([subscription(status=status)], POLICY, now=NOW)
    assert found == Standing("free")
    (warning,) = warnings
    assert "sub_1" in warning
    assert repr(status) in warning


@pytest.mark.parametrize("plan", [None, "gold"])
def test_a_price_that_maps_to_no_plan_gives_the_default_plan_and_a_warning(plan: str | None) -> None:
    found, warnings = entitle([subscription(plan=plan)], POLICY, now=NOW)
    assert found == Standing("free")
    (warning,) = warnings
    assert "price that maps to no plan" in warning


def test_a_price_that_means_the_default_plan_is_no_cause_for_a_warning() -> None:
    assert entitled(subscription(plan="free")) == Standing("free")


def test_a_warning_about_one_does_not_keep_another_from_counting() -> None:
    odd = subscription("sub_a", "frozen", "team")
    found, warnings = entitle([odd, subscription("sub_b")], POLICY, now=NOW)
    assert found.plan == "pro"
    assert len(warnings) == 1


def test_a_standing_past_its_end_is_the_default_plan() -> None:
    standing = Standing("pro", NOW, True, subscription())
    assert standing.at(NOW - SECOND, "free") is standing
    assert standing.at(NOW, "free") == Standing("free")
    assert Standing("pro").at(NOW, "free") == Standing("pro")


instants = st.none() | st.integers(-60, 60).map(lambda days: NOW + timedelta(days=days))
anything = st.builds(
    subscription,
    number=st.sampled_from(["sub_1", "sub_2", "sub_3", "sub_4"]),
    status=st.sampled_from([*sorted(KNOWN_STATUSES), "frozen"]),
    plan=st.none() | st.sampled_from([*PLANS, "free", "gold"]),
    period_start=instants,
    ends_at=instants,
    collection_paused=st.booleans(),
    unpaid_since=instants,
)


@given(st.lists(anything, max_size=4, unique_by=lambda one: one.id), st.randoms(use_true_random=False))
def test_the_order_of_the_subscriptions_and_of_the_clock_play_no_part(
    subscriptions: list[Subscription], chance: object
) -> None:
    shuffled = list(subscriptions)
    chance.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random, whose module is banned here
    first = entitle(subscriptions, POLICY, now=NOW)
    assert entitle(shuffled, POLICY, now=NOW) == first
    standing, _ = first
    assert standing.plan in (*PLANS, "free")
    assert standing.until is None or standing.until > NOW, "what has ended already is not held"
    assert standing.at(NOW, "free") == standing

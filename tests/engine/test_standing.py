"""Which plan a customer's subscriptions give: the whole table, and that nothing else plays a part."""

from datetime import UTC, datetime, timedelta
from itertools import permutations, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.standing import KNOWN_STATUSES, Standing, Subscription, entitle

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PLANS = ("starter", "pro", "team")
GRACE = timedelta(days=14)
SECOND = timedelta(seconds=1)


def subscription(
    number: str = "sub_1", status: str = "active", plan: str | None = "pro", **more: object
) -> Subscription:
    period = {"period_start": NOW - timedelta(days=3), "period_end": NOW + timedelta(days=27)}
    return Subscription(number, status, plan, **{**period, **more})  # type: ignore[arg-type] # keywords of mixed types


def entitled(*subscriptions: Subscription, grace: timedelta = GRACE, now: datetime = NOW) -> Standing:
    standing, warnings = entitle(subscriptions, plans=PLANS, default="free", grace=grace, now=now)
    assert warnings == ()
    return standing


# Every status of Stripe's: the plan while it lasts, after its set end, and after the grace for late payment.
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


def test_the_table_has_every_status_that_is_known() -> None:
    assert TABLE.keys() == KNOWN_STATUSES


@pytest.mark.parametrize(("status", "ends", "lapsed"), list(product(TABLE, [False, True], [False, True])))
def test_every_status_with_and_without_a_set_end_within_and_after_the_grace(
    status: str, ends: bool, lapsed: bool
) -> None:
    within, after_grace, paying = TABLE[status]
    ends_at = NOW + timedelta(days=20) if ends else None
    now = NOW - timedelta(days=3) + GRACE if lapsed else NOW
    found = entitled(subscription(status=status, ends_at=ends_at), now=now)

    assert found.plan == (after_grace if lapsed else within)
    assert found.paying is (paying and found.plan != "free")
    if status == "past_due" and not lapsed:
        assert found.until == NOW - timedelta(days=3) + GRACE, "the grace ends before the period does"
    elif found.plan != "free":
        assert found.until == ends_at
    assert (found.subscription is None) is (found.plan == "free")


@pytest.mark.parametrize("status", ["active", "trialing", "past_due"])
def test_a_set_end_is_the_first_instant_without_the_plan(status: str) -> None:
    one = subscription(status=status, ends_at=NOW)
    assert entitled(one, now=NOW - SECOND).plan == "pro"
    assert entitled(one, now=NOW).plan == "free"


def test_the_grace_is_counted_from_the_start_of_the_unpaid_period() -> None:
    one = subscription(status="past_due", period_start=NOW)
    assert entitled(one, now=NOW + GRACE - SECOND) == Standing("pro", NOW + GRACE, True, one)
    assert entitled(one, now=NOW + GRACE) == Standing("free")


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
    found, warnings = entitle(
        [subscription(status=status)], plans=PLANS, default="free", grace=GRACE, now=NOW
    )
    assert found == Standing("free")
    (warning,) = warnings
    assert "sub_1" in warning
    assert repr(status) in warning


@pytest.mark.parametrize("plan", [None, "gold"])
def test_a_price_that_maps_to_no_plan_gives_the_default_plan_and_a_warning(plan: str | None) -> None:
    found, warnings = entitle([subscription(plan=plan)], plans=PLANS, default="free", grace=GRACE, now=NOW)
    assert found == Standing("free")
    (warning,) = warnings
    assert "price that maps to no plan" in warning


def test_a_price_that_means_the_default_plan_is_no_cause_for_a_warning() -> None:
    assert entitled(subscription(plan="free")) == Standing("free")


def test_a_warning_about_one_does_not_keep_another_from_counting() -> None:
    odd = subscription("sub_a", "frozen", "team")
    found, warnings = entitle([odd, subscription("sub_b")], plans=PLANS, default="free", grace=GRACE, now=NOW)
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
)


@given(st.lists(anything, max_size=4, unique_by=lambda one: one.id), st.randoms(use_true_random=False))
def test_the_order_of_the_subscriptions_and_of_the_clock_play_no_part(
    subscriptions: list[Subscription], chance: object
) -> None:
    shuffled = list(subscriptions)
    chance.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis gives a random.Random, whose module is banned here
    first = entitle(subscriptions, plans=PLANS, default="free", grace=GRACE, now=NOW)
    assert entitle(shuffled, plans=PLANS, default="free", grace=GRACE, now=NOW) == first
    standing, _ = first
    assert standing.plan in (*PLANS, "free")
    assert standing.until is None or standing.until > NOW, "what has ended already is not held"
    assert standing.at(NOW, "free") == standing

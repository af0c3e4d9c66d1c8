"""Two subjects that turn out to be one: their counters, their bills, what they pay for."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions.units import LARGEST
from skene.engine.bill import Bill
from skene.engine.counter import Counter, charge, fits, present, room
from skene.engine.merging import Billing, Meter, bring_together, other_key, unite
from skene.engine.window import EPOCH, Anchored, Rolling

DAY = timedelta(days=1)
MONTH = 30 * DAY
START = EPOCH + 20_000 * DAY
RULE, ROLLING = Anchored(MONTH), Rolling(MONTH)


def window(day: int, used: int, **more: object) -> Counter:
    """A window of 30 days that opened on a day."""
    return Counter(START + day * DAY, START + day * DAY + MONTH, used, **more)  # type: ignore[arg-type]  # as given


def united(target: Counter | None, source: Counter, day: int) -> tuple[Counter, list[Counter]]:
    ours = Meter(target) if target else None
    result = unite(ours, Meter(source), START + day * DAY)
    return result.meter.counter, [meter.counter for meter in result.over]


def test_who_has_no_counter_gets_the_sources() -> None:
    assert united(None, window(0, 7), 1) == (window(0, 7), [])


def test_the_targets_window_stays_while_both_run() -> None:
    ours = window(0, 30, notices=("50%",), extra=2)
    theirs = window(5, 60, notices=("50%", "80%"), extra=3)
    assert united(ours, theirs, 6) == (window(0, 90, notices=("50%", "80%"), extra=5), [])


@pytest.mark.parametrize(
    ("target", "source", "kept", "over"),
    [
        ((0, 30), (25, 60), (25, 60), [(0, 30)]),
        ((25, 30), (0, 60), (25, 30), [(0, 60)]),
        ((0, 30), (1, 60), (0, 30), [(1, 60)]),
        ((0, 0), (25, 60), (25, 60), []),
        ((0, 30), (0, 60), (0, 90), []),
    ],
    ids=["the target's is over", "the source's is over", "both are over", "nothing was used", "one window"],
)
def test_windows_that_are_over(
    target: tuple[int, int], source: tuple[int, int], kept: tuple[int, int], over: list[tuple[int, int]]
) -> None:
    day = 40 if kept[0] < 25 else 31
    expected = window(*kept), [window(*one) for one in over]
    assert united(window(*target), window(*source), day) == expected


def test_no_number_is_too_large() -> None:
    counter, _ = united(window(0, LARGEST, extra=LARGEST), window(0, LARGEST, extra=9), 1)
    assert (counter.used, counter.extra) == (LARGEST, LARGEST)


def test_a_counter_that_used_to_roll() -> None:
    """One side has parts and the other one window, as after a change of the period."""
    at = START + DAY
    parts = ((at, 5), (at + DAY, 0))
    rolling = Counter(at, at + MONTH, 5, parts)
    mixed, _ = united(window(0, 7), rolling, 3)
    assert (mixed.used, mixed.parts, mixed.start) == (12, ((START, 7), (at, 5)), START)
    assert united(rolling, window(0, 7), 3)[0].parts == mixed.parts


def test_rolling_windows_that_are_both_over() -> None:
    counters = [Counter(at, at + MONTH, 5, ((at, 5),), ("80%",), 2) for at in (START, START + DAY)]
    for target, source in (counters, reversed(counters)):
        counter, over = united(target, source, 90)
        assert (counter.used, counter.start, counter.notices, counter.extra) == (0, START + DAY, (), 0)
        assert over == []


USES = st.lists(st.tuples(st.booleans(), st.integers(0, 20), st.integers(1, 40)), max_size=12)


@given(USES, st.sampled_from([RULE, ROLLING]), st.integers(0, 60), st.integers(0, 100))
def test_nothing_is_forgiven_and_nothing_admitted_beyond_the_sum(
    uses: list[tuple[bool, int, int]], rule: Anchored | Rolling, later: int, limit: int
) -> None:
    """The room left is that of one counter which has what both have now."""
    counters: dict[bool, Counter | None] = {True: None, False: None}
    now = START
    for who, days, cost in uses:
        now += days * DAY
        counters[who], _ = charge(present(counters[who], rule, now), rule, now, cost)
    target, source = counters[True], counters[False]
    if source is None:
        return
    whole = unite(Meter(target) if target else None, Meter(source), now).meter.counter
    apart = [present(one, rule, now).used for one in counters.values()]
    assert present(whole, rule, now).used == sum(apart)
    assert room(present(whole, rule, now), limit) == max(0, limit - sum(apart))
    now += later * DAY
    if isinstance(rule, Rolling):  # each part leaves in its own time
        assert present(whole, rule, now).used == sum(
            present(one, rule, now).used for one in counters.values()
        )
    else:
        left = present(whole, rule, now)
        assert left.used in (0, whole.used)
        assert fits(left, limit, 1) == (left.used < limit)


BILLED = Bill(True, 20, START, 3)


@pytest.mark.parametrize(
    ("target", "source", "kept", "over"),
    [
        # target's and source's day, used and bill, and what becomes of them on day 29
        ((0, 50, BILLED), (0, 30, Bill(False, 5, START, 4)), Bill(True, 25, START, 4), []),
        ((0, 50, Bill(reports=2)), (5, 30, Bill(False, 5, START + 5 * DAY, 1)), Bill(True, 5, START, 2), []),
        ((0, 50, Bill(reports=2)), (5, 30, Bill()), Bill(reports=2), []),
        ((0, 50, Bill(False, 9, START, 1)), (5, 30, Bill()), Bill(True, 9, START, 1), []),
    ],
    ids=["both are billed", "the source is billed", "neither is", "the target is billed"],
)
def test_what_was_reported_is_known_to_be(
    target: tuple[int, int, Bill], source: tuple[int, int, Bill], kept: Bill, over: list[Bill]
) -> None:
    ours, theirs = (Meter(window(day, used), bill) for day, used, bill in (target, source))
    result = unite(ours, theirs, START + 29 * DAY)
    assert (result.meter.bill, [meter.bill for meter in result.over]) == (kept, over)


def test_a_window_that_is_over_takes_its_bill_along() -> None:
    running = Bill(True, 4, START + 25 * DAY, 1)
    ours, theirs = Meter(window(0, 50), BILLED), Meter(window(25, 30), running)
    for target, source in ((ours, theirs), (theirs, ours)):
        result = unite(target, source, START + 31 * DAY)
        assert result.meter == Meter(window(25, 30), Bill(True, 4, START + 25 * DAY, 3))
        assert result.over == (Meter(window(0, 50), BILLED),)


def test_everything_given_back_is_still_owed_to_the_customer() -> None:
    result = unite(Meter(window(0, 0), BILLED), Meter(window(40, 5)), START + 41 * DAY)
    assert result.over == (Meter(window(0, 0), BILLED),)


def test_what_an_older_release_did_not_note_is_made_up_for() -> None:
    """It has moved the window on from day 0 to day 40, and left what was reported before."""
    result = unite(Meter(window(40, 5), BILLED), Meter(window(40, 6)), START + 41 * DAY)
    assert result.meter == Meter(window(40, 11), Bill(reports=3))
    assert result.over == (Meter(Counter(START, START + 40 * DAY), BILLED),)


def test_rolling_windows_keep_count_of_reports() -> None:
    rolling = Counter(START, START + MONTH, 5, ((START, 5),))
    assert unite(Meter(rolling, Bill(reports=2)), Meter(rolling), START).meter.bill == Bill(reports=2)


NOBODY, FREE, PAYS = Billing(), Billing("cus_1"), Billing("cus_2", holds_more=True)
BY_HAND = Billing(None, holds_more=True)


@pytest.mark.parametrize(
    ("target", "source", "tie", "plan"),
    [
        (NOBODY, NOBODY, False, False),
        (NOBODY, FREE, True, False),
        (NOBODY, PAYS, True, True),
        (NOBODY, BY_HAND, False, True),
        (FREE, NOBODY, False, False),
        (FREE, FREE, False, False),
        (FREE, PAYS, True, True),
        (FREE, BY_HAND, False, True),
        (PAYS, NOBODY, False, False),
        (PAYS, FREE, False, False),
        (PAYS, PAYS, False, False),
        (PAYS, BY_HAND, False, False),
        (BY_HAND, NOBODY, False, False),
        (BY_HAND, FREE, True, False),
        (BY_HAND, PAYS, True, True),
        (BY_HAND, BY_HAND, False, False),
    ],
)
def test_whoever_pays_is_heard(target: Billing, source: Billing, tie: bool, plan: bool) -> None:
    assert bring_together(target, source) == (tie, plan)


def test_a_key_that_is_taken() -> None:
    keys = {other_key(source, key) for source in ("visitor", "ada") for key in ("a", "b")}
    assert len(keys) == 4
    assert "visitor" not in str(keys)
    assert other_key("visitor", "a").endswith(":a")

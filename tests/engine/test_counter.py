"""What a charge and a give-back do to a counter, held against a log of every use."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions.units import LARGEST
from skene.engine.counter import Counter, after_merge, charge, give_back, present
from skene.engine.window import EPOCH, FOREVER, ROLLING_PARTS, Anchored, Edges, Rolling, WindowRule

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
LIMIT = 10

# Steps of time and what happens after them: a cost to take, or 0 to give the oldest charge back.
STEPS = st.lists(
    st.tuples(
        st.one_of(
            st.timedeltas(timedelta(0), timedelta(minutes=5)),
            st.timedeltas(timedelta(0), timedelta(hours=3)),
            st.sampled_from([timedelta(0), MICROSECOND, HOUR - MICROSECOND, HOUR, timedelta(minutes=1)]),
        ),
        st.integers(0, 4),
    ),
    max_size=60,
)
LENGTHS = st.sampled_from([HOUR, timedelta(seconds=1), timedelta(minutes=7, microseconds=1)])


@given(STEPS, LENGTHS)
def test_rolling_against_a_log(steps: list[tuple[timedelta, int]], length: timedelta) -> None:
    """Never over the limit in any trailing window; exactly the parts whose last instant is still in it."""
    rule, now = Rolling(length), START
    counter: Counter | None = None
    log: list[tuple[datetime, datetime, int]] = []  # when, receipt, cost
    for step, cost in steps:
        now += step
        counter = present(counter, rule, now)
        if cost == 0 and log:
            _, at, units = log.pop(0)
            counter = give_back(counter, at, units) or counter
        elif cost and counter.used + cost <= LIMIT:
            counter, at = charge(counter, rule, now, cost)
            assert at == rule.part_at(now)
            log.append((now, at, cost))
        counted = present(counter, rule, now).used
        assert counted == sum(c for _, at, c in log if at + rule.part + length > now)
        assert sum(c for when, _, c in log if when > now - length) <= counted <= LIMIT
        assert len(counter.parts) <= ROLLING_PARTS + 2


@given(STEPS)
def test_anchored_against_a_log(steps: list[tuple[timedelta, int]]) -> None:
    """Exactly the uses of the running window, which opened with one and lasts exactly its length."""
    rule, now = Anchored(HOUR), START
    counter: Counter | None = None
    log: list[tuple[datetime, int]] = []
    for step, cost in steps:
        now += step
        counter = present(counter, rule, now)
        if cost and counter.used + cost <= LIMIT:
            counter, at = charge(counter, rule, now, cost)
            assert at == counter.start
            log.append((now, cost))
        assert counter.end == counter.start + HOUR
        assert counter.start <= now < counter.end
        assert counter.used == sum(c for when, c in log if when >= counter.start) <= LIMIT


@given(
    st.lists(
        st.tuples(st.timedeltas(timedelta(hours=-3), timedelta(hours=3)), st.integers(1, 4)), max_size=40
    ),
    st.sampled_from([Anchored(HOUR), Rolling(HOUR), Edges((START, START + HOUR, START + 2 * HOUR))]),
)
def test_a_clock_that_steps_back_frees_nothing(steps: list[tuple[timedelta, int]], rule: WindowRule) -> None:
    now = START
    counter: Counter | None = None
    for step, cost in steps:
        now += step
        before, counter = counter, present(counter, rule, now)
        if before is not None and step <= timedelta(0):
            assert counter.used == before.used
            assert (counter.start, counter.end) == (before.start, before.end)
        assert now < counter.end
        assert before is None or counter.start >= before.start or counter.parts
        if counter.used + cost <= LIMIT:
            counter, _ = charge(counter, rule, now, cost)


@pytest.mark.parametrize("rule", [Anchored(HOUR), Edges((START, START + HOUR)), Rolling(HOUR)])
def test_a_window_is_half_open(rule: WindowRule) -> None:
    counter, _ = charge(present(None, rule, START), rule, START, 3)
    assert present(counter, rule, counter.end - MICROSECOND).used == 3
    fresh = present(counter, rule, counter.end)
    assert (fresh.used, fresh.parts, fresh.notices) == (0, (), ())
    assert fresh.start <= counter.end < fresh.end


def test_a_lifetime_is_one_window() -> None:
    rule = Edges(())
    counter, at = charge(present(None, rule, START), rule, START, 1)
    assert (counter.start, counter.end, at) == (EPOCH, FOREVER, EPOCH)
    assert present(counter, rule, START + timedelta(days=99_999)) == counter


def test_edges_that_moved() -> None:
    running = Counter(START, START + 2 * HOUR, 7, notices=("a",))
    later = Edges((START + HOUR,))
    assert present(running, later, START + HOUR - MICROSECOND) is running
    assert present(running, later, START + HOUR) == Counter(START + HOUR, FOREVER)
    assert present(running, Edges((), billing_cycle=True), START + HOUR, (START + HOUR,)).used == 0
    assert present(running, Edges((START - HOUR,)), START + HOUR) is running


def test_a_rolling_counter_becomes_a_fixed_one() -> None:
    rolling = Rolling(HOUR)
    counter, _ = charge(present(None, rolling, START), rolling, START, 2)
    counter, at = charge(present(counter, rolling, START + HOUR / 2), rolling, START + HOUR / 2, 3)
    fixed = present(counter, Anchored(HOUR), START + HOUR / 2)
    assert (fixed.used, fixed.parts) == (5, ())
    fixed, opened = charge(fixed, Anchored(HOUR), START + HOUR / 2, 1)
    assert give_back(fixed, at, 3) is None  # too late for a part: the units stay charged
    returned = give_back(fixed, opened, 1)
    assert returned is not None
    assert returned.used == 5


def test_a_fixed_counter_becomes_a_rolling_one() -> None:
    fixed, at = charge(present(None, Anchored(HOUR), START), Anchored(HOUR), START, 2)
    rolling = present(fixed, Rolling(HOUR), START + HOUR / 2)
    assert (rolling.used, rolling.parts) == (2, ((START, 2),))
    rolling, _ = charge(rolling, Rolling(HOUR), START + HOUR / 2, 3)
    returned = give_back(rolling, at, 2)
    assert returned is not None
    assert present(returned, Rolling(HOUR), START + HOUR / 2).used == 3
    unused = Counter(START, START + HOUR)
    assert present(unused, Rolling(HOUR), START + HOUR / 2).start == Rolling(HOUR).part_at(START + HOUR / 2)


def test_giving_back() -> None:
    counter = Counter(START, START + HOUR, 5, notices=("a",))
    assert give_back(counter, START, 3) == Counter(START, START + HOUR, 2, notices=("a",))
    assert give_back(counter, START, 9) == Counter(START, START + HOUR, 0, notices=("a",))
    assert give_back(counter, START - MICROSECOND, 1) is None
    parts = Counter(START, START + 2 * HOUR, 5, ((START, 2), (START + HOUR, 3)))
    assert give_back(parts, START, 9) == Counter(START, START + 2 * HOUR, 3, ((START, 0), (START + HOUR, 3)))
    assert give_back(parts, START + MICROSECOND, 1) is None


def test_warnings_last_as_long_as_the_window() -> None:
    counter = Counter(START, START + HOUR, 5, notices=("a",))
    assert charge(present(counter, Anchored(HOUR), START), Anchored(HOUR), START, 1)[0].notices == ("a",)
    assert present(counter, Anchored(HOUR), START + HOUR).notices == ()
    rule = Rolling(HOUR)
    sliding = Counter(START, START + HOUR + rule.part, 5, ((START, 2), (START + HOUR / 2, 3)), ("a",))
    assert present(sliding, rule, START + HOUR + rule.part).notices == ("a",)
    assert present(sliding, rule, START + 2 * HOUR).notices == ()


DAY = timedelta(days=1)
MERGED = START + 10 * DAY
THEIRS = Counter(START + 5 * DAY, START + 35 * DAY, 7)


@pytest.mark.parametrize(
    ("counter", "at", "expected"),
    [
        (THEIRS, START, THEIRS.start),  # the window that was running went into this one
        (THEIRS, MERGED, THEIRS.start),
        (THEIRS, MERGED + MICROSECOND, MERGED + MICROSECOND),  # charged later: to nobody who was merged
        (THEIRS, MERGED - 30 * DAY, MERGED - 30 * DAY),  # its window was over
        (THEIRS, MERGED - 30 * DAY + MICROSECOND, THEIRS.start),
        (THEIRS, THEIRS.start, THEIRS.start),
        (Counter(MERGED + DAY, MERGED + 31 * DAY, 7), START, START),  # the next window has opened since
        (
            Counter(THEIRS.start, THEIRS.end, 7, ((START, 7),)),
            START + DAY,
            START + DAY,
        ),  # parts keep their names
    ],
)
def test_what_was_charged_to_one_who_was_merged(counter: Counter, at: datetime, expected: datetime) -> None:
    assert after_merge(counter, at, MERGED) == expected


def test_use_is_no_wider_than_a_databases_integers() -> None:
    """Where nothing limits, costs may add up to more."""
    counter, _ = charge(Counter(START, START + HOUR, LARGEST - 1), Anchored(HOUR), START, 2)
    assert counter.used == LARGEST

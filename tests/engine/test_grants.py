"""What grants pay, in which order they are spent, and how they come back."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.definitions.units import LARGEST
from skene.engine.counter import (
    Counter,
    charge,
    drawn,
    fits,
    give_back,
    present,
    reported,
    returned,
    room,
)
from skene.engine.grants import Pot, draw, put_back, unspent
from skene.engine.window import Anchored, Edges, Rolling, WindowRule

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)
LIMIT = 4

RULES: list[WindowRule] = [Anchored(HOUR), Rolling(HOUR), Edges((START, START + HOUR, START + 2 * HOUR))]


def test_a_pot_is_good_until_its_end() -> None:
    pots = [Pot(1, 5, 2), Pot(2, 3, expires_at=START), Pot(3, 2, 2)]
    assert unspent(pots, START - MICROSECOND) == 6
    assert unspent(pots, START) == 3
    assert unspent([], START) == 0


def test_the_order_of_spending() -> None:
    never, late, soon, soon_too = (
        Pot(1, 2),
        Pot(2, 2, expires_at=START + HOUR),
        *(Pot(number, 2, expires_at=START + HOUR / 2) for number in (3, 4)),
    )
    pots = [never, late, soon_too, soon]
    assert [(p.number, p.spent, p.spent_at) for p in draw(pots, 5, START)] == [
        (3, 2, START),
        (4, 2, START),
        (2, 1, START),
    ]
    assert [p.number for p in draw(pots, 8, START)] == [3, 4, 2, 1]
    assert draw(pots, 0, START) == ()
    assert [p.number for p in draw(pots, 3, START + HOUR / 2)] == [2, 1]


def test_the_order_of_giving_back() -> None:
    before = Pot(1, 2, 2, None, START)
    after = Pot(2, 2, 2, START + HOUR, START + MICROSECOND)
    at_once = Pot(3, 2, 1, START + HOUR / 2, START + MICROSECOND)
    untouched = Pot(4, 2)
    pots = [before, at_once, untouched, after]
    assert [(p.number, p.spent) for p in put_back(pots, 4)] == [(2, 0), (3, 0), (1, 1)]
    assert put_back(pots, 0) == ()
    assert [p.spent for p in put_back(pots, 99)] == [0, 0, 0]


def test_what_grants_paid_takes_no_room() -> None:
    counter = Counter(START, START + HOUR, 6, extra=3)
    assert [room(counter, limit) for limit in (0, 3, 4, 9)] == [0, 0, 1, 6]
    assert fits(counter, 4, 1)
    assert not fits(counter, 4, 2)
    assert fits(counter, 4, 3, granted=2)
    assert not fits(counter, 4, 4, granted=2)
    assert fits(counter, None, 10**6)
    assert [drawn(counter, 4, cost) for cost in (1, 2, 5)] == [0, 1, 4]
    assert drawn(counter, None, 5) == 0


@pytest.mark.parametrize(
    ("limit", "granted", "expected"),
    [
        (4, 0, 7),
        (4, 2, 9),
        (None, 5, None),
        (2, 0, 5),  # lowered below what the plan has paid for: nothing is left
        (2, 2, 8),  # but what is granted
        (LARGEST, 1, LARGEST),
    ],
)
def test_the_limit_people_are_told(limit: int | None, granted: int, expected: int | None) -> None:
    assert reported(Counter(START, START + HOUR, 6, extra=3), limit, granted) == expected


def test_giving_back_starts_with_what_was_granted() -> None:
    counter = Counter(START, START + HOUR, 6, extra=3)
    for cost, used, extra in ((1, 5, 2), (3, 3, 0), (5, 1, 0), (9, 0, 0)):
        left = give_back(counter, START, cost)
        assert left == Counter(START, START + HOUR, used, extra=extra)
        assert returned(counter, left, START, START) == 3 - extra
        assert returned(counter, left, START, START + HOUR - MICROSECOND) == 3 - extra
        assert returned(counter, left, START, START + HOUR) == 0


def test_a_part_returns_no_more_than_it_holds() -> None:
    rule = Rolling(HOUR)
    parts = ((START, 1), (START + rule.part, 3))
    counter = Counter(START, START + HOUR + rule.part, 4, parts, extra=3)
    left = give_back(counter, START, 3)
    assert left is not None
    assert (left.used, left.extra) == (3, 2)
    over = START + rule.part + HOUR
    assert returned(counter, left, START, over - MICROSECOND) == 1
    assert returned(counter, left, START, over) == 0


def test_what_leaves_a_rolling_window_was_granted_first() -> None:
    rule = Rolling(HOUR)
    parts = ((START, 2), (START + 9 * rule.part, 3))
    counter = Counter(START, START + HOUR + rule.part, 5, parts, extra=3)
    later = present(counter, rule, START + HOUR + rule.part)
    assert (later.used, later.extra) == (3, 1)
    assert present(Counter(START, counter.end, 5, parts, extra=1), rule, later.end).extra == 0


@pytest.mark.parametrize("rule", RULES)
def test_a_new_window_has_nothing_of_the_old_ones(rule: WindowRule) -> None:
    counter, _ = charge(present(None, rule, START), rule, START, 3, 2)
    assert (counter.used, counter.extra) == (3, 2)
    assert present(counter, rule, counter.end - MICROSECOND).extra == 2
    assert present(counter, rule, counter.end) == present(None, rule, counter.end)


STEPS = st.lists(
    st.tuples(
        st.one_of(st.just(timedelta(0)), st.timedeltas(timedelta(0), HOUR)),
        st.integers(0, 6),  # a cost to take; 0 gives the latest charge back
    ),
    max_size=60,
)
POTS = st.lists(st.tuples(st.integers(1, 9), st.none() | st.timedeltas(timedelta(0), 9 * HOUR)), max_size=4)


@given(STEPS, POTS, st.sampled_from(RULES))
def test_never_more_than_the_limit_and_what_was_granted(
    steps: list[tuple[timedelta, int]], granted: list[tuple[int, timedelta | None]], rule: WindowRule
) -> None:
    pots = {
        number: Pot(number, units, expires_at=None if lasts is None else START + lasts)
        for number, (units, lasts) in enumerate(granted)
    }
    now, counter = START, present(None, rule, START)
    log: list[tuple[datetime, datetime, int, int]] = []  # when, receipt, cost, of it paid by grants
    for step, cost in steps:
        now += step
        counter = present(counter, rule, now)
        left = unspent(pots.values(), now)
        told = reported(counter, LIMIT, left)
        assert told is not None
        assert fits(counter, LIMIT, cost, left) == (cost <= told - counter.used)
        if cost == 0 and log:
            _, at, units, paid = log.pop()
            after = give_back(counter, at, units)
            if after is not None:
                back = returned(counter, after, at, now)
                pots |= {pot.number: pot for pot in put_back(list(pots.values()), back)}
                counter = after
        elif fits(counter, LIMIT, cost, left):
            paid = drawn(counter, LIMIT, cost)
            changed = draw(list(pots.values()), paid, now)
            assert sum(pot.spent - pots[pot.number].spent for pot in changed) == paid
            pots |= {pot.number: pot for pot in changed}
            counter, at = charge(counter, rule, now, cost, paid)
            log.append((now, at, cost, paid))
        assert 0 <= counter.extra <= counter.used
        assert counter.used - counter.extra <= LIMIT
        assert all(0 <= pot.spent <= pot.units for pot in pots.values())
        if isinstance(rule, Rolling):
            in_window = sum(cost for when, _, cost, _ in log if when > now - HOUR)
            assert in_window <= LIMIT + sum(pot.spent for pot in pots.values())

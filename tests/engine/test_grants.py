"""Grants: which pot is spent first, how units come back, and what a limit is with them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from skene.engine.counter import Counter, charge, drawn, fits, give_back, present, reported, returned, room
from skene.engine.grants import Pot, draw, put_back, unspent
from skene.engine.window import Anchored, Rolling

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Anchored(timedelta(days=1))


def after(pots: tuple[Pot, ...], changed: tuple[Pot, ...]) -> tuple[Pot, ...]:
    new = {pot.number: pot for pot in changed}
    return tuple(new.get(pot.number, pot) for pot in pots)


def test_what_expires_first_is_spent_first_and_of_equals_the_oldest() -> None:
    late, ever, soon = Pot(1, 5, expires_at=NOW + 2 * HOUR), Pot(2, 5), Pot(3, 5, expires_at=NOW + HOUR)
    changed = draw((late, ever, soon, Pot(4, 5)), 12, NOW)
    assert [(pot.number, pot.spent, pot.spent_at) for pot in changed] == [
        (3, 5, NOW),
        (1, 5, NOW),
        (2, 2, NOW),
    ]


def test_what_is_spent_or_over_is_left_alone() -> None:
    pots = (Pot(1, 5, spent=5), Pot(2, 5, expires_at=NOW), Pot(3, 5, spent=4))
    assert [pot.active(NOW) for pot in pots] == [False, False, True]
    assert unspent(pots, NOW) == 1
    assert draw(pots, 1, NOW) == (replace(pots[2], spent=5, spent_at=NOW),)
    assert draw(pots, 0, NOW) == ()


def test_units_come_back_to_the_pot_that_was_spent_from_last() -> None:
    pots = (
        Pot(1, 5, spent=5, spent_at=NOW - HOUR, expires_at=NOW - HOUR),
        Pot(2, 5, spent=2, spent_at=NOW),
        Pot(3, 5),
    )
    assert [(pot.number, pot.spent) for pot in put_back(pots, 3)] == [(2, 0), (1, 4)]
    assert [(pot.number, pot.spent) for pot in put_back(pots, 1)] == [(2, 1)]
    assert put_back(pots, 0) == ()


sizes = st.lists(st.tuples(st.integers(1, 9), st.none() | st.integers(0, 5)), max_size=5)


@given(sizes=sizes, units=st.integers(0, 30))
def test_what_is_drawn_and_put_back_was_never_gone(sizes: list[tuple[int, int | None]], units: int) -> None:
    pots = tuple(
        Pot(number, size, expires_at=None if hours is None else NOW + hours * HOUR)
        for number, (size, hours) in enumerate(sizes)
    )
    units = min(units, unspent(pots, NOW))
    spent = after(pots, draw(pots, units, NOW))
    assert unspent(pots, NOW) - unspent(spent, NOW) == units
    assert all(0 <= pot.spent <= pot.units for pot in spent)
    back = after(spent, put_back(spent, units))
    assert [pot.spent for pot in back] == [0] * len(pots)


# -- with a counter ----------------------------------------------------------------------------------------


def test_the_plan_pays_first_and_grants_the_rest() -> None:
    counter = present(None, DAY, NOW)
    assert (room(counter, 10), drawn(counter, 10, 12), drawn(counter, None, 12)) == (10, 2, 0)
    assert not fits(counter, 10, 12)
    assert not fits(counter, 10, 12, granted=1)
    assert fits(counter, 10, 12, granted=2)
    assert fits(counter, None, 12)
    counter, at = charge(counter, DAY, NOW, 12, extra=2)
    assert (counter.used, counter.extra, room(counter, 10)) == (12, 2, 0)
    assert reported(counter, 10) == 12
    assert reported(counter, 10, granted=3) == 15
    assert reported(counter, None, granted=3) is None
    back = give_back(counter, at, 3)
    assert back is not None
    assert (back.used, back.extra, room(back, 10)) == (9, 0, 1)
    assert returned(counter, back, at, NOW) == 2
    assert returned(counter, back, at, NOW + DAY.length) == 0


def test_a_limit_that_was_lowered_below_the_use_still_leaves_what_was_granted() -> None:
    counter, _ = charge(present(None, DAY, NOW), DAY, NOW, 8)
    assert reported(counter, 5) == 5
    assert reported(counter, 5, granted=3) == 11


def test_a_rolling_window_returns_what_grants_paid_first() -> None:
    rule = Rolling(HOUR)
    counter, at = charge(present(None, rule, NOW), rule, NOW, 3, extra=1)
    counter, later = charge(counter, rule, NOW + HOUR / 2, 2, extra=2)
    back = give_back(counter, later, 2)
    assert back is not None
    assert (back.used, back.extra) == (3, 1)
    assert isinstance(present(back, rule, at + 3 * HOUR), Counter)

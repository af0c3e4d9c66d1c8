"""How many units a process takes at a time, and how long it may spend them."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.counter import Counter, charge, fits, present, reported, room
from skene.engine.leasing import LIFE, block, lasts, leaves_room
from skene.engine.window import EPOCH, FOREVER, Anchored, Edges, Rolling

NOW = EPOCH + timedelta(days=20_000, seconds=1.5)
SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("limit", "granted", "units"),
    [
        (None, 0, 50),
        (1000, 0, 50),
        (499, 0, 49),
        (100, 0, 10),
        (5, 0, 0),
        (0, 0, 0),
        (600, 500, 10),
        (2, 9, 0),
    ],
)
def test_a_block_is_a_tenth_of_what_the_plan_admits(limit: int | None, granted: int, units: int) -> None:
    assert block(50, limit, granted) == units


@pytest.mark.parametrize(
    ("used", "units"), [(0, 50), (900, 50), (901, 49), (998, 1), (999, 0), (1000, 0), (1500, 0)]
)
def test_a_block_is_at_most_half_of_what_is_left(used: int, units: int) -> None:
    assert block(50, 1000, 0, used) == units
    assert block(50, 1300, 300, used) == units
    assert block(50, None, 0, used) == 50


@given(
    limit=st.integers(0, 50), granted=st.integers(0, 50), before=st.integers(0, 80), units=st.integers(1, 30)
)
def test_where_room_is_left_no_grant_has_paid(limit: int, granted: int, before: int, units: int) -> None:
    rule = Anchored(timedelta(days=1))
    counter = present(Counter(NOW, NOW + timedelta(days=1), before, extra=max(0, before - limit)), rule, NOW)
    if not fits(counter, limit, units, granted):
        return
    drawn = max(0, units - room(counter, limit))
    after, _ = charge(counter, rule, NOW, units, drawn)
    told = reported(after, limit, granted - drawn)
    if leaves_room(told, granted - drawn, after.used):
        assert drawn == 0
    assert leaves_room(None, granted, after.used)


def test_it_lives_ten_seconds_and_never_beyond_its_window() -> None:
    assert lasts(Anchored(timedelta(days=30)), NOW, NOW + timedelta(days=30), NOW) == LIFE
    assert lasts(Edges(()), EPOCH, FOREVER, NOW) == LIFE
    assert lasts(Anchored(timedelta(seconds=7)), NOW - SECOND, NOW + 6 * SECOND, NOW) == 6 * SECOND


def test_in_a_rolling_window_it_ends_with_its_part() -> None:
    rule = Rolling(timedelta(minutes=1))
    at = rule.part_at(NOW)
    assert lasts(rule, at, at + timedelta(minutes=2), NOW) == SECOND / 2
    assert lasts(Rolling(timedelta(days=30)), NOW, NOW + timedelta(days=40), NOW) == LIFE

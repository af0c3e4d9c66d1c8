"""The real clock, and the one in a test's hands."""

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from skene.adapters.system import SystemClock
from skene.definitions import DefinitionError
from skene.ports.clock import Clock
from skene.testing.clock import ManualClock

CLOCKS: list[Clock] = [SystemClock(), ManualClock()]


@pytest.mark.parametrize("clock", CLOCKS)
def test_time_is_aware_utc(clock: Clock) -> None:
    assert clock.now().tzinfo is UTC


@pytest.mark.parametrize("clock", CLOCKS)
def test_ids_are_short_plain_and_never_the_same(clock: Clock) -> None:
    ids = [clock.new_id() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert all(re.fullmatch("[0-9a-z_-]{1,40}", each) for each in ids)


@pytest.mark.parametrize("clock", CLOCKS)
def test_chances_fill_the_unit_interval(clock: Clock) -> None:
    chances = [clock.chance() for _ in range(2_000)]
    assert all(0 <= chance < 1 for chance in chances)
    assert len(set(chances)) == 2_000
    assert {int(chance * 10) for chance in chances} == set(range(10))


def test_ids_sort_by_time_and_cannot_be_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, instant = SystemClock(), datetime(2026, 1, 1, tzinfo=UTC)
    ids: list[str] = []
    for n in range(40):
        now = instant + timedelta(microseconds=7**n if n < 18 else 7**18 + n)
        monkeypatch.setattr(clock, "now", lambda now=now: now)
        ids.append(clock.new_id())
    assert ids == sorted(ids)
    again = clock.new_id()
    same = sum(one == other for one, other in zip(again, ids[-1], strict=True))
    assert again != ids[-1]
    assert same < 24  # of the 32 characters 19 or 20 are chance


def test_real_time_passes() -> None:
    clock = SystemClock()
    assert clock.now() <= clock.now()
    assert abs(clock.now() - datetime.now(UTC)) < timedelta(seconds=5)  # noqa: TID251 - the clock under test


def test_manual_time_stands_still_until_it_is_moved() -> None:
    start = datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2)))
    clock = ManualClock(start)
    assert clock.now() == clock.now() == start
    assert clock.now().tzinfo is UTC
    assert clock.advance("1h30m") == start + timedelta(hours=1, minutes=30)
    assert clock.advance(timedelta(microseconds=1)) == clock.now()
    assert clock.advance(timedelta(days=-2)) < start
    clock.set(start)
    assert clock.now() == start


def test_manual_clocks_are_told_what_they_can_do() -> None:
    clock = ManualClock()
    with pytest.raises(DefinitionError, match="duration"):
        clock.advance("1 fortnight")
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what the clock must refuse
    for refused in (lambda: ManualClock(naive), lambda: clock.set(naive)):
        with pytest.raises(ValueError, match="no time zone"):
            refused()


def test_manual_clocks_repeat_themselves() -> None:
    one, other, third = ManualClock(), ManualClock(), ManualClock(seed="x")
    assert [one.new_id() for _ in range(3)] == [other.new_id() for _ in range(3)]
    chances = [one.chance() for _ in range(3)]
    assert chances == [other.chance() for _ in range(3)]
    assert chances != [third.chance() for _ in range(3)]

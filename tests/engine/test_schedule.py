"""Ticks of a schedule: counted minute by minute here, to compare with."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.schedule import Schedule

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
NEW_YORK, BERLIN, LORD_HOWE, TOKYO = (
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "Asia/Tokyo",
)
# The days of 2026 on which clocks are moved: New York, Berlin and Lord Howe, where it is half an hour.
CHANGES = {
    NEW_YORK: ("2026-03-08", "2026-11-01"),
    BERLIN: ("2026-03-29", "2026-10-25"),
    LORD_HOWE: ("2026-10-04", "2026-04-05"),
    TOKYO: ("2026-03-08", "2026-10-25"),
}


def ticks(schedule: Schedule, start: datetime, end: datetime) -> Iterator[datetime]:
    """Every tick in (start, end], going forward."""
    at = schedule.next(start)
    while at is not None and at <= end:
        yield at
        at = schedule.next(at)


def backwards(schedule: Schedule, start: datetime, end: datetime) -> list[datetime]:
    """The same ticks, going back."""
    found: list[datetime] = []
    at = schedule.latest(end)
    while at is not None and at > start:
        found.append(at)
        at = schedule.latest(at - timedelta(microseconds=1))
    return found[::-1]


def shown(schedule: Schedule, around: str) -> list[str]:
    """The ticks of three local days around a date, as the clocks show them."""
    zone = ZoneInfo(schedule.timezone)
    middle = datetime.fromisoformat(around).replace(tzinfo=zone)
    start, end = (middle + timedelta(days=n) for n in (-1, 2))
    found = list(ticks(schedule, start.astimezone(UTC) - MINUTE, end.astimezone(UTC) - MINUTE))
    assert found == backwards(schedule, start.astimezone(UTC) - MINUTE, end.astimezone(UTC) - MINUTE)
    assert all(tick.tzinfo is UTC for tick in found)
    return [f"{tick.astimezone(zone):%d %H:%M}" for tick in found]


@pytest.mark.parametrize(
    ("cron", "zone", "spring", "autumn"),
    [
        ("30 2 * * *", NEW_YORK, ["07 02:30", "08 03:00", "09 02:30"], ["31 02:30", "01 02:30", "02 02:30"]),
        ("30 2 * * *", BERLIN, ["28 02:30", "29 03:00", "30 02:30"], ["24 02:30", "25 02:30", "26 02:30"]),
        ("15 2 * * *", LORD_HOWE, ["03 02:15", "04 02:30", "05 02:15"], ["04 02:15", "05 02:15", "06 02:15"]),
        ("30 2 * * *", TOKYO, ["07 02:30", "08 02:30", "09 02:30"], ["24 02:30", "25 02:30", "26 02:30"]),
        ("30 1 * * *", NEW_YORK, ["07 01:30", "08 01:30", "09 01:30"], ["31 01:30", "01 01:30", "02 01:30"]),
        ("30 1 * * *", BERLIN, ["28 01:30", "29 01:30", "30 01:30"], ["24 01:30", "25 01:30", "26 01:30"]),
        ("45 1 * * *", LORD_HOWE, ["03 01:45", "04 01:45", "05 01:45"], ["04 01:45", "05 01:45", "06 01:45"]),
        ("0 0 * * *", NEW_YORK, ["07 00:00", "08 00:00", "09 00:00"], ["31 00:00", "01 00:00", "02 00:00"]),
        ("0 0 * * *", BERLIN, ["28 00:00", "29 00:00", "30 00:00"], ["24 00:00", "25 00:00", "26 00:00"]),
        ("0 0 * * *", LORD_HOWE, ["03 00:00", "04 00:00", "05 00:00"], ["04 00:00", "05 00:00", "06 00:00"]),
    ],
)
def test_a_daily_schedule_fires_once_each_local_day(
    cron: str, zone: str, spring: list[str], autumn: list[str]
) -> None:
    assert [shown(Schedule(cron, zone), day) for day in CHANGES[zone]] == [spring, autumn]


def test_the_hour_that_comes_twice_counts_the_first_time() -> None:
    tick = Schedule("30 1 * * *", NEW_YORK).next(datetime(2026, 11, 1, 0, tzinfo=UTC))
    assert tick == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)  # still on summer time
    again = datetime(2026, 11, 1, 6, 45, tzinfo=UTC)  # 01:45 for the second time
    assert Schedule("30 1 * * *", NEW_YORK).latest(again) == tick
    assert Schedule("50 1 * * *", NEW_YORK).latest(again) == tick + 20 * MINUTE
    assert Schedule("50 1 * * *", NEW_YORK).next(again) == datetime(2026, 11, 2, 6, 50, tzinfo=UTC)


def test_skipped_times_of_one_gap_are_one_tick() -> None:
    found = shown(Schedule("15,45 2,3 * * *", BERLIN), "2026-03-29")
    assert [at for at in found if at.startswith("29")] == ["29 03:00", "29 03:15", "29 03:45"]


@pytest.mark.parametrize("cron", ["0 * * * *", "*/15 * * * *"])
@pytest.mark.parametrize("zone", CHANGES)
def test_a_star_goes_by_the_clock_as_it_is(cron: str, zone: str) -> None:
    step, fits = (60, {0}) if cron.startswith("0") else (15, {0, 15, 30, 45})
    for day in CHANGES[zone]:
        start = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
        minutes = [start + n * MINUTE for n in range(1, 24 * 60 + 1)]
        passed = [at for at in minutes if at.astimezone(ZoneInfo(zone)).minute in fits]
        assert list(ticks(Schedule(cron, zone), start, start + DAY)) == passed
        assert backwards(Schedule(cron, zone), start, start + DAY) == passed
        if zone != LORD_HOWE:  # elsewhere the clocks move by whole hours, and nothing is skipped or doubled
            assert len(passed) == 24 * 60 // step


def test_a_star_in_the_hours_of_a_gap_fires_nothing_there() -> None:
    assert "04 02:00" not in shown(Schedule("0 */2 * * *", LORD_HOWE), "2026-10-04")


@pytest.mark.parametrize("zone", ["UTC", *CHANGES])
@pytest.mark.parametrize(
    "cron", ["0 9 * * *", "0 0 31 * *", "30 8 1-7 * MON", "0 12 * 2,8 FRI", "5/20 3 * * *"]
)
def test_ahead_it_agrees_with_the_library(cron: str, zone: str) -> None:
    start = datetime(2026, 1, 1, 11, tzinfo=UTC)
    theirs = CronSim(cron, start.astimezone(ZoneInfo(zone)))
    ours = ticks(Schedule(cron, zone), start, start + 3650 * DAY)
    for _ in range(60):
        assert next(theirs).astimezone(UTC) == next(ours)


def test_leap_days_and_a_century_without_one() -> None:
    schedule = Schedule("0 0 29 2 *")
    assert schedule.next(datetime(2026, 1, 1, tzinfo=UTC)) == datetime(2028, 2, 29, tzinfo=UTC)
    assert schedule.next(datetime(2096, 3, 1, tzinfo=UTC)) == datetime(2104, 2, 29, tzinfo=UTC)
    assert schedule.latest(datetime(2103, 12, 31, tzinfo=UTC)) == datetime(2096, 2, 29, tzinfo=UTC)
    last = Schedule("0 0 28 2 *").latest(datetime(2100, 3, 1, tzinfo=UTC))
    assert last == datetime(2100, 2, 28, tzinfo=UTC)


def test_a_day_that_a_zone_left_out_is_made_up_for() -> None:
    # Samoa went from 29 to 31 December 2011.
    apia = ZoneInfo("Pacific/Apia")
    schedule = Schedule("0 9 * * *", "Pacific/Apia")
    start, end = datetime(2011, 12, 29, tzinfo=apia), datetime(2012, 1, 1, tzinfo=apia)
    found = [tick.astimezone(apia) for tick in ticks(schedule, start.astimezone(UTC), end.astimezone(UTC))]
    assert [f"{at:%d %H:%M}" for at in found] == ["29 09:00", "31 00:00", "31 09:00"]


def test_an_instant_is_its_own_latest_and_never_its_own_next() -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    schedule = Schedule("0 12 * * *")
    assert schedule.latest(noon) == noon
    assert schedule.latest(noon - timedelta(microseconds=1)) == noon - DAY
    assert schedule.next(noon) == noon + DAY
    assert schedule.next(noon - timedelta(microseconds=1)) == noon


@pytest.mark.parametrize("zone", ["UTC", NEW_YORK, TOKYO])
def test_at_the_ends_of_the_calendar_there_is_none(zone: str) -> None:
    first, last = datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, tzinfo=UTC)
    assert Schedule("0 0 29 2 *", zone).latest(first) is None
    assert Schedule("0 0 29 2 *", zone).next(last) is None


def test_rare_ticks_are_found_at_once() -> None:
    began = time.perf_counter()
    for _ in range(20):
        Schedule("0 0 29 2 *", BERLIN).latest(datetime(2103, 6, 1, tzinfo=UTC))
        Schedule("0 0 29 2 */7", BERLIN).next(datetime(2092, 6, 1, tzinfo=UTC))
    assert time.perf_counter() - began < 2


def parts(least: int, most: int) -> st.SearchStrategy[str]:
    number = st.integers(least, most)
    pair = st.tuples(number, number).map(sorted)
    return st.one_of(
        st.just("*"),
        number.map(str),
        pair.map(lambda two: f"{two[0]}-{two[1]}"),
        st.lists(number, min_size=1, max_size=3).map(lambda some: ",".join(map(str, some))),
        st.integers(1, max(most // 2, 1)).map(lambda step: f"*/{step}"),
    )


CRONS = st.tuples(parts(0, 59), parts(0, 23), parts(1, 28), parts(1, 12), parts(0, 6)).map(" ".join)
DAILY = st.tuples(st.integers(0, 59), st.integers(0, 3)).map(lambda at: f"{at[0]} {at[1]} * * *")
DAYS = st.sampled_from([(zone, day) for zone, days in CHANGES.items() for day in days])
ZONES = st.sampled_from([*CHANGES, "UTC", "America/Santiago", "Asia/Beirut", "Africa/Casablanca"])
INSTANTS = st.datetimes(datetime(2024, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the strategy adds the zone


@given(CRONS | DAILY, ZONES, INSTANTS)
def test_forward_and_latest_agree(cron: str, zone: str, now: datetime) -> None:
    schedule = Schedule(cron, zone)
    latest, coming = schedule.latest(now), schedule.next(now)
    assert latest is not None
    assert coming is not None
    assert latest <= now < coming
    assert schedule.next(latest) == coming
    assert schedule.latest(coming) == coming
    assert schedule.latest(coming - timedelta(microseconds=1)) == latest


@given(DAILY, DAYS, st.integers(0, 3 * 24 * 60))
def test_every_local_day_has_one_tick_wherever_one_begins_to_look(
    cron: str, place: tuple[str, str], offset: int
) -> None:
    zone = ZoneInfo(place[0])
    schedule = Schedule(cron, place[0])
    middle = datetime.fromisoformat(place[1]).replace(tzinfo=zone).astimezone(UTC)
    now = middle - DAY + offset * MINUTE
    start, end = (now.astimezone(zone).replace(hour=0, minute=0, fold=0) + n * DAY for n in (0, 3))
    found = list(ticks(schedule, start.astimezone(UTC) - MINUTE, end.astimezone(UTC) - MINUTE))
    assert len({tick.astimezone(zone).date() for tick in found}) == len(found) == 3
    assert schedule.latest(now) == max(
        [tick for tick in found if tick <= now], default=schedule.latest(start.astimezone(UTC) - MINUTE)
    )

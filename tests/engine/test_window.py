"""Where windows lie: calendars, billing cycles, rolling parts."""

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from skene.engine.window import (
    EPOCH,
    FOREVER,
    ROLLING_PARTS,
    Anchored,
    Edges,
    Rolling,
    WindowRule,
    calendar_edges,
    cycle_edges,
    window_at,
)

MICROSECOND = timedelta(microseconds=1)
INSTANTS = st.timedeltas(timedelta(days=365), timedelta(days=157_000)).map(lambda since: EPOCH + since)
LENGTHS = st.timedeltas(timedelta(seconds=1), timedelta(days=3653))
UNITS = st.sampled_from(["day", "week", "month", "year"])
ZONES = st.sampled_from(sorted(available_timezones()))


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type, misc] # year, month, day and so on


def test_what_stored_counters_rest_on_never_changes() -> None:
    """Rows hold these instants and parts of this width: another value would strand them."""
    assert utc(1970, 1, 1) == EPOCH
    assert utc(9999, 1, 1) == FOREVER
    assert Rolling(timedelta(days=30)).part == timedelta(hours=12)


def test_what_is_left_out_means() -> None:
    assert Edges(()) == Edges((), billing_cycle=False)
    assert len(cycle_edges(EPOCH, EPOCH + timedelta(days=31))) == 26


# --- the window of an instant -----------------------------------------------------------------------------


@given(INSTANTS, LENGTHS, st.lists(INSTANTS, max_size=6), st.lists(INSTANTS, max_size=6), st.booleans())
def test_an_instant_lies_in_its_window(
    now: datetime, length: timedelta, edges: list[datetime], cycle: list[datetime], by_cycle: bool
) -> None:
    sorted_edges, sorted_cycle = tuple(sorted(set(edges))), tuple(sorted(set(cycle)))
    rules: list[WindowRule] = [Anchored(length), Rolling(length), Edges(sorted_edges, by_cycle)]
    for rule in rules:
        start, end = window_at(rule, now, sorted_cycle)
        assert start <= now < end
    start, end = window_at(rules[2], now, sorted_cycle)
    used = sorted_cycle if by_cycle and cycle else sorted_edges
    assert not any(start < edge < end for edge in used)
    assert {start, end} <= {EPOCH, FOREVER, *used}


@given(INSTANTS, LENGTHS)
def test_anchored_windows_are_exactly_as_long(now: datetime, length: timedelta) -> None:
    assert window_at(Anchored(length), now) == (now, now + length)


@given(INSTANTS, LENGTHS)
def test_rolling_parts_tile_time(now: datetime, length: timedelta) -> None:
    rule = Rolling(length)
    start = rule.part_at(now)
    assert start <= now < start + rule.part
    assert rule.part_at(start) == rule.part_at(start + rule.part - MICROSECOND) == start
    assert rule.part_at(start + rule.part) == start + rule.part
    assert rule.part * ROLLING_PARTS - length < MICROSECOND * ROLLING_PARTS
    assert rule.part * ROLLING_PARTS >= length
    assert window_at(rule, now) == (start, start + rule.part + length)


# --- calendars --------------------------------------------------------------------------------------------


@given(UNITS, ZONES, INSTANTS)
@example("day", "America/Sao_Paulo", utc(2018, 11, 4, 2, 59))
@example("day", "Africa/Cairo", utc(2024, 4, 25, 22))
@example("week", "Asia/Beirut", utc(2023, 3, 25, 22, 30))
@example("day", "Pacific/Apia", utc(2011, 12, 30, 9, 59))
@example("day", "Pacific/Apia", utc(2011, 12, 30, 10))
@example("month", "America/Havana", utc(2026, 11, 1, 4, 30))
@example("year", "Pacific/Kiritimati", utc(2025, 12, 31, 10))
def test_calendar_units_in_every_zone(unit: str, zone: str, now: datetime) -> None:
    edges = calendar_edges(unit, zone, now)
    start, end = window_at(Edges(edges), now)
    assert len(edges) == 6
    assert all(one <= other for one, other in pairwise(edges))
    assert edges[0] < edges[1] <= start <= now < end <= edges[3]
    for edge in edges:
        assert is_first_instant(edge, unit, ZoneInfo(zone))
    # A few minutes' error in the clock that drew the edges does not move a window.
    for minutes in (-10, 10):
        again = window_at(Edges(calendar_edges(unit, zone, now + timedelta(minutes=minutes))), now)
        assert again == (start, end)


def is_first_instant(edge: datetime, unit: str, zone: ZoneInfo) -> bool:
    """Whether a unit of the local calendar begins at the edge, and not a microsecond before."""
    return unit_of(edge.astimezone(zone), unit) > unit_of((edge - MICROSECOND).astimezone(zone), unit)


def unit_of(local: datetime, unit: str) -> date:
    day = local.date()
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return {"day": day, "month": day.replace(day=1), "year": day.replace(month=1, day=1)}[unit]


@pytest.mark.parametrize(
    ("zone", "day", "starts"),
    [
        ("America/Sao_Paulo", date(2018, 11, 4), utc(2018, 11, 4, 3)),  # midnight is skipped: 01:00 -02
        ("Africa/Cairo", date(2024, 4, 26), utc(2024, 4, 25, 22)),  # midnight is skipped: 01:00 +03
        ("America/Havana", date(2026, 11, 1), utc(2026, 11, 1, 4)),  # midnight comes twice: the first one
        ("Europe/Helsinki", date(2026, 3, 29), utc(2026, 3, 28, 22)),
        ("Europe/Helsinki", date(2026, 3, 30), utc(2026, 3, 29, 21)),
        ("Asia/Kathmandu", date(2026, 1, 1), utc(2025, 12, 31, 18, 15)),
        ("UTC", date(2024, 2, 29), utc(2024, 2, 29)),
    ],
)
def test_days_that_begin_oddly(zone: str, day: date, starts: datetime) -> None:
    noon = datetime(day.year, day.month, day.day, 12, tzinfo=ZoneInfo(zone)).astimezone(UTC)
    assert calendar_edges("day", zone, noon)[2] == starts


def test_months_of_400_years() -> None:
    for month in range(400 * 12):
        year, index = 2000 + month // 12, month % 12 + 1
        last = utc(year, index, monthrange(year, index)[1], 23, 59)
        start, end = window_at(Edges(calendar_edges("month", "UTC", last)), last)
        assert start == utc(year, index, 1)
        assert end == utc(year + month % 12 // 11, index % 12 + 1, 1)


def test_weeks_begin_on_monday() -> None:
    edges = calendar_edges("week", "UTC", utc(2026, 3, 1))
    assert edges[2] == utc(2026, 2, 23)
    assert {edge.weekday() for edge in edges} == {0}


# --- billing cycles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("day", [28, 29, 30, 31])
def test_month_ends_clamp_and_come_back_over_400_years(day: int) -> None:
    anchor = utc(2000, 1, day, 13, 37)
    for month in range(400 * 12):
        start, end = on_day(anchor, month), on_day(anchor, month + 1)
        edges = cycle_edges(start, end, anchor=anchor, ahead=2)
        assert edges == (start, end, on_day(anchor, month + 2), on_day(anchor, month + 3))


def on_day(anchor: datetime, months: int) -> datetime:
    year, month = anchor.year + (anchor.month - 1 + months) // 12, (anchor.month - 1 + months) % 12 + 1
    return anchor.replace(year=year, month=month, day=min(anchor.day, monthrange(year, month)[1]))


@given(
    INSTANTS,
    st.timedeltas(timedelta(days=1), timedelta(days=366)),
    st.none() | INSTANTS,
    st.sampled_from(["day", "week", "month", "year"]),
    st.integers(1, 12),
    st.integers(0, 24),
)
def test_cycles_ascend(
    start: datetime,
    length: timedelta,
    anchor: datetime | None,
    interval: str,
    count: int,
    ahead: int,
) -> None:
    end = start + length
    edges = cycle_edges(start, end, anchor=anchor, interval=interval, interval_count=count, ahead=ahead)
    assert edges[:2] == (start, end)
    assert len(edges) == ahead + 2
    assert all(one < other for one, other in pairwise(edges))


def test_a_leap_day_comes_back_after_four_years() -> None:
    anchor = utc(2024, 2, 29)
    edges = cycle_edges(anchor, utc(2025, 2, 28), anchor=anchor, interval="year", ahead=4)
    assert edges[2:] == (utc(2026, 2, 28), utc(2027, 2, 28), utc(2028, 2, 29), utc(2029, 2, 28))


def test_quarters_keep_the_31st() -> None:
    edges = cycle_edges(utc(2026, 1, 31), utc(2026, 4, 30), interval_count=3, ahead=2)
    assert edges[2:] == (utc(2026, 7, 31), utc(2026, 10, 31))


@pytest.mark.parametrize(("interval", "count", "days"), [("day", 1, 1), ("day", 10, 10), ("week", 2, 14)])
def test_days_and_weeks_are_exact(interval: str, count: int, days: int) -> None:
    start = utc(2026, 3, 1, 5)
    length = timedelta(days=days)
    edges = cycle_edges(start, start + length, interval=interval, interval_count=count, ahead=5)
    assert edges == tuple(start + length * n for n in range(7))

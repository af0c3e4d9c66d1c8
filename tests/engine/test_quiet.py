"""Quiet hours: nobody is written to in them, and everybody as soon as they are over."""

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.quiet import QuietHours, quiet_until

MINUTE = timedelta(minutes=1)

# Zones, each with instants at which its clocks are set: by an hour, by half, by two, over a whole day.
TURNS = {
    "UTC": ["2026-03-29T01:00"],
    "America/New_York": ["2026-03-08T07:00", "2026-11-01T06:00"],
    "Europe/Berlin": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Australia/Lord_Howe": ["2026-04-04T15:00", "2026-10-03T15:30"],
    "Antarctica/Troll": ["2026-03-29T01:00", "2026-10-25T01:00"],
    "Pacific/Apia": ["2011-12-30T10:00"],
    "Asia/Kathmandu": ["2026-03-29T01:00"],
}
INSTANTS = [(zone, datetime.fromisoformat(f"{at}Z")) for zone, times in TURNS.items() for at in times]


def hours(start: str, end: str) -> QuietHours:
    return QuietHours(time.fromisoformat(start), time.fromisoformat(end))


def is_quiet(window: QuietHours, zone: str, at: datetime) -> bool:
    clock = at.astimezone(ZoneInfo(zone)).strftime("%H:%M:%S")
    start, end = window.start.strftime("%H:%M:%S"), window.end.strftime("%H:%M:%S")
    return start <= clock < end if start < end else not end <= clock < start


@pytest.mark.parametrize(
    ("window", "zone", "now", "until"),
    [
        (hours("22:00", "08:00"), "UTC", "2026-05-01T21:59:59Z", None),
        (hours("22:00", "08:00"), "UTC", "2026-05-01T22:00:00Z", "2026-05-02T08:00Z"),
        (hours("22:00", "08:00"), "UTC", "2026-05-02T07:59:59Z", "2026-05-02T08:00Z"),
        (hours("22:00", "08:00"), "UTC", "2026-05-02T08:00:00Z", None),
        (hours("12:00", "13:30"), "UTC", "2026-05-01T12:00:00Z", "2026-05-01T13:30Z"),
        (hours("12:00", "13:30"), "UTC", "2026-05-01T13:30:00Z", None),
        (hours("12:00", "13:30"), "UTC", "2026-05-01T11:59:59Z", None),
        (hours("22:00", "08:00"), "America/New_York", "2026-05-02T02:00:00Z", "2026-05-02T12:00Z"),
        # The night that is an hour shorter, and the one that is longer.
        (hours("22:00", "08:00"), "Europe/Berlin", "2026-03-28T22:00:00Z", "2026-03-29T06:00Z"),
        (hours("22:00", "08:00"), "Europe/Berlin", "2026-10-24T22:00:00Z", "2026-10-25T07:00Z"),
        # 02:30 is skipped: the clocks are out of the quiet hours as soon as they show 03:00.
        (hours("22:00", "02:30"), "Europe/Berlin", "2026-03-29T00:45:00Z", "2026-03-29T01:00Z"),
        # 02:30 comes twice: the first is meant before it, the second after it.
        (hours("22:00", "02:30"), "Europe/Berlin", "2026-10-25T00:20:00Z", "2026-10-25T00:30Z"),
        (hours("22:00", "02:30"), "Europe/Berlin", "2026-10-25T01:10:00Z", "2026-10-25T01:30Z"),
        # Both ends are skipped: only the day after are there hours that are not quiet.
        (hours("02:45", "02:30"), "Europe/Berlin", "2026-03-29T00:45:00Z", "2026-03-30T00:30Z"),
        # The clocks of Lord Howe go back by half an hour, those of Troll by two.
        (hours("22:00", "01:45"), "Australia/Lord_Howe", "2026-04-04T15:10:00Z", "2026-04-04T15:15Z"),
        (hours("22:00", "02:30"), "Antarctica/Troll", "2026-10-25T02:10:00Z", "2026-10-25T02:30Z"),
        # 30 December 2011 was no day in Apia.
        (hours("22:00", "08:00"), "Pacific/Apia", "2011-12-30T09:00:00Z", "2011-12-30T18:00Z"),
    ],
)
def test_the_end_of_the_quiet_hours(window: QuietHours, zone: str, now: str, until: str | None) -> None:
    expected = None if until is None else datetime.fromisoformat(until)
    assert quiet_until(window, zone, datetime.fromisoformat(now)) == expected


times = st.times().map(lambda one: one.replace(second=0, microsecond=0))


@given(
    turn=st.sampled_from(INSTANTS),
    around=st.integers(-36 * 3600, 36 * 3600),
    start=times,
    end=times,
    near=st.none() | st.integers(-180, 180),
)
def test_nobody_is_written_to_in_quiet_hours_nor_kept_waiting_after_them(
    turn: tuple[str, datetime], around: int, start: time, end: time, near: int | None
) -> None:
    zone, at = turn
    if near is not None:  # an end close to where the clocks are set
        end = (at + near * MINUTE).astimezone(ZoneInfo(zone)).time().replace(second=0)
    window, now = QuietHours(start, end), at + timedelta(seconds=around)
    if start == end:
        return
    until = quiet_until(window, zone, now)
    assert (until is None) == (not is_quiet(window, zone, now))
    if until is None:
        return
    assert until > now
    assert until.tzinfo is UTC
    assert not is_quiet(window, zone, until)
    between = now.replace(second=0)
    while is_quiet(window, zone, between):
        between += MINUTE
    set_back = between.astimezone(ZoneInfo(zone)).utcoffset() != now.astimezone(ZoneInfo(zone)).utcoffset()
    assert until == between or (set_back and until > between)  # quiet, set back before them, and quiet again

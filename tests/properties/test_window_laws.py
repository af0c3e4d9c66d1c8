"""What all windows have in common: half open, one after the other, and never back in time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import available_timezones

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.engine.window import EPOCH, FOREVER, Edges, WindowRule, calendar_edges, cycle_edges, window_at
from tests.support.extent import extent, seeded

MICROSECOND = timedelta(microseconds=1)
Rules = Callable[[datetime], WindowRule]
since = st.timedeltas(timedelta(days=7300), timedelta(days=47_500))
instants = since.map(lambda time: EPOCH + time)


def calendar(unit: str, zone: str) -> Rules:
    return lambda now: Edges(calendar_edges(unit, zone, now))


def cycle(anchor: datetime, interval: str, count: int) -> Rules:
    months = {"month": 1, "year": 12}.get(interval, 0) * count
    first = anchor + (
        timedelta(days=28) if months else timedelta(days=count * (7 if interval == "week" else 1))
    )
    edges = cycle_edges(anchor, first, anchor=anchor, interval=interval, interval_count=count)
    return lambda now: Edges(edges)


kinds: st.SearchStrategy[Rules] = st.one_of(
    st.builds(
        calendar,
        st.sampled_from(("day", "week", "month", "year")),
        st.sampled_from(sorted(available_timezones())),
    ),
    st.builds(cycle, instants, st.sampled_from(("day", "week", "month", "year")), st.integers(1, 6)),
    st.just(lambda now: Edges(())),
)


def keeps_the_laws(rules: Rules, now: datetime, later: datetime) -> None:
    start, end = window_at(rules(now), now)
    assert start <= now < end
    if start > EPOCH:
        assert window_at(rules(start), start) == (start, end)  # its first instant is its own
        before = start - MICROSECOND
        assert window_at(rules(before), before)[1] == start  # the one before ends where it begins
    if end < FOREVER:
        last = end - MICROSECOND
        assert window_at(rules(last), last) == (start, end)
        assert window_at(rules(end), end)[0] == end  # its end is the next one's first instant
    other = window_at(rules(later), later)
    assert other >= (start, end)
    assert (other == (start, end)) == (later < end)


@seeded
@extent(500, 50_000)
@given(rules=kinds, now=instants, on=st.timedeltas(timedelta(0), timedelta(days=900)))
def test_windows_follow_each_other_without_gap_or_overlap(rules: Rules, now: datetime, on: timedelta) -> None:
    keeps_the_laws(rules, now, now + on)


def test_a_window_that_includes_its_end_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control."""

    right = window_at

    def inclusive(rule: WindowRule, now: datetime) -> tuple[datetime, datetime]:
        start, end = right(rule, now)
        return (start, end) if now > start else right(rule, now - MICROSECOND)

    monkeypatch.setitem(globals(), "window_at", inclusive)
    with pytest.raises((AssertionError, ExceptionGroup)):  # perhaps of several kinds
        test_windows_follow_each_other_without_gap_or_overlap()

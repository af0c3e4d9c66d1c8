"""Periods as written: how their windows lie, and how people read them."""

from datetime import date, datetime
from functools import lru_cache

from skene.definitions import (
    CalendarPeriod,
    FixedPeriod,
    HeldPeriod,
    LifetimePeriod,
    Period,
    RollingPeriod,
    format_duration,
)
from skene.engine.window import Anchored, Edges, Rolling, WindowRule, calendar_edges

__all__ = ["period_text", "window_rule"]

_FOREVER = Edges(())
_anchored, _rolling = lru_cache(maxsize=256)(Anchored), lru_cache(maxsize=256)(Rolling)


def window_rule(period: Period, now: datetime) -> WindowRule:
    """How the windows of a period lie around `now`; a few minutes' error in `now` does not matter."""
    if isinstance(period, FixedPeriod):
        return _anchored(period.length)
    if isinstance(period, RollingPeriod):
        return _rolling(period.length)
    if isinstance(period, CalendarPeriod):
        return _calendar(period.unit, period.timezone, now.date())
    if isinstance(period, LifetimePeriod | HeldPeriod):
        return _FOREVER
    return _cycle(now.date())


def period_text(period: Period) -> str:
    """How people read a period in answers and tables."""
    if isinstance(period, FixedPeriod):
        return format_duration(period.length)
    if isinstance(period, RollingPeriod):
        return f"rolling {format_duration(period.length)}"
    return f"calendar {period.unit}" if isinstance(period, CalendarPeriod) else period.type


@lru_cache(maxsize=256)
def _calendar(unit: str, zone: str, day: date) -> Edges:
    return Edges(calendar_edges(unit, zone, _noon(day)))


@lru_cache(maxsize=16)
def _cycle(day: date) -> Edges:
    """Without a subscription there is no cycle to follow: calendar months in UTC stand in."""
    return Edges(calendar_edges("month", "UTC", _noon(day)), billing_cycle=True)


def _noon(day: date) -> datetime:
    return datetime.fromisoformat(f"{day.isoformat()}T12:00:00+00:00")

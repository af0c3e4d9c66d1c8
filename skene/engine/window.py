"""Windows: which `[start, end)` a use falls into. All instants are aware UTC datetimes."""

import calendar as _calendar
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = [
    "EPOCH",
    "FOREVER",
    "ROLLING_PARTS",
    "Anchored",
    "Edges",
    "Rolling",
    "WindowRule",
    "calendar_edges",
    "cycle_edges",
    "window_at",
]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)
ROLLING_PARTS = 60
"""A rolling window is kept as this many parts, so that a counter's size does not grow with calls."""


@dataclass(frozen=True, slots=True)
class Anchored:
    """Opens with the first use and lasts exactly `length`; the next use after it opens the next."""

    length: timedelta


@dataclass(frozen=True, slots=True)
class Rolling:
    """Any trailing `length`.

    Uses are kept in parts of `part`; a part counts until its last instant has left the window.
    """

    length: timedelta

    @property
    def part(self) -> timedelta:
        """Width of one part: a sixtieth of the length, rounded up to whole microseconds."""
        return -(-self.length // ROLLING_PARTS)

    def part_at(self, now: datetime) -> datetime:
        """Start of the part that `now` falls into; parts are counted from the epoch."""
        return EPOCH + ((now - EPOCH) // self.part) * self.part


@dataclass(frozen=True, slots=True)
class Edges:
    """Windows between known instants: calendar units, billing cycles, or the whole lifetime.

    Attributes:
        edges: ascending; before the first and after the last the window is open-ended.
        billing_cycle: use the customer's own edges instead, when the billing service gave some.
    """

    edges: tuple[datetime, ...]
    billing_cycle: bool = False


WindowRule = Anchored | Rolling | Edges


def window_at(rule: WindowRule, now: datetime, cycle: Sequence[datetime] = ()) -> tuple[datetime, datetime]:
    """The window that a use at `now` opens, or falls into, when no window is running.

    Args:
        rule: how windows lie.
        now: the instant of the use.
        cycle: the customer's billing edges, for `Edges(billing_cycle=True)`.

    Returns:
        Its start (inclusive) and end (exclusive).
    """
    if isinstance(rule, Anchored):
        return now, now + rule.length
    if isinstance(rule, Rolling):
        start = rule.part_at(now)
        return start, start + rule.part + rule.length
    edges = cycle if rule.billing_cycle and cycle else rule.edges
    index = bisect_right(edges, now)
    return (edges[index - 1] if index else EPOCH), (edges[index] if index < len(edges) else FOREVER)


def calendar_edges(unit: str, zone: str, around: datetime) -> tuple[datetime, ...]:
    """Starts of the calendar units near `around`: two before the current one and three after it.

    Enough for clocks that differ by minutes; an instant that daylight saving skips becomes the first one
    after it.

    Args:
        unit: `day`, `week` (Monday first), `month` or `year`.
        zone: IANA name of the zone whose midnights count.
        around: any instant in the unit.
    """
    tz = ZoneInfo(zone)
    today = around.astimezone(tz).date()
    days = [_shift(_first_day(today, unit), unit, n) for n in range(-2, 4)]
    return tuple(datetime(d.year, d.month, d.day, tzinfo=tz).astimezone(UTC) for d in days)


def cycle_edges(
    start: datetime,
    end: datetime,
    *,
    anchor: datetime | None = None,
    interval: str = "month",
    interval_count: int = 1,
    ahead: int = 24,
) -> tuple[datetime, ...]:
    """Edges of a billing cycle: the period the billing service states, and the ones that will follow it.

    A month that lacks the anchor's day clamps to its last one, and the day returns in the next month that
    has it.

    Args:
        start, end: the period as stated.
        anchor: what the days are counted from; `start` if unknown.
        interval, interval_count: the cycle, e.g. `month`, 3.
        ahead: how many periods to foresee after the stated one.
    """
    anchor = anchor or start
    edges = [start, end]
    step = _months(interval) * interval_count
    if step:
        behind = (end.year - anchor.year) * 12 + end.month - anchor.month
        edges += [_add_months(anchor, behind + step * n) for n in range(1, ahead + 1)]
    else:
        length = timedelta(days=interval_count * (7 if interval == "week" else 1))
        edges += [end + length * n for n in range(1, ahead + 1)]
    return tuple(edges)


def _months(interval: str) -> int:
    return {"month": 1, "year": 12}.get(interval, 0)


def _add_months(anchor: datetime, months: int) -> datetime:
    year, month = divmod(anchor.year * 12 + anchor.month - 1 + months, 12)
    day = min(anchor.day, _calendar.monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def _first_day(day: date, unit: str) -> date:
    if unit == "day":
        return day
    if unit == "week":
        return day - timedelta(days=day.weekday())
    return day.replace(day=1) if unit == "month" else day.replace(month=1, day=1)


def _shift(day: date, unit: str, n: int) -> date:
    if unit in ("day", "week"):
        return day + timedelta(days=n * (7 if unit == "week" else 1))
    months = day.year * 12 + day.month - 1 + n * (1 if unit == "month" else 12)
    return date(months // 12, months % 12 + 1, 1)

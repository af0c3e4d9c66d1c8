"""When a cron schedule fires: ticks as instants, whatever the clocks of its time zone do.

The rules at a change of the clocks are those of Debian's cron. A schedule that names its minutes and hours
fires once for each time of day it names: one that is skipped in spring fires when the clocks have moved on,
one that comes twice in autumn fires the first time. With a star at the head of its minutes or hours it goes
by the clock as it is, so that an hourly one fires in each hour that really passes.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

__all__ = ["Schedule"]

_NEAR = timedelta(hours=3)
"""More than the clocks of any zone are moved by nowadays."""
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Schedule:
    """The ticks of one cron schedule.

    Attributes:
        cron: five fields, as `definitions.cron.read_cron` returns them.
        timezone: the IANA name of the zone whose clocks they are read by.
    """

    cron: str
    timezone: str = "UTC"

    def latest(self, now: datetime) -> datetime | None:
        """The last tick up to and including `now`, aware UTC; None if the calendar has none."""
        return self._search(now, back=True)

    def next(self, now: datetime) -> datetime | None:
        """The first tick after `now`, aware UTC; None if the calendar has none."""
        return self._search(now, back=False)

    def _search(self, now: datetime, *, back: bool) -> datetime | None:
        """Go through what the clock on the wall shows, and translate each reading.

        The library is given readings without a zone: with one, its way back and its way through an hour that
        comes twice differ from its way forward.
        """
        from cronsim import CronSim  # apps without a schedule never need it

        found: datetime | None = None
        better = max if back else min
        with suppress(OverflowError, StopIteration):  # the ends of the calendar
            zone = ZoneInfo(self.timezone)
            here = now.astimezone(zone).replace(tzinfo=None)
            # While the clocks are being moved, a later reading can be an earlier instant.
            reach = _NEAR if _offset(now - _NEAR, zone) != _offset(now + _NEAR, zone) else timedelta(0)
            wall = here.replace(second=0, microsecond=0)
            wall = wall + reach + _MINUTE if back else wall - reach
            walls = CronSim(self.cron, wall, reverse=back)
            while found is None or abs(here - wall) < reach:
                wall = next(walls)
                for tick in self._ticks(wall, zone):
                    if (tick <= now) is back:
                        found = tick if found is None else better(found, tick)
        return found

    def _ticks(self, wall: datetime, zone: ZoneInfo) -> tuple[datetime, ...]:
        """The instants at which it fires for one reading of the clock on the wall."""
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        minutes, hours, *_ = self.cron.split()
        by_the_clock = minutes.startswith("*") or hours.startswith("*")
        if first < second:
            return (first, second) if by_the_clock else (first,)
        if first == second:
            return (first,)
        return () if by_the_clock else (_moved(second, zone),)


def _moved(before: datetime, zone: ZoneInfo) -> datetime:
    """The first minute after an instant at which the clocks of a zone have been moved."""
    offset, minute = _offset(before, zone), before
    while _offset(minute, zone) == offset:
        minute += _MINUTE
    return minute


def _offset(instant: datetime, zone: ZoneInfo) -> timedelta | None:
    return instant.astimezone(zone).utcoffset()

"""Hours at which nobody is written to."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["QuietHours", "quiet_until"]

_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From a time of the day to another, which may be that of the next day; both to the minute."""

    start: time
    end: time

    def cover(self, clock: time) -> bool:
        """Whether a time of the day is among them."""
        if self.start > self.end:
            return clock >= self.start or clock < self.end
        return self.start <= clock < self.end


def quiet_until(hours: QuietHours, zone: str, now: datetime) -> datetime | None:
    """When the quiet hours that are now come to their end; None when they are not now.

    Args:
        hours: by the clocks of the zone.
        zone: IANA name.
        now: aware.

    Returns:
        The end in UTC. The clocks of the zone are out of the quiet hours then, also where they skip the end.
    """
    where = ZoneInfo(zone)
    local = now.astimezone(where)
    if not hours.cover(local.time()):
        return None
    day = local.date()
    while True:
        # Where clocks are set back, an end may come twice: the first one ahead is meant.
        for fold in (0, 1):
            end = _instant(datetime.combine(day, hours.end, where).replace(fold=fold))
            if end > now and not hours.cover(end.astimezone(where).time()):
                return end
        day += timedelta(days=1)


def _instant(wall: datetime) -> datetime:
    """When clocks show a time; when they skip it, the instant at which they do."""
    late, early = wall.replace(fold=0).astimezone(UTC), wall.replace(fold=1).astimezone(UTC)
    if early >= late:
        return wall.astimezone(UTC)
    before = early.astimezone(wall.tzinfo).utcoffset()
    while late - early > _SECOND:
        middle = early + (late - early) / 2
        if middle.astimezone(wall.tzinfo).utcoffset() == before:
            early = middle
        else:
            late = middle
    return late.replace(microsecond=0)

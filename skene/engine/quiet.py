"""Hours at which nobody is written to."""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

__all__ = ["QuietHours", "quiet_until"]


@dataclass(frozen=True, slots=True)
class QuietHours:
    """From a time of the day to another, which may be that of the next day; both to the minute."""

    start: time
    end: time


def quiet_until(hours: QuietHours, zone: str, now: datetime) -> datetime | None:
    """When the quiet hours that are now come to their end; None when they are not now.

    Args:
        hours: by the clocks of the zone.
        zone: IANA name.
        now: aware.
    """
    local = now.astimezone(ZoneInfo(zone))
    clock = local.time().replace(tzinfo=None)
    over_night = hours.start > hours.end
    quiet = (clock >= hours.start or clock < hours.end) if over_night else hours.start <= clock < hours.end
    if not quiet:
        return None
    day = local.date() + timedelta(days=1 if over_night and clock >= hours.start else 0)
    end = datetime.combine(day, hours.end, ZoneInfo(zone)).astimezone(UTC)
    # Where clocks are set back, the end can come twice: the one ahead is meant.
    return end if end > now else end + timedelta(hours=1)

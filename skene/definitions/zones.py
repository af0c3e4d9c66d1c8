"""The only parser of time zones."""

from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator

from skene.definitions.faults import nearest, refuse

_ABBREVIATIONS = {
    "America/Los_Angeles": ("PST", "PDT", "PT"),
    "America/Denver": ("MST", "MDT", "MT"),
    "America/Chicago": ("CST", "CDT", "CT"),
    "America/New_York": ("EST", "EDT", "ET"),
    "Europe/London": ("BST", "GMT", "WET"),
    "Europe/Berlin": ("CET", "CEST", "MET", "MEZ"),
    "Europe/Helsinki": ("EET", "EEST"),
    "Asia/Kolkata": ("IST",),
    "Asia/Tokyo": ("JST",),
    "UTC": ("Z", "UCT", "ZULU", "UTC+0", "+00:00"),
}


def read_zone(value: object) -> str:
    """Reads the name of a time zone.

    Args:
        value: `"Europe/Helsinki"` and the like, exactly as IANA spells it, or `"UTC"`.

    Raises:
        DefinitionError: For anything else. Abbreviations such as EST are refused with the zone they may mean.
    """
    allowed = 'an IANA time zone such as "Europe/Helsinki", or "UTC"'
    if not isinstance(value, str):
        raise refuse(value, allowed)
    try:
        if value == "UTC" or ("/" in value and ZoneInfo(value).key):
            return value
    except (ZoneInfoNotFoundError, ValueError, OSError):
        pass
    known = {name.lower(): name for name in available_timezones()}
    if not known:
        raise refuse(value, f"{allowed}; this machine has no time zone data: pip install tzdata")
    short = (name for name, others in _ABBREVIATIONS.items() if value.upper() in others)
    near = next(short, None) or known.get(value.lower().replace(" ", "_")) or nearest(value, known.values())
    raise refuse(value, allowed, near and f'"{near}"')


ZoneName = Annotated[str, BeforeValidator(read_zone)]
"""A time zone as the field of a definition."""

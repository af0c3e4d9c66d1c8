"""The only parsers of durations (`"30d"`) and limits (`100`, `UNLIMITED`)."""

import math
import re
import unicodedata
from datetime import timedelta
from enum import Enum
from typing import Final, Literal

from skene.definitions.faults import nearest, refuse

LARGEST: Final = 2**63 - 1
"""The greatest limit: what a 64-bit integer column holds."""
SHORTEST: Final = timedelta(seconds=1)
LONGEST: Final = timedelta(days=3653)
"""The greatest duration: ten years."""

_SECONDS = {"w": 604_800, "d": 86_400, "h": 3_600, "m": 60, "s": 1}
_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _SECONDS))
_DURATION_FORMS = 'a duration such as "30d" or "1h30m" (units w, d, h, m, s, each once, in that order)'
_LIMIT_FORMS = 'a whole number ≥ 0 or "unlimited"'
_CALENDAR = re.compile(
    r"p?(?:1|an?|every|per)?(?:(mo)(?:nth)?|(y)(?:ear)?)s?|(?:an?|every|per)?(?:(d)ay|(w)eek)"
)
_DAYS = {"day": 1, "week": 7, "month": 30, "year": 365}
_CALENDAR_UNITS = {"mo": "month", "y": "year", "d": "day", "w": "week"}
_ADVERBS = {"daily": "day", "weekly": "week", "monthly": "month", "yearly": "year", "annually": "year"}
_LONG_UNIT = re.compile(r"(w|d|h|m|s)(?:eeks?|ays?|ours?|rs?|in(?:ute)?s?|ec(?:ond)?s?)")


class Unlimited(Enum):
    """The type of `UNLIMITED`, the limit that is never reached. Its value is how JSON spells it."""

    UNLIMITED = "Infinity"

    def __repr__(self) -> str:
        return self.name


UNLIMITED: Final = Unlimited.UNLIMITED
"""No limit: usage is counted and never refused."""


def parse_duration(value: object, *, calendar: bool = False) -> timedelta:
    """Reads a duration.

    Args:
        value: Text such as `"30d"`, `"12h"` or `"1h30m"` (`m` is always minutes), or a timedelta.
        calendar: Whether `calendar("month")` would do as well, and so may be suggested.

    Returns:
        Whole seconds, from one second to ten years.

    Raises:
        DefinitionError: For anything else; months and years have no fixed length, bare numbers no unit.
    """
    if isinstance(value, timedelta):
        length = value
        if value.microseconds:
            raise refuse(value, "whole seconds", given=str(value))
    elif isinstance(value, str):
        seconds = _seconds(value)
        if seconds is None:
            raise refuse(value, _DURATION_FORMS, _meant(value, calendar))
        length = timedelta(seconds=min(seconds, 2 * LONGEST.total_seconds()))
    else:
        number = isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 3650
        raise refuse(value, _DURATION_FORMS, f'"{value}d"' if number else None)
    if not SHORTEST <= length <= LONGEST:
        given = None if isinstance(value, str) else str(value)
        raise refuse(value, "a duration from 1 second to 10 years", given=given)
    return length


def format_duration(length: timedelta) -> str:
    """Writes a duration in its shortest canonical form: `"30d"`, `"1h30m"`; weeks are written as days."""
    left = int(length.total_seconds())
    written = ""
    for unit, seconds in _SECONDS.items():
        count, rest = divmod(left, seconds)
        if count and unit != "w":
            written, left = f"{written}{count}{unit}", rest
    return written or "0s"


def parse_limit(value: object, path: str = "") -> int | Literal[Unlimited.UNLIMITED]:
    """Reads a limit.

    Args:
        value: A whole number from 0 to 2**63-1; or `UNLIMITED`, `math.inf`, `"Infinity"`, `"unlimited"`.
        path: Where it stands, for the message.

    Raises:
        DefinitionError: For anything else. Nothing is converted: not `True`, not `"100"`, not `100.0`.
    """
    unlimited = isinstance(value, (str, float)) and value in ("Infinity", "unlimited", math.inf)
    if value is UNLIMITED or unlimited:
        return UNLIMITED
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 0:
            raise refuse(value, f"{_LIMIT_FORMS}; use 0 to block everyone", path=path)
        if value > LARGEST:
            raise refuse(value, f'a whole number ≤ {LARGEST:,} or "unlimited"', '"unlimited"', path=path)
        return int(value)
    raise refuse(value, _LIMIT_FORMS, _limit_hint(value), path=path)


def _limit_hint(value: object) -> str | None:
    if value is None:
        return '"unlimited"'
    if isinstance(value, float) and value.is_integer() and 0 <= value <= LARGEST:
        return str(int(value))
    if isinstance(value, str):
        if re.fullmatch(r"[0-9]{1,18}", value):
            return str(int(value))
        near = nearest(value, ("Infinity", "unlimited"))
        return near and f'"{near}"'
    return None


def _seconds(value: str) -> int | None:
    """Adds up a duration as written; None if it is none."""
    found = _DURATION.fullmatch(value) if 0 < len(value) <= 40 else None
    if found is None:
        return None
    counts = zip(found.groups(), _SECONDS.values(), strict=True)
    return sum(int(count or 0) * seconds for count, seconds in counts)


def _meant(value: str, calendar: bool) -> str | None:
    """Guesses which duration, or which calendar period, was meant by one that is not understood."""
    plain = re.sub(r"[\s_-]+", "", unicodedata.normalize("NFKC", value[:60]))
    plain = "1mo" if plain == "P1M" else plain.lower()
    named = _CALENDAR.fullmatch(plain)
    unit = _ADVERBS.get(plain) or (named and _CALENDAR_UNITS[named[named.lastindex or 0]])
    if unit:
        return f'calendar("{unit}")' if calendar else f'"{_DAYS[unit]}d"'
    if re.fullmatch(r"0*[1-9][0-9]{0,3}", plain):
        return f'"{int(plain)}d"'
    plain = _LONG_UNIT.sub(r"\1", re.sub(r"^p(?=[0-9t])|t(?=[0-9])", "", plain))
    seconds = _seconds(plain)
    possible = seconds is not None and 1 <= seconds <= LONGEST.total_seconds()
    return f'"{plain}"' if possible else None

"""The only reader of cron schedules: five fields, as in a crontab, and nothing that some other cron adds."""

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator

from skene.definitions.faults import describe, nearest, refuse

__all__ = ["Cron", "cron_warning", "read_cron"]

_LONGEST = 200
_FORM = 'five fields, minute hour day-of-month month day-of-week, such as "0 9 * * MON-FRI"'
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_TERM = re.compile(r"(?P<start>\*|\w+)(?:-(?P<end>\w+))?(?:/(?P<step>\w*))?")


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five: its name, its smallest and greatest number, and names for numbers, if it has some."""

    name: str
    least: int
    most: int
    words: tuple[str, ...] = ()

    @property
    def allowed(self) -> str:
        words = f" or {self.words[0]} to {self.words[-1]}" if self.words else ""
        return f"{self.name} from {self.least} to {self.most}{words}"

    def number(self, text: str) -> int | None:
        """The number that a digit string or a name means; None if it is out of range or neither."""
        if text.upper() in self.words:
            return self.words.index(text.upper()) + self.least
        number = int(text) if re.fullmatch("[0-9]{1,9}", text) else -1
        return number if self.least <= number <= self.most else None


_FIELDS = (
    _Field("minutes", 0, 59),
    _Field("hours", 0, 23),
    _Field("days of the month", 1, 31),
    _Field("months", 1, 12, _MONTHS),
    _Field("days of the week", 0, 7, _DAYS),
)


@dataclass(frozen=True, slots=True)
class _Wrong:
    """What is allowed instead of a part, and the nearest that is."""

    allowed: str
    instead: str | None = None


def read_cron(value: object) -> str:
    """Reads a cron schedule.

    Args:
        value: Five fields: `"0 9 * * *"`. Each is `*`, numbers, ranges (`1-5`), lists (`1,15`) and steps
            (`*/15`); months and days of the week may be named, in any case.

    Returns:
        The schedule with one space between its fields.

    Raises:
        DefinitionError: For anything else: other numbers of fields, nicknames such as `@daily`, the letters
            of other crons (L, W, #), and days that never come.
    """
    if not isinstance(value, str):
        raise refuse(value, _FORM)
    if len(value) > _LONGEST:
        raise refuse(
            value, f"{_FORM}, {_LONGEST} characters at most", given=f"text of {len(value):,} characters"
        )
    wrong = _wrong(value)
    if wrong is not None:
        near = _repaired(wrong.instead)
        raise refuse(value, wrong.allowed, near and f'"{near}"')
    return " ".join(value.split())


Cron = Annotated[str, BeforeValidator(read_cron)]
"""A cron schedule as the field of a definition."""


def cron_warning(text: str) -> str | None:
    """Says what readers of a schedule often do not expect, or returns None.

    Args:
        text: What `read_cron` returned.
    """
    _, _, day, _, weekday = text.split()
    if day == "*" or weekday == "*":
        return None
    # As Debian's cron has it: a field that begins with a star narrows the other one down.
    if day.startswith("*") or weekday.startswith("*"):
        return f'"{text}" fires on days that match both day-of-month {day} and day-of-week {weekday}'
    return (
        f'"{text}" fires on days that match day-of-month {day} and also on those that match day-of-week '
        f"{weekday}: with both set, cron takes either; put * in one of them"
    )


def _wrong(text: str) -> _Wrong | None:
    """The first thing that is wrong with a schedule."""
    if not text.isascii():
        return _Wrong(f"{_FORM}, in ASCII", _to_ascii(text))
    fields = text.split()
    if fields and fields[0].startswith("@"):
        known = nearest(fields[0], _NICKNAMES)
        return _Wrong(_FORM, known and _NICKNAMES[known])
    if len(fields) != len(_FIELDS):
        return _Wrong(f"{_FORM}; there are {len(fields)}", _with_five(fields))
    for place, (field, part) in enumerate(zip(_FIELDS, fields, strict=True)):
        wrong = _wrong_field(field, part)
        if wrong is not None:
            instead = wrong.instead and " ".join([*fields[:place], wrong.instead, *fields[place + 1 :]])
            return _Wrong(f"{wrong.allowed}, not {describe(part).removesuffix(' (str)')}", instead)
    if not _comes(fields):
        day = "30" if _comes([*fields[:2], "30", *fields[3:]]) else "28"
        return _Wrong("a day that some year has", " ".join([*fields[:2], day, *fields[3:]]))
    return None


def _repaired(text: str | None) -> str | None:
    """A suggestion whose other faults are put right as well; None if that cannot be done."""
    while text is not None and (wrong := _wrong(text)) is not None:
        text = wrong.instead
    return text


def _to_ascii(text: str) -> str | None:
    plain = "".join(str(unicodedata.decimal(character, character)) for character in text)
    plain = " ".join(unicodedata.normalize("NFKC", plain).split())
    return plain if plain.isascii() else None


def _with_five(fields: list[str]) -> str | None:
    if len(fields) == 6 and fields[0] in ("0", "00"):  # seconds come first in some crons
        return " ".join(fields[1:])
    return " ".join([*fields, "*"]) if len(fields) == 4 else None


def _wrong_field(field: _Field, text: str) -> _Wrong | None:
    terms = text.split(",")
    for place, term in enumerate(terms):
        wrong = _wrong_term(field, term)
        if wrong is not None:
            instead = wrong.instead and ",".join([*terms[:place], wrong.instead, *terms[place + 1 :]])
            return _Wrong(wrong.allowed, instead)
    return None


def _wrong_term(field: _Field, term: str) -> _Wrong | None:
    match = _TERM.fullmatch(term)
    if match is None or (match["start"] == "*" and match["end"]):
        return _Wrong(f"{field.allowed}, *, lists, ranges and steps", "*" if term == "?" else None)
    start, end, step = str(match["start"]), match["end"], match["step"]
    first = field.least if start == "*" else field.number(start)
    if first is None:
        near = _near(field, start)
        return _Wrong(field.allowed, near and near + term.removeprefix(start))
    last = field.most if end is None else field.number(end)
    if last is None:
        near = str(field.most) if str(end).isdigit() else _near(field, str(end))
        return _Wrong(field.allowed, near and f"{start}-{near}{f'/{step}' if step is not None else ''}")
    if last < first:
        return _Wrong(f"a range of {field.name} that ascends", _two_ranges(field, first, last, step))
    return None if step is None else _wrong_step(field, term, step, last - first)


def _wrong_step(field: _Field, term: str, step: str, most: int) -> _Wrong | None:
    most = max(most, 1)
    if re.fullmatch("[0-9]{1,9}", step) and 1 <= int(step) <= most:
        return None
    whole = term.partition("/")[0]
    far = re.fullmatch("[0-9]+", step) and int(step[:9])
    # Beyond the range only its first value is left: said plainly, and nobody takes */90 for 90 minutes.
    only = str(field.least) if whole == "*" else whole.partition("-")[0]
    return _Wrong(f"a step of {field.name} from 1 to {most}", only if far else whole)


def _two_ranges(field: _Field, first: int, last: int, step: str | None) -> str | None:
    if step is not None:
        return None
    most = field.least + len(field.words) - 1 if field.words else field.most
    return ",".join(f"{a}-{b}" if a < b else str(a) for a, b in ((first, most), (field.least, last)))


def _near(field: _Field, text: str) -> str | None:
    if re.fullmatch("[0-9]+", text):
        # 60 minutes and 24 hours are 0 of the next.
        number = int(text[:9])
        return str(field.least if number in (0, field.most + 1) else field.most)
    return nearest(text[:3], field.words) or (text[:-1] if re.fullmatch("[0-9]+[LlWw]", text) else None)


def _comes(fields: list[str]) -> bool:
    """Whether any year has a date that is asked for."""
    from cronsim import CronSim, CronSimError  # apps without a schedule never need it

    try:
        CronSim(" ".join(fields), datetime(2000, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True

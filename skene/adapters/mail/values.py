"""What a template can see, and the sandbox it runs in.

Values are plain data reached by name, never Python objects: a template cannot call a method or walk
elsewhere. None is "no value": a template can ask for it (`{% if user.name %}`, `{{ user.name or "there" }}`),
and printing it stops the message as a misspelt name does.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Undefined, UndefinedError
from jinja2.sandbox import SandboxedEnvironment
from pydantic import JsonValue

__all__ = ["Sample", "Values", "environment", "sample_user"]

_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


class _NoValue(Undefined):
    """A value that is known to be absent: falsy, equal to None, and not printable."""

    __slots__ = ()

    def __str__(self) -> str:
        raise UndefinedError(self._undefined_message)

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, _NoValue)

    def __hash__(self) -> int:
        return hash(None)


class Values:
    """Named values, and nothing else: no methods that a template could reach."""

    def __init__(self, path: str, values: Mapping[str, JsonValue]) -> None:
        """Takes where the values stand (`user`), for messages, and the values."""
        self.path = path
        self._values = values

    def __str__(self) -> str:
        raise UndefinedError(f"{self.path!r} holds several values; name one of them")

    def find(self, name: object) -> object:
        """One value as a template sees it; something that complains when it is used, if there is none."""
        place = f"{self.path}.{name}" if self.path else str(name)
        if not isinstance(name, str) or name not in self._values:
            return StrictUndefined(hint=f"{place!r} is not given")
        return _expose(place, self._values[name])

    def exposed(self) -> dict[str, object]:
        """All values as a template sees them."""
        return {name: self.find(name) for name in self._values}


class Sample(Values):
    """Stands for values nobody knows yet, while a template is checked: whatever is asked for is there.

    Attributes:
        guessed: something was asked for whose type nobody knows.
    """

    def __init__(self, path: str, known: Mapping[str, JsonValue] | None = None) -> None:
        """Takes where the values stand, and those that are known."""
        super().__init__(path, known or {})
        self.guessed = False

    def find(self, name: object) -> object:
        """A known value, or a made-up one that can stand in a text and in a link."""
        if name in self._values or str(name).startswith("_"):
            return super().find(name)
        self.guessed = True
        return _SampleText("https://acme.test/sample")


def sample_user() -> Sample:
    """Any user: with an address, a name, and whatever else is asked for."""
    return Sample("user", {"email": "sample@acme.test", "name": "Sample"})


class _SampleText(str):
    """A made-up value: a text that has parts and can be gone through, should it turn out to be no text."""

    __slots__ = ()

    def __iter__(self) -> Iterator[str]:
        yield self


class _Sandbox(SandboxedEnvironment):
    """The sandbox of Jinja, where a dot means one of our values and nothing of Python's."""

    def getattr(self, obj: object, attribute: str) -> object:
        return self._part(obj, attribute) if _ours(obj) else super().getattr(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        return self._part(obj, argument) if _ours(obj) else super().getitem(obj, argument)

    def _part(self, obj: object, name: object) -> object:
        if isinstance(obj, Values):
            return obj.find(name)
        made_up = not str(name).startswith("_") and not hasattr(str, str(name))
        return obj if made_up else super().getitem(obj, name)


def _ours(obj: object) -> bool:
    return isinstance(obj, Values | _SampleText)


def environment(places: Iterable[Path]) -> Environment:
    """The environment that local templates run in.

    Args:
        places: folders, the first to have a file wins.

    `|moment` and `|date` write an ISO 8601 time for people, in UTC; `is time` asks whether they can;
    `|number` separates thousands.
    """
    made = _Sandbox(
        loader=FileSystemLoader([str(place) for place in places]),
        undefined=StrictUndefined,
        autoescape=_escapes,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.pop("lipsum", None)
    made.filters.update(moment=_moment, date=_date, number=_number)
    made.tests.update(none=_is_none, time=_is_time)
    return made


def _escapes(name: str | None) -> bool:
    return name is not None and name.endswith(".html")


def _is_none(value: object) -> bool:
    return value is None or isinstance(value, _NoValue)


def _expose(place: str, value: JsonValue) -> object:
    if value is None:
        return _NoValue(hint=f"{place!r} has no value")
    if isinstance(value, dict):
        return Values(place, value)
    if isinstance(value, list):
        return [_expose(f"{place}[{index}]", item) for index, item in enumerate(value)]
    return value


def _utc(value: object) -> datetime:
    at = datetime.fromisoformat(str(value))
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)


def _is_time(value: object) -> bool:
    try:
        _utc(value)
    except (ValueError, OverflowError, UndefinedError):
        return False
    return True


def _date(value: object) -> str:
    at = _utc(value)
    return f"{at.day} {_MONTHS[at.month - 1]} {at.year}"


def _moment(value: object) -> str:
    return f"{_date(value)} at {_utc(value):%H:%M} UTC"


def _number(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)

"""Checks of single values that the kinds of definition share. Each says what it wants in its own words."""

import re
import unicodedata
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Annotated, TypeVar

from pydantic import BeforeValidator

from skene.definitions.base import Definition, Faulty, misplaced
from skene.definitions.faults import describe, nearest, refuse
from skene.definitions.units import parse_duration
from skene.definitions.values import as_mapping

D = TypeVar("D", bound=Definition)


def one_of(*kinds: type[D]) -> Callable[[object], D]:
    """Returns a reader of objects as the kind their `type` names, so that the faults are of that kind."""
    by_type = {str(kind.model_fields["type"].default): kind for kind in kinds}
    *some, last = [kind.example for kind in kinds]
    examples = f"{', '.join(some)} or {last}" if some else last

    def read(value: object) -> D:
        if isinstance(value, kinds):
            return value
        if isinstance(value, Faulty) and value.kind in kinds:
            return kinds[kinds.index(value.kind)].read(value)
        given = as_mapping(value)
        if given is None:
            raise misplaced(value, examples)
        if "type" not in given:
            raise refuse(None, either(by_type), path="type", given="nothing")
        return by_type[_word(given["type"], by_type, "type")].read(given)

    return read


def choice(*words: str) -> BeforeValidator:
    """Admits only the given words."""
    return BeforeValidator(lambda value: _word(value, words))


def text(
    allowed: str, longest: int, *, shortest: int = 1, pattern: str = r"(?s:.*)", lines: bool = False
) -> BeforeValidator:
    """Admits text of some length, not blank, that a pattern matches whole.

    Args:
        allowed: Words for what may be given.
        longest: The greatest number of characters.
        shortest: The least number of characters; 0 admits blank text too.
        pattern: A regular expression for the whole text.
        lines: Whether line breaks and tabs are allowed. Other control characters never are.
    """
    whole = re.compile(pattern)

    def check(value: object) -> str:
        if not isinstance(value, str):
            raise refuse(value, allowed)
        if len(value) > longest:
            raise refuse(value, allowed, given=f"text of {len(value):,} characters")
        bare = re.sub(r"[\r\n\t]", "", value) if lines else value
        if len(value.strip()) < shortest or not printable(bare) or not whole.fullmatch(value):
            raise refuse(value, allowed, _nearest_text(value, whole))
        return value

    return BeforeValidator(check)


def _nearest_text(value: str, whole: re.Pattern[str]) -> str | None:
    """What was meant, if only spaces or capitals keep a name from being one; never what may be secret."""
    name = re.sub(r"\s+", "_", value.strip())
    shown = describe(value).startswith('"')
    meant = (near for near in (name, name.lower()) if shown and near != value and whole.fullmatch(near))
    return next((f'"{near}"' for near in meant), None)


def printable(value: str) -> bool:
    """Whether text has no control characters and none that cannot be encoded (lone surrogates)."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in value)


def either(words: Iterable[str]) -> str:
    """Lists words for a message: `"day", "week" or "month"`."""
    *some, last = [f'"{word}"' for word in words]
    return f"{', '.join(some)} or {last}" if some else last


def _word(value: object, words: Iterable[str], path: str = "") -> str:
    if isinstance(value, str) and value in words:
        return value
    near = nearest(value, words)
    raise refuse(value, either(words), near and f'"{near}"', path=path)


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise refuse(value, "True or False")
    return value


Flag = Annotated[bool, BeforeValidator(_flag)]
Duration = Annotated[timedelta, BeforeValidator(parse_duration)]
Name = Annotated[str, text("a name of 1 to 100 characters, without control characters", 100)]

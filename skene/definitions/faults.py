"""What is wrong with a definition, said so that the reader can put it right.

The root of all errors lives here only because this is the bottom layer; `skene.errors` draws the whole tree:

    SkeneError
    └── DefinitionError (also a ValueError)
"""

import json
import re
from collections.abc import Iterable, Sized
from dataclasses import dataclass, replace
from difflib import get_close_matches
from enum import Enum
from typing import ClassVar, Final, Self, cast

REFERENCE: Final = "https://github.com/skene-sdk/skene/blob/main/docs/reference"
"""Where the pages of the reference are read."""

_LONGEST = 60
_SECRET_KEY = re.compile(r"secret|passw|token|api_?key|credential|authorization", re.IGNORECASE)
_SECRET_TEXT = re.compile(
    r"(sk|rk|pk)_(live|test)|whsec_|pdl_\w*(apikey|ntfset)_|\bre_(?=\w*[0-9])\w{8,}|://[^/\s]*@"
    r"|\bpassword\s*="  # in an address of libpq's
)
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class SkeneError(Exception):
    """The root of every error that skene raises.

    Attributes:
        code: Names the kind of error, for programs and for looking it up. It stays as it is.
        fix: What to do about it, in a sentence.
    """

    code: ClassVar[str] = "skene_error"
    fix: ClassVar[str] = "Look up the code of the error that was raised: every one has its own."

    @property
    def docs(self) -> str:
        """Where this kind of error is described."""
        return f"{REFERENCE}/errors.md#{self.code}"


class SkeneWarning(UserWarning):
    """Something that is allowed and probably not meant."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a definition.

    Attributes:
        path: Where, as whoever wrote it spells it: `steps[0].condition.limit.free`. Empty for the whole.
        given: What stands there, shortened, and never a value that may be secret: `True (bool)`.
        allowed: What may stand there instead.
        hint: The nearest thing that is allowed, when there is one.
    """

    path: str
    given: str
    allowed: str
    hint: str | None = None

    def __str__(self) -> str:
        """Returns the fault on one line: `path: got this; give that; did you mean …?`."""
        where = f"{self.path}: " if self.path else ""
        hint = f"; did you mean {self.hint}?" if self.hint else ""
        text = f"{where}got {self.given}; give {self.allowed}{hint}"
        # What was written may be quoted in any part of it, and must not reach a terminal as it is.
        return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


class DefinitionError(SkeneError, ValueError):
    """A definition has faults. All of them are in this one error.

    Attributes:
        faults: Every fault, in the order of the definition.
        what: What was being defined, for the headline: `the loop`.
    """

    code = "definition_invalid"
    fix = "Put right what each line names: where it is, what stands there, what may stand there."

    def __init__(self, faults: Iterable[Fault], what: str = "the definition") -> None:
        """Takes the faults (at least one) and the name of what has them."""
        self.faults: tuple[Fault, ...] = tuple(faults)
        self.what = what
        count = len(self.faults)
        headline = f"{what} has {count} fault{'' if count == 1 else 's'}:"
        super().__init__("\n".join([headline, *(f"  {fault}" for fault in self.faults)]))

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[Fault, ...], str]]:
        """Pickles by the arguments, since the message is made from them."""
        return type(self), (self.faults, self.what)


def refuse(
    value: object, allowed: str, hint: str | None = None, *, path: str = "", given: str | None = None
) -> DefinitionError:
    """Makes the error for one value that is not allowed.

    Args:
        value: What was given.
        allowed: What may be given instead.
        hint: The nearest thing that is allowed.
        path: Where the value stands, below the place that is being checked.
        given: Words for the value, when its own description says too little.
    """
    return DefinitionError([Fault(path, given or describe(value, path), allowed, hint)], "the value")


def under(prefix: str, faults: Iterable[Fault]) -> list[Fault]:
    """Moves faults below a place: `limit` in `condition` becomes `condition.limit`."""
    return [replace(fault, path=join(prefix, fault.path)) for fault in faults]


def join(*parts: str | int) -> str:
    """Joins keys, positions and paths to one path: `steps`, 0, `limit.free` to `steps[0].limit.free`."""
    path = ""
    for part in parts:
        step = f"[{part}]" if isinstance(part, int) else part
        path += step if not path or not step or step.startswith("[") else f".{step}"
    return path


def key_path(key: object) -> str:
    """Writes a key of a mapping for a path: `free`, `["my plan"]` if it is no plain word, `[…]` a secret."""
    if isinstance(key, str) and _SECRET_TEXT.search(key):
        return "[…]"
    if isinstance(key, str) and len(key) <= _LONGEST and _PLAIN_KEY.fullmatch(key):
        return key
    return f"[{_quoted(key) if isinstance(key, str) else describe(key)}]"


def describe(value: object, key: str = "") -> str:
    """Says what a value is without giving away a secret.

    Args:
        value: Anything.
        key: The name the value stands under; under one that sounds secret only the type is said.
    """
    kind = type(value).__name__
    if value is None:
        return "None"
    if isinstance(value, (str, int, float)) and not isinstance(value, Enum):
        secret = _SECRET_KEY.search(key) or (isinstance(value, str) and _SECRET_TEXT.search(value))
        return f"a value of type {kind}" if secret else f"{_scalar(value)} ({kind})"
    if isinstance(value, (dict, list, tuple)):
        return f"a {kind} of {len(cast(Sized, value))}"
    return f"a value of type {kind}"


def nearest(word: object, words: Iterable[str]) -> str | None:
    """Returns the one of some words that a misspelt word is closest to, whatever its case, or None."""
    if not isinstance(word, str):
        return None
    known = {known.lower(): known for known in words}
    close = get_close_matches(word[:_LONGEST].lower(), known, n=1)
    return known[close[0]] if close else None


def did_you_mean(word: object, words: Iterable[str]) -> str:
    """Returns the end of a message about a misspelt word: `; did you mean this?`; empty if none is near."""
    near = nearest(word, words)
    return f"; did you mean {near}?" if near else ""


def _scalar(value: str | int | float) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, int) and value.bit_length() > 128:  # Python refuses to write out very long numbers
        return f"a number of about {value.bit_length() * 3 // 10} digits"
    return repr(value)


def _quoted(text: str) -> str:
    short = text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
    return json.dumps(short, ensure_ascii=not short.isprintable())

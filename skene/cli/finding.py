"""What lists have in common: their filters, and the words for one that names nothing."""

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from skene.cli.failing import CommandError
from skene.cli.output import say
from skene.definitions.faults import did_you_mean

if TYPE_CHECKING:
    from skene.runtime.skene import Runtime

__all__ = [
    "LimitOption",
    "LoopOption",
    "SubjectOption",
    "as_number",
    "check_known_loop",
    "read_choice",
    "say_more",
]

E = TypeVar("E", bound=StrEnum)

_DIGITS = 40
"""The longest number that is read: twice as long as the largest limit, so that one over it is named."""

LimitOption = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, max=10_000, help="How many at most.")
]
LoopOption = Annotated[str | None, typer.Option("--loop", metavar="NAME", help="Only this loop.")]
SubjectOption = Annotated[
    str | None, typer.Option("--subject", metavar="SUBJECT", help="Only this subject, as your app names it.")
]


def read_choice(text: str, option: str, allowed: Iterable[E]) -> E:
    """One of some words, in any case.

    Args:
        text: as typed.
        option: for the message.
        allowed: the words.

    Raises:
        CommandError: it is none of them.
    """
    words = list(allowed)
    for one in words:
        if one.value == text.strip().lower().replace("-", "_"):
            return one
    hint = did_you_mean(text, [one.value for one in words])
    raise CommandError(f"{option}: got {text!r}; give one of {', '.join(words)}{hint}")


def check_known_loop(skene: "Runtime", name: str | None) -> None:
    """Refuse a loop that the configuration does not have.

    Raises:
        CommandError: with those there are.
    """
    known = [one.key for one in skene.loops]
    if name is not None and name not in known:
        there = f"{', '.join(known) or 'none'}{did_you_mean(name, known)}"
        raise CommandError(f"--loop: no loop is called {name!r}; there are: {there}")


def as_number(text: str) -> int | str:
    """A whole number as typed; anything else, and what is too long to be one, stays as it is."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _DIGITS else text


def say_more(shown: int) -> None:
    """Say that the list goes on behind the rows it showed."""
    say(f"these are the latest {shown}; --limit shows more")

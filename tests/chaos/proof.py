"""What a proof is: a claim, how it is tried, and the careless way that must fail the same trial."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random  # noqa: TID251 - a trial is given its seed
from typing import TypeVar

__all__ = ["Finding", "Proof", "Trial", "at_least", "at_most", "exactly"]


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Trial:
    """One run of a proof.

    Attributes:
        seed: what its random numbers follow from.
        long: as many calls, kills and seconds as the claim names; else just enough to see it work.
        folder: an empty one of its own.
    """

    seed: int
    long: bool
    folder: Path

    def random(self) -> Random:
        """The trial's random numbers, from the beginning."""
        return Random(self.seed)  # noqa: S311 - it decides who is killed when

    def take(self, short: T, long: T) -> T:
        """The size for this trial."""
        return long if self.long else short


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was measured or counted, and what is asked of it.

    Attributes:
        what: named as in the table, such as "admitted".
        asked: in words, such as "exactly 100".
        found: in words.
        holds: whether the one is the other.
    """

    what: str
    asked: str
    found: str
    holds: bool

    def __str__(self) -> str:
        return f"{self.what}: {self.found}, {self.asked}{'' if self.holds else ': BROKEN'}"


def exactly(what: str, found: float, asked: float) -> Finding:
    """It has to be this."""
    return Finding(what, f"exactly {asked:,}", f"{found:,}", found == asked)


def at_most(what: str, found: float, asked: float, unit: str = "") -> Finding:
    """It may not be more."""
    return Finding(what, f"at most {asked:,}{unit}", f"{found:,.6g}{unit}", found <= asked)


def at_least(what: str, found: float, asked: float, unit: str = "") -> Finding:
    """It may not be less."""
    return Finding(what, f"at least {asked:,}{unit}", f"{found:,.6g}{unit}", found >= asked)


Try = Callable[[Trial], Awaitable[Sequence[Finding]]]


@dataclass(frozen=True, slots=True)
class Proof:
    """A claim that can be tried.

    Attributes:
        key: names it on the command line and in the page.
        claim: a sentence in the present tense.
        faults: the keys of the faults that it covers, see `tests.chaos.faults`.
        numbers: calls, processes, kills of the long form, in words.
        try_ours: runs it; every finding must hold.
        control: what the careless way is, such as "SELECT, then UPDATE".
        try_control: runs the same with it; at least one finding must not hold.
    """

    key: str
    claim: str
    faults: tuple[str, ...]
    numbers: str
    try_ours: Try
    control: str
    try_control: Try

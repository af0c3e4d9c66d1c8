"""Rounds: the contestants of a heat run one after the other, in another order each time.

A machine is quicker in one minute than in the next. So figures are only ever compared within a round, and
what is told is the median of the rounds' ratios, with the lowest and the highest beside it.
"""

import statistics
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self

__all__ = ["Figures", "Heat", "Spread", "Turn", "percentile", "run_heat"]

Figures = Mapping[str, float]
"""What one turn of one contestant was measured at, by name: `rate`, `p50`, …"""
Turn = Callable[[], Awaitable[Figures]]


@dataclass(frozen=True, slots=True)
class Spread:
    """The middle of what the rounds gave, and how far they lie apart."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Self:
        """Raises ValueError for no values at all."""
        if not values:
            raise ValueError("no round was measured")
        return cls(statistics.median(values), min(values), max(values), len(values))


@dataclass(frozen=True, slots=True)
class Heat:
    """What the rounds of some contestants gave: by contestant, the figures of each round."""

    turns: Mapping[str, Sequence[Figures]]

    def figure(self, name: str, figure: str) -> Spread | None:
        """A contestant's own figure; None if it was not measured."""
        values = [turn[figure] for turn in self.turns.get(name, ()) if figure in turn]
        return Spread.of(values) if values else None

    def ratio(self, name: str, other: str, figure: str) -> Spread | None:
        """One contestant's figure in units of another's, taken round by round; None if one has none."""
        pairs = zip(self.turns.get(name, ()), self.turns.get(other, ()), strict=False)
        ratios = [
            ours[figure] / theirs[figure] for ours, theirs in pairs if figure in ours and figure in theirs
        ]
        return Spread.of(ratios) if ratios else None

    def difference(self, name: str, other: str, figure: str) -> Spread | None:
        """What a contestant's figure has beyond another's, taken round by round; None if one has none."""
        pairs = zip(self.turns.get(name, ()), self.turns.get(other, ()), strict=False)
        beyond = [
            ours[figure] - theirs[figure] for ours, theirs in pairs if figure in ours and figure in theirs
        ]
        return Spread.of(beyond) if beyond else None


async def run_heat(
    contestants: Mapping[str, Turn], rounds: int, tell: Callable[[str], None] = lambda _: None
) -> Heat:
    """Let every contestant have a turn in every round.

    The order is rotated by one from round to round, so that nobody always runs behind the same one.

    Args:
        contestants: by name.
        rounds: how many.
        tell: is given a line about every turn.
    """
    names = list(contestants)
    turns: dict[str, list[Figures]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % max(1, len(names))
        for name in names[first:] + names[:first]:
            figures = await contestants[name]()
            turns[name].append(figures)
            shown = ", ".join(f"{figure} {value:,.6g}" for figure, value in figures.items())
            tell(f"round {number + 1} of {rounds}: {name}: {shown}")
    return Heat(turns)


def percentile(values: Sequence[float], share: float) -> float:
    """The value that a share of the values, 0 to 1, do not exceed."""
    ranked = sorted(values)
    return ranked[min(len(ranked) - 1, int(share * len(ranked)))]

"""How much a run measures, and what a group gives back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tests.benchmarks.frame.measuring import Heat
from tests.benchmarks.frame.page import number, shown
from tests.benchmarks.frame.results import Result, Table

__all__ = ["Options", "Outcome", "compared"]


@dataclass(frozen=True, slots=True)
class Options:
    """What the command line says.

    Attributes:
        rounds: turns of each contestant.
        seconds: how long a turn lasts.
        quick: only show that everything runs.
        full: measure what takes long and needs much disk, too.
        tell: is given a line about everything that is done.
    """

    rounds: int = 5
    seconds: float = 2.5
    quick: bool = False
    full: bool = False
    tell: Callable[[str], None] = lambda _: None

    def scaled(self, size: int, quick: int) -> int:
        """A size as the page has it, or the small one of a quick run."""
        return quick if self.quick else size


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a group has found: its rows, its tables, and versions that only it knows."""

    results: Sequence[Result]
    tables: Sequence[Table] = ()
    facts: Mapping[str, str] = field(default_factory=dict[str, str])


def compared(
    title: str, text: str, heat: Heat, *, base: str, figures: Mapping[str, str], ratio: str
) -> Table:
    """A table of everybody in a heat: their own figures, and how one of them compares with somebody's.

    Args:
        title, text: above it.
        heat: what was measured.
        base: whom the others are compared with.
        figures: the figures that are shown, with the headings of their columns.
        ratio: the figure that is compared.
    """
    rows: list[list[str]] = []
    for name in heat.turns:
        own = [heat.figure(name, figure) for figure in figures]
        cells = ["–" if spread is None else number(spread.median) for spread in own]
        rows.append([name, *cells, shown(heat.ratio(name, base, ratio))])
    return Table(title, text, ["", *figures.values(), f"÷ {base} (lowest–highest)"], rows)

"""What was measured, as it is kept between the run and the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from tests.benchmarks.frame.measuring import Spread

__all__ = ["Bar", "Result", "Section", "Table", "load", "save"]


@dataclass(frozen=True, slots=True)
class Bar:
    """What a row has to show.

    Attributes:
        key: names the row; its explanation is `notes/<key>.md`.
        group: which group measures it.
        what: what is compared with what, and how durable each of them is.
        sense: which side of `value` is right.
        value: the bar, in `unit`.
        unit: behind numbers; × for a ratio.
    """

    key: str
    group: str
    what: str
    sense: Literal["at least", "at most", "exactly"]
    value: float
    unit: str = "×"

    def met(self, spread: Spread) -> bool:
        """Whether what was measured clears the bar: its median, or every round where it must be exact."""
        if self.sense == "at least":
            return spread.median >= self.value
        if self.sense == "at most":
            return spread.median <= self.value
        return spread.low == spread.high == self.value


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a row: a spread, or the reason why there is none."""

    key: str
    spread: Spread | None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """Figures for the page beside its rows: cells as they are shown."""

    title: str
    text: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Section:
    """What one run of a group gave.

    Attributes:
        facts: the run's circumstances: when, on which machine, of which versions, how many rounds.
        failure: why the group came to nothing; empty if it did not.
    """

    group: str
    facts: Mapping[str, str]
    results: Sequence[Result] = ()
    tables: Sequence[Table] = ()
    failure: str = ""


def save(section: Section, folder: Path) -> Path:
    """Keep a section in a folder, in place of the one of its group before."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{section.group}.json"
    path.write_text(json.dumps(asdict(section), indent=1) + "\n", encoding="utf-8")
    return path


def load(path: Path) -> Section:
    """Read a section that was kept."""
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    results = [
        Result(one["key"], Spread(**one["spread"]) if one["spread"] else None, one["reason"])
        for one in kept.pop("results")
    ]
    tables = [Table(**one) for one in kept.pop("tables")]
    return Section(results=results, tables=tables, **kept)

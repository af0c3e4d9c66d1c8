"""What a run of a proof has found, as it is kept between the run and the page."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tests.chaos.proof import Finding

__all__ = ["Run", "load", "save"]


@dataclass(frozen=True, slots=True)
class Run:
    """One proof, tried with one seed.

    Attributes:
        key: the proof's.
        seed: the trial's.
        ours: what was found of skene.
        control: what was found of the careless way.
        facts: when, which machine, which versions.
        failure: why it came to nothing; empty if it did not.
    """

    key: str
    seed: int
    ours: Sequence[Finding] = ()
    control: Sequence[Finding] = ()
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    failure: str = ""

    @property
    def holds(self) -> bool:
        """Whether everything was found as claimed, and the control is caught."""
        return self.stands and self.caught

    @property
    def stands(self) -> bool:
        """Whether everything was found as claimed."""
        return not self.failure and bool(self.ours) and all(finding.holds for finding in self.ours)

    @property
    def caught(self) -> bool:
        """Whether the control has failed its trial."""
        return any(not finding.holds for finding in self.control)


def save(run: Run, folder: Path) -> Path:
    """Keep a run in a folder, in place of the one of its proof and seed before."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{run.key}-{run.seed}.json"
    path.write_text(json.dumps(asdict(run), indent=1) + "\n", encoding="utf-8")
    return path


def load(folder: Path) -> list[Run]:
    """Read all runs that were kept, by seed."""
    return sorted(map(_read, folder.glob("*.json")), key=lambda run: (run.key, run.seed))


def _read(path: Path) -> Run:
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    for side in ("ours", "control"):
        kept[side] = tuple(Finding(**one) for one in kept[side])
    return Run(**kept)

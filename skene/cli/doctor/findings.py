"""What a check of `skene doctor` finds."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skene.runtime.skene import Runtime

__all__ = ["Finding", "Patient", "Severity"]


class Severity(StrEnum):
    """How bad it is: `ok`, `skipped` (it could not be looked at), `warning`, `error`."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """A finding.

    Attributes:
        check: which check.
        severity: how bad it is.
        seen: what was seen.
        advice: what to do; empty if nothing.
    """

    check: str
    severity: Severity
    seen: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class Patient:
    """What is looked at.

    Attributes:
        skene: the user's.
        app: the gated app, as `module:name`; None if it was not given.
        folder: the project's.
        env: variables, with those of `.env`.
        workers: how many processes serve the app, if that is known.
        now: the present.
    """

    skene: "Runtime"
    app: str | None
    folder: Path
    env: Mapping[str, str]
    workers: int | None
    now: datetime

"""What a loop's conditions and actions are told: who, why, and the rows there are."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

__all__ = ["Occasion"]


@dataclass(frozen=True, slots=True)
class Occasion:
    """One subject and what has happened to it, as functions of yours are told.

    Attributes:
        subject: who.
        loop, step: what is being evaluated.
        key: names this occasion: the same whenever it is told again, and no other one has it.
        occurred_at: when the trigger fired, aware UTC.
        plan: the plan the subject holds now.
        event: the trigger's row or payload. row: the row that the condition's query found.
    """

    subject: str
    loop: str
    step: str
    key: str
    occurred_at: datetime
    plan: str
    event: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    row: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

"""What a comparison with the billing service has found."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from pydantic import JsonValue

__all__ = ["Drift", "SyncReport", "as_data"]

MOST = 1_000
"""Drifts that a report lists; it counts all."""
TOLD = 100
"""Drifts in the event that hooks hear of."""
COUNTED = ("checked", "differed", "repaired", "unlinked", "failed", "events")


@dataclass(frozen=True, slots=True)
class Drift:
    """A customer of whom something else was kept than the billing service says.

    Attributes:
        customer: the provider's id.
        subject: who is tied to it, or None.
        before: the plan that was in force by what was kept.
        after: the plan by what the billing service says. It may be the same: then it was a price, a quantity,
            a period, or the tie that differed.
    """

    customer: str
    subject: str | None
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class SyncReport:
    """What a comparison has found so far, or in the end.

    Attributes:
        started_at: when it began; a run that was stopped and gone on with keeps its beginning.
        dry_run: nothing was written.
        stage: what is being compared: `subscriptions`, `latest`, `kept`, `events`; or `done`.
        checked: customers compared.
        differed: those of whom something else was kept.
        repaired: those that were put right.
        unlinked: customers with a plan whom nobody is tied to, and no metadata names a subject.
        failed: customers whom the billing service does not know, or does not show.
        events: webhooks that had never arrived, and were taken.
        drifts: up to 1,000 of those who differed; only those this process has found.
        finished_at: when it came to its end; None: it has not.
        stopped: why it has not, for people; the next run goes on from there.
    """

    started_at: datetime
    dry_run: bool = False
    stage: str = ""
    checked: int = 0
    differed: int = 0
    repaired: int = 0
    unlinked: int = 0
    failed: int = 0
    events: int = 0
    drifts: tuple[Drift, ...] = ()
    finished_at: datetime | None = None
    stopped: str | None = None

    @property
    def in_order(self) -> bool:
        """Whether it came to its end, and all is now as the billing service says."""
        return self.finished_at is not None and not self.failed and self.repaired >= self.differed

    def more(self, *drifts: Drift, **counts: int) -> "SyncReport":
        """The same with more found."""
        changes: dict[str, Any] = {name: getattr(self, name) + value for name, value in counts.items()}
        return replace(self, drifts=(*self.drifts, *drifts)[:MOST], **changes)

    def counts(self) -> dict[str, int]:
        """All numbers, by name."""
        return {name: getattr(self, name) for name in COUNTED}


def as_data(report: SyncReport) -> Mapping[str, JsonValue]:
    """What hooks are told."""
    return {
        "started_at": report.started_at.isoformat(),
        "finished_at": report.finished_at.isoformat() if report.finished_at else None,
        **report.counts(),
        "drifts": [
            {"customer": one.customer, "subject": one.subject, "before": one.before, "after": one.after}
            for one in report.drifts[:TOLD]
        ],
    }

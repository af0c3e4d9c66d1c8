"""Comparisons with the billing service: how far they have come, and what they compare with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol

from skene.engine.comparing import Verdict
from skene.ports.counters import Draft

__all__ = ["Compared", "SyncRun", "Syncs"]


@dataclass(frozen=True, slots=True)
class SyncRun:
    """A comparison that goes on, and the right to go on with it.

    Attributes:
        claim: higher with everyone who goes on with it; whoever holds a lower one has lost it.
        started_at: when it began, by the storage's clock, whoever has gone on with it since.
        stage, cursor: where it goes on; what they mean is not the storage's affair.
        counts: what it has found so far, and whatever else it wants to remember, JSON.
    """

    claim: int
    started_at: datetime
    stage: str
    cursor: str | None = None
    counts: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Compared:
    """What is kept of a customer, beside what the billing service says.

    Attributes:
        customer: the provider's id.
        subject: who is tied to it, if anybody is.
        plan: the plan in force by what is kept; None while nothing is.
        verdict: what the comparison found.
    """

    customer: str
    subject: str | None
    plan: str | None
    verdict: Verdict


class Syncs(Protocol):
    """Keeps how far the comparison with the billing service has come, one over all processes."""

    async def claim_sync(
        self, stage: str, lease: timedelta, *, lasts: timedelta, every: timedelta | None = None
    ) -> SyncRun | None:
        """Go on with the run that has not ended, or begin one.

        Args:
            stage: where a new one begins.
            lease: nobody else can claim it for so long, unless it is saved, ended or given back.
            lasts: a run that began longer ago than this is not gone on with: another begins.
            every: begin another only if the last one began so long ago or longer. If there never was one, the
                time counts from now.

        Returns:
            None if somebody else holds it, or if it is not due yet.
        """
        ...

    async def keep_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Hold a run for another lease. False: it is somebody else's by now, or has ended."""
        ...

    async def save_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Write down how far a run has come, and hold it for another lease. False: as above."""
        ...

    async def end_sync(self, run: SyncRun, *, finished: bool, drafts: tuple[Draft, ...] = ()) -> bool:
        """Give a run back, as it was saved last, for anybody to go on with; or say that it is finished.

        Args:
            run: what is written down of a finished one.
            finished: nothing is left to do.
            drafts: messages that tell of it, written in the same transaction.

        Returns:
            False: as above, and nothing was written.
        """
        ...

    async def compare_subscriptions(
        self, listed: Mapping[str, Sequence[Mapping[str, Any]]], *, mark: bool
    ) -> tuple[Compared, ...]:
        """Compare what is kept of some customers with what was listed of them, see `engine.comparing`.

        A customer of whom nothing is kept differs, and so does one whose subject does not hold what is kept
        of the customer.

        Args:
            listed: subscriptions as `as_kept` writes them, by customer.
            mark: note for those that are equal that they were verified now. Else nothing is written.
        """
        ...

    async def unverified_customers(
        self, before: datetime, after: str | None, limit: int
    ) -> tuple[Compared, ...]:
        """Customers who give a plan besides the default, or whose subject holds one, not verified lately.

        Args:
            before: those that were not verified at this instant or later.
            after: begin after this customer; the order is that of their ids.
            limit: how many at most.

        Returns:
            Each with the verdict `partly`: nobody has compared anything.
        """
        ...

    async def verified_customers(
        self, customers: tuple[str, ...], since: datetime
    ) -> Mapping[str, str | None]:
        """Those of some customers that were verified at an instant or later, and who is tied to each."""
        ...

    async def unknown_events(self, events: tuple[str, ...]) -> frozenset[str]:
        """Those of some webhooks' ids that were never recorded."""
        ...

    async def record_events(self, events: Mapping[str, str]) -> None:
        """Remember, for ever, webhooks that need no fetch: their types by their ids."""
        ...

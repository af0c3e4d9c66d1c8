"""Messages that are on their way."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from skene.ports.counters import Draft
from skene.ports.notifier import Body

__all__ = ["Claimed", "MessageState", "Outbox", "Outcome"]


class MessageState(StrEnum):
    """Where a message is. `pending` and `claimed` are on their way, the others final until a person acts."""

    PENDING = "pending"
    CLAIMED = "claimed"
    SENT = "sent"
    CANCELLED = "cancelled"
    """No longer wanted, e.g. the subject has paid."""
    SKIPPED = "skipped"
    """Could not be addressed: no profile, no e-mail."""
    DEAD = "dead"
    """Every attempt failed, or the provider will never take it."""
    PARKED = "parked"
    """Perhaps sent, and too late to find out by repeating it: for a person to look at."""


@dataclass(frozen=True, slots=True)
class Claimed:
    """A message in this worker's hands until the lease ends.

    Attributes:
        id: the row's id; claim: number of the claim, guards against settling after the lease was lost.
        draft: the message as it was written (`data` as plain JSON).
        failures: attempts that have failed so far.
        body: what was rendered for the first attempt; None before it.
        first_attempt_at: when the first attempt began; None before it.
        unsettled: an attempt was begun under an earlier claim and nobody knows how it ended.
        now: the storage's clock at the claim.
        current_plan: the plan the subject holds now; None if billing never heard of it.
        email: the address billing knows.
    """

    id: int
    claim: int
    draft: Draft
    failures: int
    body: Body | None
    first_attempt_at: datetime | None
    unsettled: bool
    now: datetime
    current_plan: str | None
    email: str | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: PENDING for another attempt after `delay`, or a final state.
        delay: wait before the next attempt.
        failed: count this attempt as a failure.
        reason: for people; never a secret, never an address.
        provider_id: the provider's id of a sent message.
    """

    state: MessageState
    delay: timedelta = timedelta(0)
    failed: bool = False
    reason: str | None = None
    provider_id: str | None = None


class Outbox(Protocol):
    """Hands messages to workers, each to one at a time."""

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take up to `limit` messages that are due, or whose lease has ended, oldest first.

        Two workers never hold the same message at once. A message is not due before its time.
        """
        ...

    async def begin_attempt(self, claimed: Claimed, body: Body) -> bool:
        """Record that an attempt begins and freeze the body, before anything leaves the process.

        Returns:
            False when the claim was lost: do not send.
        """
        ...

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Record how it ended. A sent prompt also marks its wall as prompted.

        Returns:
            False when the claim was lost; nothing was changed.
        """
        ...

    async def messages(
        self, subject: str | None = None
    ) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """All messages, oldest first, with state and reason; of one subject, if given.

        For people and tests.
        """
        ...

    async def outbox_counts(self) -> Mapping[MessageState, int]:
        """How many messages are in each state; states without any are left out."""
        ...

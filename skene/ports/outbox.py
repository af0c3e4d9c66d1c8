"""Messages that are on their way."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol

from skene.ports.counters import Draft
from skene.ports.notifier import Body

__all__ = [
    "PERHAPS_SENT",
    "Attempt",
    "Begun",
    "Claimed",
    "Later",
    "MessageRow",
    "MessageState",
    "Never",
    "Outbox",
    "Outcome",
    "Rules",
]


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


PERHAPS_SENT = (MessageState.SENT, MessageState.PARKED)
"""States of a message that a person has got, or may have got: a cap counts it."""


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
        over: why the message's journey does not go on, as in `ports.firings.Firing`; None without one. A goal
            that was reached before the journey began ends none of its messages: they are its first step's.
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
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attempt ended.

    Attributes:
        state: PENDING for another attempt after `delay`, or a final state.
        delay: wait before the next attempt.
        failed: count this attempt as a failure.
        reason: for people; never a secret, never an address.
        provider_id: the provider's id of a sent message.
        hold: let nobody send through this channel before so much time has passed: what the provider asked
            for.
        drafts: messages that follow from it, written in the same transaction.
    """

    state: MessageState
    delay: timedelta = timedelta(0)
    failed: bool = False
    reason: str | None = None
    provider_id: str | None = None
    hold: timedelta = timedelta(0)
    drafts: tuple[Draft, ...] = ()


@dataclass(frozen=True, slots=True)
class Rules:
    """What a message must pass before it may leave.

    Attributes:
        address: digest of the address it goes to, as in `ports.contacts`; None when it has none.
        cap: a marketing message: how many of these a subject may get in how long a time; None: no cap.
        pace: the shortest time between two messages of one channel, over all workers; None: no pace.
        patience: the longest a worker waits for the channel's turn; beyond it the message is for later.
    """

    address: str | None = None
    cap: tuple[int, timedelta] | None = None
    pace: timedelta | None = None
    patience: timedelta = timedelta(seconds=5)


@dataclass(frozen=True, slots=True)
class Begun:
    """The attempt is recorded. Send after `wait`, when the channel's turn has come."""

    wait: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Later:
    """Nothing was recorded: not before `delay` has passed. `capped` says that the cap is why."""

    delay: timedelta
    capped: bool = False


@dataclass(frozen=True, slots=True)
class Never:
    """Nothing was recorded: this must not be sent, and why."""

    reason: str


Attempt = Begun | Later | Never | None
"""The answer to `begin_attempt`; None when the claim was lost."""

_NO_RULES = Rules()


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message as people look at it.

    Attributes:
        id: its number. draft: as it was written.
        state, reason, failures: where it is, why, and how many attempts failed.
        due_at: when it is tried next, None when it is settled.
        created_at, settled_at: when it was written, and when it came to its end.
        provider_id: the provider's id of it.
    """

    id: int
    draft: Draft
    state: MessageState
    reason: str | None
    failures: int
    due_at: datetime | None
    created_at: datetime
    settled_at: datetime | None
    provider_id: str | None = field(default=None)


class Outbox(Protocol):
    """Hands messages to workers, each to one at a time."""

    async def post(self, drafts: tuple[Draft, ...]) -> None:
        """Put messages into the outbox by themselves, each key once.

        Verbs that have messages write them in their own transaction. This one is for a storage that counts
        somewhere else and keeps its outbox in this one.

        Raises:
            StorageUnavailable: nothing is known to be written; posting again is right.
        """
        ...

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take up to `limit` messages that are due, or whose lease has ended: those due longest.

        Marketing is taken only where there is nothing else: a long campaign keeps no notice of a limit, no
        grant and no webhook waiting. They come in the order they were written. Two workers never hold the
        same message at once. A message is not due before its time.
        """
        ...

    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = _NO_RULES) -> Attempt:
        """Record that an attempt begins and freeze the body, before anything leaves the process.

        In one transaction: an address that is suppressed, and a subject that is unsubscribed when the message
        is a marketing one, are `Never`, with the word of `Suppressed` in its reason; a subject whose cap is
        reached is `Later` (other messages of the subject that count are marketing ones that were sent or
        parked within the time, `now < settled_at + time`, or whose attempt has begun and has no known end;
        one that failed for certain does not count; two workers never pass the cap together); a channel whose
        turn comes later than `patience` is `Later`, else the turn is taken and the wait for it told. A
        message whose earlier attempt nobody knows the end of (`unsettled`) does not count against its own
        cap. A channel that is held makes everybody wait, with a pace or without.

        Returns:
            None when the claim was lost: do not send.
        """
        ...

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Record how it ended. A sent prompt also marks its wall, or its journey, as prompted.

        `outcome.hold` holds the channel for all workers.

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

    async def outbox_rows(
        self,
        *,
        states: tuple[MessageState, ...] = (),
        loop: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> tuple[MessageRow, ...]:
        """Messages for people, latest first; in any of the states, if some are given."""
        ...

    async def outbox_row(self, message: int) -> tuple[MessageRow, Body | None] | None:
        """One message and its frozen body, or None."""
        ...

    async def retry_message(self, message: int) -> bool:
        """Make a message due at once that is dead, parked, skipped or cancelled; also one that waits.

        It begins afresh, with the same key and body: failures and the first attempt are forgotten, since a
        person has decided.

        Returns:
            False when there is no such message, or it is sent or in a worker's hands.
        """
        ...

    async def discard_message(self, message: int, reason: str) -> bool:
        """Settle a message as cancelled that is not sent and in nobody's hands. False as above."""
        ...

    async def mark_report(self, provider_id: str, kind: str) -> bool:
        """Note what became of a sent message, as its provider reports: `clicked` marks its journey.

        Returns:
            Whether a message with this id is known.
        """
        ...

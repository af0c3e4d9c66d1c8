"""Firings: what triggers have set off, from the trigger to the messages that follow from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Protocol, TypeAlias

from skene.ports.counters import Draft

__all__ = [
    "CONVERTED",
    "GOAL_REACHED",
    "UNSUBSCRIBED",
    "Closing",
    "DecisionRow",
    "Entry",
    "Firing",
    "FiringState",
    "Firings",
    "Journey",
    "NewFiring",
    "Outcome",
    "Phase",
    "Recorded",
    "Repeat",
    "Watcher",
]


Goals: TypeAlias = Mapping[str, timedelta]
GOAL_REACHED, CONVERTED, UNSUBSCRIBED = "the goal is reached", "converted", "unsubscribed"
"""Why a journey does not go on."""


class FiringState(StrEnum):
    """Where a firing is. `pending` and `claimed` are on their way, the others final."""

    PENDING = "pending"
    CLAIMED = "claimed"
    DONE = "done"
    """It was evaluated to its end, whatever came of it."""
    DEAD = "dead"
    """It could not be evaluated: every attempt failed."""


class Phase(StrEnum):
    """How far an evaluation came: where it was decided."""

    TRIGGER = "trigger"
    PRECHECK = "precheck"
    CONDITION = "condition"
    GATE = "gate"
    ACTION = "action"


class Outcome(StrEnum):
    """What an evaluation came to."""

    ACTED = "acted"
    REFUSED = "refused"
    """A wall: the first refusal of a window."""
    HELD_OUT = "held_out"
    SHADOW = "shadow"
    """It would have acted (or refused), but the loop only watches."""
    NOT_MET = "not_met"
    REPEATED = "repeated"
    """The subject was acted upon before, and not long enough ago, or often enough."""
    STOPPED = "stopped"
    """The journey was over: converted, goal reached, unsubscribed."""
    SKIPPED = "skipped"
    """There was nobody to act upon: no subject, an unknown step, a tick that came too late."""
    SCANNED = "scanned"
    """A tick's rows were read to the end."""
    CUT_SHORT = "cut_short"
    """A tick's rows were read as far as `max_rows`, and there were more. It ends nobody's episode."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class NewFiring:
    """A firing to be recorded.

    Attributes:
        key: unique for ever; a second one with the same key is dropped.
        loop, step: what is to be evaluated.
        subject: whom it is about, a storable id; empty for a tick, which is about whomever its query finds.
        data: the trigger's row or payload, JSON; no storage looks inside.
        after: how long to wait before it is due.
        journey: the journey it goes on with, or None.
    """

    key: str
    loop: str
    step: str
    subject: str
    data: Mapping[str, object] = field(default_factory=dict[str, object], repr=False)
    after: timedelta = timedelta(0)
    journey: str | None = None


@dataclass(frozen=True, slots=True)
class Firing:
    """A firing in this worker's hands until the lease ends.

    Attributes:
        id: the row's id; claim: number of the claim, guards against acting after the lease was lost.
        key, loop, step, subject, data, journey: as it was recorded.
        occurred_at: when it was recorded, which is when its trigger fired; due_at: when it was due.
        deadline: until when its condition may come true; None before it was first looked at.
        failures: evaluations that have failed so far.
        now: the storage's clock at the claim.
        tick: the instant of the schedule it stands for, else None.
        current_plan: the plan the subject holds now; None if billing never heard of it.
        email: the address billing knows.
        unsubscribed: the subject wants no marketing mail.
        over: why its journey does not go on (`GOAL_REACHED`, `CONVERTED`, `UNSUBSCRIBED`), or None.
    """

    id: int
    claim: int
    key: str
    loop: str
    step: str
    subject: str
    data: Mapping[str, object] = field(repr=False)
    journey: str | None
    occurred_at: datetime
    due_at: datetime
    deadline: datetime | None
    failures: int
    now: datetime
    tick: datetime | None = None
    current_plan: str | None = None
    email: str | None = field(default=None, repr=False)
    unsubscribed: bool = False
    over: str | None = None


@dataclass(frozen=True, slots=True)
class Journey:
    """One subject's way through a loop, from the firing that began it.

    Attributes:
        id: unique; the same for the same firing, so that it is begun once.
        loop, subject: whose and through what.
        held_out: the subject is in the group that is left alone.
        shadow: the loop only watches.
        within: how long after the beginning the goal still counts; None: the loop has no goal.
        hooks: who hears of it, through the outbox, if it begins with the goal reached.
    """

    id: str
    loop: str
    subject: str
    held_out: bool = False
    shadow: bool = False
    within: timedelta | None = None
    hooks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What is to happen to one subject because of a firing.

    Attributes:
        subject: a storable id.
        outcome: `ACTED`, `HELD_OUT` or `SHADOW`.
        drafts: the messages; none for somebody who is left alone.
        next: firings that go on from here: the chain's next step, the wait for the goal.
        journey: the journey that begins here; None when it goes on with an earlier one.
    """

    subject: str
    outcome: Outcome
    drafts: tuple[Draft, ...] = ()
    next: tuple[NewFiring, ...] = ()
    journey: Journey | None = None

    def about(self, subject: str) -> "Entry":
        """The same for another subject, whom this one was merged into."""
        drafts = tuple(replace(draft, subject=subject) for draft in self.drafts)
        following = tuple(replace(firing, subject=subject) for firing in self.next)
        journey = self.journey and replace(self.journey, subject=subject)
        return replace(self, subject=subject, drafts=drafts, next=following, journey=journey)


@dataclass(frozen=True, slots=True)
class Repeat:
    """Whether a step may act upon a subject again. Kept per step and subject.

    Attributes:
        episode: a tick acts upon a subject once, until a later tick's result no longer has it.
        cooldown: how long to leave a subject alone after acting upon it.
        max_fires: how often at most, ever.
    """

    episode: bool = False
    cooldown: timedelta | None = None
    max_fires: int | None = None


@dataclass(frozen=True, slots=True)
class Closing:
    """How a firing ends.

    Attributes:
        phase, outcome, reason: what is logged; never a secret, never an address.
        state: DONE, or DEAD when it could not be evaluated.
    """

    phase: Phase
    outcome: Outcome
    reason: str | None = None
    state: FiringState = FiringState.DONE


@dataclass(frozen=True, slots=True)
class Recorded:
    """What `record` did.

    Attributes:
        held: the claim was still this worker's; if not, nothing was recorded.
        acted: how many entries were recorded now (those that were not repeated).
    """

    held: bool
    acted: int = 0


@dataclass(frozen=True, slots=True)
class Watcher:
    """A step that wants to hear when a subject's plan changes."""

    loop: str
    step: str


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One line of the log: how a firing or a wall was decided.

    Attributes:
        at: when. loop, step, subject: about whom and by what; an empty subject is nobody's.
        phase, outcome, reason: what was decided, and where.
        firing: the firing's key, or the wall's id.
    """

    at: datetime
    loop: str
    step: str
    subject: str
    phase: Phase
    outcome: Outcome
    reason: str | None
    firing: str


class Firings(Protocol):
    """Keeps what was set off until it has been dealt with, each by one worker at a time.

    A claim is lost once the firing was claimed again, let go of, closed or forgotten, not with its lease.
    """

    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Goals, *, hooks: tuple[str, ...] = ()
    ) -> int:
        """Record firings, each key once, and that a subject has reached the goals of loops.

        A goal counts for every journey of the subject through the loop that began within the given time (its
        last instant included) and has not reached it yet. It is also noted, once, with every firing of the
        subject and the loop that is on its way, may begin a journey (no tick, and no journey that it goes on
        with), and was recorded within the given time: that journey begins with the goal reached. Firings that
        this same call records come after the goal. A goal that is told while a firing is being recorded is on
        either the firing or its journey: it is never lost.

        Args:
            goals: loops whose goal this is → how long ago a journey (or its firing) may have begun.
            hooks: who hears, through the outbox, of each journey that has reached it now.

        Returns:
            How many firings were new.
        """
        ...

    async def last_tick(self, step: str) -> datetime | None:
        """The latest tick that was recorded for a schedule step; None before the first."""
        ...

    async def open_tick(self, step: str, tick: datetime, firing: NewFiring | None) -> bool:
        """Record a tick of a schedule and its firing, in one transaction, once over all processes.

        Ticks only go forward: one that is not later than the latest recorded one is refused.

        Args:
            firing: None records the tick alone: where a schedule begins, and ticks that came too late.

        Returns:
            Whether it was recorded now.
        """
        ...

    async def claim_firings(self, limit: int, lease: timedelta) -> tuple[datetime, tuple[Firing, ...]]:
        """Take up to `limit` firings that are due, or whose lease has ended, those due longest first.

        Two workers never hold the same firing at once.

        Returns:
            The storage's clock, and the firings.
        """
        ...

    async def keep_firing(self, firing: Firing, lease: timedelta) -> bool:
        """Hold a firing for another lease. False when the claim was lost."""
        ...

    async def postpone_firing(
        self,
        firing: Firing,
        wait: timedelta,
        *,
        deadline: datetime | None = None,
        failed: bool = False,
        reason: str | None = None,
    ) -> bool:
        """Let go of a firing, to be looked at again after `wait`. False when the claim was lost.

        Args:
            deadline: until when its condition may come true; kept as it is if None.
            failed: count this evaluation as a failure.
            reason: for people.
        """
        ...

    async def record(
        self,
        firing: Firing,
        entries: tuple[Entry, ...],
        *,
        repeat: Repeat | None = None,
        closing: Closing | None = None,
        lease: timedelta | None = None,
    ) -> Recorded:
        """Record what follows from a firing, in one transaction, or nothing if the claim was lost.

        A journey of the firing's loop and subject begins with the goal that `emit` has noted with the firing.
        Its `goal_at` is then before its `begun_at`, and counts as no time in the report's median. What the
        entry posts is sent all the same; what goes on from it is over.

        Entries are recorded at once: messages, next firings and journeys, each key or id once. With `repeat`,
        an entry is left out when its step may not act upon its subject again; an entry that this same firing
        recorded before, under an earlier claim, is left out without being counted as repeated. For a tick
        with `repeat.episode`, every subject given is noted as seen in this tick, acted upon or not; one that
        was not seen since the last tick before it that was closed as DONE and `SCANNED` is in a new episode.
        So a tick that fails half-way ends nobody's episode, and one that is worked on late neither acts again
        nor undoes what a later one has seen. Whoever is held out or only watched counts as acted upon.

        The log gets a row (ACTION, its outcome) per entry recorded; a row (GATE, REPEATED) for an entry left
        out, unless the firing is a tick; and the closing's row when the firing is a tick or there is no
        entry.

        Args:
            entries: at most 1,000, each of another subject.
            closing: ends the firing; its data is then erased.
            lease: without a closing, holds the firing for another lease.
        """
        ...

    async def note_lapses(
        self, watchers: tuple[Watcher, ...], limit: int, *, hooks: tuple[str, ...] = ()
    ) -> int:
        """Write down plans whose end has passed, longest ago first. Returns how many.

        Such a subject holds the default plan already; this makes it so in the table, ends its conversion then
        if it paid, and records a firing of each watcher: `{"from": …, "to": …}`. Hooks hear of both.
        """
        ...

    async def decisions(
        self,
        *,
        loop: str | None = None,
        subject: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[DecisionRow, ...]:
        """The log, latest first."""
        ...

    async def pending_firings(self) -> int:
        """How many firings are on their way."""
        ...

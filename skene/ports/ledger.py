"""Walls and conversions: who was stopped, asked, clicked, and paid."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from skene.engine.lift import Lift, lift
from skene.ports.counters import Draft

__all__ = ["Conversion", "FunnelRow", "Ledger", "Span", "Wall"]

Span: TypeAlias = Literal["day", "week", "month"]
"""What a report is divided by. Weeks begin on Monday; all are of UTC."""


@dataclass(frozen=True, slots=True)
class Wall:
    """The first refusal of a subject by a step in a window.

    Attributes:
        id: proposed id; if the wall stands already, its own id remains.
        loop, step, subject, plan, meter: who was refused by what.
        limit, used: as they stood.
        window_start, window_end: the wall stands for refusals before `window_end`.
        held_out: the subject is in the hold-out group and is not asked.
        shadow: the loop only watched; nobody was refused.
    """

    id: str
    loop: str
    step: str
    subject: str
    plan: str
    meter: str
    limit: int
    used: int
    window_start: datetime
    window_end: datetime
    held_out: bool = False
    shadow: bool = False


@dataclass(frozen=True, slots=True)
class Conversion:
    """A subject began to pay, and what became of that.

    Attributes:
        number: in the order they were recorded; unique in the storage.
        subject: who; empty if that person was forgotten.
        wall, loop: what it is credited to; None when no wall explains it.
        plan: the plan that was paid for first.
        amount, currency: the first payment, in the currency's minor unit; None when unknown.
        converted_at: when paying began.
        opened_at: when the wall opened, or None.
        again: the subject had paid before, and had stopped.
        ended_at: when the subject stopped paying; None: still does.
        refunded: what was given back since, in the same currency.
    """

    number: int
    subject: str
    wall: str | None
    loop: str | None
    plan: str
    amount: int | None
    currency: str | None
    converted_at: datetime
    opened_at: datetime | None = None
    again: bool = False
    ended_at: datetime | None = None
    refunded: int = 0

    @property
    def time_to_pay(self) -> timedelta | None:
        """From the wall to the payment; None without a wall."""
        return None if self.opened_at is None else self.converted_at - self.opened_at


@dataclass(frozen=True, slots=True)
class FunnelRow:
    """What became of the walls of one loop that were opened in a span of time.

    Attributes:
        loop: the loop; None gathers conversions that no wall explains, or only a shadow wall (only what is
            about conversions is filled).
        walls: first refusals, shadow ones left out.
        prompts: walls whose message was sent.
        clicks, checkouts: walls whose link was followed, whose checkout was opened.
        conversions: how often subjects began to pay, attributed to these walls.
        held_out, held_out_conversions: walls of subjects that were not asked, and how often they began to pay
            all the same. revenue: first payments by currency, in minor units.
        median_time_to_pay: from wall to payment; None without conversions.
        journeys: subjects whom the loop's other steps acted upon; held-out ones and shadow ones left out.
            `prompts` and `clicks` count those of journeys, too.
        goals: journeys that reached the loop's goal in time.
        held_out_journeys, held_out_goals: the same of those who were left alone.
        median_time_to_goal: from the beginning of a journey to the goal, held-out ones included, as above;
            None without goals.
        period: where the day, week or month begins that the row is of; None if the report is not divided.
            Walls and all that became of them are of the period in which they opened, journeys of that in
            which they began, conversions that no wall explains of that in which paying began.
        subjects, held_out_subjects: whose walls these are, each counted once.
        paid_subjects, held_out_paid_subjects: who of them began to pay.
        reconversions: conversions of subjects who had paid before.
        churned: conversions that have ended since.
        refunded: what was given back since by currency, in minor units.
        journey_subjects, goal_subjects, held_out_journey_subjects, held_out_goal_subjects: whose journeys
            these are, and who reached the goal, each counted once.
    """

    loop: str | None
    walls: int = 0
    prompts: int = 0
    clicks: int = 0
    checkouts: int = 0
    conversions: int = 0
    held_out: int = 0
    held_out_conversions: int = 0
    revenue: tuple[tuple[str, int], ...] = ()
    median_time_to_pay: timedelta | None = None
    journeys: int = 0
    goals: int = 0
    held_out_journeys: int = 0
    held_out_goals: int = 0
    median_time_to_goal: timedelta | None = None
    period: datetime | None = None
    subjects: int = 0
    held_out_subjects: int = 0
    paid_subjects: int = 0
    held_out_paid_subjects: int = 0
    reconversions: int = 0
    churned: int = 0
    refunded: tuple[tuple[str, int], ...] = ()
    journey_subjects: int = 0
    goal_subjects: int = 0
    held_out_journey_subjects: int = 0
    held_out_goal_subjects: int = 0

    @property
    def lift(self) -> Lift | None:
        """How many more began to pay of those who were asked; None unless some were asked and some not."""
        alone, paid_alone = self.held_out_subjects, self.held_out_paid_subjects
        asked = self.subjects - alone
        # Somebody may have been in both groups, when the loop's holdout was changed.
        return lift(min(self.paid_subjects - paid_alone, asked), asked, paid_alone, alone)

    @property
    def goal_lift(self) -> Lift | None:
        """How many more reached the goal of those who were acted upon; None as above."""
        return lift(
            self.goal_subjects,
            self.journey_subjects,
            self.held_out_goal_subjects,
            self.held_out_journey_subjects,
        )


class Ledger(Protocol):
    """Keeps what a conversion is proven with."""

    async def open_wall(
        self, wall: Wall, drafts: tuple[Draft, ...], *, within: timedelta | None = None
    ) -> str:
        """Record a wall and its messages in one transaction, once per subject, step, plan and window.

        A wall stands when there is one with the same subject, step and plan whose `window_end` lies in the
        future. One that is recorded now also gets a row in the log (GATE, `REFUSED` or `SHADOW`).

        Args:
            wall, drafts: what is recorded.
            within: how long it may take; None for as long as any answer.

        Returns:
            The id of the wall that stands: the proposed one, or that of an earlier refusal.

        Raises:
            StorageUnavailable: nothing was recorded.
        """
        ...

    async def get_wall(self, wall: str) -> Wall | None:
        """A wall by its id."""
        ...

    async def mark_clicked(self, wall: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a wall's link was followed. The first time counts, and writes the messages, too.

        Returns:
            False: no such wall.
        """
        ...

    async def mark_checkout(self, wall: str, session: str | None, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a checkout was opened from a wall. The first time counts, and writes the messages, too.

        Returns:
            False: no such wall.
        """
        ...

    async def funnel(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        loop: str | None = None,
        by: Span | None = None,
    ) -> tuple[FunnelRow, ...]:
        """One row per loop for walls opened and journeys begun in `[since, until)`, by name.

        Then the unattributed. With `by`, rows for each period that has anything in it, the earliest period
        first.

        Shadow walls are in no row. Unattributed conversions are those dated in the span; they are left out
        when `loop` is given.
        """
        ...

    async def conversion_rows(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        subject: str | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> tuple[Conversion, ...]:
        """Conversions dated in `[since, until)`, in the order they were recorded.

        Args:
            since, until: aware, or None for no bound.
            subject: only this one's.
            after: begin with the one recorded after this number: the last of the page before.
            limit: how many at most.
        """
        ...

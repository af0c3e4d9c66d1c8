"""Walls and conversions: who was stopped, asked, clicked, and paid."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from skene.ports.counters import Draft

__all__ = ["FunnelRow", "Ledger", "Wall"]


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
class FunnelRow:
    """What became of the walls of one loop that were opened in a span of time.

    Attributes:
        loop: the loop; None gathers conversions that no wall explains, or only a shadow wall (only the
            conversions are filled).
        walls: first refusals, shadow ones left out.
        prompts: walls whose message was sent.
        clicks, checkouts: walls whose link was followed, whose checkout was opened.
        conversions: subjects who began to pay, attributed to these walls.
        held_out, held_out_conversions: walls of subjects that were not asked, and who of them paid all the
        same. revenue: first payments by currency, in minor units.
        median_time_to_pay: from wall to payment; None without conversions.
        journeys: subjects whom the loop's other steps acted upon; held-out ones and shadow ones left out.
            `prompts` and `clicks` count those of journeys, too.
        goals: journeys that reached the loop's goal in time.
        held_out_journeys, held_out_goals: the same of those who were left alone.
        median_time_to_goal: from the beginning of a journey to the goal, held-out ones included, as above;
            None without goals.
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


class Ledger(Protocol):
    """Keeps what a conversion is proven with."""

    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...]) -> str:
        """Record a wall and its messages in one transaction, once per subject, step, plan and window.

        A wall stands when there is one with the same subject, step and plan whose `window_end` lies in the
        future. One that is recorded now also gets a row in the log (GATE, `REFUSED` or `SHADOW`).

        Returns:
            The id of the wall that stands: the proposed one, or that of an earlier refusal.

        Raises:
            StorageUnavailable: nothing was recorded.
        """
        ...

    async def get_wall(self, wall: str) -> Wall | None:
        """A wall by its id."""
        ...

    async def mark_clicked(self, wall: str) -> bool:
        """Record that a wall's link was followed. The first time counts. False: no such wall."""
        ...

    async def mark_checkout(self, wall: str, session: str | None) -> bool:
        """Record that a checkout was opened from a wall. The first time counts. False: no such wall."""
        ...

    async def funnel(
        self, *, since: datetime | None = None, until: datetime | None = None, loop: str | None = None
    ) -> tuple[FunnelRow, ...]:
        """One row per loop for walls opened and journeys begun in `[since, until)`, by name.

        Then the unattributed.

        Shadow walls are in no row. Unattributed conversions are those recorded in the span; they are left
        out when `loop` is given.
        """
        ...

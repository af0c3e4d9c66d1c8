"""What past windows tell of another limit."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

__all__ = ["Change", "History", "WhatIf"]


@dataclass(frozen=True, slots=True)
class Change:
    """A limit that is tried on what was used.

    Attributes:
        meter: name of the counter; where `by_route`, all counters `meter:/…`.
        plan: whose limit.
        limit: units per window to try, 0 or more; None is unlimited.
        steps: the names that walls of the limit were recorded under.
        by_route: every route has a counter of its own.
    """

    meter: str
    plan: str
    limit: int | None
    steps: tuple[str, ...]
    by_route: bool = False


@dataclass(frozen=True, slots=True)
class WhatIf:
    """What was used on a plan, and how much of it goes beyond a limit.

    Attributes:
        subjects, windows: who used the counter, in how many windows.
        own_limits: further subjects, who had a limit of their own in that time and are in no other figure
            but `walled`.
        over_subjects, over_windows: with more units in a window than the limit.
        over_units: units beyond it, in all of these windows.
        over_granted: of `over_subjects`, those who ever were granted units, which might have paid for it.
        over_paid: of `over_subjects`, those who began to pay after the first of these windows had opened.
        walled: subjects who met a wall of the limit that stood, shadow ones included.
        walled_over: of these, those who are in `over_subjects`.
        past: whether windows that are over are among them, and not only the latest of each subject.
    """

    subjects: int = 0
    windows: int = 0
    own_limits: int = 0
    over_subjects: int = 0
    over_windows: int = 0
    over_units: int = 0
    over_granted: int = 0
    over_paid: int = 0
    walled: int = 0
    walled_over: int = 0
    past: bool = True


class History(Protocol):
    """Looks back over windows of all subjects."""

    async def what_if(self, change: Change, since: datetime) -> WhatIf | None:
        """Hold another limit against the windows that have not ended before `since`, and that were used.

        One reading, however many rows there are. Walls are those that opened since. Nothing is changed.

        Returns:
            The figures; None where the counters of all subjects cannot be read together.

        Raises:
            StorageUnavailable: as everywhere; such a look may take up to some minutes.
        """
        ...

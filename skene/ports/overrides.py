"""Overrides: another limit for one subject."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from skene.ports.counters import Draft

__all__ = ["Overridden", "Override", "Overrides"]


@dataclass(frozen=True, slots=True)
class Override:
    """Another limit for one subject on one counter, whatever the plan.

    Attributes:
        subject: a storable id (see `engine.subject`).
        meter: the exact name of the counter.
        limit: units per window, 0 to 2**63-1; None is unlimited.
        expires: for how long, from now on by the storage's clock, or until when (aware); None: until it is
            taken back.
        reason: why, in the app's words.
    """

    subject: str
    meter: str
    limit: int | None
    expires: timedelta | datetime | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Overridden:
    """An override as it stands.

    Attributes:
        subject, meter, limit, reason: as in `Override`.
        set_at: when it was set.
        expires_at: the first instant at which the plan's limit holds again; None: no end in sight.
        ended_at: when another one took its place, or it was taken back; None: neither.
    """

    subject: str
    meter: str
    limit: int | None
    set_at: datetime
    expires_at: datetime | None
    ended_at: datetime | None
    reason: str = ""

    def in_force(self, now: datetime) -> bool:
        """Whether it is the limit at `now`."""
        return self.ended_at is None and (self.expires_at is None or now < self.expires_at)


class Overrides(Protocol):
    """Keeps other limits for single subjects. `Counters.consume` and `peek` hold them in the plan's place.

    Every override that was ever set is kept, until the subject is forgotten.
    """

    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        """Give a subject another limit on a counter, in place of one that is in force.

        Messages in `drafts` are written in the same transaction.

        Raises:
            StorageUnavailable: nothing is known to be set.
        """
        ...

    async def end_override(self, subject: str, meter: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Take an override back, so that the plan's limit holds again. False: there was none in force.

        Raises:
            StorageUnavailable: nothing is known to have changed.
        """
        ...

    async def overrides(self, subject: str) -> tuple[Overridden, ...]:
        """All overrides of a subject, oldest first, those that are over included.

        Raises:
            StorageUnavailable: as above.
        """
        ...

"""Grants: units on top of what a plan admits."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from skene.ports.counters import Draft

__all__ = ["Grant", "Granted", "Grants"]


@dataclass(frozen=True, slots=True)
class Grant:
    """Extra units of one counter for one subject. They are spent once, not once in every window.

    Attributes:
        key: names the grant among the subject's (1–200 bytes); giving it again changes nothing.
        subject: a storable id (see `engine.subject`).
        meter: the exact name of the counter.
        units: 1 to 2**63-1.
        expires: for how long they can be spent, from now on by the storage's clock, or until when (aware);
            None: for ever.
        reason: why, in the app's words.
        loop: the loop that granted them, or None.
    """

    key: str
    subject: str
    meter: str
    units: int
    expires: timedelta | datetime | None = None
    reason: str = ""
    loop: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant as it stands.

    Attributes:
        key, subject, meter, units, reason, loop: as in `Grant`.
        spent: how many of them are spent.
        granted_at: when it was made.
        expires_at: from this instant on nothing can be spent; None: never.
    """

    key: str
    subject: str
    meter: str
    units: int
    spent: int
    granted_at: datetime
    expires_at: datetime | None
    reason: str = ""
    loop: str | None = None


class Grants(Protocol):
    """Keeps grants. `Counters.consume` spends them, where a plan's limit leaves no room.

    Those that expire first are spent first, and of equals the oldest. `Counters.refund` returns them.
    """

    async def grant(self, grant: Grant, drafts: tuple[Draft, ...] = ()) -> bool:
        """Grant units, once for each subject and key. Messages in `drafts` are written if it is granted now.

        The key guards for ever: grants are never pruned, and leave only when the subject is forgotten.

        Returns:
            Whether it was granted now; False: the subject has a grant under this key already, which is left
            as it is.

        Raises:
            StorageUnavailable: nothing is known to be granted; granting again is right.
        """
        ...

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """All grants of a subject, oldest first, spent and expired ones included.

        Raises:
            StorageUnavailable: as above.
        """
        ...

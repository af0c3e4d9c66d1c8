"""Who must not be written to."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

__all__ = ["REASONS", "Contacts", "Suppressed", "Suppression"]


class Suppressed(StrEnum):
    """Why somebody is not written to."""

    UNSUBSCRIBED = "unsubscribed"
    """The subject wants no marketing mail; everything else is still sent."""
    BOUNCED = "bounced"
    """Nothing arrives at the address: nothing is sent to it."""
    COMPLAINED = "complained"
    """Whoever reads at the address called a mail spam: nothing is sent to it."""


REASONS: Mapping[Suppressed, str] = {
    Suppressed.COMPLAINED: f"the address is suppressed: {Suppressed.COMPLAINED}",
    Suppressed.BOUNCED: f"the address is suppressed: {Suppressed.BOUNCED}",
    Suppressed.UNSUBSCRIBED: "the subject has unsubscribed",
}
"""Why a message is not sent, in words; of several the first one that there is."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """A reason not to write to somebody.

    Attributes:
        kind: why.
        subject: whom, for `UNSUBSCRIBED`; None for an address.
        address: SHA-256 of the address in lower case, for the others; None for a subject.
        at: since when.
        source: how it is known: `link`, `resend`, `code`, `command`.
    """

    kind: Suppressed
    subject: str | None
    address: str | None
    at: datetime
    source: str


class Contacts(Protocol):
    """Keeps who must not be written to. Addresses are kept as digests alone."""

    async def suppress(
        self, kind: Suppressed, *, subject: str | None = None, address: str | None = None, source: str
    ) -> bool:
        """Remember a reason not to write to a subject or an address, once. False: it was known already.

        Args:
            subject: a storable id; or else address: the digest of one.
        """
        ...

    async def unsuppress(
        self,
        *,
        subject: str | None = None,
        address: str | None = None,
        kind: Suppressed | None = None,
    ) -> int:
        """Forget reasons, of one kind or of all; of both, if both are given. Returns how many there were."""
        ...

    async def suppressions(
        self, *, subject: str | None = None, address: str | None = None, limit: int = 100
    ) -> tuple[Suppression, ...]:
        """What is known of a subject or an address, or of both; of everybody without either. Latest first."""
        ...

    async def suppression_counts(self) -> Mapping[Suppressed, int]:
        """How many there are of each kind; kinds without any are left out."""
        ...

"""What counting must know of subjects: asked by a storage that counts elsewhere."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from skene.engine.limits import OwnLimit

__all__ = ["HeldGrant", "Holding", "Holdings"]


@dataclass(frozen=True, slots=True)
class HeldGrant:
    """A grant with something left.

    Attributes:
        key, meter: as in `Grant`.
        number: its place among all grants, in the order they were made.
        left: units that are not spent, 1 or more.
        expires_at: from this instant on nothing can be spent; None: never.
    """

    key: str
    meter: str
    number: int
    left: int
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class Holding:
    """All that a decision depends on, besides the counters.

    Attributes:
        subject: who is counted: the one asked about, or whom that one was merged into.
        plan: the plan as it was written down; None: none was, and the default plan holds.
        until: the plan ends at this instant, which may be past; None: no end in sight.
        customer, checked_at: as in `Counted`.
        features: those that the customer is entitled to.
        cycle: the billing cycle's edges, ascending.
        limits: the subject's own, by meter; some may be over.
        grants: those with something left, expired ones included.
    """

    subject: str
    plan: str | None = None
    until: datetime | None = None
    customer: str | None = None
    checked_at: datetime | None = None
    features: tuple[str, ...] = ()
    cycle: tuple[datetime, ...] = ()
    limits: Mapping[str, OwnLimit] = field(default_factory=dict[str, OwnLimit])
    grants: tuple[HeldGrant, ...] = ()


class Holdings(Protocol):
    """Tells what counting must know of subjects."""

    async def holdings(self, subjects: Sequence[str]) -> tuple[Holding, ...]:
        """What holds for some subjects, a thousand at most, in their order; of nobody, that nothing does.

        Raises:
            StorageUnavailable: no answer in time.
        """
        ...

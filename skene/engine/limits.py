"""Which limit holds for a counter: the plan's, none where a feature lifts it, or the subject's own."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

__all__ = ["OwnLimit", "applied_plan", "limit_for"]


@dataclass(frozen=True, slots=True)
class OwnLimit:
    """A limit that one subject has on one counter, whatever the plan.

    Attributes:
        limit: units per window; None is unlimited.
        until: the first instant at which the plan's limit holds again; None: no end in sight.
    """

    limit: int | None
    until: datetime | None = None

    def in_force(self, now: datetime) -> bool:
        """Whether it is the limit at `now`."""
        return self.until is None or now < self.until


def applied_plan(limits: Mapping[str, int | None], held: str, default: str) -> str:
    """The plan that a counter counts under: the one held, or the default if that has no limit here."""
    return held if held in limits else default


def limit_for(
    planned: int | None, feature: str | None, features: Collection[str], own: OwnLimit | None, now: datetime
) -> int | None:
    """The limit that holds. A subject's own limit comes before a feature, and a feature before the plan.

    Args:
        planned: the limit of the plan that is applied; None is unlimited.
        feature: the feature that lifts the limit, or None.
        features: those that the subject holds.
        own: the subject's own limit on this counter, or None.
        now: the instant of the call.
    """
    if own is not None and own.in_force(now):
        return own.limit
    return None if feature is not None and feature in features else planned

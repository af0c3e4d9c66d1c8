"""Leases: when units may be taken in blocks, and how many at a time."""

from collections.abc import Callable, Mapping
from typing import Any

from skene.definitions.billed import Billed, PlanLimit
from skene.definitions.faults import Fault, refuse
from skene.definitions.period import LifetimePeriod, Period
from skene.definitions.units import Unlimited

__all__ = ["SHARE", "lease_faults", "read_lease"]

SHARE = 10
"""A lease is at most this part of a limit: a tenth."""
_MOST = 1_000_000
_LEASE = f"a whole number from 2 to {_MOST:,}, at most a tenth of the limit"


def read_lease(value: object) -> int | None:
    """Reads how many units a lease has.

    Raises:
        DefinitionError: For anything but a whole number from 2 to 1,000,000, or None.
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 2 <= value <= _MOST:
        raise refuse(value, _LEASE)
    return int(value)


def lease_faults(
    lease: int,
    limits: Mapping[str, PlanLimit],
    period: Period,
    cost: int | Callable[[Any], Any],
    *,
    members: bool,
) -> list[Fault]:
    """What keeps units from being taken in blocks.

    Args:
        lease: Units of a block.
        limits, period, cost: Of the condition.
        members: Whether the members of a team have limits of their own.
    """
    faults: list[Fault] = []
    if members:
        allowed = "one of the two: what a member takes is held against two counters in one step"
        faults.append(Fault("lease", "a lease beside a member_limit", allowed))
    if any(isinstance(limit, Billed) for limit in limits.values()):
        allowed = "one of the two: units that nobody has used yet might go on a bill"
        faults.append(Fault("lease", "a lease of use that is billed", allowed))
    if isinstance(period, LifetimePeriod):
        allowed = (
            'a period that ends, such as "30d": what a process loses in a crash comes back with the next'
        )
        faults.append(Fault("lease", "a lease for a lifetime", allowed))
    if isinstance(cost, int) and lease < 2 * cost:
        allowed = f"at least {2 * cost:,}, the units of two calls"
        faults.append(Fault("lease", f"{lease:,}, where one call costs {cost:,}", allowed))
    faults += _share_faults(lease, limits)
    return faults


def _share_faults(lease: int, limits: Mapping[str, PlanLimit]) -> list[Fault]:
    if Unlimited.UNLIMITED in limits.values():
        return []
    largest = max((limit for limit in limits.values() if isinstance(limit, int)), default=0)
    most = largest // SHARE
    if lease <= most:
        return []
    allowed = f"at most {most:,}, a tenth of the largest limit"
    if most < 2:
        allowed = f"no lease: the largest limit has to be {2 * SHARE} units or more"
    return [Fault("lease", f"{lease:,}", allowed, f"{most}" if most >= 2 else None)]

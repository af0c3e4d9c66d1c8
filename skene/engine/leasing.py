"""Leases: how many units a process takes at a time, and how long it may spend them."""

from datetime import datetime, timedelta

from skene.definitions.leasing import SHARE
from skene.engine.window import Rolling, WindowRule

__all__ = ["LIFE", "block", "lasts", "leaves_room"]

LIFE = timedelta(seconds=10)
"""How long a process may keep units that it has not spent."""


def block(lease: int, limit: int | None, granted: int = 0, used: int = 0) -> int:
    """Units to take at a time: what the step says, and at most a tenth of the limit and half of what is left.

    So blocks become smaller towards the limit, and the last units are taken one by one.

    Args:
        lease: as the step says.
        limit: what may be used in the window, `granted` included; None is unlimited.
        granted: units of grants that can still be spent. They are spent once, not in every window, so nothing
            is leased on their account.
        used: units used in the window.
    """
    if limit is None:
        return lease
    own = limit - granted
    return max(0, min(lease, own // SHARE, (own - used) // 2))


def leaves_room(limit: int | None, granted: int, used: int) -> bool:
    """Whether the plan itself admits more after this use.

    If it does, no grant has paid for any of it, and giving units back is exact even when the window is over.
    """
    return limit is None or used < limit - granted


def lasts(rule: WindowRule, at: datetime, end: datetime, now: datetime) -> timedelta:
    """How long units that were taken at `now` may be spent: never beyond the window that they count in.

    Of a rolling window that is the part they were taken in: a later use would leave the window too early.

    Args:
        rule: how the windows lie.
        at: what names the charge, as `engine.counter.charge` returns it.
        end: of the window.
        now: the storage's clock when it charged.
    """
    last = at + rule.part if isinstance(rule, Rolling) else end
    return min(LIFE, last - now)

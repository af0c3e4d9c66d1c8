"""How many messages of one sort a person gets in a span of time."""

from collections.abc import Iterable
from datetime import datetime, timedelta

__all__ = ["cap_wait", "counts_until"]

SOON = timedelta(minutes=1)
"""When to ask again while another message is under way, and nobody knows whether it will count."""


def counts_until(settled_at: datetime | None, within: timedelta, now: datetime) -> datetime:
    """Until when a message counts that was sent at an instant, or is under way (None)."""
    return now + min(within, SOON) if settled_at is None else settled_at + within


def cap_wait(ends: Iterable[datetime], most: int, within: timedelta, now: datetime) -> timedelta | None:
    """How long until one more message may be sent; None: now.

    Args:
        ends: until when each of the others counts, all later than `now`.
        most: how many may count at once.
        within: the span of time.
    """
    counting = sorted(ends)
    if len(counting) < most:
        return None
    return (counting[len(counting) - most] if most else now + within) - now

"""Goals that are reached before the journey begins they count for."""

from datetime import datetime, timedelta

__all__ = ["goal_before"]

_MICROSECOND = timedelta(microseconds=1)


def goal_before(goal_at: datetime | None, begun_at: datetime) -> datetime | None:
    """When a goal that a firing brings along was reached: before the journey's beginning, by any clock.

    So a journey's own times tell whether its goal came before its first messages, which are sent all the
    same, or after them, and cancels them.
    """
    return None if goal_at is None else min(goal_at, begun_at - _MICROSECOND)

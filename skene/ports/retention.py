"""How long what is only needed for a time is kept. Every store keeps to it."""

from datetime import datetime, timedelta

__all__ = [
    "FIRINGS_GUARD",
    "FIRINGS_LAST",
    "KEPT",
    "KEYS_LAST",
    "LOG_HOLDS",
    "LOG_LASTS",
    "PRUNED_AT_ONCE",
    "window_kept",
]

KEYS_LAST = timedelta(hours=24)
"""Idempotency keys: a client that tries again does so within a day."""

LOG_LASTS, LOG_HOLDS = timedelta(days=90), 1_000_000
"""The log of decisions: for so long, and so many of the latest rows."""

FIRINGS_LAST, FIRINGS_GUARD = timedelta(days=7), timedelta(days=90)
"""Firings: so long after their end, and so long as their key has to keep others off."""

KEPT = timedelta(days=400)
"""What people look back at, and what must not happen twice: a year, and a month to look at it."""

PRUNED_AT_ONCE = 100_000
"""How many rows of one sort `Storage.prune` deletes, and how many counters it looks at, before it returns."""


def window_kept(start: datetime, end: datetime, now: datetime) -> bool:
    """Whether a counter is kept whose window `[start, end)` may have ended long ago.

    A use counts in a rolling window for the window's length, and the counter says only when the first will
    have left it. So it is kept for once more its own length.
    """
    return now - end < KEPT + (end - start)

"""When a subject's paying is said to have begun."""

from datetime import datetime, timedelta

__all__ = ["PRECISION", "conversion_date"]

PRECISION = timedelta(seconds=1)
"""Billing services count in whole seconds: what happened within the one they name may have come before."""


def conversion_date(started_at: datetime | None, lapse: datetime | None, now: datetime) -> datetime:
    """The date of a conversion.

    Args:
        started_at: when paying for the subscription began, as the billing service says; None when unknown.
        lapse: when the subject last stopped paying; None if it never did.
        now: when it became known.

    Returns:
        `started_at`, unless it lies in the future or before the lapse: then it says nothing of this time.
    """
    if started_at is None or started_at > now or (lapse is not None and started_at < lapse):
        return now
    return started_at

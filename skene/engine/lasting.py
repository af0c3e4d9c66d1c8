"""When what is given for a time is over."""

from datetime import datetime, timedelta

__all__ = ["end_of"]


def end_of(expires: timedelta | datetime | None, now: datetime) -> datetime | None:
    """The first instant at which it no longer holds; None: never.

    Args:
        expires: how long it holds, or until when (aware); None: for ever.
        now: when it is given, aware.
    """
    return now + expires if isinstance(expires, timedelta) else expires

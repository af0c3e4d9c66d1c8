"""What the answer to a webhook means for the message."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused

__all__ = ["answer_error"]

_WORTH_ANOTHER_TRY = {408, 425, 429}
_LONGEST_PAUSE = timedelta(days=1)


def answer_error(status: int, headers: Mapping[str, str], now: datetime) -> DeliveryError | None:
    """The error for an answer; None for one that says the message has arrived.

    Args:
        status: of the answer.
        headers: of the answer; `retry-after` is honoured, in seconds or as a date, up to a day.
        now: aware UTC.
    """
    if 200 <= status < 300:
        return None
    said = f"the receiver answered {status}"
    if status in _WORTH_ANOTHER_TRY or status >= 500:
        return DeliveryFailed(said, _retry_after(headers.get("retry-after", "").strip(), now))
    if 300 <= status < 400:
        return DeliveryRefused(f"{said}; redirects are not followed: give the final address")
    return DeliveryRefused(said)


def _retry_after(value: str, now: datetime) -> timedelta | None:
    if re.fullmatch(r"[0-9]{1,9}", value):
        pause = timedelta(seconds=int(value))
    else:
        try:
            until = parsedate_to_datetime(value)
            pause = (until if until.tzinfo else until.replace(tzinfo=UTC)) - now
        except (TypeError, ValueError, OverflowError, IndexError):  # anybody may answer anything
            return None
    return min(max(pause, timedelta(0)), _LONGEST_PAUSE)

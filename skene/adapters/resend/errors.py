"""What an answer of Resend's means for a message: told by status and error name, never by its words."""

import re
from collections.abc import Mapping
from datetime import timedelta

from skene.adapters.mail.message import harmless
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown

__all__ = ["delivery_error"]

_QUOTAS = {"daily_quota_exceeded", "monthly_quota_exceeded"}
_QUOTA_PAUSE = timedelta(hours=1)
_LONGEST_PAUSE = timedelta(days=1)
_WORTH_ANOTHER_TRY = {408, 425, 429, 503}


def delivery_error(
    code: str | int, error_type: str, message: str, headers: Mapping[str, str]
) -> DeliveryError:
    """The error for an answer that was not a success.

    Args:
        code: the HTTP status.
        error_type: the `name` in the body; empty when the answer was not Resend's own.
        message: for people; addresses and keys in it are left out.
        headers: of the answer; `retry-after` in seconds is honoured.
    """
    status = int(code)
    said = harmless(f"Resend answered {status} {error_type or 'without a reason'}: {message}")
    pause = _retry_after(headers)
    if error_type in _QUOTAS:
        return DeliveryFailed(said, max(pause or _QUOTA_PAUSE, _QUOTA_PAUSE))
    if status == 409 and error_type == "concurrent_idempotent_requests":
        return DeliveryFailed(said, pause)
    if status in _WORTH_ANOTHER_TRY or (status >= 500 and error_type):
        return DeliveryFailed(said, pause)
    if status >= 500:  # something between us and Resend, which may have passed the message on
        return DeliveryUnknown(said)
    return DeliveryRefused(said)


def _retry_after(headers: Mapping[str, str]) -> timedelta | None:
    value = {name.lower(): text for name, text in headers.items()}.get("retry-after", "").strip()
    if not re.fullmatch(r"\d{1,9}(\.\d+)?", value):
        return None
    return min(timedelta(seconds=float(value)), _LONGEST_PAUSE)

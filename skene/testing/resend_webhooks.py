"""The local Resend's webhooks: what became of a mail, signed as Resend signs it."""

import base64
import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

__all__ = ["DeliverReport", "FakeReport", "event_body", "sign_report"]

DeliverReport: TypeAlias = Callable[[bytes, Mapping[str, str]], Awaitable[int]]
"""Takes the body and headers of a webhook to the application and returns the status it answered."""

_DETAILS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "email.bounced": (
        "bounce",
        {
            "type": "Permanent",
            "subType": "General",
            "message": "The recipient's mail server rejected the message.",
            "diagnosticCode": ["smtp; 550 5.1.1 user unknown"],
        },
    ),
    "email.suppressed": (
        "suppressed",
        {
            "type": "Suppressed",
            "reason": "previous_bounce",
            "message": "The address is on the suppression list.",
            "diagnosticCode": [],
        },
    ),
    "email.failed": ("failed", {"reason": "reached_daily_quota"}),
    "email.clicked": (
        "click",
        {"ipAddress": "192.0.2.1", "link": "https://app.acme.test/", "userAgent": "a browser"},
    ),
}


@dataclass(frozen=True, slots=True)
class FakeReport:
    """A webhook as it is sent, as often as it is sent: `id` is its own, `body` the JSON."""

    id: str
    body: bytes


def event_body(
    event: str, mail: Mapping[str, Any], at: datetime, detail: Mapping[str, Any] | None = None
) -> bytes:
    """The JSON of an event.

    Args:
        event: such as `email.bounced`.
        mail: what Resend says of any mail: `email_id`, `from`, `to`, `subject`, `created_at`, `headers`.
        at: when it happened.
        detail: replaces or adds parts of what such an event says besides, as the `type` of a bounce.
    """
    name, usual = _DETAILS.get(event, ("", {}))
    if event == "email.clicked":
        usual = {**usual, "timestamp": at.isoformat()}
    said = {name: {**usual, **(detail or {})}} if name else dict(detail or {})
    return json.dumps({"type": event, "created_at": at.isoformat(), "data": {**mail, **said}}).encode()


def sign_report(report: FakeReport, secret: str, at: datetime) -> dict[str, str]:
    """The headers of a webhook that is sent at an instant."""
    signed_at = str(int(at.timestamp()))
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{report.id}.{signed_at}.".encode() + report.body
    signature = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json",
        "svix-id": report.id,
        "svix-timestamp": signed_at,
        "svix-signature": f"v1,{signature}",
    }

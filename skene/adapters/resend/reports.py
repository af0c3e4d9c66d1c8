"""Verifies and reads the webhooks in which Resend says what became of a message.

The signature (the scheme of Svix and Standard Webhooks) is checked here, over the bytes as received, and not
by the SDK: that one wants the body decoded first, reads the wall clock, and takes a signature of any version.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, cast

from skene.adapters.mail.message import address
from skene.definitions.faults import Fault
from skene.errors import WebhookRejected
from skene.ports.notifier import Report, ReportKind

__all__ = ["TOLERANCE", "read_report", "secret_faults", "verify"]

TOLERANCE = timedelta(minutes=5)
"""How far the time-stamp of a webhook may lie from now, either way."""

_MAX_HEADER = 4096  # characters; a signature has 47, and there are several while a secret is exchanged
_PREFIX = "whsec_"
_LEAST_BYTES = 16
_IDENTIFIER = re.compile(r"[!-~]{1,255}")
_SIGNED_AT = re.compile(r"[0-9]{1,12}")
_NAMED = re.compile(r"[^<>]*<([^<>]+)>")
_KINDS: Mapping[str, ReportKind] = {
    "email.bounced": "bounced",
    "email.complained": "complained",
    "email.delivered": "delivered",
    "email.opened": "opened",
    "email.clicked": "clicked",
    "email.failed": "failed",
}

Json = dict[str, Any]


def secret_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with a setting that must be a webhook's signing secret, or None; never its value."""
    if value is None or (isinstance(value, str) and _key(value) is not None):
        return []
    given = "an empty string" if value == "" else f"a value of type {type(value).__name__} that is no secret"
    allowed = "the webhook's signing secret from Resend's dashboard; it begins with whsec_"
    return [Fault(path, given, allowed)]


def verify(body: bytes, headers: Mapping[str, str], secret: str, now: datetime) -> str:
    """Check that Resend signed these very bytes, lately.

    Args:
        body: as received.
        headers: of the request; those that begin with `svix-` count, in any case.
        secret: the signing secret, `whsec_…`.
        now: aware UTC.

    Returns:
        The webhook's id: the same when it is sent again.

    Raises:
        WebhookRejected: 401 if the signature is not ours, 400 for everything else.
    """
    found = {name.lower(): value for name, value in headers.items()}
    number, signed_at, signatures = (found.get(f"svix-{part}") for part in ("id", "timestamp", "signature"))
    if not number or not signed_at or not signatures:
        raise WebhookRejected("there are no svix-id, svix-timestamp and svix-signature headers")
    if len(signatures) > _MAX_HEADER:
        raise WebhookRejected("the svix-signature header is too long")
    if not _IDENTIFIER.fullmatch(number) or not _SIGNED_AT.fullmatch(signed_at):
        raise WebhookRejected("the svix-id or svix-timestamp header is malformed")
    signed = f"{number}.{signed_at}.".encode() + body
    mac = base64.b64encode(hmac.new(_key(secret) or b"", signed, hashlib.sha256).digest())
    given = [value.partition(",") for value in signatures.split(" ")]
    if not any(
        hmac.compare_digest(mac, value.encode("utf-8", "replace")) and version == "v1"
        for version, _, value in given
    ):
        raise WebhookRejected(
            "the signature does not match: is webhook_secret this webhook's own?", status=401
        )
    age = now.timestamp() - int(signed_at)
    if abs(age) > TOLERANCE.total_seconds():
        when = "past" if age > 0 else "future"
        raise WebhookRejected(f"the webhook was signed too far in the {when}: is this machine's clock right?")
    return number


def read_report(body: bytes, number: str) -> Report | None:
    """Reduce an authentic body to what became of which message.

    Args:
        body: verified.
        number: the webhook's id.

    Returns:
        None if it is about anything but the fate of a message.

    Raises:
        WebhookRejected: it is no event.
    """
    try:
        # RecursionError: nested too deeply. ValueError: neither UTF-8 nor JSON, or a number too long.
        event = _mapping(json.loads(body))
    except (ValueError, RecursionError):
        raise WebhookRejected("the body is not JSON") from None
    said = event.get("type")
    if not isinstance(said, str):
        raise WebhookRejected("the body is not an event of Resend's")
    data = _mapping(event.get("data"))
    kind, permanent = _what_happened(said, data)
    if kind is None:
        return None
    return Report(kind, _only_address(data.get("to")), _identifier(data.get("email_id")), number, permanent)


def _what_happened(said: str, data: Json) -> tuple[ReportKind | None, bool]:
    """The kind of report, and whether the address is lost for good."""
    if (
        said == "email.suppressed"
    ):  # not sent, because of an earlier bounce or complaint that Resend remembers
        earlier = _mapping(data.get("suppressed")).get("reason")
        return ("complained" if earlier == "previous_complaint" else "bounced"), True
    kind = _KINDS.get(said)
    bounce = _mapping(data.get("bounce")).get("type")
    for_good = isinstance(bounce, str) and bounce.lower() == "permanent"
    return kind, kind == "complained" or (kind == "bounced" and for_good)


def _only_address(value: object) -> str | None:
    """The address, if there is exactly one: of several nobody says which of them it was."""
    several = cast("list[object]", value) if isinstance(value, list) else []
    if len(several) != 1 or not isinstance(several[0], str):
        return None
    named = _NAMED.fullmatch(several[0])
    return address(named[1] if named else several[0])


def _identifier(value: object) -> str | None:
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None


def _mapping(value: object) -> Json:
    return cast("Json", value) if isinstance(value, dict) else {}


def _key(secret: str) -> bytes | None:
    """The bytes that sign; None if they are not `whsec_` and base64 of enough of them."""
    if not secret.startswith(_PREFIX) or not secret.isascii():
        return None
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        return None
    return key if len(key) >= _LEAST_BYTES else None

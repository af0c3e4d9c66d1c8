"""Checks webhooks that are signed over a time-stamp and the body, in the way several billing services do."""

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from skene.errors import WebhookRejected

__all__ = ["SignatureScheme", "clean_identifier", "identifier", "json_object"]

_MAX_HEADER = 4096  # characters; one or two signatures take some 160
_IDENTIFIER = re.compile(r"[!-~]{1,255}")
_SIGNED_AT = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True, slots=True)
class SignatureScheme:
    """How a service writes its signatures: HMAC-SHA256 in hexadecimal over time-stamp, joint and body.

    Attributes:
        header: the header's name, as the service spells it.
        separator: between the parts of the header, e.g. `,` in `t=1,v1=ab`.
        time: the part that is the time-stamp, in Unix seconds; exactly one.
        signature: the parts that are signatures; several while a secret is exchanged.
        joint: what is signed between time-stamp and body.
    """

    header: str
    separator: str
    time: str
    signature: str
    joint: bytes

    def verify(
        self, body: bytes, headers: Mapping[str, str], secret: str, tolerance: timedelta, now: datetime
    ) -> None:
        """Check that the service signed these very bytes, lately.

        Args:
            body: as received.
            headers: with lower-case names.
            secret: the endpoint's signing secret.
            tolerance: how far the time-stamp may lie from `now`, in the past or in the future.
            now: aware UTC.

        Raises:
            WebhookRejected: 401 if the signature is not ours, 400 for everything else.
        """
        given = headers.get(self.header.lower())
        if not given:
            raise WebhookRejected(f"there is no {self.header} header")
        if len(given) > _MAX_HEADER:
            raise WebhookRejected(f"the {self.header} header is too long")
        parts = [part.strip().partition("=") for part in given.split(self.separator)]
        times = [value for name, _, value in parts if name == self.time]
        signatures = [value for name, _, value in parts if name == self.signature]
        if len(times) != 1 or not _SIGNED_AT.fullmatch(times[0]) or not signatures:
            raise WebhookRejected(f"the {self.header} header is malformed")
        signed = times[0].encode() + self.joint + body
        mac = hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest().encode()
        if not any(hmac.compare_digest(mac, value.encode("utf-8", "replace")) for value in signatures):
            raise WebhookRejected(
                "the signature does not match: is webhook_secret this endpoint's own?", status=401
            )
        age = now.timestamp() - int(times[0])
        if abs(age) > tolerance.total_seconds():
            when = "past" if age > 0 else "future"
            raise WebhookRejected(
                f"the webhook was signed too far in the {when}: is this machine's clock right?"
            )


def json_object(body: bytes) -> Mapping[str, Any]:
    """A body as a JSON object; an empty one if it is JSON of another kind.

    Raises:
        WebhookRejected: it is not JSON.
    """
    try:
        # RecursionError: nested too deeply. ValueError: neither UTF-8 nor JSON, or a number too long.
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise WebhookRejected("the body is not JSON") from None
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def identifier(value: object, field: str) -> str:
    """A field that must hold an identifier: 1 to 255 printable ASCII characters without spaces.

    Raises:
        WebhookRejected: it holds none.
    """
    found = clean_identifier(value)
    if found is None:
        raise WebhookRejected(f"the event's {field} is not an identifier")
    return found


def clean_identifier(value: object) -> str | None:
    """The same of a field that may hold none."""
    return value if isinstance(value, str) and _IDENTIFIER.fullmatch(value) else None

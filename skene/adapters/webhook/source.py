"""Signed webhooks from elsewhere, as https://www.standardwebhooks.com describes them.

The signature is made with the official library and compared here. The library's own `verify` reads the wall
clock, has a tolerance of its own, and lets other exceptions out.
"""

import hmac
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from standardwebhooks import Webhook

from skene.adapters.webhook.reading import read_object
from skene.adapters.webhook.secrets import secret_faults
from skene.definitions.faults import Fault, describe
from skene.errors import ConfigurationError, WebhookRejected
from skene.ports.sources import SourceEvent

__all__ = ["StandardWebhookSource"]

_MOST_SIGNATURES = 20
_IDENTIFIER = re.compile(r"[!-~]{1,255}")
_SIGNED_AT = re.compile(r"[0-9]{1,11}")
_TYPE = re.compile(r"[!-~]{1,255}")
_SHORTEST, _LONGEST = timedelta(seconds=1), timedelta(hours=1)


class StandardWebhookSource:
    """Takes webhooks that are signed with a shared secret: Standard Webhooks, and Svix under its own names.

    Args:
        secret: the endpoint's signing secret, `whsec_…`; several while one replaces another, any of which is
            accepted.
        tolerance: how far the time of the signature may lie from now, in the past or in the future; from 1 s
            to 1 h.
        type_key: the key of the payload that says what kind of event it is.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named, no secret is shown.
    """

    def __init__(
        self,
        secret: str | Sequence[str],
        *,
        tolerance: timedelta = timedelta(minutes=5),
        type_key: str = "type",
    ) -> None:
        secrets = list(secret) if isinstance(secret, list | tuple) else [secret]
        faults = _faults(secrets, tolerance, type_key)
        if faults:
            raise ConfigurationError(faults)
        self._signers = tuple(Webhook(str(one)) for one in secrets)
        self._tolerance = tolerance
        self._type_key = type_key

    def __repr__(self) -> str:
        return f"StandardWebhookSource({len(self._signers)} secret{'s' * (len(self._signers) > 1)})"

    def parse(self, body: bytes, headers: Mapping[str, str], now: datetime) -> SourceEvent:
        """See `EventSource.parse`."""
        given = {name.lower(): value for name, value in headers.items()}
        number, stamp, signatures = _signed(given)
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError:
            raise WebhookRejected("the body is not UTF-8") from None
        self._verify(text, number, stamp, signatures)
        self._check_age(stamp, now)
        payload = read_object(text)
        kind = payload.get(self._type_key)
        return SourceEvent(number, kind if isinstance(kind, str) and _TYPE.fullmatch(kind) else "", payload)

    def _verify(self, text: str, number: str, stamp: datetime, signatures: list[bytes]) -> None:
        matches = False
        for signer in self._signers:
            ours = signer.sign(msg_id=number, timestamp=stamp, data=text).encode()
            for theirs in signatures:
                matches |= hmac.compare_digest(ours, theirs)
        if not matches:
            raise WebhookRejected(
                "the signature does not match: is the secret this endpoint's own?", status=401
            )

    def _check_age(self, stamp: datetime, now: datetime) -> None:
        age = now - stamp
        if abs(age) > self._tolerance:
            when = "past" if age > timedelta(0) else "future"
            raise WebhookRejected(
                f"the webhook was signed too far in the {when}: is this machine's clock right?"
            )


def _signed(headers: Mapping[str, str]) -> tuple[str, datetime, list[bytes]]:
    """The id, the time and the signatures, not yet verified."""
    prefix = "webhook" if "webhook-id" in headers or "svix-id" not in headers else "svix"
    names = [f"{prefix}-{part}" for part in ("id", "timestamp", "signature")]
    missing = [name for name in names if not headers.get(name)]
    if missing:
        raise WebhookRejected(f"there is no header {missing[0]}")
    number, stamp, signatures = (headers[name] for name in names)
    if not _IDENTIFIER.fullmatch(number):
        raise WebhookRejected(f"the header {names[0]} is not an identifier")
    if not _SIGNED_AT.fullmatch(stamp):
        raise WebhookRejected(f"the header {names[1]} is not a time in seconds")
    # Several while a secret is replaced. What is beyond, nobody honest sends.
    some = signatures.split(" ", _MOST_SIGNATURES)[:_MOST_SIGNATURES]
    return number, datetime.fromtimestamp(int(stamp), UTC), [one.encode("utf-8", "replace") for one in some]


def _faults(secrets: Sequence[object], tolerance: object, type_key: object) -> list[Fault]:
    name = "StandardWebhookSource"
    faults: list[Fault] = []
    if not secrets:
        faults.append(Fault(f"{name}.secret", "no secret", "at least one signing secret"))
    for place, one in enumerate(secrets):
        faults += secret_faults(f"{name}.secret" + (f"[{place}]" if len(secrets) > 1 else ""), one)
    if not isinstance(tolerance, timedelta) or not _SHORTEST <= tolerance <= _LONGEST:
        given = str(tolerance) if isinstance(tolerance, timedelta) else describe(tolerance)
        faults.append(Fault(f"{name}.tolerance", given, "a timedelta from 1 second to 1 hour"))
    if not isinstance(type_key, str) or not type_key:
        faults.append(Fault(f"{name}.type_key", describe(type_key), 'a key of the payload, such as "type"'))
    return faults

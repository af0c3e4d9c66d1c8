"""Signing secrets of Standard Webhooks."""

import base64
import binascii

from skene.definitions.faults import Fault

__all__ = ["secret_faults"]

_PREFIX = "whsec_"
_SHORTEST, _LONGEST = 24, 128
_ALLOWED = f'a signing secret: "whsec_" and {_SHORTEST} to {_LONGEST} bytes in base64'


def secret_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with a secret, without showing any of it.

    Args:
        path: where it stands: `WebhookNotifier.secret`.
        value: what was given.
    """
    if not isinstance(value, str):
        return [Fault(path, f"a value of type {type(value).__name__}", _ALLOWED)]
    if not value.strip():
        return [Fault(path, "an empty string", _ALLOWED)]
    if not value.startswith(_PREFIX):
        hint = 'what follows "v1,"' if value.startswith(f"v1,{_PREFIX}") else None
        return [Fault(path, 'text that does not begin with "whsec_"', _ALLOWED, hint)]
    coded = value.removeprefix(_PREFIX)
    try:
        # Senders leave the padding out at times. The library would skip what is not base64; we do not.
        key = base64.b64decode(coded.rstrip("=") + "=" * (-len(coded.rstrip("=")) % 4), validate=True)
    except (binascii.Error, ValueError):
        return [Fault(path, "text that is not base64 after whsec_", _ALLOWED)]
    if not _SHORTEST <= len(key) <= _LONGEST:
        return [Fault(path, f"a secret of {len(key)} bytes", _ALLOWED)]
    return []

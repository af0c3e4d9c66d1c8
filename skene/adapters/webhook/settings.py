"""Checks of a webhook's address and headers."""

import re
from collections.abc import Mapping
from ipaddress import ip_address
from typing import cast
from urllib.parse import SplitResult, urlsplit

from skene.definitions.faults import Fault, describe

__all__ = ["header_faults", "is_local", "origin", "url_faults"]

_ALLOWED = 'an address such as "https://hooks.acme.test/skene"'
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_VALUE = re.compile(r"[!-~]([ \t!-~]{0,4000}[!-~])?")
_OURS = {"content-length", "content-type", "host", "transfer-encoding", "user-agent"}


def url_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with the address that webhooks are sent to. A secret in it is not repeated.

    Args:
        path: where it stands: `WebhookNotifier.url`.
        value: what was given.
    """
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or " " in value:
        return [Fault(path, f"a value of type {type(value).__name__} that is no address", _ALLOWED)]
    split = _split(value)
    if split is None or split.scheme not in ("http", "https") or not split.hostname:
        return [Fault(path, "text that is no http or https address", _ALLOWED)]
    if split.username is not None or split.password is not None:
        return [
            Fault(
                path,
                "an address with a user name or a password",
                "one without; headers={…} can carry a token",
            )
        ]
    if split.fragment:
        return [Fault(path, "an address with a fragment", f"{_ALLOWED}, without #…")]
    if split.scheme == "http" and not is_local(value):
        return [
            Fault(
                path, f'"{origin(value)}"', "https; http only for this machine", f'"https://{split.netloc}"'
            )
        ]
    return []


def header_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with further headers. No value is shown: it may be a token."""
    if value is None:
        return []
    if not isinstance(value, Mapping):
        return [Fault(path, describe(value, "token"), "header name → text")]
    faults: list[Fault] = []
    for name, text in cast("Mapping[object, object]", value).items():
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            faults.append(Fault(path, f"the name {describe(name)}", 'a name such as "X-Api-Key"'))
        elif name.lower() in _OURS or name.lower().startswith("webhook-"):
            faults.append(Fault(f"{path}[{name!r}]", "a header that skene sets", "another one"))
        elif not isinstance(text, str) or not _VALUE.fullmatch(text):
            faults.append(
                Fault(f"{path}[{name!r}]", f"a value of type {type(text).__name__}", "printable ASCII")
            )
    return faults


def is_local(url: str) -> bool:
    """Whether an address is on this machine."""
    host = (urlsplit(url).hostname or "").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def origin(url: str) -> str:
    """Scheme, host and port of an address: what may be shown of it, since a path can be a secret."""
    split = urlsplit(url)
    return f"{split.scheme}://{split.netloc.rpartition('@')[2]}"


def _split(value: str) -> SplitResult | None:
    try:
        split = urlsplit(value)
        split.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return None
    return split

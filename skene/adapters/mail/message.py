"""What every mail adapter needs: addresses, keys, and the frozen body as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parseaddr

from pydantic import JsonValue

from skene.definitions.faults import Fault, describe
from skene.errors import DeliveryRefused
from skene.ports.notifier import Body, MessageContext

__all__ = [
    "Mail",
    "address",
    "check_key",
    "harmless",
    "read_mail",
    "recipient",
    "sender_faults",
    "timeout_faults",
    "unsubscribe_headers",
]

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_KEY = re.compile(r"[\x21-\x7e]{1,256}")
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
_HEADER_VALUE = re.compile(r"[\x20-\x7e]{1,990}")
_REST = r"(:[0-9]{1,5})?([/?][A-Za-z0-9._~:/?@!$&'()*+,;=%-]*)?"  # nothing that ends the angle brackets
_LINK = re.compile(rf"https://[A-Za-z0-9][A-Za-z0-9.-]*{_REST}")
_LOCAL_LINK = re.compile(rf"http://(localhost|127\.0\.0\.1|\[::1\]){_REST}")
_LONGEST_LINK = 960  # a header cannot be folded inside a link, and no line may be longer than 998
_PRIVATE = re.compile(r"[^\s<>\"'(),;]+@[^\s<>\"'(),;]+|\b(?:re|sk|rk|whsec)_\w+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A rendered e-mail to one person.

    Attributes:
        sender: `Name <address>` or the address alone; to: the address alone.
        subject: one line; text: the plain part; html: the other part, if there is one.
        reply_to: where answers go, if not to the sender.
        template: the name of what it was made from.
        headers: further ones, by name, each one line of ASCII.
    """

    sender: str
    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None
    template: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def body(self) -> Body:
        """The mail as the outbox keeps it; `read_mail` is the way back."""
        body: Body = {"from": self.sender, "to": [self.to], "subject": self.subject, "text": self.text}
        extra: Body = {
            "html": self.html,
            "reply_to": self.reply_to,
            "template": self.template or None,
            "headers": dict(self.headers) or None,
        }
        return body | {key: value for key, value in extra.items() if value is not None}


def read_mail(body: Mapping[str, JsonValue]) -> Mail:
    """The mail that `Mail.body` wrote, perhaps hours ago and by an older version.

    Raises:
        DeliveryRefused: this is another notifier's body.
    """
    match body:
        case {
            "from": str() as sender,
            "to": [str() as to],
            "subject": str() as subject,
            "text": str() as text,
        }:
            html, reply_to, template = (body.get(key) for key in ("html", "reply_to", "template"))
            headers = _headers(body.get("headers"))
            if (
                isinstance(html, str | None)
                and isinstance(reply_to, str | None)
                and isinstance(template, str | None)
                and headers is not None
            ):
                return Mail(sender, to, subject, text, html, reply_to, template or "", headers)
        case _:
            pass
    raise DeliveryRefused("the message was rendered for another kind of notifier")


def address(value: str) -> str | None:
    """One bare address, its domain in ASCII; None if it is not one."""
    local, at, domain = value.strip(" ").rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii")
    except UnicodeError:
        return None
    if not at or len(local) > 64 or len(domain) > 253:
        return None
    return f"{local}@{domain}" if _LOCAL.fullmatch(local) and _DOMAIN.fullmatch(domain) else None


def sender_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with a setting that must be `Name <address>` or an address with a domain."""
    allowed = 'an address such as "team@acme.test" or "Acme <team@acme.test>"'
    if not isinstance(value, str) or not value.strip():
        return [Fault(path, describe(value, path), allowed)]
    if not value.isprintable():
        return [Fault(path, "line breaks or control characters", "one line")]
    name, addr = parseaddr(value)
    bare = value.strip() == addr
    named = bool(name) and value.rstrip().endswith(f"<{addr}>") and value.count("@") == addr.count("@")
    if address(addr) is None or not (bare or named):
        hint = f'"{name or "Acme"} <team@{value.strip()}>"' if _DOMAIN.fullmatch(value.strip()) else None
        return [Fault(path, describe(value, path), allowed, hint if "." in value else None)]
    return []


def timeout_faults(path: str, value: object) -> list[Fault]:
    """What is wrong with the time for one attempt."""
    longest = timedelta(seconds=10)
    if isinstance(value, timedelta) and timedelta(0) < value <= longest:
        return []
    given = str(value) if isinstance(value, timedelta) else describe(value)
    return [Fault(path, given, "a timedelta of more than 0 and at most 10 seconds")]


def recipient(context: MessageContext) -> str:
    """The address a message goes to.

    Raises:
        DeliveryRefused: there is none, or it is not one address.
    """
    to = address(context.user.email or "")
    if to is None:
        raise DeliveryRefused("the recipient's e-mail address is missing or not a single valid address")
    return to


def unsubscribe_headers(context: MessageContext) -> dict[str, str]:
    """What lets a mail program show an unsubscribe button that works with one click (RFC 2369, RFC 8058).

    Raises:
        DeliveryRefused: the link is not a full https address (http is for this machine only), or too long.
    """
    url = context.unsubscribe_url
    if url is None:
        return {}
    if len(url) > _LONGEST_LINK or not (_LINK.fullmatch(url) or _LOCAL_LINK.fullmatch(url)):
        raise DeliveryRefused('the unsubscribe link is not a full address that begins with "https://"')
    return {"List-Unsubscribe": f"<{url}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}


def check_key(key: str) -> str:
    """The idempotency key as it may be sent.

    Raises:
        ValueError: it is not 1 to 256 printable ASCII characters.
    """
    if _KEY.fullmatch(key):
        return key
    raise ValueError(f"idempotency_key: got {len(key)} characters; give 1 to 256 of printable ASCII")


def harmless(text: str) -> str:
    """A provider's words, fit for a log: one short line without addresses and keys."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return _PRIVATE.sub("…", line)[:200]


def _headers(value: JsonValue) -> dict[str, str] | None:
    """Further headers of a frozen body; None if they are none of ours."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        return None
    found = {name: text for name, text in value.items() if isinstance(text, str)}
    fine = all(_HEADER.fullmatch(name) and _HEADER_VALUE.fullmatch(text) for name, text in found.items())
    return found if fine and len(found) == len(value) else None

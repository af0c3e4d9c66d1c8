"""What every mail adapter needs: addresses, keys, and the frozen body as a value."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime, formataddr, parseaddr
from hashlib import sha256

from pydantic import JsonValue

from skene.definitions.faults import Fault, describe
from skene.errors import DeliveryRefused
from skene.ports.notifier import Body, MessageContext

__all__ = [
    "FOREVER",
    "Mail",
    "address",
    "check_key",
    "harmless",
    "mime",
    "read_mail",
    "recipient",
    "sender_faults",
    "timeout_faults",
]

FOREVER = timedelta(days=36_500)
"""How long a notifier remembers keys that never forgets them."""

_LOCAL = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*")
_KEY = re.compile(r"[\x21-\x7e]{1,256}")
_PRIVATE = re.compile(r"[^\s<>\"'(),;]+@[^\s<>\"'(),;]+|\b(?:re|sk|rk|whsec)_\w+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A rendered e-mail to one person.

    Attributes:
        sender: `Name <address>` or the address alone; to: the address alone.
        subject: one line; text: the plain part; html: the other part, if there is one.
        reply_to: where answers go, if not to the sender.
        template: the name of what it was made from.
    """

    sender: str
    to: str
    subject: str
    text: str
    html: str | None = None
    reply_to: str | None = None
    template: str = ""

    def body(self) -> Body:
        """The mail as the outbox keeps it; `read_mail` is the way back."""
        body: Body = {"from": self.sender, "to": [self.to], "subject": self.subject, "text": self.text}
        extra = {"html": self.html, "reply_to": self.reply_to, "template": self.template or None}
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
            if (
                isinstance(html, str | None)
                and isinstance(reply_to, str | None)
                and isinstance(template, str | None)
            ):
                return Mail(sender, to, subject, text, html, reply_to, template or "")
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


def mime(mail: Mail, key: str, *, date: datetime | None = None, readable: bool = False) -> EmailMessage:
    """The mail as a MIME message that is the same for the same key.

    Args:
        mail: what to say.
        key: the idempotency key; the Message-ID follows from it.
        date: when it is sent; None leaves the header out.
        readable: write UTF-8 as it is, for people, instead of what every mail server takes.
    """
    kept = policy.SMTP if readable else policy.SMTP.clone(cte_type="7bit")
    message = EmailMessage(policy=kept)
    message["From"] = _header(mail.sender)
    message["To"] = mail.to
    message["Subject"] = mail.subject
    if mail.reply_to is not None:
        message["Reply-To"] = _header(mail.reply_to)
    if date is not None:
        message["Date"] = format_datetime(date)
    domain = parseaddr(mail.sender)[1].rpartition("@")[2].encode("idna").decode("ascii")
    message["Message-ID"] = f"<{sha256(key.encode()).hexdigest()[:40]}@{domain}>"
    message["Auto-Submitted"] = "auto-generated"  # keeps out-of-office answers away
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        # The boundary is fixed so that the same mail is the same bytes.
        message.set_boundary(f"=_{sha256(b'boundary' + key.encode()).hexdigest()[:32]}")
    return message


def _header(value: str) -> str:
    name, addr = parseaddr(value)
    return formataddr((name, address(addr) or addr))

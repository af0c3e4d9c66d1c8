"""A mail as the bytes that mail servers and mail programs take."""

from datetime import datetime
from email import policy
from email.headerregistry import BaseHeader, HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy, Policy
from email.utils import format_datetime, formataddr, parseaddr
from hashlib import sha256

from skene.adapters.mail.message import Mail, address

__all__ = ["mime"]


class _Whole(UnstructuredHeader, BaseHeader):
    """A header that stays on one line: folded, a long link would become encoded words that nobody reads."""

    def fold(self, *, policy: Policy) -> str:
        """The header as it is."""
        return f"{self.name}: {self}{policy.linesep}"


def _policy() -> "EmailPolicy[EmailMessage]":
    headers = HeaderRegistry()
    headers.map_to_type("list-unsubscribe", _Whole)
    return policy.SMTP.clone(header_factory=headers)


_POLICY = _policy()


def mime(mail: Mail, key: str, *, date: datetime | None = None, readable: bool = False) -> EmailMessage:
    """The mail as a MIME message that is the same for the same key.

    Args:
        mail: what to say.
        key: the idempotency key; the Message-ID follows from it.
        date: when it is sent; None leaves the header out.
        readable: write UTF-8 as it is, for people, instead of what every mail server takes.
    """
    kept = _POLICY if readable else _POLICY.clone(cte_type="7bit")
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
    for header, value in mail.headers.items():
        message[header] = value
    message.set_content(mail.text)
    if mail.html is not None:
        message.add_alternative(mail.html, subtype="html")
        # The boundary is fixed so that the same mail is the same bytes.
        message.set_boundary(f"=_{sha256(b'boundary' + key.encode()).hexdigest()[:32]}")
    return message


def _header(value: str) -> str:
    name, addr = parseaddr(value)
    return formataddr((name, address(addr) or addr))

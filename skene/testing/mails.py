"""Mails that a world keeps instead of sending them."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from html import unescape

import anyio.lowlevel
from pydantic import JsonValue

from skene.errors import DeliveryError
from skene.ports.notifier import About, Body, MessageContext, Notifier, Report, Reporting

__all__ = ["KeepingNotifier", "Mail", "Postbox", "keeping", "read"]

_LINK = re.compile(r"https?://[^\s\"'<>]+/upgrade\?token=[A-Za-z0-9%._~-]+")


@dataclass(frozen=True, slots=True)
class Mail:
    """A message that was sent.

    Attributes:
        template: what it was made from.
        to: the recipient's address; subject: its subject line; text, html: its parts. Empty where the
            notifier leaves them to the provider, as with a template that is hosted there.
        body: all of it, as the notifier rendered it.
    """

    template: str
    to: str
    subject: str
    text: str
    html: str
    body: Body = field(repr=False)

    @property
    def upgrade_link(self) -> str | None:
        """The link to `…/skene/upgrade` in the mail; None if it has none."""
        found = (_LINK.search(unescape(text)) for text in _texts(self.body))
        return next((link.group().rstrip(".") for link in found if link), None)

    @property
    def unsubscribe_link(self) -> str | None:
        """Where a mail program's unsubscribe button leads; None if the mail has none."""
        headers = self.body.get("headers")
        value = headers.get("List-Unsubscribe") if isinstance(headers, dict) else None
        return value.strip("<>") if isinstance(value, str) else None


class Postbox:
    """Where every notifier of a world puts what it was given, oldest first, each key once."""

    def __init__(self) -> None:
        self.kept: dict[str, Body] = {}
        self._failures: list[tuple[DeliveryError, bool]] = []

    def fail(self, error: DeliveryError, times: int, accepted: bool) -> None:
        """Let the next attempts fail; with `accepted` the mail is kept all the same."""
        self._failures += [(error, accepted)] * times

    def put(self, key: str, body: Body) -> str:
        """Keep a message, or fail as told.

        Raises:
            DeliveryError: what `fail` was given.
        """
        error, accepted = self._failures.pop(0) if self._failures else (None, True)
        if accepted:
            self.kept.setdefault(key, body)
        if error is not None:
            raise error
        return f"kept-{list(self.kept).index(key) + 1}"


class KeepingNotifier:
    """An app's own notifier, with its own templates and checks, up to the moment of sending.

    Args:
        notifier: the one whose place this takes.
        box: where the messages go.
    """

    def __init__(self, notifier: Notifier, box: Postbox) -> None:
        self._notifier = notifier
        self._box = box

    @property
    def remembers_keys(self) -> timedelta:
        """As the app's own."""
        return self._notifier.remembers_keys

    @property
    def pace(self) -> timedelta | None:
        """A test has nobody to wait for."""
        return None

    def check(
        self,
        template: str,
        *,
        subject_line: str | None = None,
        personalization: Mapping[str, str] | None = None,
        about: About = "limit",
    ) -> None:
        """As the app's own."""
        self._notifier.check(
            template, subject_line=subject_line, personalization=personalization, about=about
        )

    def render(self, context: MessageContext) -> Body:
        """As the app's own."""
        return self._notifier.render(context)

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Keep the message; see `Notifier.send`."""
        await anyio.lowlevel.checkpoint()
        return self._box.put(idempotency_key, body)

    async def aclose(self) -> None:
        """Leave the app's own open: it was never used."""


class _ReportingNotifier(KeepingNotifier):
    """One whose provider reports what became of mails: the reports are the app's own notifier's to verify."""

    def __init__(self, notifier: Notifier, box: Postbox, reporting: Reporting) -> None:
        super().__init__(notifier, box)
        self._reporting = reporting

    def parse_report(self, body: bytes, headers: Mapping[str, str], now: datetime) -> Report | None:
        """As the app's own."""
        return self._reporting.parse_report(body, headers, now)


def keeping(notifier: Notifier, box: Postbox) -> KeepingNotifier:
    """What stands in for an app's own notifier."""
    if isinstance(notifier, Reporting):
        return _ReportingNotifier(notifier, box, notifier)
    return KeepingNotifier(notifier, box)


def read(template: str, body: Body) -> Mail:
    """What a body says, whichever notifier rendered it."""
    to = body.get("to")
    if isinstance(to, list):
        to = to[0] if to else ""
    subject, text, html = (body.get(part) for part in ("subject", "text", "html"))
    return Mail(template, _text(to), _text(subject), _text(text), _text(html), body)


def _text(value: JsonValue) -> str:
    return value if isinstance(value, str) else ""


def _texts(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)

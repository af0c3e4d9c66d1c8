"""Mails kept in a list: for tests."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import anyio.lowlevel

from skene.adapters.mail.local import LocalNotifier
from skene.adapters.mail.message import check_key, read_mail
from skene.errors import DeliveryError
from skene.ports.notifier import FOREVER, Body

__all__ = ["MemoryNotifier", "SentMail"]


@dataclass(frozen=True, slots=True)
class SentMail:
    """A mail that was sent.

    Attributes:
        to: the recipient's address; subject, text: what was said; html: the other part, if there is one.
        template: the template it was made from.
        key: its idempotency key.
        sender: whom it is from.
        headers: further ones, such as List-Unsubscribe.
    """

    to: str
    subject: str
    template: str
    html: str | None
    text: str
    key: str
    sender: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(slots=True)
class _Failure:
    error: DeliveryError
    times: int
    accepted: bool


class MemoryNotifier(LocalNotifier):
    """Sends nothing and remembers everything.

    Args:
        sender: `Name <address>` or an address.
        templates: the folder of local templates.

    Attributes:
        sent: what was accepted, in order, each key once.

    Raises:
        ConfigurationError: a setting cannot work.
    """

    def __init__(
        self, sender: str = "skene <skene@localhost>", *, templates: str | Path = "templates"
    ) -> None:
        super().__init__(sender, templates)
        self.sent: list[SentMail] = []
        self._failures: list[_Failure] = []

    def __repr__(self) -> str:
        return f"MemoryNotifier({len(self.sent)} sent)"

    @property
    def remembers_keys(self) -> timedelta:
        """For ever."""
        return FOREVER

    def fail_with(self, error: DeliveryError, times: int = 1, *, accepted: bool = False) -> None:
        """Make the next attempts fail.

        Args:
            error: what they raise.
            times: how many of them.
            accepted: take the message all the same, as a provider does whose answer is lost.
        """
        self._failures.append(_Failure(error, times, accepted))

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Remember the message; see `Notifier.send`.

        Raises:
            DeliveryError: what `fail_with` was given.
        """
        key = check_key(idempotency_key)
        mail = read_mail(body)
        await anyio.lowlevel.checkpoint()
        failure = self._next_failure()
        if failure is None or failure.accepted:
            parts = (mail.to, mail.subject, mail.template, mail.html, mail.text)
            sent = SentMail(*parts, key, mail.sender, mail.headers)
            if all(earlier.key != key for earlier in self.sent):
                self.sent.append(sent)
        if failure is not None:
            raise failure.error
        return f"memory-{[earlier.key for earlier in self.sent].index(key) + 1}"

    def _next_failure(self) -> _Failure | None:
        while self._failures and self._failures[0].times <= 0:
            del self._failures[0]
        if not self._failures:
            return None
        self._failures[0].times -= 1
        return self._failures[0]

"""Mail over SMTP, with the standard library's client in a worker thread."""

import re
import smtplib
import ssl
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parseaddr
from functools import partial
from ipaddress import ip_address
from typing import Any, Literal

import anyio
import anyio.to_thread

from skene.adapters.mail.local import LocalNotifier
from skene.adapters.mail.message import address, check_key, harmless, read_mail, timeout_faults
from skene.adapters.mail.mime import mime
from skene.adapters.system import SystemClock
from skene.definitions.faults import Fault, describe, nearest
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.clock import Clock
from skene.ports.notifier import Body

__all__ = ["SmtpNotifier"]

Tls = Literal["starttls", "implicit", "none"]


@dataclass(frozen=True, slots=True)
class _Server:
    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: Tls
    timeout: float


class SmtpNotifier(LocalNotifier):
    """Sends mail through an SMTP server.

    SMTP has no idempotency keys: an attempt whose end nobody saw must not be repeated by itself. The
    Message-ID follows from the key, so that a person can look the message up.

    Args:
        host: the server's name or address.
        port: usually 587 with `starttls`, 465 with `implicit`.
        sender: `Name <address>` or an address.
        username: None sends without logging in.
        password: with a username.
        tls: encrypt after the greeting, from the first byte, or not at all (then without a password, unless
            the server is on this machine).
        timeout: for one attempt from beginning to end, up to 10 s.
        templates: the folder of local templates.
        reply_to: where answers go, if not to the sender.
        clock: for the Date of a mail; None takes this machine's.

    Raises:
        ConfigurationError: a setting cannot work; all of them are named.
    """

    def __init__(
        self,
        host: str,
        port: int,
        sender: str,
        *,
        username: str | None = None,
        password: str | None = None,
        tls: Tls = "starttls",
        timeout: timedelta = timedelta(seconds=10),
        templates: str = "templates",
        reply_to: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        faults = [
            *_faults(host, port, username, password, tls),
            *timeout_faults("SmtpNotifier.timeout", timeout),
        ]
        super().__init__(sender, templates, reply_to=reply_to, faults=tuple(faults))
        self._server = _Server(host, port, username, password, tls, timeout.total_seconds())
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"SmtpNotifier({self._server.host!r}, {self._server.port}, sender={self._sender!r})"

    @property
    def remembers_keys(self) -> timedelta:
        """Not at all."""
        return timedelta(0)

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Hand the mail to the server; see `Notifier.send`.

        Returns:
            The Message-ID.
        """
        key = check_key(idempotency_key)
        mail = read_mail(body)
        message = mime(mail, key, date=self._clock.now())
        sender, to = (address(parseaddr(value)[1]) for value in (mail.sender, mail.to))
        if sender is None or to is None:
            raise DeliveryRefused("the message's sender or recipient is not a valid address")
        attempt = _Attempt(self._server)
        try:
            with anyio.fail_after(self._server.timeout):
                await anyio.to_thread.run_sync(
                    partial(attempt.run, sender, to, message.as_bytes()), abandon_on_cancel=True
                )
        except TimeoutError as error:
            # The thread keeps the time itself; this is for a slow name server or an answer byte by byte. Left
            # behind, it sends nothing more: its own time ended before this one.
            raise attempt.broken("the mail server took too long") from error
        return str(message["Message-ID"])


class _Attempt:
    """One connection for one mail, in a thread that may be left to itself."""

    def __init__(self, server: _Server) -> None:
        self._server = server
        self._handed_over = False

    def run(self, sender: str, to: str, content: bytes) -> None:
        """Send it, or raise a `DeliveryError`."""
        with self._explained(), self._connected(sender.rpartition("@")[2]) as smtp:
            _expect(250, smtp.mail(sender))
            _expect(250, smtp.rcpt(to))
            _expect(354, smtp.docmd("DATA"))
            self._handed_over = True
            smtp.send(re.sub(rb"(?m)^\.", b"..", content) + b".\r\n")
            _expect(250, smtp.getreply())

    @contextmanager
    def _explained(self) -> Generator[None]:
        try:
            yield
        except smtplib.SMTPResponseException as error:
            raise self._refusal(error.smtp_code, error.smtp_error) from error
        except smtplib.SMTPNotSupportedError as error:
            raise DeliveryRefused(f"the mail server cannot do it: {harmless(str(error))}") from error
        except (OSError, smtplib.SMTPException) as error:  # no connection, no time left, no valid certificate
            raise self.broken(f"the connection to the mail server failed: {type(error).__name__}") from error

    def _refusal(self, code: int, reply: bytes | str) -> DeliveryError:
        text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
        said = f"the mail server answered {code}: {harmless(text)}"
        if 500 <= code < 600:
            return DeliveryRefused(said)
        return DeliveryFailed(said) if 400 <= code < 500 else self.broken(said)

    def broken(self, words: str) -> DeliveryError:
        """The error for a conversation that ended here."""
        return DeliveryUnknown(words) if self._handed_over else DeliveryFailed(words)

    @contextmanager
    def _connected(self, name: str) -> Generator[smtplib.SMTP]:
        server = self._server
        context = ssl.create_default_context()
        # A little less than the whole time, so that the thread knows first how far it came.
        seconds = server.timeout * 0.9
        if server.tls == "implicit":
            smtp: smtplib.SMTP = _TimedTls(server.host, server.port, name, seconds, context=context)
        else:
            smtp = _Timed(server.host, server.port, name, seconds)
        try:
            smtp.ehlo_or_helo_if_needed()
            if server.tls == "starttls":
                _expect(220, smtp.starttls(context=context))
                smtp.ehlo_or_helo_if_needed()  # what was said before the encryption is forgotten
            if server.username is not None:
                smtp.login(server.username, server.password or "")
            yield smtp
            with suppress(OSError, smtplib.SMTPException):
                smtp.quit()  # the mail is accepted; how the conversation ends no longer matters
        finally:
            smtp.close()


class _Timed(smtplib.SMTP):
    """A conversation with one deadline, not one for each line of it."""

    def __init__(self, host: str, port: int, name: str, seconds: float, **more: Any) -> None:
        self._until = time.monotonic() + seconds
        super().__init__(host, port, name, timeout=seconds, **more)

    def send(self, s: Any) -> None:
        """Send within what is left of the time."""
        self._hurry()
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """Wait for an answer within what is left of the time."""
        self._hurry()
        return super().getreply()

    def _hurry(self) -> None:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        if self.sock is not None:
            self.sock.settimeout(left)


class _TimedTls(_Timed, smtplib.SMTP_SSL):
    """The same, encrypted from the first byte."""


def _expect(wanted: int, answer: tuple[int, bytes]) -> None:
    code, reply = answer
    if code != wanted and not (wanted == 250 and code == 251):  # 251: will be forwarded
        raise smtplib.SMTPResponseException(code, reply)


def _faults(host: object, port: object, username: object, password: object, tls: object) -> Iterator[Fault]:
    if not isinstance(host, str) or not re.fullmatch(r"[A-Za-z0-9_.:-]+", host):
        yield Fault("SmtpNotifier.host", describe(host), 'a host name such as "smtp.acme.test"')
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        yield Fault("SmtpNotifier.port", describe(port), "a port from 1 to 65535, usually 587")
    if tls not in ("starttls", "implicit", "none"):
        kinds = '"starttls", "implicit" or "none"'
        yield Fault("SmtpNotifier.tls", describe(tls), kinds, nearest(tls, ("starttls", "implicit", "none")))
    if (username is None) != (password is None):
        lacking = "password" if password is None else "username"
        yield Fault(f"SmtpNotifier.{lacking}", "None", "both username and password, or neither")
    if tls == "none" and password is not None and not _this_machine(host):
        given = '"none" with a password, which everybody on the way could read'
        yield Fault("SmtpNotifier.tls", given, '"starttls" or "implicit"')


def _this_machine(host: object) -> bool:
    try:
        return host == "localhost" or ip_address(str(host)).is_loopback
    except ValueError:
        return False

"""SmtpNotifier against a real server on loopback: the conformance suite, and the ways a conversation ends."""

import email
import logging
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from email import policy
from pathlib import Path
from typing import Literal

import anyio
import anyio.to_thread
import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from skene.adapters.smtp import SmtpNotifier
from skene.errors import (
    ConfigurationError,
    DeliveryFailed,
    DeliveryRefused,
    DeliveryUnknown,
)
from skene.ports.notifier import Notifier
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import (
    Delivered,
    NotifierFaultConformance,
    message,
)
from tests.support.mail_kit import delivered


@dataclass
class Sink:
    """An SMTP server in a thread, with answers that can be staged."""

    port: int = 0
    envelopes: list[Envelope] = field(default_factory=list[Envelope])
    logins: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    answers: dict[str, str] = field(default_factory=dict[str, str])
    cut: bool = False

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's spelling
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self.answers:
            return self.answers.pop("RCPT")
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802 - aiosmtpd's spelling
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if "DATA" in self.answers:
            return self.answers.pop("DATA")
        self.envelopes.append(envelope)
        if self.cut:
            self.cut = False
            assert server.transport is not None
            server.transport.abort()
        return "250 OK"

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object
    ) -> AuthResult:
        login, password = getattr(data, "login", b""), getattr(data, "password", b"")
        self.logins.append((login, password))
        return AuthResult(success=password == b"right", handled=False)


class _Controller(Controller):
    """Takes a free port, and tells which."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


@pytest.fixture
def sink() -> Iterator[Sink]:
    made = Sink()
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    controller = _Controller(
        made, hostname="127.0.0.1", port=0, auth_require_tls=False, authenticator=made.authenticate
    )
    controller.start()
    made.port = controller.port
    yield made
    controller.stop()


def smtp(sink: Sink, **more: object) -> SmtpNotifier:
    return SmtpNotifier(
        "127.0.0.1", sink.port, "Acme <team@acme.test>", tls="none", clock=ManualClock(), **more
    )


class TestSmtpNotifier(NotifierFaultConformance):
    sink: Sink

    @pytest.fixture
    def notifier(self, sink: Sink) -> Notifier:
        self.sink = sink
        return smtp(sink)

    def delivered(self) -> list[Delivered]:
        return [delivered(bytes(one.original_content or b"")) for one in self.sink.envelopes]

    def busy_next(self) -> None:
        self.sink.answers["RCPT"] = "451 try later, ada@acme.test is greylisted"

    def refuse_next(self) -> None:
        self.sink.answers["DATA"] = "550 mailbox of ada@acme.test is gone"

    def lose_next_answer(self) -> None:
        self.sink.cut = True


async def test_smtp_sends_a_whole_mail(sink: Sink) -> None:
    notifier = smtp(sink, reply_to="help@acme.test", username="app", password="right")
    body = notifier.render(message(name="Zoë"))
    assert await notifier.send(body, idempotency_key="k-1") == await notifier.send(
        body, idempotency_key="k-1"
    )
    assert sink.logins[0] == (b"app", b"right")
    first, second = sink.envelopes
    assert (first.mail_from, first.rcpt_tos) == ("team@acme.test", ["ada@acme.test"])
    assert first.original_content == second.original_content, "the same key gives the same bytes"
    raw = bytes(first.original_content or b"")
    assert max(raw) < 128, "what every server takes"
    mail = email.message_from_bytes(raw, policy=policy.default)
    assert mail.get_content_type() == "multipart/alternative"
    assert mail["From"] == "Acme <team@acme.test>"
    assert mail["Reply-To"] == "help@acme.test"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Date"] == "Thu, 01 Jan 2026 12:00:00 +0000"
    assert mail["Message-ID"].endswith("@acme.test>")


async def test_smtp_wrong_password_is_refused_and_not_shown(sink: Sink) -> None:
    notifier = smtp(sink, username="app", password="hunter2-wrong")
    assert "hunter2" not in repr(notifier)
    with pytest.raises(DeliveryRefused, match="535") as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    assert "hunter2" not in str(caught.value)


async def test_smtp_without_the_encryption_it_was_promised_sends_nothing(sink: Sink) -> None:
    notifier = SmtpNotifier("127.0.0.1", sink.port, "team@acme.test")
    with pytest.raises(DeliveryRefused, match="STARTTLS"):
        await notifier.send(notifier.render(message()), idempotency_key="k")
    assert not sink.envelopes


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
async def test_smtp_encrypts_and_trusts_no_stranger(
    sink: Sink, tls: Literal["starttls", "implicit"], monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = Path(__file__).parent / "data" / "localhost-for-tests.pem"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    started = {"tls_context": context, "require_starttls": True}
    controller = _Controller(
        sink, hostname="127.0.0.1", port=0, **(started if tls == "starttls" else {"ssl_context": context})
    )
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    controller.start()
    try:
        notifier = SmtpNotifier("localhost", controller.port, "team@acme.test", tls=tls)
        body = notifier.render(message())
        with pytest.raises(DeliveryFailed, match="SSLCertVerificationError"):
            await notifier.send(body, idempotency_key="k")
        assert not sink.envelopes
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        await notifier.send(body, idempotency_key="k")
    finally:
        controller.stop()
    assert [envelope.rcpt_tos for envelope in sink.envelopes] == [["ada@acme.test"]]


async def test_smtp_implicit_tls_to_a_plain_server_fails_for_now(sink: Sink) -> None:
    notifier = SmtpNotifier(
        "127.0.0.1", sink.port, "team@acme.test", tls="implicit", timeout=timedelta(seconds=2)
    )
    with pytest.raises(DeliveryFailed):
        await notifier.send(notifier.render(message()), idempotency_key="k")


async def test_smtp_nobody_there_fails_for_now() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    notifier = SmtpNotifier("127.0.0.1", port, "team@acme.test", tls="none")
    with pytest.raises(DeliveryFailed, match="ConnectionRefusedError"):
        await notifier.send(notifier.render(message()), idempotency_key="k")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [([], DeliveryFailed), (["250 a"] * 3, DeliveryFailed), (["250 a"] * 3 + ["354 go"], DeliveryUnknown)],
)
async def test_smtp_a_server_that_falls_silent(lines: list[str], expected: type[Exception]) -> None:
    """Before the content was handed over nothing can have arrived; after it, nobody knows."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_scripted, args=(listener, ["220 hello", *lines] if lines else []))
        thread.start()
        notifier = SmtpNotifier(
            "127.0.0.1",
            listener.getsockname()[1],
            "team@acme.test",
            tls="none",
            timeout=timedelta(seconds=0.5),
        )
        with anyio.fail_after(1), pytest.raises(expected):
            await notifier.send(notifier.render(message()), idempotency_key="k")
    thread.join(5)
    assert not thread.is_alive()


async def test_smtp_what_is_given_up_is_not_sent_later() -> None:
    """A server that answers byte by byte outlasts each wait, and the thread it talks to is left behind."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_dripping, args=(listener, heard))
        thread.start()
        notifier = SmtpNotifier(
            "127.0.0.1",
            listener.getsockname()[1],
            "team@acme.test",
            tls="none",
            timeout=timedelta(seconds=0.5),
        )
        with anyio.fail_after(1), pytest.raises(DeliveryFailed, match="too long"):
            await notifier.send(notifier.render(message()), idempotency_key="k")
        await anyio.to_thread.run_sync(thread.join, 5)
    assert not thread.is_alive()
    assert [line.split()[0] for line in heard] == [b"ehlo", b"mail", b"rcpt", b"DATA"]


def _dripping(listener: socket.socket, heard: list[bytes]) -> None:
    """Say "354 go ahead" so slowly that the client has long gone when it is said."""
    connection, _ = listener.accept()
    silence = threading.Event()
    with connection, connection.makefile("rb") as lines:
        for answer in ("220 hello", "250 a", "250 b", "250 c"):
            connection.sendall(f"{answer}\r\n".encode())
            heard.append(lines.readline())
        for byte in b"354 go ahead\r\n":
            silence.wait(0.1)
            connection.sendall(bytes([byte]))
        heard.extend(lines)


def _scripted(listener: socket.socket, lines: list[str]) -> None:
    """Give the lines one by one, then say nothing until the client goes away."""
    connection, _ = listener.accept()
    with connection, connection.makefile("rb") as heard:
        for number, line in enumerate(lines):
            if number:
                heard.readline()
            connection.sendall(f"{line}\r\n".encode())
        while heard.readline():
            pass


def test_smtp_names_every_setting_that_is_wrong() -> None:
    with pytest.raises(ConfigurationError) as caught:
        SmtpNotifier("bad host", 0, "team", password="hunter2", tls="startls", timeout=timedelta(minutes=1))
    text = str(caught.value)
    for expected in ("host", "port", "sender", "username", "tls", "timeout", "did you mean starttls?"):
        assert expected in text
    assert "hunter2" not in text


def test_smtp_sends_no_password_in_the_clear() -> None:
    with pytest.raises(ConfigurationError, match=r"SmtpNotifier\.tls"):
        SmtpNotifier("mail.acme.test", 25, "team@acme.test", username="a", password="b", tls="none")
    SmtpNotifier("::1", 25, "team@acme.test", username="a", password="b", tls="none")

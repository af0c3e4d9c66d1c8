"""The conformance suite over the memory and file notifiers, and what is particular to each."""

from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from skene.adapters.file import FileNotifier
from skene.adapters.mail.message import Mail, read_mail
from skene.adapters.mail.mime import mime
from skene.adapters.memory_notifier import MemoryNotifier
from skene.errors import (
    ConfigurationError,
    DeliveryFailed,
    DeliveryRefused,
    DeliveryUnknown,
)
from skene.ports.notifier import Body, Notifier
from skene.testing.notifier_conformance import (
    Delivered,
    NotifierConformance,
    NotifierFaultConformance,
    message,
)
from tests.support.mail_kit import delivered

# --- memory ---


class TestMemoryNotifier(NotifierFaultConformance):
    mine: MemoryNotifier

    @pytest.fixture
    def notifier(self) -> Notifier:
        self.mine = MemoryNotifier()
        return self.mine

    def delivered(self) -> list[Delivered]:
        return [
            Delivered(mail.to, mail.subject, mail.text, mail.html, mail.headers) for mail in self.mine.sent
        ]

    def busy_next(self) -> None:
        self.mine.fail_with(DeliveryFailed("busy"))

    def refuse_next(self) -> None:
        self.mine.fail_with(DeliveryRefused("no"))

    def lose_next_answer(self) -> None:
        self.mine.fail_with(DeliveryUnknown("lost"), accepted=True)


async def test_memory_fails_as_often_as_it_was_told() -> None:
    notifier = MemoryNotifier()
    notifier.fail_with(DeliveryFailed("busy"), times=2)
    notifier.fail_with(DeliveryRefused("no"))
    body = notifier.render(message())
    for expected in (DeliveryFailed, DeliveryFailed, DeliveryRefused):
        with pytest.raises(expected):
            await notifier.send(body, idempotency_key="k")
    await notifier.send(body, idempotency_key="k")
    assert [(mail.template, mail.key, mail.to) for mail in notifier.sent] == [
        ("upgrade_prompt", "k", "ada@acme.test")
    ]


# --- file ---


class TestFileNotifier(NotifierConformance):
    folder: Path

    @pytest.fixture
    def notifier(self, tmp_path: Path) -> Notifier:
        self.folder = tmp_path / "deep" / "outbox"
        return FileNotifier(self.folder)

    def delivered(self) -> list[Delivered]:
        return [delivered(path.read_bytes()) for path in self.folder.glob("*.eml")]


async def test_file_names_can_be_read_and_nothing_else_is_left_there(tmp_path: Path) -> None:
    notifier = FileNotifier(tmp_path)
    body = notifier.render(message())
    name = await notifier.send(body, idempotency_key="skene-upgrade_prompt:../../etc")
    assert name is not None
    assert name.startswith("upgrade_prompt-")
    assert {path.name for path in tmp_path.iterdir()} == {name, name.replace(".eml", ".html")}
    assert (tmp_path / name.replace(".eml", ".html")).read_text("utf-8") == body["html"]
    assert "Upgrade your plan:" in (tmp_path / name).read_text("utf-8")


async def test_file_is_written_once_even_by_several_at_once(tmp_path: Path) -> None:
    notifier = FileNotifier(tmp_path)
    body = notifier.render(message())
    async with anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(_quietly, notifier, body)
    (written,) = tmp_path.glob("*.eml")
    before = written.stat().st_mtime_ns
    await notifier.send(body, idempotency_key="same")
    assert written.stat().st_mtime_ns == before


async def _quietly(notifier: FileNotifier, body: Body) -> None:
    await notifier.send(body, idempotency_key="same")


async def test_file_says_when_the_folder_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "outbox").write_text("a file where the folder should be")
    notifier = FileNotifier(tmp_path / "outbox")
    with pytest.raises(DeliveryFailed, match="outbox folder"):
        await notifier.send(notifier.render(message()), idempotency_key="k")


# --- all of them ---


def test_mime_is_ascii_for_servers_and_readable_for_people() -> None:
    mail = Mail("Acmé <team@acme.test>", "ada@acme.test", "Grüße", "é\n", "<p>é</p>\n")
    assert max(mime(mail, "k").as_bytes()) < 128
    assert "<p>é</p>" in mime(mail, "k", readable=True).as_bytes().decode()
    assert mime(mail, "k").as_bytes() == mime(mail, "k").as_bytes()
    assert mime(mail, "k")["Message-ID"] != mime(mail, "l")["Message-ID"]


@pytest.mark.parametrize(
    "sender", ["", "team", "team@", "Acme", "a@b.c, d@e.f", "A <a@b.c>\nBcc: x@y.z", "acme.test", None]
)
def test_a_sender_that_cannot_work_is_refused(sender: str) -> None:
    with pytest.raises(ConfigurationError, match=r"MemoryNotifier\.sender"):
        MemoryNotifier(sender)


@pytest.mark.parametrize(
    "sender",
    [
        "team@acme.test",
        "Acme <team@acme.test>",
        '"Acme, Inc." <team@acme.test>',
        "skene@localhost",
        "Ünï <x@münchen.test>",
    ],
)
def test_a_sender_that_works(sender: str) -> None:
    body = MemoryNotifier(sender).render(message())
    assert body["from"] == sender


# --- headers ---


def test_a_body_that_was_frozen_before_there_were_headers_is_still_read() -> None:
    old: Body = {"from": "a@acme.test", "to": ["ada@acme.test"], "subject": "S", "text": "t", "html": "<p>"}
    assert read_mail(old) == Mail("a@acme.test", "ada@acme.test", "S", "t", "<p>")
    with_headers = Mail("a@acme.test", "ada@acme.test", "S", "t", headers={"List-Unsubscribe": "<https://x>"})
    assert read_mail(with_headers.body()) == with_headers


@pytest.mark.parametrize(
    "headers",
    [
        [],
        "X-A: a",
        {"X-A": 7},
        {"X-A": None},
        {"X-A": "a\r\nBcc: eve@evil.test"},
        {"X-A\nBcc": "eve@evil.test"},
        {"X A": "a"},
        {"": "a"},
        {"X-A": ""},
        {"X-A": "ü"},
        {"X-A": "a" * 1000},
    ],
)
async def test_headers_that_would_break_a_mail_up_are_refused(headers: Any) -> None:
    notifier = MemoryNotifier()
    with pytest.raises(DeliveryRefused):
        await notifier.send({**notifier.render(message()), "headers": headers}, idempotency_key="k")
    assert not notifier.sent


def test_a_long_unsubscribe_link_stays_in_one_piece() -> None:
    """Folded, it would become encoded words, which no mail program takes for a link."""
    link = f"<https://app.acme.test/skene/unsubscribe?token={'A1b-_.' * 140}>"
    mail = Mail("a@acme.test", "ada@acme.test", "S", "t", headers={"List-Unsubscribe": link})
    for readable in (True, False):
        lines = mime(mail, "k", readable=readable).as_bytes().split(b"\r\n")
        assert f"List-Unsubscribe: {link}".encode() in lines
        assert max(map(len, lines)) <= 998

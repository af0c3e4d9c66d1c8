"""Signed events and reports over HTTP, and the pages where people say that they want no more mails."""

import base64
import json
import re
from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from html import unescape
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from standardwebhooks import Webhook

from skene import Profile, action, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.webhook import StandardWebhookSource
from skene.errors import StorageUnavailable
from skene.ports.sources import SourceEvent
from skene.runtime.mailing import address_digest
from skene.testing.clock import ManualClock
from skene.testing.resend_server import FakeReport
from skene.testing.resend_webhooks import sign_report
from tests.fastapi.conftest import House, freemium

SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()
OTHER = "whsec_" + base64.b64encode(b"another, of twenty-four!").decode()
EVENTS = "/skene/webhooks/in/crm"
WON = json.dumps({"type": "deal.won", "data": {"user": "ada"}}).encode()

loop = define_loop(
    type="activation",
    steps=[
        step(
            trigger=trigger.webhook("crm", event="deal.won", subject="data.user"),
            action=action.email("activation_welcome", provider="mail"),
        )
    ],
)


class Moody(MemoryStorage):
    """A storage that can be away."""

    away = False

    def __getattribute__(self, name: str) -> Any:
        if name in ("emit", "suppress", "unsuppress") and super().__getattribute__("away"):

            async def fail(*args: object, **named: object) -> None:
                raise StorageUnavailable("away", timedelta(seconds=7))

            return fail
        return super().__getattribute__(name)


class Broken:
    """A source with a mistake in it."""

    def parse(self, body: bytes, headers: Any, now: datetime) -> SourceEvent:
        return SourceEvent("1", "", {}["data"])


@pytest.fixture
async def home(house: Callable[..., House]) -> House:
    clock = ManualClock()
    sources = {"crm": StandardWebhookSource(SECRET), "broken": Broken()}
    made = house(freemium(optional=True), loop, sources=sources, storage=Moody(clock=clock))
    made.clock = made.skene._parts.clock = made.skene.links.clock = clock
    resend = ResendNotifier("re_local0resend", "Acme <team@acme.test>", webhook_secret=SECRET)
    made.skene._parts.notifiers = {"mail": made.mail, "resend": resend}
    return made


@pytest.fixture
async def client(home: House) -> AsyncIterator[httpx.AsyncClient]:
    async with home.client() as made:
        yield made


def signed(home: House, body: bytes, secret: str = SECRET, number: str = "msg_1") -> dict[str, str]:
    now = home.clock.now()
    return {
        "webhook-id": number,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(number, now, body.decode("utf-8", "replace")),
    }


async def firings(home: House) -> int:
    return await home.storage.pending_firings()


# -- events ------------------------------------------------------------------------------------------------


async def test_a_signed_event_sets_off_one_firing_however_often_it_comes(
    home: House, client: httpx.AsyncClient
) -> None:
    for _ in range(3):
        answer = await client.post(EVENTS, content=WON, headers=signed(home, WON))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await firings(home) == 1
    await home.skene.worker.drain()
    assert [one.to for one in home.mail.sent] == ["ada@app.test"]


async def test_who_is_not_authentic_is_told_why_and_sets_nothing_off(
    home: House, client: httpx.AsyncClient
) -> None:
    good = signed(home, WON)
    for headers, body, status in (
        ({}, WON, 400),
        (signed(home, WON, OTHER), WON, 401),
        (good, WON + b" ", 401),
        ({**good, "webhook-id": "msg_2"}, WON, 401),
        ({**good, "webhook-timestamp": "soon"}, WON, 400),
        (signed(home, b"no json"), b"no json", 400),
        (signed(home, b"[1]"), b"[1]", 400),
        (good, b"\xff\xfe", 400),
    ):
        answer = await client.post(EVENTS, content=body, headers=headers)
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "webhook_rejected"
        assert SECRET not in answer.text
    home.clock.advance("6m")
    assert (await client.post(EVENTS, content=WON, headers=good)).status_code == 400
    assert await firings(home) == 0


@pytest.mark.parametrize("path", ["in/crn", "nobody", "mail", "in"])
async def test_where_nobody_listens(path: str, home: House, client: httpx.AsyncClient) -> None:
    answer = await client.post(f"/skene/webhooks/{path}", content=WON, headers=signed(home, WON))
    assert answer.status_code == 404
    assert (await client.get(EVENTS)).status_code == 405


async def test_an_event_about_nobody_is_taken_with_a_warning(
    home: House, client: httpx.AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps({"type": "deal.won", "data": {}}).encode()
    assert (await client.post(EVENTS, content=body, headers=signed(home, body))).status_code == 200
    assert "names no subject at data.user" in caplog.text
    assert await firings(home) == 0


async def test_while_the_storage_is_away_the_sender_is_asked_to_repeat(
    home: House, client: httpx.AsyncClient
) -> None:
    home.storage.away = True
    answer = await client.post(EVENTS, content=WON, headers=signed(home, WON))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    home.storage.away = False
    assert (await client.post(EVENTS, content=WON, headers=signed(home, WON))).status_code == 200
    assert await firings(home) == 1


@pytest.mark.parametrize("path", [EVENTS, "/skene/webhooks/resend"])
async def test_a_body_over_a_mebibyte_is_not_read_to_its_end(
    path: str, home: House, client: httpx.AsyncClient
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(64):
            read += 65_536
            yield b"x" * 65_536

    assert (await client.post(path, content=endless())).status_code == 413
    body = json.dumps({"type": "deal.won", "data": {"user": "ada"}, "x": "y" * 1_048_000}).encode()
    body = body[:-2] + b"y" * (1_048_576 - len(body)) + body[-2:]
    assert len(body) == 1_048_576
    if path == EVENTS:
        assert (await client.post(path, content=body, headers=signed(home, body))).status_code == 200


async def test_a_mistake_in_a_source_is_an_error_of_the_server_s(
    home: House, client: httpx.AsyncClient
) -> None:
    assert (await client.post("/skene/webhooks/in/broken", content=WON)).status_code == 500


# -- reports -----------------------------------------------------------------------------------------------


def report(home: House, kind: str, secret: str = SECRET, **data: Any) -> dict[str, Any]:
    about = {"email_id": "e-1", "to": ["Ada@app.test"], "bounce": {"type": "Permanent"}, **data}
    body = json.dumps({"type": kind, "data": about}).encode()
    return {"content": body, "headers": sign_report(FakeReport("msg_1", body), secret, home.clock.now())}


async def suppressed(home: House, address: str = "ada@app.test") -> list[str]:
    found = await home.storage.suppressions(address=address_digest(address))
    return [str(one.kind) for one in found]


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("email.bounced", {}, ["bounced"]),
        ("email.complained", {}, ["complained"]),
        ("email.bounced", {"bounce": {"type": "Transient"}}, []),
        ("email.bounced", {"to": ["ada@app.test", "bob@app.test"]}, []),
        ("email.delivered", {}, []),
        ("domain.created", {}, []),
    ],
)
async def test_a_report_of_resend_s_silences_an_address_for_good(
    kind: str, data: dict[str, Any], expected: list[str], home: House, client: httpx.AsyncClient
) -> None:
    for _ in range(2):
        answer = await client.post("/skene/webhooks/resend", **report(home, kind, **data))
        assert (answer.status_code, answer.json()) == (200, {"received": True})
    assert await suppressed(home) == expected
    await client.post(EVENTS, content=WON, headers=signed(home, WON))
    await home.skene.worker.drain()
    assert len(home.mail.sent) == (0 if expected else 1)


async def test_a_forged_report_silences_nobody(home: House, client: httpx.AsyncClient) -> None:
    forged = await client.post("/skene/webhooks/resend", **report(home, "email.bounced", OTHER))
    assert forged.status_code == 401
    home.storage.away = True
    away = await client.post("/skene/webhooks/resend", **report(home, "email.bounced"))
    assert away.status_code == 503
    assert await suppressed(home) == []


# -- people ------------------------------------------------------------------------------------------------


def path_of(link: str) -> str:
    split = urlsplit(link)
    return f"{split.path}?{split.query}"


def button(answer: httpx.Response) -> str:
    found = re.search(r'<form method="post" action="([^"]+)">', answer.text)
    assert found is not None
    return path_of(unescape(found[1]))


async def unsubscribed(home: House, subject: str = "ada") -> bool:
    return bool(await home.storage.suppressions(subject=subject))


@pytest.mark.parametrize("subject", ["ada", "ö b&c=d", "x" * 300])
async def test_unsubscribing_and_thinking_better_of_it(
    subject: str, home: House, client: httpx.AsyncClient
) -> None:
    asked = await client.get(path_of(home.skene.links.unsubscribe(subject)))
    assert asked.status_code == 200
    assert "Unsubscribe?" in asked.text
    assert not await unsubscribed(home, subject)
    done = await client.post(button(asked))
    assert "You are unsubscribed" in done.text
    assert await home.skene.storage.suppression_counts() == {"unsubscribed": 1}
    undone = await client.post(button(done))
    assert "You are subscribed again" in undone.text
    assert await home.skene.storage.suppression_counts() == {}


@pytest.mark.parametrize("verb", ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
async def test_only_a_post_changes_anything(verb: str, home: House, client: httpx.AsyncClient) -> None:
    link = path_of(home.skene.links.unsubscribe("ada"))
    answer = await client.request(verb, link)
    assert answer.status_code == (200 if verb in ("GET", "HEAD") else 405)
    assert not await unsubscribed(home)
    if verb == "HEAD":
        assert answer.content == b""


async def test_a_mail_program_needs_one_click_and_no_cookie(home: House) -> None:
    transport = httpx.ASGITransport(app=home.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://app.test") as stranger:
        link = path_of(home.skene.links.unsubscribe("ada"))
        answer = await stranger.post(link, data={"List-Unsubscribe": "One-Click"})
        assert answer.status_code == 200
        assert await unsubscribed(home)
        assert (await stranger.post(link, data={"List-Unsubscribe": "One-Click"})).status_code == 200
        home.clock.advance("1000d")  # a mail may be read years later
        files = {"List-Unsubscribe": (None, "One-Click")}
        assert (await stranger.post(link, files=files)).status_code == 200
        assert "set-cookie" not in answer.headers


async def test_the_link_in_a_mail_is_the_one_that_works(home: House, client: httpx.AsyncClient) -> None:
    async def nobody(subject: str) -> Profile | None:
        return Profile(email=f"{subject}@app.test")

    home.skene._parts.profile = nobody
    home.skene.links.base_url = "https://app.acme.test/skene"
    await client.post(EVENTS, content=WON, headers=signed(home, WON))
    await home.skene.worker.drain()
    (mail,) = home.mail.sent
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    link = mail.headers["List-Unsubscribe"].strip("<>")
    assert link.startswith("https://app.acme.test/skene/unsubscribe?token=")
    assert (await client.post(path_of(link), data={"List-Unsubscribe": "One-Click"})).status_code == 200
    assert await unsubscribed(home)


@pytest.mark.parametrize("verb", ["GET", "POST"])
async def test_a_token_that_is_not_ours_or_for_something_else(
    verb: str, home: House, client: httpx.AsyncClient
) -> None:
    links = home.skene.links
    good = path_of(links.unsubscribe("ada"))
    upgrade = urlsplit(links.upgrade(subject="ada")).query
    for query in (
        "",
        "token=",
        "token=x",
        "token=a.b.c",
        f"{urlsplit(good).query}x",
        upgrade,
        "token=" + "x" * 9000,
    ):
        answer = await client.request(verb, f"/skene/unsubscribe?{query}")
        assert answer.status_code == 400, query
        assert "This link does not work" in answer.text
    assert not await unsubscribed(home)


async def test_while_the_storage_is_away_nobody_is_told_that_it_is_done(
    home: House, client: httpx.AsyncClient
) -> None:
    home.storage.away = True
    link = path_of(home.skene.links.unsubscribe("ada"))
    for one in (link, f"{link}&undo=1"):
        answer = await client.post(one)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert (await client.get(link)).status_code == 200

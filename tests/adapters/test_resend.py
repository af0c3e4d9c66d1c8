"""ResendNotifier with the real SDK, over HTTP on loopback, against the local Resend."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import anyio
import pytest
import resend

from skene.adapters.resend import ResendNotifier
from skene.errors import ConfigurationError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.notifier import Body, MessageContext, Notifier, Profile
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import Delivered, NotifierFaultConformance, message
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.support.stripe_kit import Switchboard

KEY = "re_local0resend"
SENDER = "Acme <team@acme.test>"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fake(clock: ManualClock) -> FakeResend:
    return FakeResend(now=clock.now, api_keys=(KEY, "re_second0key"), domains=["acme.test"])


@pytest.fixture(scope="module")
def server() -> Iterator[tuple[Switchboard, str]]:
    switch = Switchboard()
    with serving(switch, log_level="critical") as address:
        yield switch, address


@pytest.fixture
def url(fake: FakeResend, server: tuple[Switchboard, str]) -> str:
    server[0].app = fake.app
    return server[1]


@pytest.fixture
async def notifier(url: str) -> Any:
    made = ResendNotifier(KEY, SENDER, base_url=url)
    yield made
    await made.aclose()


class TestResendNotifier(NotifierFaultConformance):
    @pytest.fixture
    async def notifier(self, fake: FakeResend, url: str) -> Any:
        self.fake = fake
        made = ResendNotifier(KEY, SENDER, base_url=url)
        yield made
        await made.aclose()

    def delivered(self) -> list[Delivered]:
        return [
            Delivered(*mail.to, mail.subject, mail.text or "", mail.html, mail.headers)
            for mail in self.fake.emails
        ]

    def busy_next(self) -> None:
        self.fake.fail_next(429, "rate_limit_exceeded")

    def refuse_next(self) -> None:
        self.fake.fail_next(422, "validation_error")

    def lose_next_answer(self) -> None:
        self.fake.drop_after_accept()


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_it_sends_on_either_event_loop(fake: FakeResend, url: str) -> None:
    notifier = ResendNotifier(KEY, SENDER, base_url=url, reply_to="help@acme.test")
    body = notifier.render(message())
    sent = await notifier.send(body, idempotency_key="skene-upgrade_prompt:1")
    await notifier.aclose()
    (mail,) = fake.emails
    assert mail.id == sent
    assert (mail.sender, mail.to, mail.reply_to) == (SENDER, ("ada@acme.test",), ("help@acme.test",))
    assert mail.idempotency_key == "skene-upgrade_prompt:1"
    assert mail.api_key == KEY


def test_one_notifier_serves_several_event_loops_in_turn(fake: FakeResend, url: str) -> None:
    notifier = ResendNotifier(KEY, SENDER, base_url=url)
    body = notifier.render(message())

    async def send(key: str) -> None:
        await notifier.send(body, idempotency_key=key)
        await notifier.aclose()

    for number, backend in enumerate(("asyncio", "trio", "asyncio")):
        anyio.run(send, f"loop-{number}", backend=backend)
    assert len(fake.emails) == 3


async def test_two_notifiers_and_the_application_keep_their_own_keys(
    fake: FakeResend, url: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All three at once, many times over: nothing goes through the SDK's module globals."""
    other = FakeResend(now=clock.now, api_keys=["re_applications0own"])
    with serving(other.app, log_level="critical") as others_url:
        monkeypatch.setattr(resend, "api_key", "re_applications0own")
        monkeypatch.setattr(resend, "api_url", others_url)
        before = dict(vars(resend))
        first = ResendNotifier(KEY, SENDER, base_url=url)
        second = ResendNotifier("re_second0key", "Second <second@acme.test>", base_url=url)

        async def applications_own(number: int) -> None:
            params: resend.Emails.SendParams = {
                "from": "app@app.test",
                "to": "bob@acme.test",
                "subject": str(number),
                "text": "hello",
            }
            await resend.Emails.send_async(params)

        async with anyio.create_task_group() as group:
            for number in range(15):
                for name, one in (("first", first), ("second", second)):
                    group.start_soon(partial(_send, one, one.render(message()), f"{name}-{number}"))
                group.start_soon(applications_own, number)
        await first.aclose()
        await second.aclose()
        assert dict(vars(resend)) == before
    assert sorted({(mail.api_key, mail.sender) for mail in fake.emails}) == [
        (KEY, SENDER),
        ("re_second0key", "Second <second@acme.test>"),
    ]
    assert len(fake.emails) == 30
    assert len(other.emails) == 15


async def _send(notifier: Notifier, body: Body, key: str) -> None:
    await notifier.send(body, idempotency_key=key)


async def test_connections_are_kept(fake: FakeResend) -> None:
    """One client for each notifier: a new one would set up TLS for every mail."""
    connections: set[Any] = set()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            connections.add(tuple(scope["client"]))
        await fake.app(scope, receive, send)

    with serving(app, log_level="critical") as address:
        notifier = ResendNotifier(KEY, SENDER, base_url=address)
        for number in range(5):
            await notifier.send(notifier.render(message()), idempotency_key=str(number))
        await notifier.aclose()
    assert len(connections) == 1


async def test_keys_are_remembered_longer_than_we_count_on(
    notifier: ResendNotifier, fake: FakeResend, clock: ManualClock
) -> None:
    body = notifier.render(message())
    await notifier.send(body, idempotency_key="k")
    clock.advance(notifier.remembers_keys)
    await notifier.send(body, idempotency_key="k")
    assert len(fake.emails) == 1
    clock.advance(timedelta(hours=24) - notifier.remembers_keys)
    await notifier.send(body, idempotency_key="k")
    assert len(fake.emails) == 2


async def test_a_slow_answer_is_unknown_and_the_repeat_sends_nothing(fake: FakeResend, url: str) -> None:
    notifier = ResendNotifier(KEY, SENDER, base_url=url, timeout=timedelta(seconds=0.3))
    fake.delay = 1.0
    body = notifier.render(message())
    with anyio.fail_after(0.8), pytest.raises(DeliveryUnknown):
        await notifier.send(body, idempotency_key="k")
    fake.delay = 0.0
    with anyio.fail_after(5):
        while fake.in_flight:
            await anyio.sleep(0.01)
    await notifier.send(body, idempotency_key="k")
    await notifier.aclose()
    assert len(fake.emails) == 1


async def test_nobody_there_fails_for_now(url: str) -> None:
    with serving(FakeResend(now=ManualClock().now).app) as gone:
        pass
    notifier = ResendNotifier(KEY, SENDER, base_url=gone)
    with pytest.raises(DeliveryFailed, match="ConnectError"):
        await notifier.send(notifier.render(message()), idempotency_key="k")
    await notifier.aclose()


async def test_the_same_key_at_once_fails_for_now(notifier: ResendNotifier, fake: FakeResend) -> None:
    fake.delay = 1.0
    body = notifier.render(message())
    async with anyio.create_task_group() as group:
        group.start_soon(_send, notifier, body, "k")
        with anyio.fail_after(5):
            while not fake.in_flight:
                await anyio.sleep(0.01)
        with pytest.raises(DeliveryFailed, match="409 concurrent_idempotent_requests"):
            await notifier.send(body, idempotency_key="k")
    await notifier.send(body, idempotency_key="k")
    assert len(fake.emails) == 1


# --- hosted templates ---


async def test_a_hosted_template_gets_the_values_under_flat_names(fake: FakeResend, url: str) -> None:
    variables: dict[str, str | int | None] = {
        "USER_NAME": "there",
        "USED": None,
        "PLAN": None,
        "GREETING": "",
    }
    fake.add_template(
        "tmpl-1",
        "<p>{{{GREETING}}} {{{USER_NAME}}}: {{{USED}}} {{{PLAN}}}</p>",
        subject="Hi",
        variables=variables,
    )
    notifier = ResendNotifier(KEY, SENDER, base_url=url)
    own = {"greeting": "Hej {{ user.name or 'you' }},"}
    notifier.check("resend:tmpl-1", personalization=own)
    body = notifier.render(
        message(
            template="resend:tmpl-1", name=None, personalization={"greeting": "Hej {{ user.name or 'you' }},"}
        )
    )
    await notifier.send(body, idempotency_key="k")
    await notifier.aclose()
    (mail,) = fake.emails
    assert (mail.subject, mail.template) == ("Hi", "tmpl-1")
    assert mail.html == "<p>Hej you, there: 100 free</p>"


def test_hosted_variables_are_text_or_whole_numbers() -> None:
    user = Profile.model_validate(
        {"email": "ada@acme.test", "team": {"name": "Blue", "size": 3}, "vip": True}
    )
    data: dict[str, Any] = {"used": 2**60, "share": 0.5, "tags": ["a", 1], "resets_at": None, "limit": 7}
    context = MessageContext(template="resend:t", subject_line="{{ limit }} left", user=user, data=data)
    body: dict[str, Any] = ResendNotifier(KEY, SENDER).render(context)
    assert body["subject"] == "7 left"
    assert body["template"]["variables"] == {
        "USER_EMAIL": "ada@acme.test",
        "USER_TEAM_NAME": "Blue",
        "USER_TEAM_SIZE": 3,
        "USER_VIP": "true",
        "USED": str(2**60),
        "SHARE": "0.5",
        "TAGS": "a, 1",
        "LIMIT": 7,
    }


def test_a_hosted_template_gets_the_rows_and_the_mail_its_unsubscribe_headers() -> None:
    link = "https://app.acme.test/skene/unsubscribe?token=a"
    notifier = ResendNotifier(KEY, SENDER)
    own = {"plan": "{{ event.plan }} of {{ row.team.name }}"}
    notifier.check("resend:t", personalization=own, about="loop")
    with pytest.raises(ValueError, match="'evnt'"):
        notifier.check("resend:t", personalization={"plan": "{{ evnt.plan }}"}, about="loop")
    with pytest.raises(ValueError, match="'event'"):
        notifier.check("resend:t", personalization=own)
    context = MessageContext(
        template="resend:t",
        user=Profile(email="ada@acme.test"),
        data={"loop": "activation"},
        personalization=own,
        event={"plan": "pro"},
        row={"team": {"name": "Blue"}},
        unsubscribe_url=link,
    )
    body: dict[str, Any] = notifier.render(context)
    assert body["template"]["variables"] == {
        "ROW_TEAM_NAME": "Blue",
        "EVENT_PLAN": "pro",
        "USER_EMAIL": "ada@acme.test",
        "LOOP": "activation",
        "UNSUBSCRIBE_URL": link,
        "PLAN": "pro of Blue",
    }
    assert body["headers"] == {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }
    with pytest.raises(DeliveryRefused, match="unsubscribe link"):
        notifier.render(context.model_copy(update={"unsubscribe_url": "http://acme.test"}))


@pytest.mark.parametrize("template", ["resend:", "resend:a b", "resend:../x", "resend:" + "x" * 101])
def test_a_hosted_id_that_cannot_be_one(template: str) -> None:
    with pytest.raises(ValueError, match="resend:"):
        ResendNotifier(KEY, SENDER).check(template)


async def test_an_unpublished_hosted_template_is_refused(notifier: ResendNotifier, fake: FakeResend) -> None:
    fake.add_template("draft", "<p></p>", subject="Hi", published=False)
    with pytest.raises(DeliveryRefused, match="not published"):
        await notifier.send(notifier.render(message(template="resend:draft")), idempotency_key="k")


# --- settings ---


@pytest.mark.parametrize(
    "key", ["", "sk_test_secret123", "re_", "re_...", "re_abc def", " re_abcdef", "whsec_abc", None, 7]
)
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(key: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ResendNotifier\.api_key") as caught:
        ResendNotifier(key, SENDER)
    assert not key or str(key) not in str(caught.value) or key == "re_"


def test_every_wrong_setting_is_named_at_once() -> None:
    with pytest.raises(ConfigurationError) as caught:
        ResendNotifier("", "Acme", base_url="ftp://x", reply_to="nobody", timeout=timedelta(0))
    for setting in ("api_key", "sender", "base_url", "reply_to", "timeout"):
        assert f"ResendNotifier.{setting}: got" in str(caught.value)


def test_its_repr_shows_no_secret() -> None:
    notifier = ResendNotifier("re_verysecret1", SENDER)
    assert "re_verysecret1" not in repr(notifier)
    assert repr(notifier) == f"ResendNotifier(sender={SENDER!r}, base_url='https://api.resend.com')"


def test_the_sdks_own_address_is_the_default() -> None:
    script = "from skene.adapters.resend import ResendNotifier as R; print(R('re_abcdef', 'a@b.test'))"
    environment = {**os.environ, "RESEND_API_URL": "http://127.0.0.1:9/"}
    shown = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    assert "http://127.0.0.1:9" in shown.stdout

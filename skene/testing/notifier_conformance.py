"""What every notifier must do, as tests: subclass them in your own suite.

    class TestMine(NotifierConformance):
        @pytest.fixture
        def notifier(self) -> Notifier:
            return MyNotifier(…)

        def delivered(self) -> list[Delivered]:
            return […]

A provider whose failures can be staged subclasses `NotifierFaultConformance` instead.
"""

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import anyio
import pytest
from pydantic import JsonValue

from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.notifier import MessageContext, Notifier, Profile

__all__ = ["Delivered", "NotifierConformance", "NotifierFaultConformance", "message"]

_DATA: dict[str, JsonValue] = {
    "message": "You've reached your free tier limit. Upgrade to continue.",
    "loop": "freemium",
    "meter": "freemium",
    "plan": "free",
    "limit": 100,
    "used": 100,
    "remaining": 0,
    "period": "30d",
    "resets_at": "2026-03-01T08:30:00+00:00",
    "upgrade_url": "https://app.acme.test/skene/upgrade?t=abc&u=1",
}


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message as its recipient has it.

    Attributes:
        to: the bare address.
        subject, text: what it says; html: the other part, None without one.
        headers: those that begin with List-, by name; none of its others are looked at.
    """

    to: str
    subject: str
    text: str
    html: str | None
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def message(
    email: str | None = "ada@acme.test",
    name: str | None = "Ada",
    *,
    template: str = "upgrade_prompt",
    subject_line: str | None = None,
    personalization: dict[str, str] | None = None,
    event: dict[str, JsonValue] | None = None,
    row: dict[str, JsonValue] | None = None,
    unsubscribe_url: str | None = None,
    **data: JsonValue,
) -> MessageContext:
    """A message to send; keywords besides those of a `MessageContext` replace or add values of its data."""
    return MessageContext(
        template=template,
        subject_line=subject_line,
        user=Profile(email=email, name=name),
        data={**_DATA, **data},
        personalization=personalization or {},
        event=event or {},
        row=row or {},
        unsubscribe_url=unsubscribe_url,
    )


class NotifierConformance(ABC):
    """Templates, rendering, and sending when all goes well."""

    pytestmark = pytest.mark.anyio

    @pytest.fixture
    @abstractmethod
    def notifier(self) -> Notifier:
        """The notifier under test, with the packaged templates and nothing sent yet."""

    @abstractmethod
    def delivered(self) -> list[Delivered]:
        """What has been delivered since the fixture was made, in any order."""

    @pytest.mark.parametrize("template", ["upgrade_prompt", "usage_warning"])
    async def test_the_packaged_templates_can_be_sent(self, notifier: Notifier, template: str) -> None:
        """`check` accepts what skene ships."""
        notifier.check(template)
        assert notifier.render(message(template=template))

    @pytest.mark.parametrize("template", ["activation_welcome", "re_engagement", "trial_ending"])
    async def test_the_packaged_templates_of_loops_can_be_sent(
        self, notifier: Notifier, template: str
    ) -> None:
        """With what a trigger's row and a query's row happen to hold."""
        words = {"name": "{{ user.name }}", "ends_at": "{{ event.ends_at }}", "link": "{{ row.link }}"}
        notifier.check(template, personalization=words, about="loop")
        rows: dict[str, JsonValue] = {"ends_at": "2026-03-01", "link": "https://app.acme.test/"}
        assert notifier.render(message(template=template, personalization=words, event=rows, row=rows))
        with pytest.raises(ValueError, match="limt"):
            notifier.check(template, personalization={**words, "name": "{{ limt }}"}, about="loop")

    async def test_a_mail_that_can_be_declined_says_so_in_its_headers(self, notifier: Notifier) -> None:
        """With one click (RFC 2369 and 8058), however long the link; a mail without the link has none."""
        link = f"https://app.acme.test/skene/unsubscribe?token={'A1b-_.' * 120}"
        declined = message(template="re_engagement", unsubscribe_url=link)
        await notifier.send(notifier.render(declined), idempotency_key="declined-1")
        (mail,) = self.delivered()
        assert dict(mail.headers) == {
            "List-Unsubscribe": f"<{link}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        assert link in mail.text
        assert f'href="{link}"' in (mail.html or "")
        await notifier.send(notifier.render(message("bob@acme.test")), idempotency_key="plain-1")
        assert [dict(mail.headers) for mail in self.delivered() if mail.to == "bob@acme.test"] == [{}]

    @pytest.mark.parametrize(
        "link",
        [
            "",
            "http://app.acme.test/u",
            "javascript:alert(1)",
            "https://",
            "https://app.acme.test/u\r\nBcc: eve@evil.test",
            "https://app.acme.test/u>, <https://evil.test",
            "https://app.acme.test/a b",
            "https://app.acme.test/ü",
            "https://user@app.acme.test/u",
            "http://localhost.evil.test/u",
            "https://app.acme.test/" + "u" * 1000,
        ],
    )
    async def test_an_unsubscribe_link_that_cannot_be_one_stops_the_message(
        self, notifier: Notifier, link: str
    ) -> None:
        """A full https address, or one of this machine; nothing that breaks a header up."""
        with pytest.raises(DeliveryRefused, match="unsubscribe link"):
            notifier.render(message(template="re_engagement", unsubscribe_url=link))
        for fine in ("http://localhost:8000/u?token=a", "http://127.0.0.1/u", "https://app.acme.test:8443/u"):
            assert notifier.render(message(unsubscribe_url=fine))

    async def test_an_unknown_template_is_a_lookup_error(self, notifier: Notifier) -> None:
        """The message names what was asked for, where it was looked for, and the nearest there is."""
        with pytest.raises(LookupError) as caught:
            notifier.check("upgrade_promt")
        assert "upgrade_promt" in str(caught.value)
        assert "upgrade_prompt" in str(caught.value)

    @pytest.mark.parametrize(
        "template", ["../upgrade_prompt", "/etc/passwd", "a/../../b", "", "a\x00b", "a\nb"]
    )
    async def test_a_template_is_a_name_and_not_a_path(self, notifier: Notifier, template: str) -> None:
        """Nothing outside the folders is ever read."""
        with pytest.raises(ValueError, match="template"):
            notifier.check(template)
        with pytest.raises(DeliveryRefused):
            notifier.render(message(template=template))

    async def test_the_loops_own_words_are_checked_and_filled_in(self, notifier: Notifier) -> None:
        """Subject line and personalization are templates over the same values."""
        with pytest.raises(ValueError, match="limt"):
            notifier.check("upgrade_prompt", subject_line="{{ limt }} used")
        with pytest.raises(ValueError, match="usr"):
            notifier.check("upgrade_prompt", personalization={"greeting": "Hi {{ usr.name }}"})
        words = {
            "subject_line": "{{ used }} of {{ limit }}, {{ user.name }}",
            "personalization": {"note": "x"},
        }
        notifier.check("upgrade_prompt", subject_line="{{ used }} used", personalization={"note": "x"})
        body = notifier.render(message(**words))  # type: ignore[arg-type]  # a mixed dict of two keywords
        await notifier.send(body, idempotency_key="subject-1")
        assert self.delivered()[0].subject == "100 of 100, Ada"

    async def test_rendering_is_pure_and_its_body_survives_json(self, notifier: Notifier) -> None:
        """The outbox keeps the body as JSON, and another process sends it."""
        body = notifier.render(message(name="Zoë “Z” Ångström"))
        assert body == notifier.render(message(name="Zoë “Z” Ångström"))
        assert json.loads(json.dumps(body)) == body
        await notifier.send(json.loads(json.dumps(body)), idempotency_key="json-1")
        assert [mail.to for mail in self.delivered()] == ["ada@acme.test"]
        assert "Zoë “Z” Ångström" in self.delivered()[0].text

    async def test_nobody_without_an_address_is_written_to(self, notifier: Notifier) -> None:
        """One bare address, or the message is refused; the reason does not repeat it."""
        bad = [
            None,
            "",
            "ada",
            "ada@",
            "@acme.test",
            "a@b@c",
            "ada@acme.test, eve@evil.test",
            "a b@acme.test",
        ]
        bad += ["ada@acme.test\nBcc: eve@evil.test", "ada@acme.test\r", "<ada@acme.test>", "ada@acme..test"]
        for email in bad:
            with pytest.raises(DeliveryRefused) as caught:
                notifier.render(message(email))
            assert "acme" not in str(caught.value)
        assert notifier.render(message("ada+x.y@mail.acme.test"))

    @pytest.mark.parametrize("breaker", ["\n", "\r", "\r\n", "\x00", "\u2028"])
    async def test_a_value_cannot_break_a_header(self, notifier: Notifier, breaker: str) -> None:
        """A plan with a line break in its name stops the message."""
        with pytest.raises(DeliveryRefused):
            notifier.render(message(plan=f"free{breaker}Bcc: eve@evil.test"))

    async def test_a_missing_value_stops_the_message_and_is_named(self, notifier: Notifier) -> None:
        """None is missing when it is printed."""
        with pytest.raises(DeliveryRefused, match="used"):
            notifier.render(message(used=None))

    async def test_a_person_without_a_name_gets_a_mail_too(self, notifier: Notifier) -> None:
        """And it does not say None."""
        await notifier.send(notifier.render(message(name=None)), idempotency_key="nameless-1")
        (mail,) = self.delivered()
        assert "None" not in mail.text + mail.subject + (mail.html or "")

    async def test_what_arrives_is_what_was_rendered(self, notifier: Notifier) -> None:
        """Text and HTML, escaped where it must be and nowhere else."""
        context = message(name="<b>Ada</b>", plan="free & easy", message=".\n.hidden dots\n")
        await notifier.send(notifier.render(context), idempotency_key="whole-1")
        (mail,) = self.delivered()
        assert mail.to == "ada@acme.test"
        assert mail.subject == "You have reached the limit of your free & easy plan"
        assert "<b>Ada</b>" in mail.text
        assert "\n.\n.hidden dots" in mail.text.replace("\r\n", "\n")
        assert "https://app.acme.test/skene/upgrade?t=abc&u=1" in mail.text
        assert mail.html is not None
        assert "<b>Ada</b>" not in mail.html
        assert "&lt;b&gt;Ada&lt;/b&gt;" in mail.html
        assert 'href="https://app.acme.test/skene/upgrade?t=abc&amp;u=1"' in mail.html

    async def test_a_remembered_key_delivers_once(self, notifier: Notifier) -> None:
        """One after the other, twice the same and twice accepted."""
        if notifier.remembers_keys == timedelta(0):
            return  # it says so itself, and the outbox never repeats what may have arrived
        body = notifier.render(message())
        first = await notifier.send(body, idempotency_key="once-1")
        assert await notifier.send(body, idempotency_key="once-1") == first
        assert len(self.delivered()) == 1

    async def test_many_at_once_arrive_each_once(self, notifier: Notifier) -> None:
        """Adapters are safe to use from several tasks."""
        async with anyio.create_task_group() as group:
            for number in range(20):
                body = notifier.render(message(f"user{number}@acme.test"))
                group.start_soon(_send, notifier, body, f"many-{number}")
        assert sorted(mail.to for mail in self.delivered()) == sorted(f"user{n}@acme.test" for n in range(20))

    @pytest.mark.parametrize("key", ["", "x" * 257, "naïve", "a b", "a\nb"])
    async def test_a_key_is_printable_ascii(self, notifier: Notifier, key: str) -> None:
        """1 to 256 characters, as the port says."""
        with pytest.raises(ValueError, match="idempotency_key"):
            await notifier.send(notifier.render(message()), idempotency_key=key)
        await notifier.send(notifier.render(message()), idempotency_key="x" * 256)
        assert len(self.delivered()) == 1

    async def test_another_notifiers_body_is_refused(self, notifier: Notifier) -> None:
        """A provider that was exchanged while messages waited does not crash the worker."""
        for body in ({}, {"chat": "C1", "text": "hello"}, {"to": "ada@acme.test"}):
            with pytest.raises(DeliveryRefused):
                await notifier.send(dict(body), idempotency_key="strange-1")
        assert not self.delivered()

    async def test_closing_twice_is_allowed(self, notifier: Notifier) -> None:
        """After sending, and without having sent."""
        await notifier.send(notifier.render(message()), idempotency_key="closing-1")
        await notifier.aclose()
        await notifier.aclose()

    async def test_its_repr_is_short(self, notifier: Notifier) -> None:
        """For logs: no address of an object, no secret."""
        assert " object at 0x" not in repr(notifier)


class NotifierFaultConformance(NotifierConformance):
    """What is said of a message that was not delivered, or perhaps was."""

    @abstractmethod
    def busy_next(self) -> None:
        """Let the provider turn the next attempt away for now."""

    @abstractmethod
    def refuse_next(self) -> None:
        """Let the provider turn the next attempt away for good."""

    @abstractmethod
    def lose_next_answer(self) -> None:
        """Let the provider accept the next attempt, and its answer get lost."""

    async def test_turned_away_for_now_is_failed(self, notifier: Notifier) -> None:
        """And the next attempt, with the same key, works."""
        body = notifier.render(message())
        self.busy_next()
        with pytest.raises(DeliveryFailed):
            await notifier.send(body, idempotency_key="busy-1")
        assert not self.delivered()
        await notifier.send(body, idempotency_key="busy-1")
        assert len(self.delivered()) == 1

    async def test_turned_away_for_good_is_refused(self, notifier: Notifier) -> None:
        """And does not stop the one after it; the reason gives no address away."""
        body = notifier.render(message())
        self.refuse_next()
        with pytest.raises(DeliveryRefused) as caught:
            await notifier.send(body, idempotency_key="refused-1")
        assert "ada@acme.test" not in str(caught.value)
        await notifier.send(body, idempotency_key="refused-2")
        assert len(self.delivered()) == 1

    async def test_a_lost_answer_is_unknown(self, notifier: Notifier) -> None:
        """Repeating it with the same key delivers nothing twice, if the provider remembers keys."""
        body = notifier.render(message())
        self.lose_next_answer()
        with pytest.raises(DeliveryUnknown):
            await notifier.send(body, idempotency_key="lost-1")
        assert len(self.delivered()) == 1
        if notifier.remembers_keys:
            await notifier.send(body, idempotency_key="lost-1")
            assert len(self.delivered()) == 1


async def _send(notifier: Notifier, body: dict[str, JsonValue], key: str) -> None:
    await notifier.send(body, idempotency_key=key)

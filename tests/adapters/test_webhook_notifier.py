"""Webhooks to a receiver on loopback, verified there with the official library."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from standardwebhooks import Webhook
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.notifier import FOREVER, Body, MessageContext, Notifier, Profile
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import Delivered, NotifierFaultConformance, message
from skene.testing.serve import serving

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
CONTEXT = MessageContext(
    template="trial.ending",
    user=Profile(email="ada@acme.test", name="Ada"),
    data={"subject": "ada", "loop": "reverse_trial"},
    event={"id": 7, "plan": "pro"},
    row={"ends": "2026-12-01"},
    personalization={
        "note": "{{ user.name }} is on {{ event.plan }} until {{ row.ends }}: {{ subject }}, {{ loop }}"
    },
)
Answer = Callable[[Request, bytes], Awaitable[Response | None]]


class Receiver:
    """Somebody's endpoint: acts once on each id, as Standard Webhooks asks for."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.events: dict[str, bytes] = {}
        self.next: list[Response] = []
        self.lost = 0
        self.app = Starlette(routes=[Route("/hook", self._take, methods=["POST"])])

    async def _take(self, request: Request) -> Response:
        body, headers = await request.body(), dict(request.headers)
        self.requests.append((headers, body))
        if self.next:
            return self.next.pop(0)
        self.events.setdefault(headers["webhook-id"], body)
        if self.lost:
            self.lost -= 1
            raise ConnectionAbortedError
        return Response(status_code=204)


@asynccontextmanager
async def _transport(app: Any) -> AsyncIterator[httpx.AsyncBaseTransport]:
    """The receiver without a network; what it raises is a connection that breaks."""
    inner = httpx.ASGITransport(app=app)

    class Breaking(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            try:
                return await inner.handle_async_request(request)
            except ConnectionAbortedError as error:
                raise httpx.RemoteProtocolError("gone", request=request) from error

    yield Breaking()


class TestWebhookNotifier(NotifierFaultConformance):
    """The suite of all notifiers, without what is about e-mail."""

    receiver: Receiver

    @pytest.fixture
    async def notifier(self) -> AsyncIterator[Notifier]:
        self.receiver = Receiver()
        async with _transport(self.receiver.app) as transport:
            made = WebhookNotifier("https://hooks.acme.test/hook", SECRET, transport=transport)
            yield made
            await made.aclose()

    def delivered(self) -> list[Delivered]:
        events = [json.loads(body) for body in self.receiver.events.values()]
        return [Delivered(event["data"].get("to", ""), event["type"], "", None) for event in events]

    def busy_next(self) -> None:
        self.receiver.next.append(Response(status_code=503))

    def refuse_next(self) -> None:
        self.receiver.next.append(Response(status_code=422))

    def lose_next_answer(self) -> None:
        self.receiver.lost = 1


# The rest of the suite is about templates, addresses and the parts of a mail, none of which a webhook has.
APPLIES = {
    "test_the_packaged_templates_can_be_sent",  # their names are event types like others
    "test_a_template_is_a_name_and_not_a_path",
    "test_a_remembered_key_delivers_once",
    "test_a_key_is_printable_ascii",
    "test_another_notifiers_body_is_refused",
    "test_closing_twice_is_allowed",
    "test_its_repr_is_short",
    "test_turned_away_for_now_is_failed",
    "test_turned_away_for_good_is_refused",
    "test_a_lost_answer_is_unknown",
}
for name in dir(TestWebhookNotifier):
    if name.startswith("test_") and name not in APPLIES:
        setattr(TestWebhookNotifier, name, None)


@pytest.fixture(scope="module")
def receiver() -> Iterator[tuple[Receiver, str]]:
    made = Receiver()
    with serving(made.app, log_level="critical") as address:
        yield made, f"{address}/hook"


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_a_receiver_verifies_what_it_gets(receiver: tuple[Receiver, str]) -> None:
    there, url = receiver
    there.requests.clear()
    clock = ManualClock(NOW)
    notifier = WebhookNotifier(url, SECRET, headers={"X-Token": "t0ken"}, clock=clock)
    body = json.loads(json.dumps(notifier.render(CONTEXT)))
    assert await notifier.send(body, idempotency_key="skene-webhook:1") is None
    clock.advance(timedelta(minutes=3))
    # As a database may give it back: in another order.
    await notifier.send(dict(reversed(body.items())), idempotency_key="skene-webhook:1")
    await notifier.aclose()
    (first, sent), (again, same) = there.requests
    assert sent == same
    event = StandardWebhookSource(SECRET).parse(sent, first, NOW)
    assert (event.id, event.type) == ("skene-webhook:1", "trial.ending")
    assert event.payload["data"] == {
        "subject": "ada",
        "loop": "reverse_trial",
        "event": {"id": 7, "plan": "pro"},
        "row": {"ends": "2026-12-01"},
        "note": "Ada is on pro until 2026-12-01: ada, reverse_trial",
    }
    assert first["webhook-id"] == again["webhook-id"]
    assert int(again["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 180
    assert first["webhook-signature"] != again["webhook-signature"]
    assert (first["user-agent"], first["content-type"], first["x-token"]) == (
        "skene",
        "application/json",
        "t0ken",
    )
    signature = Webhook(SECRET).sign("skene-webhook:1", NOW, sent.decode())
    assert first["webhook-signature"] == signature


def test_rendering_is_pure_and_holds_no_time_and_no_address() -> None:
    notifier = WebhookNotifier("https://acme.test", SECRET)
    assert notifier.render(CONTEXT) == notifier.render(CONTEXT)
    assert "ada@acme.test" not in json.dumps(notifier.render(CONTEXT))
    assert notifier.render(CONTEXT).keys() == {"type", "data"}
    assert notifier.remembers_keys == FOREVER


def test_many_from_several_tasks_arrive_each_once() -> None:
    async def main() -> None:
        there = Receiver()
        async with _transport(there.app) as transport, anyio.create_task_group() as group:
            notifier = WebhookNotifier("https://acme.test/hook", SECRET, transport=transport)
            for number in range(20):
                body = notifier.render(message(personalization={"to": f"user{number}"}))

                async def send(body: Body = body, number: int = number) -> None:
                    await notifier.send(body, idempotency_key=f"many-{number}")

                group.start_soon(send)
        assert sorted(json.loads(body)["data"]["to"] for body in there.events.values()) == sorted(
            f"user{number}" for number in range(20)
        )

    anyio.run(main)


@pytest.mark.parametrize("template", ["", "x" * 101, "trial ending", "trial/ending", "a\nb", "é", "{{ x }}"])
def test_an_event_type_is_one_plain_word(template: str) -> None:
    notifier = WebhookNotifier("https://acme.test", SECRET)
    with pytest.raises(ValueError, match="event type"):
        notifier.check(template)
    with pytest.raises(DeliveryRefused):
        notifier.render(message(template=template))
    notifier.check("x" * 100)
    notifier.check("trial.ending-2_A")


def test_the_actions_own_values_are_checked_and_filled_in() -> None:
    notifier = WebhookNotifier("https://acme.test", SECRET)
    notifier.check("a", personalization=dict(CONTEXT.personalization))
    for wrong in ("{{ usr.name }}", "{{ 1 +", "{{ user.name|nofilter }}"):
        with pytest.raises(ValueError, match=r"personalization\.x"):
            notifier.check("a", personalization={"x": wrong})
    with pytest.raises(ValueError, match="subject line"):
        notifier.check("a", subject_line="Hello")


@pytest.mark.parametrize(
    "text", ["{{ user.phone }}", "{{ event.missing }}", "{{ row.x.y }}", "{{ 1 / 0 }}", "{{ row }}"]
)
def test_a_missing_value_stops_the_message_and_is_named(text: str) -> None:
    notifier = WebhookNotifier("https://acme.test", SECRET)
    with pytest.raises(DeliveryRefused, match=r"personalization\.x") as caught:
        notifier.render(message(personalization={"x": text}))
    assert "ada@acme.test" not in str(caught.value)


@pytest.mark.parametrize("value", ["{{ ''.__class__ }}", "{{ user.__init__ }}"])
def test_a_value_reaches_no_python(value: str) -> None:
    with pytest.raises(DeliveryRefused):
        WebhookNotifier("https://acme.test", SECRET).render(message(personalization={"x": value}))


async def attempt(notifier: WebhookNotifier, key: str = "k-1") -> Exception | None:
    try:
        await notifier.send(notifier.render(CONTEXT), idempotency_key=key)
    except (DeliveryFailed, DeliveryRefused, DeliveryUnknown) as error:
        return error
    finally:
        await notifier.aclose()
    return None


# --- connections ---


async def test_a_redirect_is_not_followed(receiver: tuple[Receiver, str]) -> None:
    there, url = receiver
    there.requests.clear()
    there.next = [Response(status_code=307, headers={"location": url})]
    assert isinstance(await attempt(WebhookNotifier(url, SECRET)), DeliveryRefused)
    assert len(there.requests) == 1


@asynccontextmanager
async def tcp(handler: Callable[[SocketStream], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that speaks as a test wants it to."""
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    async with listener, anyio.create_task_group() as group:
        group.start_soon(listener.serve, handler)
        yield f"http://127.0.0.1:{listener.extra(SocketAttribute.local_port)}/hook"  # noqa: S610 - anyio's, not Django's
        group.cancel_scope.cancel()


async def test_without_a_connection_it_is_failed() -> None:
    async def nobody(stream: SocketStream) -> None:
        await stream.aclose()

    async with tcp(nobody) as url:
        pass
    assert isinstance(await attempt(WebhookNotifier(url, SECRET)), DeliveryFailed)


async def test_a_connection_that_breaks_after_sending_is_unknown() -> None:
    async def break_off(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()

    async with tcp(break_off) as url:
        assert isinstance(await attempt(WebhookNotifier(url, SECRET)), DeliveryUnknown)


async def test_no_answer_in_time_is_unknown() -> None:
    async def silent(stream: SocketStream) -> None:
        async with stream:
            await anyio.sleep_forever()

    async with tcp(silent) as url:
        error = await attempt(WebhookNotifier(url, SECRET, timeout=timedelta(milliseconds=200)))
        assert isinstance(error, DeliveryUnknown)


async def test_of_an_answer_only_the_beginning_is_read() -> None:
    written = 0

    async def endless(stream: SocketStream) -> None:
        nonlocal written
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n")
            try:
                while True:
                    await stream.send(b"x" * 65_536)
                    written += 65_536
            except anyio.BrokenResourceError:
                done.set()

    done = anyio.Event()
    async with tcp(endless) as url:
        assert await attempt(WebhookNotifier(url, SECRET)) is None
        await done.wait()
    assert written < 20_000_000  # what fits into the sockets' buffers, and not what there was


async def test_an_answer_that_drips_has_said_all_with_its_status() -> None:
    async def drip(stream: SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 100\r\n\r\n.")
            await anyio.sleep_forever()

    async with tcp(drip) as url:
        error = await attempt(WebhookNotifier(url, SECRET, timeout=timedelta(seconds=5)))
        assert isinstance(error, DeliveryFailed)
        assert error.retry_after == timedelta(seconds=9)


async def test_this_machine_is_reached_without_the_environments_proxy(
    receiver: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await attempt(WebhookNotifier(receiver[1], SECRET)) is None

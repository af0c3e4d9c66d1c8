"""What firings do: mails, webhooks, grants, functions, and several of them."""

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

import skene.runtime.delivery as delivery
from skene import Profile, Recovery, action, condition
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.engine.occasion import Occasion
from skene.errors import DeliveryFailed, DeliveryUnknown
from skene.ports.outbox import MessageState
from skene.runtime.worker import LEASE
from tests.runtime.reacting import finds, got, loop, mail, on
from tests.runtime.shop import BACKENDS, Killed, Post, Shop, drain, freemium

SENT, PENDING, DEAD, PARKED = MessageState.SENT, MessageState.PENDING, MessageState.DEAD, MessageState.PARKED
SECRET = "whsec_" + "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


async def emitted(shop: Shop, *subjects: str, **data: Any) -> Shop:
    for who in subjects or ("ada",):
        await shop.skene.emit("signed.up", who, data)
    return shop


# -- e-mail ------------------------------------------------------------------------------------------------


def post(folder: Path, text: str) -> Post:
    (folder / "hello.txt").write_text("{% set subject = 'Hello' %}" + text)
    return Post(folder)


WORDS = "{{ user.name }} of {{ user.team }}, {{ plan }}, {{ project }}, {{ loop }}"


async def test_a_mail_says_what_the_event_the_row_and_the_profile_know(tmp_path: Path) -> None:
    async def profile(subject: str) -> Profile:
        return Profile(email="ada@acme.test", name="Ada")  # wins over what the rows say

    hello = mail("hello", personalization={"plan": "{{event.plan}}", "project": "{{row.name}}"})
    one = on(condition=condition.query("SELECT name FROM projects WHERE owner = $1"), action=hello)
    shop = Shop(loop(one), mail=post(tmp_path, WORDS), profile=profile)
    shop.memory.queries.answer(
        "SELECT name FROM projects WHERE owner = $1", [{"name": "Plans", "team": "Red"}]
    )
    await emitted(shop, plan="trial", team="Blue", name="Somebody", email="other@acme.test")
    await drain(shop)
    (sent,) = shop.mail.sent
    assert (sent.to, sent.text.strip()) == ("ada@acme.test", "Ada of Red, trial, Plans, activation")


async def test_a_row_stands_in_for_a_profile(tmp_path: Path) -> None:
    shop = Shop(loop(on(action=mail("hello"))), mail=post(tmp_path, "{{ user.name }}"), profile=None)
    await emitted(shop, email="ada@acme.test", name="Ada")
    await drain(shop)
    assert [(one.to, one.text.strip()) for one in shop.mail.sent] == [("ada@acme.test", "Ada")]


@pytest.mark.parametrize("odd", [{"email": 7, "name": ["x"]}, {"email": None}, {}])
async def test_rows_that_call_something_else_email_break_nothing(odd: dict[str, Any]) -> None:
    shop = Shop(loop(on()), profile=None)
    await emitted(shop, **odd)
    await drain(shop)
    assert shop.messages() == [
        ("email", MessageState.SKIPPED, "no e-mail address: no profile and no customer")
    ]


async def test_a_value_that_is_missing_stops_that_message_only(tmp_path: Path) -> None:
    shop = Shop(loop(on(action=[mail("hello"), mail()])), mail=post(tmp_path, "{{ event.team }}"))
    await shop.skene.emit("signed.up", "ada", {})
    await shop.skene.emit("signed.up", "bob", {"team": "Blue"})
    await drain(shop)
    assert shop.states("ada") == [DEAD, SENT]
    assert shop.states("bob") == [SENT, SENT]
    assert "team" in str(shop.messages("ada")[0][2])


async def test_what_templates_are_given_is_shown_and_never_run(tmp_path: Path) -> None:
    hello = mail("hello", personalization={"plan": "{{event.plan}}", "project": "-"})
    shop = Shop(loop(on(action=hello)), mail=post(tmp_path, "{{ plan }}"))
    await emitted(shop, plan="{{ user.email }}<b>")
    await drain(shop)
    assert shop.mail.sent[0].text.strip() == "{{ user.email }}<b>"


async def test_marketing_carries_a_way_out_and_the_rest_does_not() -> None:
    shop = Shop(loop(on(action=[mail(), mail("re_engagement", transactional=True)])))
    await emitted(shop)
    await drain(shop)
    sent = {one.template: one for one in shop.mail.sent}
    notice = sent["re_engagement"]
    assert "List-Unsubscribe" not in notice.headers
    assert "nsubscribe" not in notice.text
    assert shop.skene.links.unsubscribe("ada") in sent["activation_welcome"].text


# -- several -----------------------------------------------------------------------------------------------


async def test_of_several_actions_each_is_a_message_of_its_own() -> None:
    called: list[Occasion] = []
    several = [mail(), mail(), action.function(called.append), action.grant(5), mail("re_engagement")]
    shop = Shop(loop(on(action=several)), freemium())
    await emitted(shop, "ada", "bob")
    await drain(shop)
    kinds = ["email", "email", "function", "grant", "email"]
    assert [kind for kind, _, _ in shop.messages("ada")] == kinds
    assert shop.states() == [SENT] * 10
    assert got(shop, "ada") == ["activation_welcome", "activation_welcome", "re_engagement"]
    keys = [draft.key for draft, _, _ in shop.memory.posted()]
    assert len(set(keys)) == 10
    assert not any("ada" in key for key in keys)
    assert sorted(one.subject for one in called) == ["ada", "bob"]


async def test_the_same_event_again_is_another_message() -> None:
    shop = Shop(loop(on()))
    await emitted(shop, "ada", "ada")
    await drain(shop)
    assert got(shop) == ["activation_welcome"] * 2


# -- webhooks ----------------------------------------------------------------------------------------------


class Receiver:
    """The other end of a webhook."""

    def __init__(self, *statuses: int) -> None:
        self.requests: list[httpx.Request] = []
        self.statuses = list(statuses)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return httpx.Response(self.statuses.pop(0) if self.statuses else 204)

    def shop(self, *loops: Any, **options: Any) -> Shop:
        made = Shop(*loops, notifiers={}, **options)
        transport = httpx.MockTransport(self)
        hooks = WebhookNotifier("https://hooks.acme.test/in", SECRET, transport=transport, clock=made.clock)
        made.skene._parts.notifiers = {"hooks": hooks}
        return made


async def test_a_webhook_is_signed_and_keeps_its_id() -> None:
    receiver = Receiver(500, 204)
    hook = action.webhook("hooks", "user.joined", payload={"name": "{{user.name}}"})
    shop = receiver.shop(loop(on(action=hook), retries=1))
    await emitted(shop, team="Blue")
    await drain(shop)
    assert shop.states() == [PENDING]
    shop.clock.advance("5m")
    await drain(shop)
    assert shop.states() == [SENT]
    first, second = receiver.requests
    assert first.content == second.content
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    told = StandardWebhookSource(SECRET).parse(second.content, dict(second.headers), shop.clock.now())
    assert told.type == "user.joined"
    assert told.payload["data"] == {
        "subject": "ada", "loop": "activation", "event": {"team": "Blue"}, "row": {}, "name": "Ada",
    }  # fmt: skip


async def test_a_webhook_needs_no_address() -> None:
    receiver = Receiver()
    shop = receiver.shop(loop(on(action=action.webhook("hooks", "user.joined"))), profile=None)
    await emitted(shop)
    await drain(shop)
    assert (shop.states(), len(receiver.requests)) == ([SENT], 1)


# -- grants ------------------------------------------------------------------------------------------------


async def granted(shop: Shop, subject: str = "ada") -> list[int]:
    return [one.units for one in await shop.skene.grants(subject)]


async def test_a_grant_is_given() -> None:
    shop = Shop(loop(on(action=action.grant(50, expires="90d", reason="welcome"))), freemium(3))
    await emitted(shop)
    await drain(shop)
    (one,) = await shop.skene.grants("ada")
    assert (one.units, one.reason, one.meter) == (50, "welcome", "calls")
    assert (await shop.call(units=53)).allowed
    assert not (await shop.call("bob", units=4)).allowed


@pytest.mark.parametrize("point", [("after", "grant"), ("before", "settle"), ("after", "settle")])
async def test_a_grant_that_is_delivered_twice_is_given_once(point: tuple[str, str]) -> None:
    shop = Shop(loop(on(action=action.grant(50))), freemium(3))
    setattr(shop.wire, f"kill_{point[0]}", (point[1], 1))
    await emitted(shop.twin())
    with pytest.raises((Killed, BaseExceptionGroup)):
        await drain(shop)
    twin = shop.twin()
    for _ in range(3):
        shop.clock.advance(LEASE)
        await drain(twin)
    assert await granted(twin) == [50]
    assert twin.states() == [SENT]


async def test_a_grant_does_not_wait_for_whoever_knows_the_profile() -> None:
    async def profile(subject: str) -> Profile:
        raise OSError("the user service is away")

    called: list[Occasion] = []
    both = [action.grant(50), action.function(called.append)]
    shop = Shop(loop(on(action=both)), freemium(3), profile=profile)
    await emitted(shop)
    await drain(shop)
    assert shop.states() == [SENT, SENT]
    assert await granted(shop) == [50]


async def test_a_grant_of_a_meter_that_is_gone_is_a_dead_letter() -> None:
    shop = Shop(loop(on(action=action.grant(50, meter="calls"))), freemium(3))
    await emitted(shop)
    await shop.skene.worker.react_once()
    twin = shop.twin(loop(on()), freemium(3, meter="exports"))
    await drain(twin)
    assert twin.messages() == [("grant", DEAD, "no limit counts on a meter 'calls' any more")]


# -- functions ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize("kind", ["async", "plain", "object", "later"])
async def test_a_function_is_called_with_the_occasion(kind: str, anyio_backend: str) -> None:
    told: list[tuple[Occasion, bool]] = []

    def note(occasion: Occasion) -> None:
        told.append((occasion, threading.current_thread() is threading.main_thread()))

    async def anote(occasion: Occasion) -> None:
        note(occasion)

    class Object:
        async def __call__(self, occasion: Occasion) -> None:
            note(occasion)

    def later(occasion: Occasion) -> Any:
        return anote(occasion)

    functions = {"async": anote, "plain": note, "object": Object(), "later": later}
    shop = Shop(loop(on(action=action.function(functions[kind]), name="greet")), freemium())
    await shop.skene.set_plan("ada", "paid")
    await emitted(shop, team="Blue")
    at = shop.clock.now()
    shop.clock.advance("1m")
    await drain(shop)
    ((one, in_the_loop),) = told
    assert (one.subject, one.loop, one.plan, one.occurred_at) == ("ada", "activation", "paid", at)
    assert (one.event, one.key != "") == ({"team": "Blue"}, True)
    assert in_the_loop is (kind != "plain")


async def test_a_function_that_raises_is_called_again() -> None:
    called: list[str] = []

    def fails_twice(occasion: Occasion) -> None:
        called.append(occasion.key)
        if len(called) < 3:
            raise KeyError("secret of ada")

    shop = Shop(loop(on(action=action.function(fails_twice)), recovery=Recovery(retries=2)))
    await emitted(shop)
    for _ in range(4):
        await drain(shop)
        shop.clock.advance("5m")
    assert shop.states() == [SENT]
    assert (len(called), len(set(called))) == (3, 1)


async def test_a_function_that_only_raises_is_a_dead_letter(caplog: pytest.LogCaptureFixture) -> None:
    def fails(occasion: Occasion) -> None:
        raise KeyError("secret of ada")

    shop = Shop(loop(on(action=action.function(fails))))
    await drain(await emitted(shop))
    assert shop.messages() == [("function", DEAD, "the function raised KeyError")]
    assert "ada" not in caplog.text


@pytest.mark.parametrize(("repeatable", "state", "times"), [(False, PARKED, 1), (True, SENT, 2)])
async def test_a_process_that_dies_in_a_function_leaves_it_to_a_person_unless_it_may_be_repeated(
    repeatable: bool, state: MessageState, times: int
) -> None:
    called: list[str] = []

    async def dies(occasion: Occasion) -> None:
        called.append(occasion.key)
        if len(called) == 1:
            shop.wire.dead = True
            raise Killed

    shop = Shop(loop(on(action=action.function(dies, repeatable=repeatable)), retries=2))
    await emitted(shop)
    with pytest.raises((Killed, BaseExceptionGroup)):
        await drain(shop)
    twin = shop.twin()
    for _ in range(3):
        shop.clock.advance(LEASE)
        await drain(twin)
    assert (twin.states(), len(called)) == ([state], times)


@pytest.mark.parametrize(("repeatable", "state"), [(False, PARKED), (True, PENDING)])
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_a_function_that_takes_too_long_is_not_called_again_unless_it_may(
    kind: str, repeatable: bool, state: MessageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SEND_TIMEOUT", 0.02)
    let_go = threading.Event()

    async def hangs(occasion: Occasion) -> None:
        await anyio.sleep_forever()

    def blocks(occasion: Occasion) -> None:
        let_go.wait(5)

    function: Callable[[Any], Any] = hangs if kind == "async" else blocks
    shop = Shop(loop(on(action=action.function(function, repeatable=repeatable)), retries=2))
    with anyio.fail_after(3):
        await drain(await emitted(shop))
    let_go.set()
    assert shop.messages() == [("function", state, "no answer in time")]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_functions_that_hang_take_no_threads_from_the_app(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "SEND_TIMEOUT", 0.02)
    let_go = threading.Event()
    shop = Shop(loop(on(action=action.function(lambda occasion: let_go.wait(5)))))
    await drain(await emitted(shop, "ada", "bob"))
    taken = anyio.to_thread.current_default_thread_limiter().borrowed_tokens
    let_go.set()
    assert (shop.states(), taken) == ([PARKED, PARKED], 0)


async def test_a_function_that_a_deploy_took_away_is_a_dead_letter_that_says_so() -> None:
    shop = Shop(loop(on(action=action.function(len))))
    await emitted(shop)
    await shop.skene.worker.react_once()
    twin = shop.twin(loop(on()))
    await drain(twin)
    assert twin.messages() == [("function", DEAD, "the step activation calls no such function any more")]


async def test_a_mail_that_fails_holds_up_no_other_action() -> None:
    called: list[Occasion] = []
    shop = Shop(loop(on(action=[mail(), action.function(called.append)]), retries=1))
    shop.mail.fail_with(DeliveryFailed("busy"))
    await drain(await emitted(shop))
    assert shop.states() == [PENDING, SENT]
    assert len(called) == 1
    shop.clock.advance("5m")
    await drain(shop)
    assert shop.states() == [SENT, SENT]
    assert len(called) == 1


async def test_a_mail_of_a_loop_that_nobody_knows_of_is_found_out_with_the_same_key() -> None:
    shop = Shop(loop(on(), retries=1))
    shop.mail.fail_with(DeliveryUnknown("no answer"), accepted=True)
    await drain(await emitted(shop))
    shop.clock.advance("5m")
    await drain(shop)
    first, second = shop.mail.attempts
    assert first == second
    assert got(shop) == ["activation_welcome"]


async def test_a_query_s_row_is_at_hand_later_too() -> None:
    told: list[Occasion] = []
    text = "SELECT name FROM projects WHERE owner = $1"
    one = on(condition=condition.query(text, timeout="1h"), action=action.function(told.append))
    shop = Shop(loop(one))
    finds(shop, query=text)
    await drain(await emitted(shop))
    shop.memory.queries.answer(text, [{"name": "Plans"}])
    shop.clock.advance(timedelta(seconds=1))
    await drain(shop)
    assert [one.row for one in told] == [{"name": "Plans"}]

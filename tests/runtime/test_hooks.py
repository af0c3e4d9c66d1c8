"""Hooks: every event arrives, with one id, however badly the receiver answers."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import httpx
import pytest
from standardwebhooks import Webhook

from skene import CheckoutUnavailable, ConfigurationError, DeliveryRefused, Skene
from skene.adapters.http_hook import HttpHook
from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.ports.hooks import Event, EventKind
from skene.ports.outbox import MessageState
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import gather
from tests.runtime.shop import Shop, freemium

SECRET = "whsec_" + "c2tlbmUh" * 4
URL = "https://hooks.acme.test/skene"


class Receiver:
    """An endpoint that loses some answers after it has taken the event, and refuses others for now."""

    def __init__(self) -> None:
        self.calls = 0
        self.taken: list[tuple[str, Any]] = []
        self.answer: Callable[[int], int] = lambda number: 200

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.calls += 1
        status = self.answer(self.calls)
        if status < 400:
            Webhook(SECRET).verify(request.content, dict(request.headers))
            self.taken.append((request.headers["webhook-id"], json.loads(request.content)))
        if status == 0:
            raise httpx.ReadError("the connection is gone", request=request)
        return httpx.Response(status)

    def hook(self) -> HttpHook:
        return HttpHook(URL, SECRET, transport=httpx.MockTransport(self))


def some_fail(number: int) -> int:
    return {3: 0, 7: 500}.get(number % 10, 200)


async def test_every_event_arrives_with_one_id(tmp_path: Any) -> None:
    """Two workers, and a receiver that drops a tenth of its answers and fails at another tenth."""
    receiver, clock = Receiver(), ManualClock()
    receiver.answer = some_fail
    apps = [
        Skene(
            freemium(1, upgrade_prompt=None),
            storage=SqliteStorage(tmp_path / "skene.db", clock=clock),
            hooks={"warehouse": receiver.hook()},
            clock=clock,
        )
        for _ in range(2)
    ]
    people = [f"user-{n}" for n in range(40)]
    async with apps[0], apps[1]:
        for who in people:
            await apps[0].consume(who, "calls")
            await apps[0].consume(who, "calls")
            await apps[1].set_plan(who, "paid")
        for _ in range(20):
            await gather([app.worker.drain for app in apps])
            clock.advance("30m")
        counts = await apps[0].storage.outbox_counts()
    assert counts == {MessageState.SENT: 3 * len(people)}
    by_id: dict[str, set[str]] = {}
    for name, body in receiver.taken:
        assert name == body["id"]
        by_id.setdefault(name, set()).add(json.dumps(body))
    assert all(len(bodies) == 1 for bodies in by_id.values())  # told again, it says the same
    told = [(body["type"], body["data"]["subject"]) for body in dict(receiver.taken).values()]
    kinds = (EventKind.WALL_OPENED, EventKind.PLAN_CHANGED, EventKind.CONVERTED)
    assert Counter(told) == Counter((kind, who) for kind in kinds for who in people)
    assert len(receiver.taken) > len(told)  # some were taken and told again: ids are what for


class Deaf:
    """Takes nothing."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.heard: list[Event] = []
        self.closed = False

    async def handle(self, event: Event) -> None:
        self.heard.append(event)
        raise self.error

    async def aclose(self) -> None:
        self.closed = True


async def test_a_hook_is_told_for_a_day_and_then_a_person_decides() -> None:
    deaf = Deaf(RuntimeError("no"))
    shop = Shop(hooks={"warehouse": deaf})
    began = shop.clock.now()
    await shop.skene.set_plan("ada", "paid")
    while (await shop.memory.outbox_counts()).get(MessageState.PENDING):
        await shop.skene.worker.drain()
        shop.clock.advance("10m")
    assert timedelta(hours=10) < shop.clock.now() - began < timedelta(hours=48)
    assert len(deaf.heard) == 2 * 101
    assert len({event.id for event in deaf.heard}) == 2
    (row, _) = await shop.skene.outbox(states=(MessageState.DEAD,))
    assert row.reason == "the hook raised RuntimeError"
    await shop.memory.retry_message(row.id)
    await shop.skene.worker.drain()
    assert len(deaf.heard) == 2 * 101 + 1


async def test_a_refusal_ends_it_at_once_and_a_hook_that_is_gone_does_too() -> None:
    shop = Shop(hooks={"warehouse": Deaf(DeliveryRefused("not ours")), "gone": Deaf(ValueError())})
    await shop.skene.set_plan("ada", "paid")
    with shop.skene.override(hooks={"warehouse": shop.skene.hooks["warehouse"]}):
        await shop.skene.worker.drain()
    rows = await shop.skene.outbox(states=(MessageState.DEAD,))
    assert {row.reason for row in rows} == {"not ours", "no hook is called 'gone'"}


async def test_without_hooks_nothing_is_written() -> None:
    shop = Shop(freemium(1, upgrade_prompt=None))
    await shop.skene.consume("ada", "calls")
    await shop.skene.consume("ada", "calls")
    await shop.skene.set_plan("ada", "paid")
    assert shop.memory.posted() == ()


async def test_from_the_wall_to_the_payment_each_is_told_once() -> None:
    receiver = Receiver()
    shop = Shop(freemium(1), hooks={"warehouse": receiver.hook()})
    for _ in range(3):
        await shop.skene.consume("ada", "calls")
    await shop.skene.worker.drain()
    ((wall,),) = [shop.memory.walls]
    for _ in range(2):
        with pytest.raises(CheckoutUnavailable, match="set by hand"):  # there is nothing to buy
            await shop.skene.upgrade.follow(shop.skene.links.upgrade(wall=wall.id).partition("=")[2])
    await shop.skene.set_plan("ada", "paid")
    await shop.skene.set_plan("ada", "paid")
    await shop.skene.worker.drain()
    kinds = [body["type"] for _, body in receiver.taken]
    assert sorted(kinds) == sorted(
        ["wall.opened", "prompt.sent", "link.clicked", "plan.changed", "subject.converted"]
    )
    prompts: list[Mapping[str, Any]] = [b["data"] for _, b in receiver.taken if b["type"] == "prompt.sent"]
    assert [(one["wall"], one["template"]) for one in prompts] == [(wall.id, "upgrade_prompt")]
    assert all(body["data"]["subject"] == "ada" for _, body in receiver.taken)


async def test_hooks_are_closed_with_the_rest() -> None:
    deaf = Deaf(ValueError())
    async with Skene(storage=MemoryStorage(), hooks={"warehouse": deaf}):
        pass
    assert deaf.closed


def test_what_cannot_be_a_hook() -> None:
    storage: Any = MemoryStorage()
    wrong: Any = {"warehouse": HttpHook, "mail": Deaf(ValueError()), " ": Deaf(ValueError())}
    with pytest.raises(ConfigurationError) as error:
        Skene(storage=storage, notifiers={"mail": Deaf(ValueError())}, hooks=wrong, credit="frist")  # type: ignore[arg-type] # what a type checker would have said
    text = str(error.value)
    assert "HttpHook(…)" in text
    assert "the name of a notifier" in text
    assert "did you mean first" in text
    with pytest.raises(ConfigurationError):
        Skene(storage=storage, hooks=Deaf(ValueError()))  # type: ignore[arg-type] # as above
    with pytest.raises(ConfigurationError) as error:
        HttpHook("http://acme.test", "secret")
    assert "secret" not in str(error.value).replace("HttpHook.secret", "").replace("signing secret", "")
    assert repr(HttpHook(URL, SECRET)) == "HttpHook('https://hooks.acme.test')"

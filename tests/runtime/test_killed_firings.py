"""Firings, chains and ticks: the worker is killed at every line, and another one takes over."""

from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

import skene.runtime.keeping as keeping
import skene.runtime.scanning as scanning
from skene import condition, step
from skene.engine.occasion import Occasion
from skene.ports.firings import Closing, Firing, FiringState, NewFiring, Outcome, Phase
from skene.runtime.firing import Evaluation
from skene.runtime.scheduling import Scheduling
from skene.runtime.worker import LEASE
from tests.runtime.reacting import daily, finds, loop, mail, on, scheduled
from tests.runtime.shop import BACKENDS, Killed, Post, Shop

PEOPLE = ["bob", "cleo", "dan", "eve", "finn"]
EXPECTED = Counter(
    [("ada@acme.test", "activation_welcome"), ("ada@acme.test", "re_engagement")]
    + [(f"{who}@acme.test", "re_engagement") for who in PEOPLE]
)
Point = tuple[str, str, int]
"""Before or after which verb, and which call of it."""


class Mortal(Post):
    """A provider that takes the `last` mail of a process, which dies before it hears so."""

    last = 0

    async def send(self, body: Any, *, idempotency_key: str) -> str | None:
        self.kill = self.wire if len(self.attempts) + 1 == self.last else None
        return await super().send(body, idempotency_key=idempotency_key)

    wire: Any = None


class Life:
    """An afternoon: an event at noon, a chain that waits for something, a tick that is read in 3 batches."""

    def __init__(self, post: Callable[[], Mortal] = Mortal) -> None:
        ready = datetime.fromisoformat("2026-01-01T13:30:30+00:00")

        async def is_ready(_: Occasion) -> bool:
            return self.shop.clock.now() >= ready

        waits = condition.function(is_ready, timeout="4h")
        activation = loop(on(then="1h"), step(condition=waits, action=mail("re_engagement")), retries=3)
        self.shop = scheduled(activation, loop(daily(), name="retention", retries=3), mail=post())
        finds(self.shop, *PEOPLE)
        self.now = self.shop
        self.change: Callable[[Shop], None] = lambda shop: None

    async def pass_by(self, point: Point | None = None) -> list[str]:
        """Live through it, with a death at one point; the verbs that were called."""
        shop = self.shop
        self.change(shop)
        if point is not None and point[1] == "send":
            shop.mail.last, shop.mail.wire = point[2], shop.wire  # type: ignore[attr-defined] # it is Mortal
        elif point is not None:
            setattr(shop.wire, f"kill_{point[0]}", point[1:])
        await shop.twin().skene.emit("signed.up", "ada")
        for minutes in (0, 60, 75, 90, 91, 120):
            shop.clock.set(
                max(
                    shop.clock.now(),
                    datetime.fromisoformat("2026-01-01T12:00:00+00:00") + timedelta(minutes=minutes),
                )
            )
            await self._work()
        return shop.wire.verbs

    async def _work(self) -> None:
        try:
            await self.now.skene.worker.drain()
        except (Killed, BaseExceptionGroup):
            assert self.now is self.shop, "the second process lives on"
            self.now = self.shop.twin()
            self.change(self.now)
            self.shop.mail.kill, self.shop.mail.last = None, 0  # type: ignore[attr-defined] # as above
            for _ in range(3):
                self.shop.clock.advance(LEASE)
                await self.now.skene.worker.drain()

    @property
    def mails(self) -> Counter[tuple[str, str]]:
        return Counter((one.to, one.template) for one in self.shop.mail.sent)

    @property
    def ticks(self) -> int:
        return sum(one.outcome is Outcome.SCANNED for one in self.shop.memory.log())

    @property
    def all_is_well(self) -> bool:
        return (self.mails, self.ticks) == (EXPECTED, 1)


@pytest.fixture(autouse=True)
def _three_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "BATCH", 2)


async def every_point() -> list[Point]:
    """Before and after each call of each verb that a worker makes that afternoon, and in each send."""
    life = Life()
    verbs = await life.pass_by()
    assert life.all_is_well
    calls = [(verb, verbs[: place + 1].count(verb)) for place, verb in enumerate(verbs)]
    points: list[Point] = [(when, *call) for call in calls for when in ("before", "after")]
    return points + [("after", "send", n) for n in range(1, sum(EXPECTED.values()) + 1)]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_killed_anywhere_each_mail_goes_out_once_and_each_tick_acts_once(anyio_backend: str) -> None:
    points = await every_point()
    wanted = {"claim_firings", "record", "postpone_firing", "open_tick", "claim", "begin_attempt", "settle"}
    assert wanted <= {verb for _, verb, _ in points}
    assert sum(verb == "record" for _, verb, _ in points) == 2 * (1 + 1 + 4)
    failed: list[Point] = []
    for point in points if anyio_backend == "asyncio" else points[::6]:
        life = Life()
        await life.pass_by(point)
        if not life.all_is_well or life.now is life.shop:
            failed.append(point)
    assert failed == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_while_the_lease_is_renewed(when: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "HEARTBEAT", 0)
    life = Life()
    await life.pass_by((when, "keep_firing", 1))
    assert life.now is not life.shop
    assert life.all_is_well


# -- naive ways fail the same check ------------------------------------------------------------------------


class ClosesFirst(Evaluation):
    """Naive: writes down that a firing is dealt with, then deals with it."""

    async def deal_with(self, firing: Firing) -> None:
        storage = self._parts.storage
        reaction = self._parts.program.reactions.get(firing.step)
        assert reaction is not None
        if reaction.condition is not None or firing.tick is not None:
            await super().deal_with(firing)
            return
        await storage.record(firing, (), closing=Closing(Phase.ACTION, Outcome.ACTED))
        await storage.get_customer(firing.subject)  # whatever comes in between
        entry = self.entry_for(reaction, firing, self._occasion(reaction, firing))
        state: Any = storage.memory._state  # type: ignore[attr-defined] # it is a Wire
        state.post(entry.drafts, firing.now)
        for one in entry.next:
            state.fire(one, firing.now)


class KeyPerAttempt(Mortal):
    """Naive: every attempt is another message for the provider."""

    async def send(self, body: Any, *, idempotency_key: str) -> str | None:
        return await super().send(body, idempotency_key=f"{idempotency_key}-{len(self.attempts)}")


class WithoutTicks(Scheduling):
    """Naive: each process remembers by itself which ticks it has opened."""

    async def open_due(self, now: datetime) -> int:
        parts, tick = self._parts, now.replace(minute=0, second=0)
        await parts.storage.last_tick("retention")
        if self._known.setdefault("retention", now.replace(hour=12, minute=0)) >= tick:
            return 0
        firing = NewFiring(f"tick:{parts.clock.new_id()}", "retention", "retention", "")
        parts.storage.memory._state.fire(firing, now, tick)  # type: ignore[attr-defined] # as above
        self._known["retention"] = now.replace(hour=23)
        return 1


def closes_first(shop: Shop) -> None:
    worker: Any = shop.skene.worker
    worker._evaluation = ClosesFirst(worker._parts, worker._evaluation._asking)


def without_ticks(shop: Shop) -> None:
    worker: Any = shop.skene.worker
    worker._scheduling = WithoutTicks(worker._parts)


def as_it_is(shop: Shop) -> None:
    pass


@pytest.mark.parametrize(
    ("change", "post", "wrong"),
    [
        (closes_first, Mortal, "a mail is missing"),
        (as_it_is, KeyPerAttempt, "a mail goes out twice"),
        (without_ticks, Mortal, "a tick acts twice"),
    ],
)
async def test_a_naive_worker_fails_the_same_check(
    change: Callable[[Shop], None], post: Callable[[], Mortal], wrong: str
) -> None:
    calm = Life(post)
    calm.change = change
    verbs = await calm.pass_by()
    assert calm.all_is_well  # while nobody dies
    calls = [(verb, verbs[: place + 1].count(verb)) for place, verb in enumerate(verbs)]
    seen: set[str] = set()
    for point in [("after", "send", 1), *[("after", *call) for call in calls]]:
        if wrong in seen:
            break
        life = Life(post)
        life.change = change
        await life.pass_by(point)
        if EXPECTED - life.mails:
            seen.add("a mail is missing")
        if life.mails - EXPECTED:
            seen.add("a mail goes out twice")
        if life.ticks > 1:
            seen.add("a tick acts twice")
    assert wrong in seen


async def test_what_cannot_be_evaluated_is_in_nobodys_hands() -> None:
    life = Life()
    await life.pass_by(("after", "claim_firings", 1))
    states = {row.state for row in life.shop.memory._state.firings.values()}
    assert states == {FiringState.DONE}

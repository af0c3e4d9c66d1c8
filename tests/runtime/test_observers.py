"""Observers: told of every decision, give-back, delivery and firing, and never in the way."""

from collections.abc import Callable
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, HTTPException
from httpx import ASGITransport, AsyncClient

from skene import (
    ConfigurationError,
    QuotaExceeded,
    Skene,
    StorageUnavailable,
    action,
    define_loop,
    step,
    trigger,
)
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.errors import DeliveryFailed
from skene.fastapi import Gate
from skene.ports.counters import Consume, Counted
from skene.ports.observers import Work, WorkKind
from skene.runtime import gate
from skene.testing import world
from tests.testing.apps import app as app_of
from tests.testing.apps import freemium


class Seen:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.begun: list[Work] = []
        self.over: list[Work] = []

    def begin(self, work: Work) -> Callable[[], None]:
        assert work.outcome == "done"
        self.begun.append(work)
        return lambda: self.over.append(work)

    def of(self, kind: WorkKind) -> list[Work]:
        return [work for work in self.over if work.kind is kind]

    def outcomes(self, kind: WorkKind) -> list[str]:
        return [work.outcome for work in self.of(kind)]


class Failing:
    """Fails when something begins, or when it is over."""

    def __init__(self, *, late: bool) -> None:
        self._late, self.called = late, 0

    def begin(self, work: Work) -> Callable[[], None]:
        self.called += 1
        if not self._late:
            raise RuntimeError("broken")
        return self._fail

    def _fail(self) -> None:
        raise RuntimeError("broken at the end")


def running(storage: MemoryStorage, *observers: Any) -> Skene:
    return Skene(
        freemium(), storage=storage, notifiers={"resend": MemoryNotifier()}, observers=list(observers)
    )


def gated(*observers: Any) -> tuple[Skene, FastAPI]:
    skene = app_of(observers=list(observers))
    gate, app = Gate(skene, subject=lambda: "ada"), FastAPI()

    @app.post("/api/work")
    async def work(fail: bool = False) -> str:
        if fail:
            raise HTTPException(500)
        return "done"

    gate.install(app)
    return skene, app


async def test_decisions_over_http_and_in_code_are_told_of() -> None:
    seen = Seen()
    skene, app = gated(seen)
    with world(skene) as there:
        async with AsyncClient(transport=ASGITransport(app), base_url="http://app") as client:
            for _ in range(2):
                await client.post("/api/work")
            await client.post("/api/work?fail=true")
            await skene.consume("ada", "calls")
            assert (await client.post("/api/work")).status_code == 402
        assert there.plan("ada") == "free"
    assert seen.outcomes(WorkKind.DECISION) == ["within_limit"] * 4 + ["usage_limit_reached"]
    first, refused = seen.over[0], seen.of(WorkKind.DECISION)[-1]
    assert (first.subject, first.units, first.allowed) == ("ada", 1, True)
    assert (refused.units, refused.allowed) == (0, False)
    assert first.labels == {
        "loop": "freemium",
        "step": "freemium",
        "meter": "calls",
        "plan": "free",
        "outcome": "within_limit",
    }
    (back,) = seen.of(WorkKind.GIVE_BACK)
    assert (back.meter, back.units, back.plan) == ("calls", 1, "free")
    assert all(work.seconds >= 0 and work.error is None for work in seen.over)


async def test_what_a_hold_did_not_use_is_told_of() -> None:
    seen = Seen()
    with world(app_of(observers=[seen])) as there:
        async with there.skene.reserve("ada", "calls", 3) as hold:
            hold.used(1)
        with pytest.raises(QuotaExceeded):
            async with there.skene.reserve("ada", "calls", 3):
                pytest.fail("never reached")
    assert [work.units for work in seen.over] == [3, 2, 0]


async def test_what_may_not_have_been_given_back_is_not_told_as_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "REFUND_TIMEOUT", 0.01)
    seen, storage = Seen(), MemoryStorage()

    async def hang(*_: Any) -> None:
        await anyio.sleep_forever()

    monkeypatch.setattr(storage, "refund", hang)
    async with running(storage, seen) as skene, skene.reserve("ada", "calls", 3) as hold:
        hold.used(1)
    assert seen.outcomes(WorkKind.GIVE_BACK) == ["storage_unavailable"]


async def test_nobody_is_named_in_a_label() -> None:
    """A team's member has a counter with their name in it."""
    seen = Seen()
    loop = freemium(member_limit={"free": 1})
    with world(app_of(loop, observers=[seen])) as there:
        for _ in range(2):
            await there.skene.consume("acme", "calls", member="ada@acme.test")
    assert seen.outcomes(WorkKind.DECISION) == ["within_limit", "member_limit_reached"]
    assert not [value for work in seen.over for value in work.labels.values() if "ada" in value]
    assert {work.labels["meter"] for work in seen.over} == {"calls"}


async def test_deliveries_are_told_of_as_they_end() -> None:
    seen = Seen()
    with world(app_of(observers=[seen])) as there:
        there.used("ada", 3)
        await there.skene.consume("ada", "calls")
        there.fail_mails(DeliveryFailed("busy"))
        await there.drain()
        there.clock.advance("1h")
        await there.drain()
        assert there.sent("ada") == ["upgrade_prompt"]
    mails = [work for work in seen.of(WorkKind.DELIVERY) if work.channel == "resend"]
    assert [work.outcome for work in mails] == ["failed", "sent"]
    assert {work.template for work in mails} == {"upgrade_prompt"}
    assert not any(work.error for work in mails)


async def test_firings_are_told_of() -> None:
    seen = Seen()
    welcome = define_loop(
        type="activation",
        steps=[step(trigger=trigger.event("joined"), action=action.email("welcome", provider="resend"))],
    )
    with world(app_of(freemium(), welcome, observers=[seen])) as there:
        await there.skene.emit("joined", "ada")
        await there.drain()
    (work,) = seen.of(WorkKind.FIRING)
    assert (work.loop, work.subject, work.outcome) == ("activation", "ada", "done")


@pytest.mark.parametrize("late", [False, True])
async def test_an_observer_that_fails_is_in_nobodys_way(late: bool, caplog: pytest.LogCaptureFixture) -> None:
    failing, seen = Failing(late=late), Seen()
    with world(app_of(observers=[failing, seen])) as there:
        told = [(await there.skene.consume("ada", "calls")).allowed for _ in range(4)]
        assert told == [True, True, True, False]
    assert failing.called == len(seen.over) == 4
    assert "an observer failed" in caplog.text
    assert "broken" in caplog.text


class Away(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        raise StorageUnavailable("the database is away")


async def test_what_fails_is_told_with_its_error() -> None:
    seen = Seen()
    async with running(Away(), seen) as skene:
        with pytest.raises(StorageUnavailable):
            await skene.consume("ada", "calls")
    (work,) = seen.over
    assert isinstance(work.error, StorageUnavailable)
    assert (work.outcome, work.allowed) == ("StorageUnavailable", None)


async def test_a_cancelled_call_ends_for_observers_too() -> None:
    class Slow(MemoryStorage):
        async def consume(self, call: Consume) -> Counted:
            await anyio.sleep_forever()
            raise AssertionError

    seen = Seen()
    async with running(Slow(), seen) as skene:
        with anyio.move_on_after(0.05):
            await skene.consume("ada", "calls")
    assert len(seen.begun) == len(seen.over) == 1
    assert isinstance(seen.over[0].error, anyio.get_cancelled_exc_class())


async def test_without_observers_plain_calls_go_the_short_way() -> None:
    """The way that observers must not be passed by on."""
    for observers, short in (((), True), ((Seen(),), False)):
        async with running(MemoryStorage(), *observers) as skene:
            plain = skene.gatekeeper.plain.of(skene.program.steps[0])
            assert plain is not None
            assert (plain.spend("ada", 1) is not None) is short


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (Seen(), r"Skene\(observers=…\): got .* give a list of observers"),
        ("otel", r"Skene\(observers=…\): got"),
        ([Seen], r"Skene\(observers=…\)\[0\]: got .* give an observer; did you mean Seen\(…\)\?"),
        ([Seen(), object()], r"Skene\(observers=…\)\[1\]: got .* give an observer"),
    ],
)
def test_what_is_no_observer_is_refused(given: Any, told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Skene(freemium(), storage=MemoryStorage(), observers=given)


async def test_from_env_takes_them(tmp_path: Any) -> None:
    seen = Seen()
    skene = Skene.from_env(freemium(), observers=[seen], env={"DATABASE_URL": f"sqlite:///{tmp_path}/s.db"})
    with world(skene):
        await skene.consume("ada", "calls")
    assert len(seen.over) == 1

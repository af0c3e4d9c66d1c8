"""The worker's lanes: what takes long holds up nothing else, and stopping loses nothing."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import skene.runtime.delivery as delivery
import skene.runtime.keeping as keeping
import skene.runtime.scanning as scanning
import skene.runtime.worker as worker
from skene import action, condition, step, trigger
from skene.engine.occasion import Occasion
from skene.errors import StorageUnavailable
from skene.ports.firings import FiringState, Outcome
from skene.ports.outbox import MessageState
from tests.runtime.reacting import daily, finds, got, loop, on, outcomes, scheduled
from tests.runtime.shop import BACKENDS, Post, Shop, drain
from tests.runtime.test_worker_life import running, until

SENT, PENDING = MessageState.SENT, MessageState.PENDING


class Door:
    """An async function that waits until it is let through, and how far it came."""

    def __init__(self) -> None:
        self.reached = anyio.Event()
        self.open = anyio.Event()
        self.calls: list[str] = []

    async def __call__(self, occasion: Occasion) -> bool:
        self.calls.append(occasion.subject)
        self.reached.set()
        await self.open.wait()
        return True


def held_scan(door: Door, shop: list[Shop]) -> Any:
    """A query whose result comes when a door is opened."""

    async def answer(values: Any) -> list[dict[str, Any]]:
        door.reached.set()
        await door.open.wait()
        return [{"user_id": "bob"}, {"user_id": "cleo"}]

    return answer


@asynccontextmanager
async def scanning_now(**options: Any) -> AsyncIterator[tuple[Shop, Door, anyio.CancelScope]]:
    """A shop whose worker is in the middle of a scan."""
    shop, door = scheduled(loop(daily(), name="retention"), loop(on()), **options), Door()
    shop.memory.queries.answer("SELECT user_id FROM users WHERE idle", held_scan(door, [shop]))
    shop.clock.advance("1h")
    with anyio.fail_after(8):
        async with running(shop) as scope:
            await door.reached.wait()
            yield shop, door, scope


# -- long work ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_long_scan_leaves_the_other_lane_and_delivery_going(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL", 0.01)
    async with scanning_now() as (shop, door, _):
        for who in ("ada", "dan"):
            await shop.skene.emit("signed.up", who)
            await until(lambda who=who: shop.states(who) == [SENT])
        assert outcomes(shop, "bob") == []
        door.open.set()
        await until(lambda: shop.states("bob") == [SENT] == shop.states("cleo"))


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_scan_keeps_its_lease_however_long_it_takes(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeping, "HEARTBEAT", 0.005)
    async with scanning_now() as (shop, door, _):
        twin = shop.twin()
        for _ in range(4):
            shop.clock.advance("20s")
            kept = shop.wire.count("keep_firing")
            await until(lambda kept=kept: shop.wire.count("keep_firing") > kept + 1)
            await drain(twin)
        assert outcomes(shop) == []
        door.open.set()
        await until(lambda: got(shop) == ["re_engagement"] * 2)
        await until(lambda: Outcome.SCANNED in outcomes(shop))
    assert outcomes(shop).count(Outcome.SCANNED) == 1


async def test_who_has_lost_a_scan_records_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "BATCH", 1)
    async with scanning_now() as (shop, door, _):
        twin = shop.twin()
        finds(twin, "eve")
        shop.clock.advance("31s")
        await drain(twin)
        door.open.set()
        await until(lambda: shop.wire.count("record"))
        await anyio.wait_all_tasks_blocked()
    assert [one.to for one in shop.mail.sent] == ["eve@acme.test"]
    assert shop.wire.count("record") == 1  # it does not read on
    assert outcomes(shop) == [Outcome.ACTED, Outcome.SCANNED]


# -- stopping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_stopping_in_a_scan_gives_the_tick_back(anyio_backend: str) -> None:
    begun = anyio.current_time()
    async with scanning_now() as (shop, _, scope):
        scope.cancel()
    assert anyio.current_time() - begun < 5
    assert {one.state for one in shop.memory._state.firings.values()} == {FiringState.PENDING}
    twin = shop.twin()
    finds(twin, "bob", "cleo")
    await drain(twin)  # nothing waits for a lease to end
    assert sorted(one.to for one in shop.mail.sent) == ["bob@acme.test", "cleo@acme.test"]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_stopping_between_two_batches_doubles_nothing(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "BATCH", 1)
    shop = scheduled(loop(daily()))
    finds(shop, "ada", "bob", "cleo")
    shop.clock.advance("1h")
    with anyio.CancelScope() as scope:

        def at_the_second() -> None:
            if shop.wire.count("record") == 2:
                scope.cancel()

        shop.wire.before["record"] = at_the_second
        await drain(shop)
    assert scope.cancelled_caught
    assert outcomes(shop) == [Outcome.ACTED]
    await drain(shop.twin())
    assert sorted(one.to for one in shop.mail.sent) == [f"{who}@acme.test" for who in ("ada", "bob", "cleo")]
    assert outcomes(shop)[-1] is Outcome.SCANNED


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_stopping_in_a_condition_of_the_app_s_gives_the_firing_back(
    kind: str, anyio_backend: str
) -> None:
    door, let_go, entered = Door(), threading.Event(), threading.Event()

    def blocks(occasion: Occasion) -> bool:
        entered.set()
        return let_go.wait(5)

    shop = Shop(loop(on(condition=condition.function(door if kind == "async" else blocks))))
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.skene.emit("signed.up", "ada")
            await until(lambda: door.calls or entered.is_set())
            scope.cancel()
    (one,) = shop.memory._state.firings.values()
    assert (one.state, one.failures) == (FiringState.PENDING, 0)
    door.open.set()
    let_go.set()
    await drain(shop.twin())
    assert outcomes(shop) == [Outcome.ACTED]
    assert got(shop) == ["activation_welcome"]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize(("repeatable", "state"), [(False, MessageState.PARKED), (True, PENDING)])
async def test_stopping_in_an_action_of_the_app_s_ends_within_seconds(
    repeatable: bool, state: MessageState, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "HURRY", 0.05)
    door = Door()
    shop = Shop(loop(on(action=action.function(door, repeatable=repeatable)), retries=1))
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.skene.emit("signed.up", "ada")
            await door.reached.wait()
            begun = anyio.current_time()
            scope.cancel()
    assert anyio.current_time() - begun < 2
    assert shop.states() == [state]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_stopping_while_a_turn_is_waited_for_sends_nothing_and_loses_nothing(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Paced(Post):
        pace = timedelta(seconds=2)  # type: ignore[assignment] # a property's value

    monkeypatch.setattr(delivery, "HURRY", 0.05)
    shop = Shop(loop(on()), mail=Paced())
    for who in ("ada", "bob"):
        await shop.skene.emit("signed.up", who)
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await until(lambda: shop.wire.count("begin_attempt") == 2)
            begun = anyio.current_time()
            scope.cancel()
    assert anyio.current_time() - begun < 1
    assert shop.states() == [SENT, PENDING]
    assert len(shop.mail.attempts) == 1
    shop.clock.advance("10s")
    await drain(shop.twin())
    assert shop.states() == [SENT, SENT]
    assert len(shop.mail.attempts) == 2


def test_what_is_in_hand_ends_in_time_for_those_who_stop_the_process() -> None:
    assert delivery.HURRY + 2 <= 10  # two seconds to give back what is only claimed
    longest = worker.FRESH + 5 + delivery.PATIENCE.total_seconds() + delivery.SEND_TIMEOUT
    assert longest < worker.LEASE.total_seconds()


# -- a storage that is away --------------------------------------------------------------------------------

VERBS = ["claim_firings", "last_tick", "open_tick", "record", "postpone_firing", "note_lapses", "claim"]


@pytest.mark.parametrize("verb", [*VERBS, "begin_attempt", "settle", "get_customer"])
async def test_a_storage_that_goes_away_in_any_verb_costs_nothing(verb: str) -> None:
    asked: list[str] = []

    async def ready(occasion: Occasion) -> bool:
        asked.append(occasion.subject)
        return len(asked) > 1

    wanted = condition.all_of(condition.query("SELECT user_id FROM users WHERE idle"), condition.plan("free"))
    late = condition.function(ready, timeout="1d")
    changed = step(trigger=trigger.event("plan.changed"), action=action.function(len))
    loops = loop(on(condition=late)), loop(daily(condition=wanted), name="retention"), loop(changed, name="p")
    shop, missed = scheduled(*loops), 0
    finds(shop, "bob", "cleo")
    await shop.twin().skene.emit("signed.up", "ada")
    for _ in ("at noon", "at one o'clock"):
        for cut in (True, True, False):
            shop.wire.cut = {verb} if cut else set()
            try:
                await drain(shop)
            except StorageUnavailable:
                missed += 1
            shop.clock.advance("61s")
        shop.clock.set(shop.clock.now().replace(hour=13, minute=0))
    assert missed
    await drain(shop)
    assert sorted(one.to for one in shop.mail.sent) == [f"{who}@acme.test" for who in ("ada", "bob", "cleo")]
    assert set(shop.states()) == {SENT}
    assert Outcome.FAILED not in outcomes(shop)


async def test_a_worker_that_is_paused_claims_no_firing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0.001)
    shop = Shop(loop(on()))
    with shop.skene.override(worker=False):
        async with running(shop):
            await shop.skene.emit("signed.up", "ada")
            for _ in range(50):
                await anyio.lowlevel.checkpoint()
            assert "claim_firings" not in shop.wire.verbs
            assert await drain(shop) == 2  # a test that drains goes before it
    assert got(shop) == ["activation_welcome"]


async def test_loops_without_firings_cost_no_claims() -> None:
    from tests.runtime.shop import freemium

    shop = Shop(freemium())
    async with running(shop):
        await until(lambda: shop.wire.count("claim"))
        await anyio.wait_all_tasks_blocked()
    await drain(shop)
    assert "claim_firings" not in shop.wire.verbs


async def test_while_nothing_is_due_nobody_asks_more_often_than_every_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "POLL", 3600)
    shop = Shop(loop(on(condition=condition.function(lambda occasion: False, timeout="1d"))))
    for number in range(100):
        await shop.skene.emit("signed.up", f"user-{number}")
    async with running(shop):
        await until(lambda: sum(one.deadline is not None for one in shop.memory.waiting()) == 100)
        await anyio.wait_all_tasks_blocked()
        before = shop.wire.count("claim_firings")
        for _ in range(5):
            await anyio.wait_all_tasks_blocked()
        assert shop.wire.count("claim_firings") == before
        assert before <= 2 * (100 / worker.FIRINGS + 2)


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_two_workers_share_firings_and_each_is_evaluated_once(anyio_backend: str) -> None:
    evaluated: list[str] = []

    async def note(occasion: Occasion) -> bool:
        evaluated.append(occasion.subject)
        await anyio.lowlevel.checkpoint()
        return True

    shop = Shop(loop(on(condition=condition.function(note))))
    people = sorted(f"user-{number}" for number in range(100))
    for who in people:
        await shop.skene.emit("signed.up", who)
    async with anyio.create_task_group() as tasks:
        for one in (shop, shop.twin(), shop.twin()):
            tasks.start_soon(drain, one)
    assert sorted(evaluated) == people
    assert sorted(shop.reached) == sorted(f"{who}@acme.test" for who in people)


async def test_a_batch_that_takes_long_goes_back_before_its_lease_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = Shop(loop(on()))
    for who in ("ada", "bob"):
        await shop.skene.emit("signed.up", who)
    monkeypatch.setattr(worker, "FRESH", 0.0)
    assert await shop.skene.worker.react_once() == 0
    monkeypatch.undo()
    assert await shop.twin().skene.worker.react_once() == 2


async def test_drain_goes_on_until_a_chain_without_pauses_is_at_its_end() -> None:
    told: list[str] = []

    async def emits(occasion: Occasion) -> None:
        told.append(occasion.subject)
        if len(told) < 5:
            await shop.skene.emit("signed.up", f"user-{len(told)}")

    shop = Shop(loop(on(action=action.function(emits))))
    await shop.skene.emit("signed.up", "ada")
    assert await drain(shop) == 10
    assert told == ["ada", "user-1", "user-2", "user-3", "user-4"]

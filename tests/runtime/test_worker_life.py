"""The recovery worker, killed at every line, running, and told to stop."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest

import skene.runtime.delivery as delivery
import skene.runtime.worker as worker
from skene import Profile, Recovery
from skene.adapters.memory import MemoryStorage
from skene.errors import StorageUnavailable
from skene.ports.outbox import MessageState, Outcome
from skene.ports.retention import PRUNED_AT_ONCE
from skene.runtime.mailing import context_of, profile_of
from skene.runtime.worker import LEASE, Worker
from tests.runtime.shop import BACKENDS, PEOPLE, Killed, Post, Shop, asked, drain, freemium

SENT, PENDING, DEAD, PARKED = MessageState.SENT, MessageState.PENDING, MessageState.DEAD, MessageState.PARKED
DAY_OF_KEYS = timedelta(hours=23)


# -- killed at every line ----------------------------------------------------------------------------------

Drain = Callable[[Shop], Awaitable[object]]


async def killed_and_recovered(deliver: Drain, point: tuple[str, str] | None) -> int:
    """Kill a worker at one point, let another one take over; how many mails the provider has sent."""
    shop = await asked("ada")
    if point == ("after", "send"):
        shop.mail.kill = shop.wire
    elif point is not None:
        setattr(shop.wire, f"kill_{point[0]}", (point[1], 1))
    with_kill = pytest.raises((Killed, BaseExceptionGroup)) if point else anyio.CancelScope()
    with with_kill:
        await deliver(shop)
    shop.mail.kill = None
    twin = shop.twin()
    for _ in range(3):
        shop.clock.advance(LEASE)
        await deliver(twin)
    return len(shop.mail.sent)


POINTS = [
    None,
    ("before", "claim"),
    ("after", "claim"),
    ("before", "begin_attempt"),
    ("after", "begin_attempt"),
    ("after", "send"),
    ("before", "settle"),
    ("after", "settle"),
]


@pytest.mark.parametrize("point", POINTS)
async def test_killed_anywhere_the_mail_goes_out_exactly_once(point: tuple[str, str] | None) -> None:
    assert await killed_and_recovered(drain, point) == 1


class MarksFirst(Worker):
    """Naive: says that it has sent, then sends."""

    async def work_once(self) -> int:
        parts = self._parts
        claimed = await parts.storage.claim(10, LEASE)
        for message in claimed:
            context = context_of(parts, message, await profile_of(parts, message))
            body = parts.notifiers["mail"].render(context)
            await parts.storage.begin_attempt(message, body)
            await parts.storage.settle(message, Outcome(SENT))
            await parts.notifiers["mail"].send(body, idempotency_key=f"skene-{message.draft.key}")
        return len(claimed)


class KeyPerAttempt(Worker):
    """Naive: every attempt has a key of its own."""

    async def work_once(self) -> int:
        parts = self._parts
        claimed = await parts.storage.claim(10, LEASE)
        for message in claimed:
            context = context_of(parts, message, await profile_of(parts, message))
            body = parts.notifiers["mail"].render(context)
            await parts.storage.begin_attempt(message, body)
            await parts.notifiers["mail"].send(body, idempotency_key=f"skene-{message.id}-{message.claim}")
            await parts.storage.settle(message, Outcome(SENT))
        return len(claimed)


@pytest.mark.parametrize(("naive", "sends"), [(MarksFirst, 0), (KeyPerAttempt, 2)])
async def test_a_naive_worker_fails_the_same_check(naive: type[Worker], sends: int) -> None:
    async def deliver(shop: Shop) -> int:
        return await naive(shop.skene._parts, shop.skene.worker._evaluation).drain()

    counts = [await killed_and_recovered(deliver, point) for point in POINTS]
    assert counts[0] == 1  # all is well while nobody dies
    assert sends in counts


# -- running -----------------------------------------------------------------------------------------------


@asynccontextmanager
async def running(shop: Shop) -> AsyncIterator[anyio.CancelScope]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shop.skene.worker.run)
        while not shop.wire.count("prune"):
            await anyio.lowlevel.checkpoint()
        yield tasks.cancel_scope
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], object]) -> None:
    with anyio.fail_after(5):
        while not true():
            await anyio.sleep(0.001)  # who only yields keeps threads of functions from their turn


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_message_of_this_process_wakes_the_worker_at_once(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "POLL", 3600)
    shop = Shop(freemium(1))
    async with running(shop):
        for subject in ("ada", "bob"):
            await shop.refuse(subject)
            await until(lambda who=subject: shop.states(who) == [SENT])


async def test_a_message_of_another_process_is_found_by_looking(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0.01)
    shop = Shop(freemium(1))
    async with running(shop):
        await shop.twin().refuse("ada")
        await until(lambda: shop.states() == [SENT])


async def test_a_worker_that_is_paused_leaves_messages_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0.001)
    shop = Shop(freemium(1))
    with shop.skene.override(worker=False):
        async with running(shop):
            await shop.refuse()
            await anyio.sleep(0.02)
            assert shop.states() == [PENDING]
            assert "claim" not in shop.wire.verbs


@pytest.mark.parametrize("failure", [StorageUnavailable, ZeroDivisionError])
async def test_a_worker_outlives_whatever_goes_wrong(
    failure: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(worker, "POLL", 0.01)
    shop = Shop(freemium(1))
    async with running(shop):
        shop.wire.failure, shop.wire.cut = failure, {"claim"}
        await shop.refuse()
        await until(lambda: "trying again" in caplog.text or "going on" in caplog.text)
        shop.wire.cut = set()
        await until(lambda: shop.states() == [SENT])


async def test_a_storage_that_goes_away_after_the_send_is_asked_again_with_the_same_key(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = await asked()
    shop.wire.cut = {"settle"}
    with pytest.raises(StorageUnavailable):
        await drain(shop)
    shop.wire.cut = set()
    shop.clock.advance(LEASE)
    await drain(shop)
    assert [key for key, _ in shop.mail.attempts] == [shop.mail.attempts[0][0]] * 2
    assert (len(shop.mail.sent), shop.states()) == (1, [SENT])


async def test_a_storage_that_goes_away_before_the_send_costs_no_attempt() -> None:
    shop = await asked(recovery=Recovery(retries=0))
    shop.wire.cut = {"begin_attempt"}
    with pytest.raises(StorageUnavailable):
        await drain(shop)
    assert shop.mail.attempts == []
    shop.wire.cut = set()
    shop.clock.advance(LEASE)
    await drain(shop)
    assert shop.states() == [SENT]


async def test_keys_are_pruned_at_the_start_and_every_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker, "POLL", 0.001)
    shop = Shop()
    async with running(shop):
        for hour in range(1, 4):
            assert shop.wire.count("prune") == hour
            shop.clock.advance("59m")
            looked = shop.wire.count("claim")
            await until(lambda n=looked: shop.wire.count("claim") > n + 1)
            assert shop.wire.count("prune") == hour
            shop.clock.advance("1m")
            await until(lambda n=hour: shop.wire.count("prune") > n)


async def test_more_than_one_pruning_deletes_is_not_left_for_an_hour(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "POLL", 0.001)
    left = [PRUNED_AT_ONCE, PRUNED_AT_ONCE + 1, PRUNED_AT_ONCE - 1]

    async def prune(self: MemoryStorage) -> int:
        return left.pop(0)

    monkeypatch.setattr(MemoryStorage, "prune", prune)
    shop = Shop()
    async with running(shop):
        await until(lambda: shop.wire.count("prune") == 3)
        looked = shop.wire.count("claim")
        await until(lambda: shop.wire.count("claim") > looked + 2)
        assert shop.wire.count("prune") == 3


# -- stopping ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_stopping_finishes_the_send_in_hand_and_gives_back_the_rest(anyio_backend: str) -> None:
    shop = Shop(freemium(1))
    shop.mail.hold = anyio.Event()
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.twin().refuse(*PEOPLE[:10])
            shop.skene.worker.wake()
            await shop.mail.arrived.wait()
            scope.cancel()
            with anyio.CancelScope(shield=True):
                for _ in range(20):
                    await anyio.lowlevel.checkpoint()
                shop.mail.hold.set()
    assert sorted(shop.states()) == [PENDING] * 9 + [SENT]
    assert len(shop.mail.attempts) == 1
    # Nothing waits for a lease to end.
    assert await drain(shop.twin()) == 9
    assert len(shop.mail.sent) == 10


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize(("memory", "state"), [(None, PENDING), (timedelta(0), PARKED)])
async def test_stopping_waits_only_so_long_for_a_provider_that_hangs(
    memory: timedelta | None, state: MessageState, anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "HURRY", 0.05)
    shop = Shop(freemium(1), mail=Post(memory=memory))
    shop.mail.hold = anyio.Event()
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.twin().refuse(*PEOPLE[:3])
            shop.skene.worker.wake()
            await shop.mail.arrived.wait()
            begun = anyio.current_time()
            scope.cancel()
    assert 0.05 <= anyio.current_time() - begun < 2
    assert shop.states() == [state, PENDING, PENDING]
    assert len(shop.mail.attempts) == 1


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_stopping_in_the_claim_gives_everything_back(anyio_backend: str) -> None:
    shop = Shop(freemium(1))
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await until(lambda: shop.wire.count("claim"))
            await anyio.wait_all_tasks_blocked()  # nothing was due; it waits to be woken
            shop.wire.hold["claim"] = anyio.Event()
            await shop.twin().refuse(*PEOPLE[:3])
            shop.skene.worker.wake()
            await until(lambda: shop.states() == [MessageState.CLAIMED] * 3)
            scope.cancel()
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                shop.wire.hold["claim"].set()
    assert shop.states() == [PENDING] * 3
    assert shop.mail.attempts == []
    assert await drain(shop.twin()) == 3


async def test_stopping_before_anything_has_left_gives_the_message_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(delivery, "HURRY", 0.0)
    asking = anyio.Event()

    async def profile(subject: str) -> Profile:
        asking.set()
        await anyio.sleep(0.05)
        return Profile(email=f"{subject}@acme.test")

    shop = Shop(freemium(1), profile=profile)
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.refuse()
            await asking.wait()
            scope.cancel()
    assert (shop.states(), shop.mail.attempts) == ([PENDING], [])
    assert await drain(shop.twin()) == 1


async def test_giving_back_while_the_storage_is_away_is_left_to_the_lease() -> None:
    shop = Shop(freemium(1))
    shop.mail.hold = anyio.Event()
    with anyio.fail_after(5):
        async with running(shop) as scope:
            await shop.twin().refuse(*PEOPLE[:3])
            shop.skene.worker.wake()
            await shop.mail.arrived.wait()
            shop.wire.cut = {"settle"}
            scope.cancel()
            shop.mail.hold.set()
    assert shop.states() == [MessageState.CLAIMED] * 3
    shop.clock.advance(LEASE)
    assert await drain(shop.twin()) == 3
    assert len(shop.mail.sent) == 3


async def test_who_stops_hears_nothing_of_a_storage_that_goes_away_meanwhile() -> None:
    shop = await asked(*PEOPLE[:3])
    with anyio.CancelScope() as scope:

        def at_the_second() -> None:
            scope.cancel()
            shop.wire.cut = {"settle"} if shop.wire.count("settle") > 1 else set()

        shop.wire.before["settle"] = at_the_second
        await drain(shop)
    assert scope.cancelled_caught
    assert sorted(shop.states()) == [MessageState.CLAIMED] * 2 + [SENT]

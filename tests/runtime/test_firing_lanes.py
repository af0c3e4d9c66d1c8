"""Firings that take long, or that a storage cannot take: what becomes of the others."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import skene.runtime.delivery as delivery
import skene.runtime.keeping as keeping
import skene.runtime.mailing as mailing
import skene.runtime.worker as worker
from skene import Loop, action, condition, define_loop, step, trigger
from skene.errors import StorageUnavailable
from skene.ports.firings import Outcome
from skene.ports.outbox import Begun, MessageState
from skene.runtime.worker import LEASE
from skene.testing.conformance.happening import mail, post
from tests.runtime.shop import Shop, asked, freemium

DAY = timedelta(days=1)
PEOPLE = "SELECT id FROM users"


async def nothing(occasion: object) -> None:
    """What follows from every firing here."""


def welcome(name: str = "welcome", of: Any = None) -> Loop:
    """A loop that an event drives."""
    return define_loop(
        type="activation",
        name=name,
        steps=[step(trigger=trigger.event(f"{name}.begins"), condition=of, action=action.function(nothing))],
    )


def digest(name: str = "digest", sql: str = PEOPLE, **options: Any) -> Loop:
    """A loop that the clock drives."""
    return define_loop(
        type="retention",
        name=name,
        steps=[
            step(
                trigger=trigger.schedule("0 9 * * *"),
                condition=condition.query(sql, **options),
                action=action.function(nothing),
            )
        ],
    )


async def next_tick(shop: Shop) -> None:
    """Let the schedules begin if they have not, and go to the next day's tick."""
    await shop.skene.worker.react_once()
    shop.clock.set((shop.clock.now() + DAY).replace(hour=9, minute=0, second=0, microsecond=0))


def outcomes(shop: Shop, step: str) -> list[Outcome]:
    return [row.outcome for row in shop.memory.log() if row.step == step]


async def test_a_firing_that_the_storage_cannot_take_holds_up_no_other() -> None:
    """L10, F40: a batch that is always too slow for one loop, say. The others are evaluated meanwhile."""
    shop = Shop(welcome("a"), welcome("b"))
    record = shop.memory.record

    async def too_slow(firing: Any, *args: Any, **named: Any) -> Any:
        if firing.step == "a":
            raise StorageUnavailable("PostgreSQL did not answer in time")
        return await record(firing, *args, **named)

    shop.memory.record = too_slow  # type: ignore[method-assign] - as a slow or watched storage
    await shop.skene.emit("a.begins", "ada")
    shop.clock.advance(timedelta(seconds=1))
    for n in range(5):
        await shop.skene.emit("b.begins", f"bob{n}")
    for _ in range(4):
        with suppress(StorageUnavailable):
            await shop.skene.worker.react_once()
        shop.clock.advance(timedelta(seconds=2))
    assert outcomes(shop, "b") == [Outcome.ACTED] * 5
    shop.memory.record = record  # type: ignore[method-assign] - as a slow or watched storage
    shop.clock.advance(LEASE)
    await shop.skene.worker.react_once()
    assert outcomes(shop, "a") == [Outcome.ACTED]


async def test_a_condition_slower_than_the_lease_is_asked_by_one_worker_only(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """L10: several queries in one condition may take longer than a lease; else nobody would ever finish."""
    monkeypatch.setattr(keeping, "HEARTBEAT", 0.01)
    release, begun = anyio.Event(), 0

    async def slow(values: Mapping[str, object]) -> list[dict[str, Any]]:
        nonlocal begun
        begun += 1
        await release.wait()
        return [{"id": "ada"}]

    shop = Shop(welcome(of=condition.query("SELECT 1 AS id WHERE $1 = $1")))
    shop.memory.queries.answer("SELECT 1 AS id WHERE $1 = $1", slow)
    await shop.skene.emit("welcome.begins", "ada")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shop.skene.worker.react_once)
        with anyio.fail_after(5):
            while begun == 0:
                await anyio.lowlevel.checkpoint()
            for _ in range(4):
                shop.clock.advance(LEASE / 2)
                kept = shop.wire.count("keep_firing")
                while shop.wire.count("keep_firing") < kept + 2:
                    await anyio.sleep(0.001)
                assert await shop.skene.worker.react_once() == 0
        release.set()
    assert begun == 1
    assert outcomes(shop, "welcome") == [Outcome.ACTED]


async def test_two_scans_leave_a_lane_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two schedules at nine o'clock, both with a long result: an event is still heard at once."""
    monkeypatch.setattr(worker, "POLL", 0.01)
    monkeypatch.setattr(keeping, "HEARTBEAT", 0.001)
    release, begun, long_ones = anyio.Event(), anyio.Event(), list[int]()

    async def long(values: Mapping[str, object]) -> list[dict[str, Any]]:
        long_ones.append(1)
        begun.set()
        await release.wait()
        return [{"id": "ada"}]

    shop = Shop(digest("one"), digest("two", PEOPLE + " WHERE true"), welcome())
    for sql in (PEOPLE, PEOPLE + " WHERE true"):
        shop.memory.queries.answer(sql, long)
    await next_tick(shop)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shop.skene.worker.run)
        with anyio.fail_after(5):
            await begun.wait()
            for _ in range(3):  # what is claimed behind a scan is anybody's when the lease has ended
                shop.clock.advance(LEASE)
                looked = shop.wire.count("claim_firings")
                while shop.wire.count("claim_firings") < looked + 3 and len(long_ones) != 2:
                    await anyio.sleep(0.001)
            await shop.skene.emit("welcome.begins", "bob")
            while outcomes(shop, "welcome") != [Outcome.ACTED]:
                await anyio.sleep(0.001)
            release.set()
            while any(Outcome.SCANNED not in outcomes(shop, name) for name in ("one", "two")):
                shop.clock.advance(timedelta(seconds=1))
                await anyio.sleep(0.001)
        tasks.cancel_scope.cancel()
    assert Outcome.SCANNED in outcomes(shop, "one")
    assert Outcome.SCANNED in outcomes(shop, "two")


async def test_a_scan_keeps_nothing_else_in_its_hands() -> None:
    """What was claimed together with a long scan is another worker's at once, not at the end of a lease."""
    release, begun = anyio.Event(), anyio.Event()

    async def long(values: Mapping[str, object]) -> list[dict[str, Any]]:
        begun.set()
        await release.wait()
        return []

    shop = Shop(digest(), welcome())
    shop.memory.queries.answer(PEOPLE, long)
    await next_tick(shop)
    await shop.skene.worker._scheduling.open_due(shop.clock.now())  # pyright: ignore[reportPrivateUsage] - no verb shows it
    await shop.skene.emit("welcome.begins", "bob")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(shop.skene.worker.react_once)
        with anyio.fail_after(5):
            await begun.wait()
            assert await shop.twin().skene.worker.react_once() == 1
        assert outcomes(shop, "welcome") == [Outcome.ACTED]
        release.set()


async def test_a_result_that_was_cut_short_ends_nobodys_episode() -> None:
    """Decision 25: whom `max_rows` has left out may be in the result all the same."""
    shop = Shop(digest(max_rows=2))
    for rows in (["ada", "bob", "eve"], ["eve", "bob", "ada"], ["ada", "bob", "eve"], ["ada", "bob"]):
        await next_tick(shop)
        shop.memory.queries.answer(PEOPLE, [{"id": name} for name in rows])
        while await shop.skene.worker.react_once():
            pass
    acted = [row.subject for row in shop.memory.log() if row.outcome is Outcome.ACTED]
    assert sorted(acted) == ["ada", "bob", "eve"]
    ends = [row for row in shop.memory.log() if row.subject == ""]
    assert [row.outcome for row in ends] == [Outcome.CUT_SHORT] * 3 + [Outcome.SCANNED]


async def test_the_wait_for_a_turn_is_part_of_the_time_to_send(monkeypatch: pytest.MonkeyPatch) -> None:
    """A send that begins late because the channel is busy still ends before the lease does."""
    monkeypatch.setattr(delivery, "SEND_TIMEOUT", 0.5)
    shop = await asked("ada")
    shop.mail.hold = anyio.Event()
    pause = timedelta(seconds=0.4)
    begin = shop.memory.begin_attempt

    async def in_a_moment(*args: Any) -> Any:
        assert await begin(*args) is not None
        return Begun(pause)

    monkeypatch.setattr(shop.memory, "begin_attempt", in_a_moment)
    start = anyio.current_time()
    await shop.skene.worker.work_once()
    assert pause.total_seconds() <= anyio.current_time() - start < 0.8
    assert shop.mail.attempts
    assert shop.states() == [MessageState.PENDING]


async def test_a_lease_outlasts_the_slowest_send() -> None:
    """Claim, then a message that begins at the last moment: its profile, the record, the send."""
    slowest = 2.0 + worker.FRESH + mailing.PROFILE_TIMEOUT + 2.0 + delivery.SEND_TIMEOUT
    assert slowest <= LEASE.total_seconds()


async def test_a_campaign_keeps_no_notice_waiting() -> None:
    """Decision 26: the provider is slow, and a thousand mails of a campaign are due before the notice."""
    shop = Shop(digest(), freemium(1))
    marketing = [mail(f"m{n}", subject=f"user-{n}", channel="mail") for n in range(30)]
    await post(shop.memory, shop.clock, *(replace(one, template="upgrade_prompt") for one in marketing))
    shop.clock.advance(timedelta(seconds=1))
    await shop.refuse("ada")
    seen: list[str] = []
    begin = shop.memory.begin_attempt

    async def watched(message: Any, *args: Any) -> Any:
        seen.append(message.draft.kind)
        return await begin(message, *args)

    shop.memory.begin_attempt = watched  # type: ignore[method-assign] - as a slow or watched storage
    await shop.skene.worker.work_once()
    assert seen[0] == "upgrade_prompt"

"""Leases: the same decisions with fewer round trips, and every unit accounted for."""

import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from skene import UNLIMITED, Decision, Loop, Reason, Skene, define_loop, rolling, step
from skene.adapters.memory import MemoryStorage
from skene.engine.program import for_route
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume, Counted, Notice
from skene.runtime import lease_table
from skene.runtime import leases as module
from skene.runtime.gate import Admission, Ask
from skene.runtime.leases import Leases
from skene.testing import ManualClock
from tests.runtime.shop import BACKENDS, Shop, ask, freemium
from tests.runtime.till import Till


@asynccontextmanager
async def leasing(limit: Any = 100, *, lease: int | None = 10, **options: Any) -> AsyncGenerator[Shop]:
    """An app that runs, without its worker."""
    shop = Shop(freemium(limit, lease=lease, **options), worker=False)
    async with running(shop):
        yield shop


@asynccontextmanager
async def running(shop: Shop) -> AsyncGenerator[Shop]:
    async with shop.skene.lifespan():
        shop.wire.verbs.clear()
        yield shop


def leases_of(shop: Shop) -> Leases:
    return shop.skene._leases


async def sweep(shop: Shop) -> None:
    await leases_of(shop).sweep()


def counted(shop: Shop, subject: str = "ada") -> int:
    """What the storage has counted, in the window that was opened last."""
    return sum(units for who, _, _, units in shop.memory.counts() if who == subject)


def unspent(shop: Shop) -> int:
    return sum(lease.left for lease in leases_of(shop)._table)


async def admit(shop: Shop, units: int = 1, subject: str = "ada") -> Admission:
    return await shop.skene.gatekeeper.admit(subject, ask(shop, units))


# -- what is saved, and what is not changed ------------------------------------------------------------------


async def test_the_second_call_takes_a_block_and_the_next_ones_ask_nobody() -> None:
    async with leasing() as shop:
        await shop.call()
        assert (counted(shop), unspent(shop)) == (1, 0)
        await shop.call()
        assert (counted(shop), unspent(shop)) == (11, 9)
        await shop.call(times=9)
        assert shop.wire.verbs == ["consume"] * 2
        assert (counted(shop), unspent(shop)) == (11, 0)
        await shop.call()
        assert shop.wire.verbs == ["consume"] * 3


@pytest.mark.parametrize("period", ["30d", rolling("1h")])
@pytest.mark.parametrize("enforce", [True, False])
async def test_a_lone_process_decides_as_if_there_were_no_leases(period: Any, enforce: bool) -> None:
    told: list[list[Decision]] = []
    for lease in (None, 10):
        async with leasing(
            100, lease=lease, period=period, enforce=enforce, notify_at=(0.5, 0.805, 1.0)
        ) as shop:
            shop.clock.set(shop.clock.now().replace(second=1))
            told.append([await shop.call() for _ in range(104)])
            told.append(await everything(shop))
            told.append([await shop.skene.check("ada", "calls")])
    assert told[:3] == told[3:]


async def everything(shop: Shop) -> list[Any]:
    """Walls and messages, without what takes a round trip each: numbers of ids."""
    walls = [replace(wall, id="") for wall in shop.memory.walls]
    return [walls, shop.messages(), counted(shop) - unspent(shop)]


async def test_what_is_left_here_is_not_shown_as_used() -> None:
    async with leasing() as shop:
        await shop.call(times=5)
        assert await shop.used() == 5
        decision = await shop.skene.consume("ada", "calls", 20)
        assert (decision.used, counted(shop)) == (25, 31)
        assert [d.used for d in await shop.twin().skene.usage("ada")] == [31]  # elsewhere it is


async def test_without_a_lifespan_nothing_is_leased() -> None:
    shop = Shop(freemium(100, lease=10))
    await shop.call(times=5)
    assert counted(shop) == 5


async def test_while_a_test_holds_the_worker_every_count_is_as_it_stands() -> None:
    async with leasing() as shop:
        with shop.skene.override(worker=False):
            await shop.call(times=5)
            assert counted(shop) == 5


async def test_a_loop_without_leases_looks_after_none() -> None:
    async with leasing(lease=None) as shop:
        assert not leases_of(shop)._open


async def test_towards_the_limit_blocks_become_smaller() -> None:
    async with leasing(1000, lease=100) as shop:
        for _ in range(1000):
            assert (await shop.call()).allowed
        assert counted(shop) == 1000
        assert shop.wire.count("consume") == 1 + 8 + 9  # whole blocks until 801, then 99, 50, 25, … units
        assert not (await shop.call()).allowed


# -- how large a block is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limit", "block"),
    [(10, 0), (19, 0), (20, 2), (55, 5), (100, 10), (1000, 10), (UNLIMITED, 10)],
)
async def test_a_block_is_at_most_a_tenth_of_the_limit(limit: Any, block: int) -> None:
    shop = Shop(freemium(limits={"free": 1000, "paid": limit}, lease=10), worker=False)
    async with running(shop):
        await shop.skene.set_plan("ada", "paid")
        await shop.call(times=2)
        assert counted(shop) == 2 + max(0, block - 1)


async def test_an_override_is_the_limit_that_counts() -> None:
    async with leasing(1000, lease=50) as shop:
        await shop.skene.override("ada", "calls", 40)
        await shop.call(times=2)
        assert counted(shop) == 5


async def test_nothing_is_leased_on_account_of_grants() -> None:
    async with leasing(20, paid=100) as shop:
        await shop.skene.grant("ada", "calls", 500)
        await shop.call(times=2)
        assert counted(shop) == 3  # a block of 2: a tenth of 20
        await shop.call(times=40)
        assert counted(shop) == 42


async def test_a_block_that_grants_had_to_pay_for_goes_back_at_once() -> None:
    async with leasing() as shop:
        await shop.skene.grant("ada", "calls", 50)
        await shop.call()
        await shop.twin().call(units=95)  # unseen here
        await shop.call()
        assert (counted(shop), unspent(shop)) == (97, 0)
        assert [grant.spent for grant in await shop.skene.grants("ada")] == [0]


async def test_a_block_too_large_for_a_limit_that_was_lowered_goes_back_at_once() -> None:
    async with leasing(1000, lease=50) as shop:
        await shop.call(times=2)
        assert unspent(shop) == 49
        await shop.call(times=49)
        await shop.twin().skene.override("ada", "calls", 200)
        await shop.call()
        assert (counted(shop), unspent(shop)) == (52, 0)
        shop.clock.advance("10s")
        await sweep(shop)
        await shop.call(times=2)
        assert unspent(shop) == 19


async def test_calls_too_dear_for_a_block_go_by_themselves() -> None:
    async with leasing() as shop:
        await shop.call(times=3, units=6)
        assert counted(shop) == 18
        await shop.call(times=2, units=5)
        assert counted(shop) == 18 + 15 - 5 + 0 or unspent(shop) == 5


# -- near the limit ------------------------------------------------------------------------------------------


async def test_every_unit_of_the_limit_can_be_used() -> None:
    async with leasing() as shop:
        for _ in range(100):
            assert (await shop.call()).allowed
        refused = await shop.call()
        assert (refused.reason, refused.used, counted(shop)) == (Reason.LIMIT_REACHED, 100, 100)


async def test_what_lies_here_refuses_no_call_of_this_process() -> None:
    async with leasing() as shop:
        await shop.call(times=82)
        assert unspent(shop)
        assert (await shop.skene.check("ada", "calls", 18)).allowed
        assert not (await shop.twin().skene.check("ada", "calls", 18)).allowed
        assert (await shop.call(units=18)).allowed
        assert counted(shop) == 100


async def test_calls_that_cannot_be_leased_are_not_refused_by_a_lease_either() -> None:
    twice = freemium(100, lease=10)
    other = define_loop(
        type="activation",
        steps=[replaced(freemium(100, meter="calls"), "other")],
    )
    shop = Shop(twice, other, worker=False)
    async with running(shop):
        for _ in range(82):
            await shop.skene.consume("ada", "calls")
        admitted = await shop.skene.gatekeeper.admit("ada", ask(shop, 18))  # two steps
        assert admitted.decision.allowed
        await shop.skene.gatekeeper.release(admitted)
        assert counted(shop) == 82
        await shop.call(times=2)
        assert (await shop.skene.consume("ada", "calls", 16, idempotency_key="k")).allowed


def replaced(loop: Loop, name: str) -> Any:
    only = loop.steps[0]
    return step(condition=only.condition, action=only.action, name=name)


async def test_no_more_blocks_are_taken_once_the_limit_is_near() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        await shop.twin().call(units=88)
        assert counted(shop) == 99
        await shop.call(times=9)
        shop.wire.verbs.clear()
        assert (await shop.call()).allowed
        assert not (await shop.call()).allowed
        # The block does not fit, the one unit does; the next call does not try a block.
        assert shop.wire.verbs == ["consume"] * 3 + ["open_wall"]


# -- other processes -----------------------------------------------------------------------------------------


async def usable(size: int, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many of 100 units two processes can use, when one of them goes quiet."""
    shop = Shop(freemium(100, lease=10), worker=False)
    twin = shop.twin(worker=False)
    async with running(shop), running(twin):
        if size != 10:  # a definition refuses it
            for one in (shop, twin):
                monkeypatch.setattr(
                    leases_of(one), "_size", lambda lease, *_: size if lease.used + size < 100 else 0
                )
                monkeypatch.setattr(leases_of(one), "_may_stay", lambda *_: True)
        await twin.call(times=2)
        used = 2
        while (await shop.call()).allowed:
            used += 1
        return used


async def test_another_process_leaves_nine_tenths_usable(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await usable(10, monkeypatch) == 91


async def test_the_control_with_half_of_the_limit_leaves_half(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await usable(50, monkeypatch) == 51


# -- their end -----------------------------------------------------------------------------------------------


async def test_after_ten_seconds_what_is_left_goes_back() -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        shop.clock.advance(timedelta(seconds=9.999))
        await sweep(shop)
        assert (counted(shop), unspent(shop)) == (11, 8)
        await shop.call()
        shop.clock.advance(timedelta(seconds=0.001))
        await shop.call()
        assert counted(shop) == 12  # it is over: this one was charged by itself
        await sweep(shop)
        assert (counted(shop), unspent(shop)) == (5, 0)
        await sweep(shop)
        assert list(leases_of(shop)._table) == []


async def test_it_ends_by_itself_while_the_app_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    async with leasing() as shop:
        await shop.call(times=3)
        shop.clock.advance("10s")
        with anyio.fail_after(5):
            while leases_of(shop)._table:
                await anyio.sleep(0.01)
        assert counted(shop) == 3


async def test_a_clock_that_is_set_back_ends_it() -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        shop.clock.advance(timedelta(seconds=-1))
        await shop.call()
        assert counted(shop) == 12


async def test_ticks_end_it_when_the_clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        later = anyio.current_time() + 10
        monkeypatch.setattr(module.anyio, "current_time", lambda: later)
        await shop.call()
        assert counted(shop) == 12


async def test_it_never_outlives_its_window() -> None:
    async with leasing(period="5s") as shop:
        first = await shop.call(times=2)
        assert first.resets_at is not None
        shop.clock.advance("4s")
        await shop.call()
        assert counted(shop) == 11
        shop.clock.set(first.resets_at)
        decision = await shop.call()
        assert (decision.used, decision.window_start) == (1, first.resets_at)
        await sweep(shop)  # into a window that is over
        assert counted(shop) == 1


async def test_the_windows_end_is_told_by_the_storages_clock() -> None:
    clock = ManualClock()
    shop = Shop(freemium(100, lease=10, period="5s"), clock=clock, worker=False)
    shop.skene._parts.clock = ManualClock(clock.now() - timedelta(minutes=10))
    async with running(shop):
        await shop.call(times=2)
        for moved in (clock, shop.skene._parts.clock):
            moved.advance("4s")  # type: ignore[attr-defined]
        decision = await shop.call()
        assert (counted(shop), decision.decided_at) == (11, clock.now())
        for moved in (clock, shop.skene._parts.clock):
            moved.advance("1s")  # type: ignore[attr-defined]
        assert (await shop.call()).used == 1


async def test_in_a_rolling_window_it_ends_with_the_part_it_was_taken_in() -> None:
    async with leasing(period=rolling("1m")) as shop:  # parts of a second
        await shop.call(times=3)
        shop.clock.advance(timedelta(seconds=0.9))
        await shop.call()
        assert counted(shop) == 11
        shop.clock.advance(timedelta(seconds=0.1))
        await shop.call()
        assert counted(shop) == 12
        await sweep(shop)
        assert counted(shop) == 5


async def test_the_end_of_the_app_returns_everything() -> None:
    async with leasing() as shop:
        for subject in ("ada", "bob", "cyn"):
            await shop.call(subject, times=4)
    assert [counted(shop, subject) for subject in ("ada", "bob", "cyn")] == [4, 4, 4]


async def test_an_app_that_fails_returns_everything_too() -> None:
    shop = Shop(freemium(100, lease=10), worker=False)

    async def fail() -> None:
        async with running(shop):
            await shop.call(times=4)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert counted(shop) == 4


async def test_a_storage_that_hangs_does_not_keep_the_app_from_ending(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "RETURN_TIMEOUT", 0.02)
    async with leasing() as shop:
        await shop.call(times=4)
        shop.wire.hold["refund"] = anyio.Event()
    assert caplog.messages == ["storage too slow: units of a lease may stay charged"]


# -- calls that fail -----------------------------------------------------------------------------------------


async def test_a_failed_call_gives_its_unit_back_to_the_lease() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        failed = await admit(shop)
        shop.wire.verbs.clear()
        await shop.skene.gatekeeper.release(failed)
        assert (unspent(shop), shop.wire.verbs) == (9, [])
        assert (await shop.call()).used == 3


async def test_a_call_under_a_key_frees_its_key_when_it_fails() -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        failed = await shop.skene.gatekeeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
        await shop.skene.gatekeeper.release(failed)
        assert (counted(shop), unspent(shop)) == (11, 8)
        again = await shop.skene.gatekeeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
        assert again.decision.reason is Reason.WITHIN_LIMIT


async def test_more_than_a_block_never_lies_here() -> None:
    async with leasing() as shop:
        await shop.call()
        failed = [await admit(shop) for _ in range(30)]
        for one in failed:
            await shop.skene.gatekeeper.release(one)
            assert unspent(shop) <= 10
        assert counted(shop) - unspent(shop) == 1


@pytest.mark.parametrize("wait", ["10s", "30d"])
async def test_once_the_lease_is_over_a_unit_goes_back_to_its_window(wait: str) -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        failed = await admit(shop)
        shop.clock.advance(wait)
        await shop.skene.gatekeeper.release(failed)
        await sweep(shop)
        assert counted(shop) == 2


async def test_units_of_another_plan_do_not_go_into_the_lease() -> None:
    async with leasing(paid=1000) as shop:
        failed = await admit(shop)
        await shop.twin().skene.set_plan("ada", "paid")
        await shop.call(times=2)
        await shop.call(times=2)
        await shop.skene.gatekeeper.release(failed)
        await sweep(shop)
        assert {plan: units for _, _, plan, units in shop.memory.counts()}["free"] == 0


async def test_units_held_for_a_while_are_settled_with_the_lease() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        async with shop.skene.reserve("ada", "calls", 4) as hold:
            hold.used(1)
        assert (counted(shop), unspent(shop)) == (11, 8)


# -- many at once --------------------------------------------------------------------------------------------


async def at_once(shop: Shop, calls: int, subject: str = "ada") -> list[Decision]:
    told: list[Decision] = []

    async def one() -> None:
        told.append(await shop.call(subject))

    async with anyio.create_task_group() as tasks:
        for _ in range(calls):
            tasks.start_soon(one)
    return told


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_calls_at_the_same_time_share_one_taking(anyio_backend: str) -> None:
    async with leasing() as shop:
        await shop.call()
        told = await at_once(shop, 10)
        assert shop.wire.verbs == ["consume"] * 2
        assert sorted(d.used for d in told) == list(range(2, 12))


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_those_who_do_not_fit_into_the_block_do_not_wait_for_it(anyio_backend: str) -> None:
    async with leasing() as shop:
        await shop.call()
        told = await at_once(shop, 60)
        assert all(d.allowed for d in told)
        assert counted(shop) - unspent(shop) == 61
        assert unspent(shop) < 10
        assert shop.wire.count("consume") == 1 + 1 + 50


async def test_a_block_on_its_way_is_promised_once() -> None:
    async with leasing() as shop:
        await shop.call()
        held = shop.wire.hold["consume"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            for _ in range(10):  # one takes, nine wait for what it brings
                tasks.start_soon(shop.call)
            await anyio.wait_all_tasks_blocked()
            del shop.wire.hold["consume"]
            with anyio.fail_after(5):
                assert (await shop.call()).used == 12
            held.set()
        assert (counted(shop), unspent(shop)) == (12, 0)


@pytest.mark.parametrize("anyio_backend", BACKENDS)
@pytest.mark.parametrize("used", range(0, 100, 7))
async def test_exactly_the_limit_is_admitted_however_many_come(anyio_backend: str, used: int) -> None:
    async with leasing() as shop:
        for _ in range(used):
            await shop.call()
        told = await at_once(shop, 130)
        assert sum(d.allowed for d in told) == 100 - used
        assert counted(shop) == 100


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_whoever_is_cancelled_leaves_the_units_to_others(anyio_backend: str) -> None:
    async with leasing() as shop:
        await shop.call()
        held = shop.wire.hold["consume"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.call)  # takes
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(shop.call)  # waits for it
            await anyio.wait_all_tasks_blocked()
            tasks.cancel_scope.cancel()
            held.set()
        assert (counted(shop), unspent(shop)) == (11, 10)
        assert (await shop.call()).used == 2


async def test_if_the_taking_fails_all_who_waited_hear_of_it_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def away(call: Consume) -> Counted:
        raise StorageUnavailable("the storage is away")

    async with leasing() as shop:
        await shop.call()
        monkeypatch.setattr(shop.memory, "consume", away)
        failed: list[StorageUnavailable] = []

        async def one() -> None:
            try:
                await shop.call()
            except StorageUnavailable as error:
                failed.append(error)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(one)
        assert len(failed) == 5
        assert shop.wire.count("consume") == 2
        monkeypatch.undo()
        assert (await shop.call()).used == 2


async def test_a_refused_call_waits_for_the_block_that_is_on_its_way() -> None:
    async with leasing() as shop:
        await shop.call()
        await shop.call(times=10)
        await shop.call(units=70)
        held = shop.wire.hold["consume"] = anyio.Event()
        told: list[Decision] = []

        async def one(units: int) -> None:
            told.append(await shop.call(units=units))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, 1)
            await anyio.wait_all_tasks_blocked()
            del shop.wire.hold["consume"]
            tasks.start_soon(one, 18)  # 81 used, and a block of 10 taken
            await anyio.wait_all_tasks_blocked()
            held.set()
        assert [d.allowed for d in told] == [True, True]
        assert counted(shop) == 100


async def test_several_refused_calls_wait_for_one_return() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        await shop.call(units=89 - 9)
        assert counted(shop) == 91
        shop.wire.hold["refund"] = held = anyio.Event()
        told: list[Decision] = []

        async def one() -> None:
            told.append(await shop.call(units=9 + 0))

        async with anyio.create_task_group() as tasks:
            for _ in range(2):
                tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()
            held.set()
        assert sorted(d.allowed for d in told) == [True, True]
        assert counted(shop) == 100


async def test_a_call_that_was_refused_before_a_return_asks_again_after_it() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        await shop.call(units=80)
        assert (counted(shop), unspent(shop)) == (91, 9)
        shop.wire.hold["consume"] = held = anyio.Event()
        told: list[Decision] = []

        async def one() -> None:
            told.append(await shop.call(units=10))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one)
            await anyio.wait_all_tasks_blocked()  # refused, and does not know yet
            del shop.wire.hold["consume"]
            shop.clock.advance("10s")
            await sweep(shop)
            assert counted(shop) == 82
            held.set()
        assert [d.allowed for d in told] == [True]


# -- what changes meanwhile ----------------------------------------------------------------------------------


async def nothing(skene: Skene) -> None:
    """The control: nothing changes."""


CHANGES: dict[str, Callable[[Skene], Any]] = {
    "plan": lambda skene: skene.set_plan("ada", "paid"),
    "override": lambda skene: skene.override("ada", "calls", 30),
    "grant": lambda skene: skene.grant("ada", "calls", 30),
    "end_override": lambda skene: skene.end_override("ada", "calls"),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_through_this_process_returns_the_lease_first(change: str) -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=3)
        await CHANGES[change](shop.skene)
        assert (counted(shop), unspent(shop)) == (3, 0)


async def test_the_control_without_a_change_keeps_it() -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=3)
        await nothing(shop.skene)
        assert (counted(shop), unspent(shop)) == (11, 8)


async def test_the_next_call_is_counted_under_the_new_plan() -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=3)
        await shop.skene.set_plan("ada", "paid")
        assert [(await shop.call()).plan for _ in range(3)] == ["paid"] * 3


async def test_a_change_elsewhere_is_seen_when_the_lease_ends() -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=3)
        await shop.twin().skene.set_plan("ada", "paid")
        assert (await shop.call()).plan == "free"
        shop.clock.advance("10s")
        assert (await shop.call()).plan == "paid"


async def test_a_change_elsewhere_is_seen_as_soon_as_the_storage_is_asked() -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=3)
        await shop.twin().skene.set_plan("ada", "paid")
        assert (await shop.call(units=20)).plan == "paid"
        assert (await shop.call()).plan == "paid"


async def test_a_block_that_comes_under_another_plan_replaces_what_is_left() -> None:
    async with leasing(paid=1000) as shop:
        await shop.call(times=2)
        await shop.call(units=8)
        assert unspent(shop) == 1
        await shop.twin().skene.set_plan("ada", "paid")
        assert (await shop.call(units=2)).plan == "paid"
        by_plan = {plan: units for _, _, plan, units in shop.memory.counts()}
        assert by_plan == {"free": 10, "paid": 9}
        assert unspent(shop) == 7


async def test_a_webhook_that_changes_the_plan_ends_the_lease() -> None:
    till = Till(
        freemium(limits={"free": 100, "starter": 1000, "pro": UNLIMITED}, lease=10), worker=False
    ).listen()
    async with running(till):
        await till.call(times=3)
        await till.stripe.subscribe("ada", "price_pro")
        assert till.plan() == "pro"
        assert unspent(till) == 0
        assert (await till.call()).plan == "pro"


async def test_whoever_is_forgotten_leaves_no_lease_behind() -> None:
    async with leasing(period="30d") as shop:
        await shop.call(times=3)
        held = shop.wire.hold["forget"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.skene.forget, "ada")
            await anyio.wait_all_tasks_blocked()
            await shop.call(times=5)  # none of them is leased, or remembered
            held.set()
        assert (counted(shop), unspent(shop)) == (5, 0)
        await shop.call(times=2)
        assert unspent(shop) == 9


async def test_nobody_is_remembered_who_is_being_forgotten() -> None:
    async with leasing() as shop:
        called = shop.wire.hold["consume"] = anyio.Event()
        held = shop.wire.hold["forget"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.call)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(shop.skene.forget, "ada")
            await anyio.wait_all_tasks_blocked()
            called.set()
            await anyio.wait_all_tasks_blocked()
            held.set()
        assert list(leases_of(shop)._table) == []


async def test_a_taking_under_way_is_waited_for_before_anything_changes() -> None:
    async with leasing() as shop:
        await shop.call()
        held = shop.wire.hold["consume"] = anyio.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(shop.call)
            await anyio.wait_all_tasks_blocked()
            tasks.start_soon(shop.skene.forget, "ada")
            await anyio.wait_all_tasks_blocked()
            assert shop.wire.count("forget") == 0
            held.set()
        assert shop.wire.verbs[-3:] == ["consume", "refund", "forget"]
        assert (counted(shop), unspent(shop)) == (0, 0)


async def test_merged_subjects_are_counted_as_they_stand() -> None:
    async with leasing() as shop:
        await shop.call("visitor", times=3)
        await shop.call("ada", times=3)
        await shop.skene.merge("visitor", "ada")
        assert (counted(shop), unspent(shop)) == (6, 0)
        await shop.call("visitor", times=4)  # by the old name nothing is leased
        assert counted(shop) == 10


async def test_a_merge_elsewhere_leaves_nothing_charged() -> None:
    async with leasing() as shop:
        await shop.call("visitor", times=11)
        await shop.twin().skene.merge("visitor", "ada")
        await shop.call("visitor")  # a block, under the other name
        failed = await shop.skene.gatekeeper.admit("visitor", ask(shop))
        await shop.skene.gatekeeper.release(failed)
        shop.clock.advance("10s")
        await sweep(shop)
        assert counted(shop) == 12


async def test_another_storage_has_leases_of_its_own() -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        other = MemoryStorage(clock=shop.clock)
        with shop.skene.override(storage=other):
            assert (await shop.call()).used == 1
            await shop.call(times=3)
            assert [units for *_, units in other.counts()] == [4]
        assert (await shop.call()).used == 12  # the lease was ended, and is not returned yet
    assert counted(shop) == 4


# -- away ----------------------------------------------------------------------------------------------------


async def test_while_the_storage_is_away_a_lease_goes_on() -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        shop.wire.cut.add("consume")
        assert [(await shop.call()).allowed for _ in range(8)] == [True] * 8
        with pytest.raises(StorageUnavailable):
            await shop.call()
        assert counted(shop) == 11


async def test_what_is_over_waits_until_the_storage_is_back(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    async with leasing() as shop:
        await shop.call(times=3)
        shop.wire.cut.add("*")
        shop.clock.advance("10s")
        with anyio.fail_after(5):
            while not caplog.messages:
                await anyio.sleep(0.01)
        assert caplog.messages == ["leases that are over wait to be returned: the storage is away"]
        assert shop.wire.count("refund") == 0
        shop.wire.cut.clear()
        with anyio.fail_after(5):
            while unspent(shop):
                await anyio.sleep(0.01)
        assert counted(shop) == 3


async def test_a_return_that_failed_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    async with leasing() as shop:
        await shop.call(times=3)
        shop.wire.cut.add("refund")
        shop.clock.advance("10s")
        await sweep(shop)
        shop.wire.cut.clear()
        await sweep(shop)
        assert (counted(shop), unspent(shop)) == (11, 0)
        assert caplog.messages == ["storage unavailable: units of a lease stay charged"]


async def test_whatever_goes_wrong_the_looks_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "LOOK", 0.01)
    async with leasing() as shop:
        await shop.call(times=3)
        shop.wire.failure = RuntimeError
        shop.wire.cut.add("peek")
        shop.clock.advance("10s")
        with anyio.fail_after(5):
            while not caplog.messages:
                await anyio.sleep(0.01)
        shop.wire.cut.clear()
        with anyio.fail_after(5):
            while unspent(shop):
                await anyio.sleep(0.01)
    assert caplog.messages[0] == "a look at the leases failed, going on"
    assert caplog.records[0].levelno == logging.ERROR


# -- memory --------------------------------------------------------------------------------------------------


async def test_no_more_subjects_are_remembered_than_there_is_room_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lease_table, "MOST", 3)
    async with leasing() as shop:
        for n in range(10):
            await shop.call(f"user-{n}")
        assert list(leases_of(shop)._table._by_subject) == ["user-7", "user-8", "user-9"]
        await shop.call("user-7")
        await shop.call("user-8")
        await shop.call("user-9")
        await shop.call("ada", times=3)
        assert counted(shop) == 3  # there is no room, but the oldest has to go
        assert unspent(shop) == 27
        await sweep(shop)
        assert unspent(shop) == 18
        await sweep(shop)
        await shop.call("ada", times=2)
        assert counted(shop) == 14


async def test_one_that_is_used_stays_when_others_have_to_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_table, "MOST", 2)
    async with leasing() as shop:
        await shop.call("ada")
        await shop.call("bob")
        await shop.call("ada")
        await shop.call("cyn")
        assert list(leases_of(shop)._table._by_subject) == ["ada", "cyn"]


# -- routes, warnings, watching ------------------------------------------------------------------------------


async def test_every_route_has_a_lease_of_its_own() -> None:
    async with leasing(group_by="route") as shop:
        (only,) = shop.skene.program.steps
        for route in ("/a", "/b"):
            for _ in range(4):
                await shop.skene.gatekeeper.admit("ada", (Ask(for_route(only, route), 1),))
        assert sorted((meter, units) for _, meter, _, units in shop.memory.counts()) == [
            ("calls:/a", 11),
            ("calls:/b", 11),
        ]
        await shop.skene.forget("ada")
        assert unspent(shop) == 0


async def test_attempts_keep_their_units() -> None:
    async with leasing(charge="attempt") as shop:
        await shop.call(times=2)
        await shop.skene.gatekeeper.release(await admit(shop))
        assert (counted(shop), unspent(shop)) == (11, 8)


async def test_a_warning_is_recorded_once_and_at_its_own_unit() -> None:
    async with leasing(notify_at=(0.055,)) as shop:
        told = [(await shop.call()).used for _ in range(5)]
        assert (told[-1], shop.kinds) == (5, [])
        await shop.call()
        assert shop.kinds == ["usage_warning"]
        await shop.call(times=5)
        assert shop.wire.count("record_notice") == 1


async def test_a_warning_of_another_plan_is_another_one() -> None:
    async with leasing(notify_at=(0.05,)) as shop:
        told = await shop.call(times=2)
        assert told.window_start is not None
        notice = Notice("ada", "calls", "paid", told.window_start, ("freemium@0.05",), ())
        assert not await leases_of(shop).record_notice(notice)
        await shop.call(times=3)
        assert shop.kinds == ["usage_warning"]


async def test_a_loop_that_watches_leases_beyond_its_limit() -> None:
    async with leasing(enforce=False) as shop:
        told = [await shop.call() for _ in range(130)]
        assert [d.reason for d in told] == [Reason.WITHIN_LIMIT] * 100 + [Reason.SHADOW] * 30
        assert shop.wire.count("consume") == 14
        assert (len(shop.memory.walls), shop.wire.count("open_wall")) == (1, 1)


async def test_it_is_the_storage_that_refuses_and_the_wall_opens_once() -> None:
    async with leasing() as shop:
        await shop.refuse()
        await shop.call(times=5)
        (wall,) = shop.memory.walls
        assert (wall.used, wall.limit, shop.kinds) == (100, 100, ["upgrade_prompt"])

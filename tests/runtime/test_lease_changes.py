"""What changes while units are leased: plans, limits, people, storages, and outages."""

import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from skene import UNLIMITED, Skene
from skene.adapters.memory import MemoryStorage
from skene.errors import StorageUnavailable
from skene.runtime import leases as module
from tests.runtime.lessee import counted, leases_of, leasing, running, sweep, unspent
from tests.runtime.shop import ask, freemium
from tests.runtime.till import Till

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

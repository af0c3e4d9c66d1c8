"""Leases and many calls at the same moment."""

import asyncio  # noqa: TID251 - its own cancellation is not anyio's

import anyio
import pytest

from skene import Decision
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume, Counted
from tests.runtime.lessee import counted, leasing, sweep, unspent
from tests.runtime.shop import BACKENDS, Shop

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


async def test_whoever_gives_up_by_a_timeout_of_asyncios_leaves_them_too() -> None:
    async with leasing() as shop:
        await shop.call()
        held = shop.wire.hold["consume"] = anyio.Event()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shop.call(), 0.01)
        held.set()
        await anyio.wait_all_tasks_blocked()
        assert (counted(shop), unspent(shop)) == (11, 10)


async def test_whoever_gives_up_while_units_are_returned_does_not_lose_them() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        await shop.call(units=80)
        held = shop.wire.hold["refund"] = anyio.Event()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(shop.call(units=15), 0.01)
        held.set()
        await anyio.wait_all_tasks_blocked()
        assert (counted(shop), unspent(shop)) == (82, 0)


async def test_whatever_else_fails_is_told_to_whom_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*_: object) -> None:
        raise ZeroDivisionError

    async with leasing() as shop:
        await shop.call()
        with monkeypatch.context() as patch:
            patch.setattr(shop.memory, "consume", broken)
            with pytest.raises(ZeroDivisionError):
                await shop.call()
        await shop.call()
        await shop.call(units=80)
        with monkeypatch.context() as patch:
            patch.setattr(shop.memory, "refund", broken)
            with pytest.raises(ZeroDivisionError):
                await shop.call(units=15)
        assert (await shop.call()).allowed


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

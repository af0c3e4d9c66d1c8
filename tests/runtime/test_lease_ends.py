"""How leases end, and what becomes of units that are not used, or whose calls fail."""

from datetime import timedelta

import anyio
import pytest

from skene import Reason, rolling
from skene.runtime import lease_table
from skene.runtime import leases as module
from skene.testing import ManualClock
from tests.runtime.lessee import admit, counted, leases_of, leasing, running, sweep, unspent
from tests.runtime.shop import BACKENDS, Shop, ask, freemium

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
    late = ManualClock(clock.now() - timedelta(minutes=10))
    shop = Shop(freemium(100, lease=10, period="5s"), clock=clock, worker=False)
    shop.skene._parts.clock = late
    async with running(shop):
        await shop.call(times=2)
        for moved in (clock, late):
            moved.advance("4s")
        decision = await shop.call()
        assert (counted(shop), decision.decided_at) == (11, clock.now())
        for moved in (clock, late):
            moved.advance("1s")
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


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_an_app_that_is_cancelled_returns_everything_too(anyio_backend: str) -> None:
    shop = Shop(freemium(100, lease=10), worker=False)
    with anyio.CancelScope() as scope:
        async with running(shop):
            await shop.call(times=4)
            scope.cancel()
            await anyio.sleep(5)
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

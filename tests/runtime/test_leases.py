"""Leases: the same decisions with fewer round trips, up to the last unit of the limit."""

from dataclasses import replace
from typing import Any

import pytest

from skene import UNLIMITED, Decision, Loop, Reason, define_loop, rolling, step
from skene.engine.program import for_route
from skene.ports.counters import Notice
from skene.runtime.asks import Ask
from tests.runtime.lessee import admit, counted, leases_of, leasing, running, sweep, unspent
from tests.runtime.shop import Shop, ask, freemium

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


async def test_the_limit_of_a_loop_that_only_watches_counts_here_too() -> None:
    async with leasing(100, lease=50, enforce=False) as shop:
        await shop.call(times=2)
        assert counted(shop) == 11


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


async def test_once_units_had_to_be_returned_no_block_is_taken_for_a_while() -> None:
    async with leasing() as shop:
        await shop.call(times=2)
        assert (await shop.call(units=90)).allowed
        await shop.call(times=2)
        assert (counted(shop), unspent(shop)) == (94, 0)


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

"""Skene as code uses it outside HTTP: counting, holding, people and plans."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from skene import (
    IdempotencyConflict,
    MeterUnknown,
    QuotaExceeded,
    Reason,
    SubjectInvalid,
)
from skene.engine.program import for_route
from skene.runtime.asks import Ask
from tests.runtime.shop import BACKENDS, Shop, freemium
from tests.runtime.till import Till

# -- consume and check -------------------------------------------------------------------------------------


async def test_consume_charges_and_check_only_looks() -> None:
    shop = Shop(freemium(10))
    assert (await shop.skene.consume("ada", "calls", 4)).used == 4
    looked = await shop.skene.check("ada", "calls", 6)
    assert (looked.allowed, looked.used, looked.remaining, looked.cost) == (True, 4, 6, 6)
    refused = await shop.skene.check("ada", "calls", 7)
    assert (refused.allowed, refused.reason) == (False, Reason.LIMIT_REACHED)
    assert await shop.used() == 4
    assert shop.memory.walls == ()  # who looks meets no wall
    assert shop.kinds == []
    assert not (await shop.skene.consume("ada", "calls", 7)).allowed
    assert (await shop.used(), len(shop.memory.walls)) == (4, 1)


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", None, 2**63, 10**400])
async def test_units_are_whole_numbers_of_one_or_more(units: Any) -> None:
    shop = Shop()
    for verb in (shop.skene.consume, shop.skene.check):
        with pytest.raises(ValueError, match=r"units: got .*give a whole number from 1 to 2\*\*63-1"):
            await verb("ada", "calls", units)
    with pytest.raises(ValueError, match="units"):
        async with shop.skene.reserve("ada", "calls", units):
            pytest.fail("nothing can be held")
    assert shop.wire.verbs == []


async def test_an_unknown_meter_is_named_with_the_nearest() -> None:
    shop = Shop()
    for verb in (shop.skene.consume, shop.skene.check):
        with pytest.raises(MeterUnknown, match=r"no meter is called 'cals'.*did you mean 'calls'") as caught:
            await verb("ada", "cals")
        assert isinstance(caught.value, LookupError)
    with pytest.raises(MeterUnknown):
        async with shop.skene.reserve("ada", "cals", 1):
            pytest.fail("nothing can be held")


async def test_a_key_names_a_call_and_repeats_are_free() -> None:
    shop = Shop(freemium(10))
    keys = ["k", "é" * 500, "\ud800", "with spaces and \n lines"]
    for key in keys:
        first = await shop.skene.consume("ada", "calls", 2, idempotency_key=key)
        again = await shop.skene.consume("ada", "calls", 2, idempotency_key=key)
        assert (first.reason, again.reason) == (Reason.WITHIN_LIMIT, Reason.REPLAYED)
    assert await shop.used() == 2 * len(keys)
    with pytest.raises(IdempotencyConflict):
        await shop.skene.consume("ada", "calls", 3, idempotency_key="k")
    assert (await shop.skene.consume("bob", "calls", 3, idempotency_key="k")).used == 3
    with pytest.raises(ValueError, match="idempotency_key"):
        await shop.skene.consume("ada", "calls", idempotency_key="")


# -- reserve -----------------------------------------------------------------------------------------------


async def test_what_was_held_and_not_used_goes_back() -> None:
    shop = Shop(freemium(2000))
    async with shop.skene.reserve("ada", "calls", 2000) as hold:
        assert (hold.units, hold.decision.used) == (2000, 2000)
        assert not (await shop.skene.check("ada", "calls")).allowed  # held is held
        hold.used(1312)
    assert await shop.used() == 1312


@pytest.mark.parametrize(("used", "charged"), [(None, 5), (5, 5), (0, 0), (3, 3)])
async def test_what_is_charged_in_the_end(used: int | None, charged: int) -> None:
    shop = Shop(freemium(5))
    async with shop.skene.reserve("ada", "calls", 5) as hold:
        if used is not None:
            hold.used(4)
            hold.used(used)  # the last word counts
    assert await shop.used() == charged


@pytest.mark.parametrize("units", [-1, 6, True, 1.5, None, "3"])
async def test_only_what_is_held_can_be_used(units: Any) -> None:
    shop = Shop(freemium(50))
    with pytest.raises(ValueError, match="give a number from 0 to 5, the units held"):
        async with shop.skene.reserve("ada", "calls", 5) as hold:
            hold.used(units)
    assert await shop.used() == 0


async def test_an_exception_gives_everything_back() -> None:
    shop = Shop(freemium(5))

    async def job() -> None:
        async with shop.skene.reserve("ada", "calls", 5) as hold:
            hold.used(2)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await job()
    assert await shop.used() == 0


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_so_does_cancellation(anyio_backend: str) -> None:
    shop = Shop(freemium(5))
    with anyio.move_on_after(0.01) as scope:
        async with shop.skene.reserve("ada", "calls", 5):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    assert await shop.used() == 0


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_settling_finishes_though_its_caller_is_cancelled_meanwhile(anyio_backend: str) -> None:
    shop = Shop(freemium(5))
    with anyio.CancelScope() as scope:
        async with shop.skene.reserve("ada", "calls", 5) as hold:
            hold.used(2)
            scope.cancel()
    assert await shop.used() == 2


async def test_what_cannot_be_held_is_an_exception_that_carries_the_decision() -> None:
    shop = Shop(freemium(5))
    with pytest.raises(QuotaExceeded, match="Limit reached") as caught:
        async with shop.skene.reserve("ada", "calls", 6):
            pytest.fail("it is not there")
    assert (caught.value.decision.limit, caught.value.decision.used) == (5, 0)
    assert shop.kinds == ["upgrade_prompt"]
    assert await shop.used() == 0


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_holds_at_the_same_time_never_exceed_the_limit(anyio_backend: str) -> None:
    shop, peak = Shop(freemium(100)), []

    async def job(number: int) -> None:
        try:
            async with shop.skene.reserve("ada", "calls", 30) as hold:
                peak.append((await shop.skene.usage("ada"))[0].used)
                hold.used(number % 10)
        except QuotaExceeded:
            peak.append(0)

    async with anyio.create_task_group() as tasks:
        for number in range(40):
            tasks.start_soon(job, number)
    assert max(peak) <= 100
    assert 0 in peak


# -- people and plans --------------------------------------------------------------------------------------


async def test_usage_is_a_decision_for_every_step() -> None:
    shop = Shop(freemium(3), freemium(7, name="other", meter="other"))
    await shop.call(times=2)
    calls, other = await shop.skene.usage("ada")
    assert (calls.used, calls.limit, calls.remaining, calls.plan) == (2, 3, 1, "free")
    assert (other.used, other.limit) == (0, 7)
    assert calls.resets_at == shop.clock.now() + timedelta(days=30)
    assert (await shop.skene.usage("nobody"))[0].used == 0
    assert "nobody" not in str(shop.memory.counts())  # who looks leaves no trace


async def test_usage_of_a_step_that_counts_routes_apart_has_a_line_for_each() -> None:
    shop = Shop(freemium(3, group_by="route"))
    (step,) = shop.skene.program.steps
    assert await shop.skene.usage("ada") == ()
    for route in ("/a", "/b", "/b"):
        await shop.skene.gatekeeper.admit("ada", (Ask(for_route(step, route), 1),))
    assert [(d.meter, d.used) for d in await shop.skene.usage("ada")] == [("calls:/a", 1), ("calls:/b", 2)]


async def test_a_plan_set_by_hand_holds_until_its_end() -> None:
    shop = Shop()
    applied = await shop.skene.set_plan("ada", "paid", until=shop.clock.now() + timedelta(days=7))
    assert (applied.before, applied.after, applied.converted) == ("free", "paid", True)
    assert (await shop.call(times=10)).plan == "paid"
    shop.clock.advance("7d")
    assert (await shop.call()).plan == "free"
    assert (await shop.skene.set_plan("ada", "free")).converted is False


async def test_a_plan_that_no_limit_table_knows_and_a_time_without_a_zone_are_refused() -> None:
    shop = Shop()
    with pytest.raises(ValueError, match="plan: got 'gold'; there are: free, paid"):
        await shop.skene.set_plan("ada", "gold")
    naive = datetime(2026, 1, 1)  # noqa: DTZ001 - what is refused
    with pytest.raises(ValueError, match=r"until: got .*with its zone"):
        await shop.skene.set_plan("ada", "paid", until=naive)
    for name in ("since", "until"):
        with pytest.raises(ValueError, match=f"{name}: got"):
            await shop.skene.funnel(**{name: naive})
    assert shop.wire.verbs == []
    assert await shop.skene.funnel(since=datetime(2026, 1, 1, tzinfo=UTC)) == ()


@pytest.mark.parametrize("subject", ["", None, 7])
async def test_whose_plan_needs_a_subject(subject: Any) -> None:
    shop = Shop()
    for call in (
        lambda: shop.skene.set_plan(subject, "paid"),
        lambda: shop.skene.link(subject, "cus_1"),
        lambda: shop.skene.forget(subject),
        lambda: shop.skene.usage(subject),
    ):
        with pytest.raises(SubjectInvalid):
            await call()
    with pytest.raises(ValueError, match="customer"):
        await shop.skene.link("ada", "")
    assert shop.wire.verbs == []


async def test_a_customer_that_is_linked_brings_its_plan() -> None:
    till = Till()
    await till.stripe.subscribe("somebody", "price_pro", metadata={})
    applied = await till.skene.link("ada", str(till.stripe.customer("somebody")))
    assert applied is not None
    assert (applied.subject, applied.after) == ("ada", "pro")
    assert till.plan() == "pro"


async def test_who_is_forgotten_is_gone() -> None:
    shop = Shop()
    await shop.refuse()
    assert await shop.skene.forget("ada") > 0
    assert await shop.used() == 0
    assert not re.search(r"\bada\b", str(shop.memory.__dict__["_state"].__dict__))
    assert await shop.skene.forget("ada") == 0


async def test_the_funnel_of_a_loop_and_a_time() -> None:
    shop = Shop()
    await shop.refuse("ada")
    began = shop.clock.now()
    shop.clock.advance("1d")
    await shop.refuse("bob")
    (row,) = await shop.skene.funnel()
    assert (row.loop, row.walls) == ("freemium", 2)
    (later,) = await shop.skene.funnel(since=began + timedelta(hours=1))
    assert later.walls == 1
    assert await shop.skene.funnel(loop="another") == ()

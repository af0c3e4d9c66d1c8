"""`Counters.consume` and `peek`: limits, plans, several counters at once."""

from datetime import UTC, timedelta

import pytest

from skene.engine.standing import Standing
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    apply,
    call,
    charge,
    set_plan,
    used,
)

MOST = 2**63 - 1


class LimitConformance(ConformanceBase):
    """How far a limit reaches."""

    @pytest.mark.parametrize("limit", [0, 1, 2, 100])
    async def test_exactly_the_limit_is_admitted(self, storage: Storage, limit: int) -> None:
        """L1, decision 3: calls 1…limit pass, each counted as it is told; the next is refused."""
        for number in range(1, limit + 1):
            counted = await storage.consume(call(charge(limit)))
            assert counted.admitted
            assert [tally.used for tally in counted.tallies] == [number]
        for _ in range(3):
            counted = await storage.consume(call(charge(limit)))
            assert not counted.admitted
            assert not counted.tallies[0].fits
            assert counted.tallies[0].receipt is None
            assert counted.tallies[0].used == limit
            assert counted.tallies[0].limit == limit

    async def test_the_greatest_limit_is_counted_exactly(self, storage: Storage) -> None:
        """Decision 2: limits reach 2**63-1, and a sum beyond that is a refusal, not an overflow."""
        assert (await storage.consume(call(charge(MOST, cost=MOST - 1)))).admitted
        refused = await storage.consume(call(charge(MOST, cost=2)))
        assert not refused.admitted
        assert refused.tallies[0].used == MOST - 1
        assert not (await storage.consume(call(charge(MOST, cost=MOST)))).admitted
        assert not (await storage.peek(call(charge(MOST, cost=MOST)))).admitted
        last = await storage.consume(call(charge(MOST)))
        assert last.admitted
        assert last.tallies[0].used == MOST
        assert not (await storage.consume(call(charge(MOST)))).admitted

    async def test_unlimited_is_counted_and_never_refused(self, storage: Storage) -> None:
        """Decision 7: a subject without a limit is counted like any other."""
        for number in range(1, 151):
            counted = await storage.consume(call(charge(None)))
            assert counted.admitted
            assert counted.tallies[0].fits
            assert counted.tallies[0].limit is None
            assert counted.tallies[0].used == number

    async def test_unlimited_survives_absurd_costs(self, storage: Storage) -> None:
        """Decision 7: never refused, not even where a 64-bit column is full; the count may stop there."""
        for _ in range(3):
            counted = await storage.consume(call(charge(None, cost=MOST)))
            assert counted.admitted
            assert counted.tallies[0].used >= MOST

    async def test_a_cost_above_the_limit_never_passes(self, storage: Storage) -> None:
        """L1: a fresh counter is no excuse for the first call."""
        assert not (await storage.consume(call(charge(100, cost=101)))).admitted
        assert not (await storage.consume(call(charge(100, cost=MOST)))).admitted
        assert await used(storage) == 0

    async def test_a_cost_fits_exactly_or_not_at_all(self, storage: Storage) -> None:
        """Contract: a counter fits when `used + cost <= limit`; nothing is taken in part."""
        assert (await storage.consume(call(charge(100, cost=60)))).admitted
        assert not (await storage.consume(call(charge(100, cost=41)))).admitted
        assert await used(storage) == 60
        counted = await storage.consume(call(charge(100, cost=40)))
        assert counted.admitted
        assert counted.tallies[0].used == 100

    async def test_a_limit_changed_by_a_deploy_keeps_the_count(self, storage: Storage) -> None:
        """Decision 2: lowering a limit refuses at once, raising it admits at once, the count stays."""
        for _ in range(10):
            await storage.consume(call(charge(100)))
        refused = await storage.consume(call(charge(5)))
        assert not refused.admitted
        assert (refused.tallies[0].used, refused.tallies[0].limit) == (10, 5)
        assert (await storage.consume(call(charge(11)))).tallies[0].used == 11

    async def test_subjects_and_meters_do_not_share(self, storage: Storage) -> None:
        """Decision 5: one counter per meter and subject."""
        await storage.consume(call(charge(1, meter="calls")))
        assert (await storage.consume(call(charge(1, meter="exports")))).admitted
        assert (await storage.consume(call(charge(1, meter="calls"), subject="bob"))).admitted
        assert not (await storage.consume(call(charge(1, meter="calls")))).admitted

    async def test_the_counters_of_a_subject_are_known(self, storage: Storage) -> None:
        """Contract: every meter that was charged, once, sorted; not those of other subjects."""
        for meter in ("b", "a", "b", "c:/path"):
            await storage.consume(call(charge(5, meter=meter)))
        await storage.consume(call(charge(5, meter="d"), subject="bob"))
        await set_plan(storage, PAYING)
        await storage.consume(call(charge(5, meter="a")))
        assert await storage.meters("ada") == ("a", "b", "c:/path")
        assert await storage.meters("nobody") == ()

    async def test_steps_share_a_meter_of_the_same_name(self, storage: Storage) -> None:
        """Decision 5: a meter's name makes steps share its counter."""
        await storage.consume(call(charge(2, step="freemium.0")))
        counted = await storage.consume(call(charge(2, step="freemium.1")))
        assert counted.tallies[0].used == 2
        assert not (await storage.consume(call(charge(2, step="freemium.0")))).admitted

    async def test_a_receipt_names_what_was_charged(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: the receipt has meter, plan and cost, and an instant of the window."""
        counted = await storage.consume(call(charge(cost=7, meter="exports")))
        tally = counted.tallies[0]
        assert tally.receipt is not None
        assert (tally.receipt.meter, tally.receipt.plan, tally.receipt.cost) == ("exports", "free", 7)
        assert tally.start <= tally.receipt.at < tally.end

    async def test_time_is_the_given_clocks(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 8: with an injected clock, time is the injected one, aware UTC."""
        clock.advance(timedelta(days=400, microseconds=17))
        for counted in (await storage.consume(call()), await storage.peek(call())):
            assert counted.now == clock.now()
            assert counted.now.utcoffset() == timedelta(0)
            assert counted.tallies[0].start.tzinfo is UTC or not counted.tallies[0].start.utcoffset()


class RefusalConformance(ConformanceBase):
    """What is not admitted changes nothing; what is only looked at neither."""

    async def test_a_refusal_changes_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """L3: neither count, nor window, nor anything else."""
        await storage.consume(call(charge(100, cost=99)))
        before = await storage.peek(call())
        clock.advance("1h")
        for _ in range(5):
            assert not (await storage.consume(call(charge(100, cost=2)))).admitted
        after = await storage.peek(call())
        assert after.tallies == before.tallies
        assert await storage.messages() == ()

    async def test_a_refusal_opens_no_window(self, storage: Storage, clock: ManualClock) -> None:
        """L3, decision 1: a window opens with the first *counted* use."""
        assert not (await storage.consume(call(charge(0)))).admitted
        assert not (await storage.consume(call(charge(100, cost=101)))).admitted
        clock.advance("3h")
        assert (await storage.consume(call())).tallies[0].start == clock.now()

    async def test_a_refused_key_is_not_remembered(self, storage: Storage) -> None:
        """Decision 9: only what was admitted is repeated; after an upgrade the same key is charged."""
        assert not (await storage.consume(call(charge(0), key="k1"))).admitted
        await set_plan(storage, PAYING)
        counted = await storage.consume(call(charge(0), key="k1"))
        assert counted.admitted
        assert not counted.replayed
        assert await used(storage, charge(0)) == 1

    async def test_peek_changes_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: `peek` answers without charging, opening a window, or using up a key."""
        first = await storage.peek(call(key="k1"))
        assert first.admitted
        assert first.tallies[0].used == 0
        assert first.tallies[0].receipt is None
        clock.advance("2h")
        await storage.peek(call(key="k1"))
        counted = await storage.consume(call(key="k1"))
        assert not counted.replayed
        assert counted.tallies[0].start == clock.now()
        assert counted.tallies[0].used == 1
        clock.advance("2h")
        assert (await storage.peek(call())).tallies[0].start == counted.tallies[0].start
        assert await used(storage) == 1

    async def test_peek_foretells_consume(self, storage: Storage) -> None:
        """Contract: `admitted` and `fits` are what `consume` would say."""
        for cost in (99, 2, 1, 1):
            item = charge(100, cost=cost)
            foretold = await storage.peek(call(item))
            counted = await storage.consume(call(item))
            assert foretold.admitted == counted.admitted
            assert foretold.tallies[0].fits == counted.tallies[0].fits
            assert foretold.tallies[0].limit == counted.tallies[0].limit
            assert foretold.plan == counted.plan

    async def test_all_counters_admit_or_none_is_charged(self, storage: Storage) -> None:
        """Decision 6: A fits and B does not, so neither is charged, and each says how it stands."""
        await storage.consume(call(charge(1, meter="b")))
        for charges in (
            (charge(100, meter="a"), charge(1, meter="b", step="freemium.1")),
            (charge(1, meter="b", step="freemium.1"), charge(100, meter="a")),
        ):
            counted = await storage.consume(call(*charges))
            assert not counted.admitted
            assert [tally.charge for tally in counted.tallies] == list(charges)
            assert {t.charge.meter: (t.fits, t.used) for t in counted.tallies} == {
                "a": (True, 0),
                "b": (False, 1),
            }
            assert all(tally.receipt is None for tally in counted.tallies)
        assert await used(storage, charge(meter="a")) == 0

    async def test_several_counters_are_charged_together(self, storage: Storage) -> None:
        """Decision 6: admitted, every counter takes its own cost, under its own limit and window."""
        charges = tuple(charge(100 - n, meter=f"m{n}", cost=n + 1, step=f"s.{n}") for n in range(5))
        counted = await storage.consume(call(*charges))
        assert counted.admitted
        assert [tally.charge for tally in counted.tallies] == list(charges)
        assert [tally.used for tally in counted.tallies] == [1, 2, 3, 4, 5]
        assert [tally.limit for tally in counted.tallies] == [100, 99, 98, 97, 96]
        assert [tally.receipt.cost for tally in counted.tallies if tally.receipt] == [1, 2, 3, 4, 5]
        for item in charges:
            assert await used(storage, item) == item.cost


class PlanConformance(ConformanceBase):
    """Which limit is in force."""

    async def test_an_unknown_subject_has_the_default_plan(self, storage: Storage) -> None:
        """Decision 14: who was never heard of holds the default plan."""
        counted = await storage.consume(call(charge({"free": 3, "paid": 7})))
        assert (counted.plan, counted.held_plan, counted.customer) == ("free", None, None)
        assert counted.checked_at is None
        assert counted.tallies[0].limit == 3

    async def test_the_recorded_plan_counts(self, storage: Storage) -> None:
        """Decision 14: the plan is read from what billing left here."""
        await apply(storage)
        counted = await storage.consume(call(charge({"free": 3, "paid": 7})))
        assert (counted.plan, counted.held_plan, counted.customer) == ("paid", None, "cus_ada")
        assert counted.tallies[0].limit == 7
        assert counted.tallies[0].receipt is not None
        assert counted.tallies[0].receipt.plan == "paid"

    async def test_a_plan_ends_at_its_instant(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: a plan with an end is in force before it, and not at it."""
        end = clock.now() + timedelta(days=3)
        await apply(storage, Standing("paid", until=end, paying=True))
        clock.set(end - MICROSECOND)
        assert (await storage.consume(call())).plan == "paid"
        clock.set(end)
        counted = await storage.consume(call())
        assert (counted.plan, counted.held_plan) == ("free", None)
        assert counted.customer == "cus_ada"

    async def test_a_plan_without_limits_counts_as_the_default(self, storage: Storage) -> None:
        """Contract: a plan that no limit table knows is applied as the default and named in `held_plan`."""
        await set_plan(storage, Standing("enterprise", paying=True))
        counted = await storage.consume(call(charge({"free": 3, "paid": 7})))
        assert (counted.plan, counted.held_plan) == ("free", "enterprise")
        assert counted.tallies[0].limit == 3
        await set_plan(storage, FREE)
        assert (await storage.consume(call(charge({"free": 3})))).tallies[0].used == 2

    async def test_one_table_may_know_a_plan_that_another_does_not(self, storage: Storage) -> None:
        """Contract: each counter applies its own table; the plan is known when any table knows it."""
        await set_plan(storage, PAYING)
        known = charge({"free": 3, "paid": 7}, meter="a")
        unknown = charge({"free": 4}, meter="b", step="freemium.1")
        counted = await storage.consume(call(known, unknown))
        assert (counted.plan, counted.held_plan) == ("paid", None)
        assert [tally.limit for tally in counted.tallies] == [7, 4]
        await set_plan(storage, FREE)
        assert await used(storage, known) == 0
        assert await used(storage, unknown) == 1

    async def test_paid_use_does_not_eat_the_free_allowance(self, storage: Storage) -> None:
        """Decision 7: usage is counted per plan."""
        await storage.consume(call(charge(100, cost=30)))
        await apply(storage)
        for _ in range(3):
            assert (await storage.consume(call(charge(100, cost=500)))).admitted
        assert await used(storage) == 1500
        await apply(storage, FREE)
        assert await used(storage) == 30
        assert (await storage.consume(call(charge(100, cost=70)))).admitted

    async def test_a_downgrade_does_not_forgive(self, storage: Storage) -> None:
        """Decision 7: what was used for free in the running window is still used after a time of paying."""
        await storage.consume(call(charge(100, cost=100)))
        await apply(storage)
        assert (await storage.consume(call())).admitted
        await apply(storage, FREE)
        refused = await storage.consume(call())
        assert not refused.admitted
        assert refused.tallies[0].used == 100

    async def test_plans_have_windows_of_their_own(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 7: the free window goes on running while the subject pays."""
        free = await storage.consume(call())
        clock.advance("1d")
        await apply(storage)
        paid = await storage.consume(call())
        assert paid.tallies[0].start == clock.now()
        await apply(storage, FREE)
        assert (await storage.consume(call())).tallies[0].start == free.tallies[0].start
        clock.set(free.tallies[0].start + MONTH)
        assert await used(storage) == 0

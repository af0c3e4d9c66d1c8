"""Gauges: what is held is counted on one counter for all plans, and released without a receipt."""

from dataclasses import replace

from skene.engine.program import ALL_PLANS
from skene.engine.window import EPOCH, FOREVER, Edges
from skene.ports.counters import Consume, Notice, Receipt
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    PAYING,
    ConformanceBase,
    StorageFactory,
    call,
    charge,
    draft,
    gather,
    set_plan,
)

SEATS = 10


def seats(limit: int | None = SEATS, cost: int = 1) -> Consume:
    """A call that takes seats, as the runtime asks for them: nobody holds the plan that it names."""
    item = charge({ALL_PLANS: limit}, cost=cost, meter="seats", step="team", rule=Edges(()))
    return replace(call(item), default_plan=ALL_PLANS)


def back(units: int) -> tuple[Receipt, ...]:
    """What gives seats back."""
    return (Receipt("seats", ALL_PLANS, EPOCH, units),)


class HeldConformance(ConformanceBase):
    """Units that are held until they are released."""

    async def test_what_is_held_stays_through_plans_and_years(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """A plan that the limits do not name counts as the default one, so all plans share the counter."""
        for standing in (FREE, PAYING, FREE):
            await set_plan(storage, standing)
            assert (await storage.consume(seats())).admitted
            clock.advance("400d")
        counted = await storage.peek(seats())
        assert counted.plan == ALL_PLANS
        tally = counted.tallies[0]
        assert (tally.used, tally.start, tally.end) == (3, EPOCH, FOREVER)

    async def test_releasing_makes_room_and_never_more_than_there_was(self, storage: Storage) -> None:
        """Never below zero: what is released twice leaves no room for more than the limit."""
        await storage.consume(seats(cost=SEATS))
        assert not (await storage.consume(seats())).admitted
        await storage.refund("ada", back(1))
        assert (await storage.consume(seats())).admitted
        assert not (await storage.consume(seats())).admitted
        await storage.refund("ada", back(3 * SEATS))
        assert (await storage.peek(seats())).tallies[0].used == 0
        assert not (await storage.consume(seats(cost=SEATS + 1))).admitted

    async def test_nothing_is_released_that_was_never_held(self, storage: Storage) -> None:
        """Nor by somebody who is not known at all."""
        await storage.refund("ada", back(1))
        assert (await storage.peek(seats())).tallies[0].used == 0

    async def test_more_may_be_held_than_the_limit_of_another_plan(self, storage: Storage) -> None:
        """Who goes down to a smaller plan keeps what is held, and gets no more."""
        await storage.consume(seats(cost=SEATS))
        refused = await storage.consume(seats(limit=3))
        assert (refused.admitted, refused.tallies[0].used, refused.tallies[0].limit) == (False, SEATS, 3)
        assert (await storage.consume(seats(limit=None))).tallies[0].used == SEATS + 1

    async def test_warnings_are_remembered_on_that_counter(self, storage: Storage) -> None:
        """Once, whatever the plan."""
        await storage.consume(seats())
        notice = Notice("ada", "seats", ALL_PLANS, EPOCH, ("team@0.8",), (draft("usage_warning:1"),))
        assert await storage.record_notice(notice)
        await set_plan(storage, PAYING)
        assert not await storage.record_notice(notice)
        assert (await storage.peek(seats())).tallies[0].notices == ("team@0.8",)

    async def test_takers_and_leavers_at_once_never_pass_the_limit(
        self, storage_factory: StorageFactory
    ) -> None:
        """L1 for a stock: from several processes, and what is held in the end is what was not released."""
        stores = [await storage_factory() for _ in range(2)]
        await stores[0].consume(seats(cost=SEATS // 2))
        most, taken, left = 0, 0, 0

        async def take(store: Storage) -> None:
            nonlocal most, taken
            counted = await store.consume(seats())
            taken += counted.admitted
            most = max(most, counted.tallies[0].used)

        async def leave(store: Storage) -> None:
            nonlocal left
            await store.refund("ada", back(1))
            left += 1

        for number in range(3):
            some = [(lambda store=store: take(store)) for store in stores for _ in range(10)]
            # No more leave than are there: nothing is cut off at zero.
            some += [(lambda store=stores[number % 2]: leave(store)) for _ in range(SEATS // 2)]
            await gather(some)
        held = (await stores[1].peek(seats())).tallies[0].used
        assert most <= SEATS
        assert held == SEATS // 2 + taken - left

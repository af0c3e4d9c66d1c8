"""Grants where the window slides, what a call that failed gives back to them, and everybody at once."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial

from skene.engine.window import Anchored, Rolling
from skene.ports.counters import Charge, Counted, Receipt
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MONTH, ConformanceBase, StorageFactory, call, charge, gather, used
from skene.testing.conformance.grants import DAY, admitted, give, spent, told


def receipt_of(counted: Counted) -> Receipt:
    """What the first counter was charged."""
    receipt = counted.tallies[0].receipt
    assert receipt is not None
    return receipt


class GrantRollingConformance(ConformanceBase):
    """Grants where the window slides."""

    ITEM = charge(2, rule=Rolling(timedelta(hours=60)))  # in parts of an hour

    async def test_what_leaves_makes_room_only_for_the_plan(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Never more than the limit and what was granted, however the window slides."""
        await give(storage, 3)
        log: list[int] = []  # admitted in each hour
        for _ in range(200):
            log.append(await admitted(storage, self.ITEM, 2))
            clock.advance("1h")
        assert all(sum(log[at : at + 60]) <= 2 + 3 for at in range(200))
        assert await spent(storage) == {"invited": 3}
        assert sum(log[:60]) == 5
        assert 0 < sum(log[61:]) <= 3 * 2

    async def test_aged_units_are_the_grants_first(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `engine.counter`: two of the plan's units leave, and are taken for granted ones."""
        await give(storage, 2)
        assert await admitted(storage, self.ITEM, 2) == 2
        clock.advance("10h")
        assert await admitted(storage, self.ITEM, 9) == 2
        clock.advance("51h")
        assert told(await storage.peek(call(self.ITEM))) == (2, 2, 0)
        assert not (await storage.consume(call(self.ITEM))).admitted
        clock.advance("10h")
        assert await admitted(storage, self.ITEM, 9) == 2

    async def test_a_part_gives_back_what_it_took(self, storage: Storage, clock: ManualClock) -> None:
        """Never more than the part holds."""
        await give(storage, 4)
        assert await admitted(storage, self.ITEM, 2) == 2
        clock.advance("1h")
        late = await storage.consume(call(self.ITEM))
        clock.advance("1h")
        assert (await storage.consume(call(self.ITEM))).admitted
        receipt = receipt_of(late)
        for _ in range(2):
            await storage.refund("ada", (Receipt(receipt.meter, receipt.plan, receipt.at, 50),))
            assert told(await storage.peek(call(self.ITEM))) == (6, 3, 3)
        assert await spent(storage) == {"invited": 1}


class GrantReturnConformance(ConformanceBase):
    """What a call that failed gives back."""

    async def test_grants_get_theirs_back_first(self, storage: Storage) -> None:
        """A refund undoes a charge, whoever paid."""
        await give(storage, 4)
        counted = await storage.consume(call(charge(3, cost=5)))
        receipt = receipt_of(counted)
        await storage.refund("ada", (Receipt(receipt.meter, receipt.plan, receipt.at, 1),))
        assert told(await storage.peek(call(charge(3)))) == (7, 4, 3)
        await storage.refund("ada", (Receipt(receipt.meter, receipt.plan, receipt.at, 4),))
        assert told(await storage.peek(call(charge(3)))) == (7, 0, 4)
        assert await spent(storage) == {"invited": 0}

    async def test_failing_calls_cost_nothing(self, storage: Storage) -> None:
        """L2, decision 4: a hundred of them, in two counters, one of which has a grant."""
        await give(storage, 1, meter="a")
        pair = (charge(0, meter="a"), charge(1, meter="b", step="freemium.1"))
        for _ in range(100):
            counted = await storage.consume(call(*pair))
            assert counted.admitted
            await storage.refund("ada", counted.receipts)
        assert await spent(storage) == {"invited": 0}
        assert (await storage.consume(call(*pair))).admitted
        assert not (await storage.consume(call(*pair))).admitted

    async def test_never_more_than_was_taken(self, storage: Storage) -> None:
        """L1: giving back too much, or twice, makes no units."""
        await give(storage, 3)
        counted = await storage.consume(call(charge(1, cost=2)))
        receipt = receipt_of(counted)
        for _ in range(3):
            await storage.refund("ada", (Receipt(receipt.meter, receipt.plan, receipt.at, 50),))
        assert told(await storage.peek(call(charge(1)))) == (4, 0, 3)
        assert await admitted(storage, charge(1), 9) == 4

    async def test_what_was_spent_last_comes_back_first(self, storage: Storage, clock: ManualClock) -> None:
        """Even if another one expires sooner."""
        await give(storage, 1, "old")
        assert await admitted(storage, charge(0), 1) == 1
        clock.advance("1h")
        await give(storage, 1, "new", lasts=DAY)
        counted = await storage.consume(call(charge(0)))
        await storage.refund("ada", (receipt_of(counted),))
        assert await spent(storage) == {"old": 1, "new": 0}

    async def test_one_call_on_two_grants(self, storage: Storage) -> None:
        """Of those that one call has spent, the one that would be spent later gets its units first."""
        await give(storage, 2, "for ever")
        await give(storage, 2, "a day", lasts=DAY)
        counted = await storage.consume(call(charge(0, cost=3)))
        assert await spent(storage) == {"for ever": 1, "a day": 2}
        receipt = receipt_of(counted)
        await storage.refund("ada", (Receipt(receipt.meter, receipt.plan, receipt.at, 2),))
        assert await spent(storage) == {"for ever": 0, "a day": 1}

    async def test_an_expired_grant_is_not_revived(self, storage: Storage, clock: ManualClock) -> None:
        """What it gets back is lost; the plan's own units are not."""
        await give(storage, 1, lasts=DAY)
        counted = await storage.consume(call(charge(1, cost=2)))
        clock.advance(DAY)
        await storage.refund("ada", (receipt_of(counted),))
        assert told(await storage.peek(call(charge(1)))) == (1, 0, 0)
        assert await admitted(storage, charge(1), 9) == 1

    async def test_a_window_that_is_over_returns_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """Neither before the next one has opened, nor after."""
        await give(storage, 4)
        first = await storage.consume(call(charge(0)))
        second = await storage.consume(call(charge(0)))
        clock.advance(MONTH)
        await storage.refund("ada", (receipt_of(first),))
        assert await spent(storage) == {"invited": 2}
        assert (await storage.consume(call(charge(0)))).admitted
        await storage.refund("ada", (receipt_of(second),))
        assert await spent(storage) == {"invited": 3}
        assert await used(storage, charge(0)) == 1

    async def test_the_forgotten_are_returned_nothing(self, storage: Storage) -> None:
        """Contract of `refund`: a call under way while its subject is forgotten does no harm."""
        await give(storage, 2)
        counted = await storage.consume(call(charge(0)))
        await storage.forget("ada")
        await give(storage, 2)
        await storage.refund("ada", (receipt_of(counted),))
        assert told(await storage.peek(call(charge(0)))) == (2, 0, 2)


class GrantConcurrencyConformance(ConformanceBase):
    """Everybody at once, through two storages over the same data, by the real clock."""

    async def test_200_at_once_admit_exactly_25(self, storage_factory: StorageFactory) -> None:
        """L1: at limit 10, with 15 granted in three parts; each call counted once."""
        one, two = await storage_factory(), await storage_factory()
        for number in range(3):
            await give(one, 5, f"part {number}", lasts=DAY if number else None)
        results = await gather(
            partial(storage.consume, call(charge(10))) for _ in range(100) for storage in (one, two)
        )
        assert sorted(r.tallies[0].used for r in results if r.admitted) == list(range(1, 26))
        assert sum((await spent(two)).values()) == 15

    async def test_the_last_unit_in_a_rolling_window(self, storage_factory: StorageFactory) -> None:
        """L1: the same where the window slides."""
        one, two = await storage_factory(), await storage_factory()
        await give(one, 1)
        item = charge(0, rule=Rolling(MONTH))
        results = await gather(
            partial(storage.consume, call(item)) for _ in range(20) for storage in (one, two)
        )
        assert sum(r.admitted for r in results) == 1

    async def test_two_plans_at_once(self, storage_factory: StorageFactory) -> None:
        """L1: counted apart, they share the grants: 15 units, each spent once."""
        one, two = await storage_factory(), await storage_factory()
        for number in range(3):
            await give(one, 5, f"part {number}")
        free = call(charge({"free": 0, "paid": 0}))
        paid = replace(free, default_plan="paid")
        results = await gather(
            partial(storage.consume, asked)
            for _ in range(10)
            for storage in (one, two)
            for asked in (free, paid)
        )
        assert sum(r.admitted for r in results) == 15
        assert sum((await spent(two)).values()) == 15

    async def test_a_grant_is_made_once(self, storage_factory: StorageFactory) -> None:
        """Contract of `grant`: of 20 at once one is new."""
        one, two = await storage_factory(), await storage_factory()
        news = await gather(partial(give, storage, 5) for _ in range(10) for storage in (one, two))
        assert news.count(True) == 1
        assert len(await one.grants("ada")) == 1

    async def test_takers_and_returners(self, storage_factory: StorageFactory) -> None:
        """L2: two counters crosswise, every other call gives back: no unit is lost, none made."""
        one, two = await storage_factory(), await storage_factory()
        window = Anchored(timedelta(days=1))
        a = charge(5, meter="a", rule=window)
        b = charge(5, meter="b", step="freemium.1", rule=window)
        for meter in "ab":
            await give(one, 20, meter, meter=meter)

        async def turn(storage: Storage, items: Sequence[Charge], fails: bool) -> int:
            counted = await storage.consume(call(*items))
            if counted.admitted and fails:
                receipts = counted.receipts
                await storage.refund("ada", receipts)
            return int(counted.admitted and not fails)

        pairs = [(one, (a, b)), (two, (b, a)), (one, (b, a)), (two, (a, b))]
        kept = await gather(
            partial(turn, storage, items, number % 2 == 0) for number in range(40) for storage, items in pairs
        )
        for item in (a, b):
            counted = await one.peek(call(item))
            assert counted.tallies[0].used == sum(kept)
            assert counted.tallies[0].limit == 25
        assert sum(kept) <= 25
        assert set((await spent(one)).values()) == {max(0, sum(kept) - 5)}

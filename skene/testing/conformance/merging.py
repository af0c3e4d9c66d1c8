"""`Storage.merge`: an anonymous subject turns out to be a known one, and what both have used adds up."""

from functools import partial

from skene.engine.window import Edges, Rolling, WindowRule
from skene.ports.counters import Receipt
from skene.ports.grants import Grant
from skene.ports.merging import Merged
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MONTH,
    THIRTY_DAYS,
    TRIAL,
    ConformanceBase,
    StorageFactory,
    call,
    charge,
    gather,
    notice,
    set_plan,
    used,
)
from skene.testing.conformance.happening import DAY

__all__ = ["VISITOR", "MergeConcurrencyConformance", "MergeCountConformance", "use"]

VISITOR = "visitor-1"
ROLLING = Rolling(MONTH)


async def use(
    storage: Storage, units: int, subject: str, *, meter: str = "calls", rule: WindowRule = THIRTY_DAYS
) -> None:
    """Take units of a limit of 100."""
    item = charge(cost=units, meter=meter, rule=rule)
    assert (await storage.consume(call(item, subject=subject))).admitted


class MergeCountConformance(ConformanceBase):
    """What was used adds up."""

    async def test_what_both_have_used_adds_up(self, storage: Storage, clock: ManualClock) -> None:
        """Nothing is forgiven, and nothing admitted beyond what the sum leaves."""
        await use(storage, 30, "ada")
        begun = clock.now()
        clock.advance("1d")
        await use(storage, 60, VISITOR)
        assert await storage.merge(VISITOR, "ada") == Merged("ada", 1, first=True)
        seen = (await storage.peek(call())).tallies[0]
        assert (seen.used, seen.start, seen.end) == (90, begun, begun + MONTH)
        assert not (await storage.consume(call(charge(cost=11)))).admitted
        assert (await storage.consume(call(charge(cost=10)))).admitted
        assert not (await storage.consume(call())).admitted

    async def test_more_than_the_limit_together(self, storage: Storage, clock: ManualClock) -> None:
        """Nothing is forgiven: who has used 70 twice has used 140, until the target's window ends."""
        await use(storage, 70, "ada")
        end = clock.now() + MONTH
        clock.advance("1d")
        await use(storage, 70, VISITOR)
        await storage.merge(VISITOR, "ada")
        assert await used(storage) == 140
        assert not (await storage.consume(call())).admitted
        clock.set(end)
        assert (await storage.consume(call(charge(cost=100)))).admitted

    async def test_a_window_of_the_source_goes_on(self, storage: Storage, clock: ManualClock) -> None:
        """Where the target has none that is running, the source's is it, warnings included."""
        await use(storage, 80, "bob")
        clock.advance(MONTH)
        for target in ("ada", "bob"):
            source = f"visitor of {target}"
            counted = await storage.consume(call(charge(cost=70), subject=source))
            await storage.record_notice(notice(counted, "80%", subject=source))
            await storage.merge(source, target)
            seen = (await storage.peek(call(subject=target))).tallies[0]
            assert (seen.used, seen.start, seen.notices) == (70, counted.now, ("80%",))

    async def test_a_window_that_is_over_counts_no_more(self, storage: Storage, clock: ManualClock) -> None:
        """What the source has used in the window before takes no room now."""
        await use(storage, 90, VISITOR)
        clock.advance(MONTH)
        await use(storage, 20, "ada")
        assert (await storage.merge(VISITOR, "ada")).moved >= 1
        assert await used(storage) == 20
        clock.advance(MONTH)
        assert (await storage.consume(call(charge(cost=100)))).admitted

    async def test_warnings_of_both(self, storage: Storage) -> None:
        """Who has been warned under either name is not warned again."""
        for subject, name in (("ada", "50%"), (VISITOR, "80%")):
            counted = await storage.consume(call(subject=subject))
            assert await storage.record_notice(notice(counted, name, subject=subject))
        await storage.merge(VISITOR, "ada")
        seen = await storage.peek(call())
        assert set(seen.tallies[0].notices) == {"50%", "80%"}
        assert not await storage.record_notice(notice(seen, "50%", "80%"))

    async def test_a_rolling_window_part_by_part(self, storage: Storage, clock: ManualClock) -> None:
        """What either has used leaves the window when its own time has come."""
        clock.set(clock.now().replace(hour=0, minute=0, second=0, microsecond=0))
        part = ROLLING.part
        for subject, units in (("ada", 10), (VISITOR, 20), ("ada", 30)):
            await use(storage, units, subject, rule=ROLLING)
            clock.advance(part)
        await use(storage, 5, VISITOR, rule=ROLLING)
        first = (await storage.peek(call(charge(rule=ROLLING)))).tallies[0].start
        await storage.merge(VISITOR, "ada")
        rolling = charge(rule=ROLLING)
        seen = (await storage.peek(call(rolling))).tallies[0]
        assert (seen.used, seen.start) == (65, first)
        for number, left in enumerate((55, 35, 5, 0), 1):
            clock.set(first + MONTH + part * number)
            assert await used(storage, rolling) == left

    async def test_a_rolling_window_that_is_over(self, storage: Storage, clock: ManualClock) -> None:
        """What has left it stays out, whichever of the two it is of."""
        rolling = charge(rule=ROLLING)
        await use(storage, 50, VISITOR, rule=ROLLING)
        await use(storage, 50, "bob", rule=ROLLING)
        clock.advance(2 * MONTH)
        for subject in ("ada", "visitor of bob"):
            await use(storage, 7, subject, rule=ROLLING)
        await storage.merge(VISITOR, "ada")
        await storage.merge("visitor of bob", "bob")
        assert [await used(storage, rolling, subject) for subject in ("ada", "bob")] == [7, 7]
        assert (await storage.consume(call(charge(cost=93, rule=ROLLING)))).admitted
        assert not (await storage.consume(call(rolling))).admitted

    async def test_each_counter_by_itself(self, storage: Storage, clock: ManualClock) -> None:
        """Counters are told apart by meter and plan, however their windows lie."""
        edges = Edges((clock.now() - DAY, clock.now() + DAY))
        for subject, units in (("ada", 1), (VISITOR, 10)):
            await use(storage, units, subject, rule=edges, meter="a")
            await use(storage, units * 2, subject, rule=ROLLING, meter="b")
            await set_plan(storage, TRIAL, subject=subject)
            await use(storage, units * 3, subject, rule=edges, meter="a")
            await set_plan(storage, FREE, subject=subject)
        await use(storage, 40, VISITOR, meter="c")
        await storage.merge(VISITOR, "ada")
        for plan, limits in ((FREE, {"a": 11, "b": 22, "c": 40}), (TRIAL, {"a": 33, "b": 0, "c": 0})):
            await set_plan(storage, plan)
            for meter, units in limits.items():
                rules: dict[str, WindowRule] = {"a": edges, "b": ROLLING, "c": THIRTY_DAYS}
                assert await used(storage, charge(meter=meter, rule=rules[meter])) == units, (plan, meter)
        assert await storage.meters("ada") == ("a", "b", "c")

    async def test_grants_and_what_they_paid(self, storage: Storage, clock: ManualClock) -> None:
        """What is left can be spent, what is spent stays spent, and takes no room of the plan's."""
        for subject in ("ada", VISITOR):
            assert await storage.grant(Grant("welcome", subject, "calls", 10))
        assert await storage.grant(Grant("k2", VISITOR, "calls", 5, MONTH, "a gift", "freemium"))
        await use(storage, 106, VISITOR)  # 6 of 15 are spent
        await use(storage, 4, "ada")
        await storage.merge(VISITOR, "ada")
        kept = await storage.grants("ada")
        assert [(one.units, one.spent, one.reason, one.loop) for one in kept] == [
            (10, 0, "", None),
            (10, 1, "", None),
            (5, 5, "a gift", "freemium"),
        ]
        assert {one.subject for one in kept} == {"ada"}
        assert len({one.key for one in kept}) == 3
        assert {"welcome", "k2"} < {one.key for one in kept}
        assert VISITOR not in str([one.key for one in kept])
        # 110 used, of which 6 by grants: the plan's 100 are exceeded by 4, and 19 units are left to pay with.
        seen = (await storage.peek(call())).tallies[0]
        assert (seen.used, seen.granted) == (110, 19)
        assert not (await storage.consume(call(charge(cost=20)))).admitted
        assert (await storage.consume(call(charge(cost=19)))).admitted

    async def test_merging_twice_grants_once(self, storage: Storage) -> None:
        """A key guards under both names, for ever."""
        for subject in ("ada", VISITOR):
            await storage.grant(Grant("welcome", subject, "calls", 10))
        await storage.merge(VISITOR, "ada")
        assert await storage.merge(VISITOR, "ada") == Merged("ada", 0, first=False)
        assert not await storage.grant(Grant("welcome", VISITOR, "calls", 10))
        assert not await storage.grant(Grant("welcome", "ada", "calls", 10))
        assert await storage.grant(Grant("later", VISITOR, "calls", 1))
        await storage.merge(VISITOR, "ada")
        assert sum(one.units for one in await storage.grants("ada")) == 21
        assert await storage.grants(VISITOR) == await storage.grants("ada")

    async def test_keys_stay_free(self, storage: Storage) -> None:
        """Decision 9: a call is not charged again because its caller has got a name."""
        await storage.consume(call(subject=VISITOR, key="k1"))
        for subject in ("ada", VISITOR):
            await storage.consume(call(subject=subject, key="both"))
        await storage.merge(VISITOR, "ada")
        for key in ("k1", "both"):
            assert (await storage.consume(call(key=key))).replayed
        assert await used(storage) == 3

    async def test_a_give_back_after_the_merge(self, storage: Storage, clock: ManualClock) -> None:
        """A call that fails after the merge costs nothing, where the windows are the same."""
        edges = charge(rule=Edges((clock.now() - DAY, clock.now() + DAY)))
        receipts: dict[str, Receipt | None] = {}
        for subject in ("ada", VISITOR):
            counted = await storage.consume(call(edges, subject=subject))
            receipts[subject] = counted.tallies[0].receipt
        await storage.merge(VISITOR, "ada")
        for receipt in receipts.values():
            assert receipt is not None
            await storage.refund("ada", (receipt,))
        assert await used(storage, edges) == 0


class MergeConcurrencyConformance(ConformanceBase):
    """Merging while others are at work."""

    async def test_merged_by_many_at_once(self, storage_factory: StorageFactory) -> None:
        """Two sign-ups of one visitor at once, from two processes: everything is moved, and counted, once."""
        storages = [await storage_factory(), await storage_factory()]
        for round_ in range(5):
            source, target = f"visitor {round_}", f"user {round_}"
            for subject, units in ((source, 7), (target, 4)):
                await use(storages[0], units, subject)
                await storages[0].grant(Grant("welcome", subject, "calls", 10))
            merges = [partial(storages[n % 2].merge, source, target) for n in range(8)]
            results = await gather(merges)
            assert sum(one.first for one in results) == 1
            assert sum(one.moved > 0 for one in results) == 1
            assert await used(storages[0], subject=target) == 11
            assert sum(one.units for one in await storages[0].grants(target)) == 20

    async def test_opposite_merges(self, storage_factory: StorageFactory) -> None:
        """Each into the other at once: one stands, the other is refused, and nobody hangs."""
        storages = [await storage_factory(), await storage_factory()]
        for round_ in range(5):
            names = (f"a{round_}", f"b{round_}")
            for name in names:
                await use(storages[0], 5, name)

            async def merge(number: int, names: tuple[str, str] = names) -> str | None:
                try:
                    return (await storages[number].merge(names[number], names[1 - number])).subject
                except ValueError:
                    return None

            ends = await gather([partial(merge, number) for number in range(2)])
            (stands,) = [end for end in ends if end is not None]
            assert await used(storages[0], subject=stands) == 10

"""`Storage.merge`: own limits and bills become another one's; and forgetting what merges leave."""

from skene.ports.counters import Receipt
from skene.ports.grants import Grant
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    MONTH,
    PAYING,
    ConformanceBase,
    apply,
    call,
    charge,
    refuse_once,
    set_plan,
    used,
)
from skene.testing.conformance.billed import billed_call, billing, told
from skene.testing.conformance.features import entitle, may
from skene.testing.conformance.happening import DAY, act, begin_journey
from skene.testing.conformance.merging import VISITOR, use
from skene.testing.conformance.merging_rest import tells_of_merge

__all__ = ["ForgetMergedConformance", "MergeLimitConformance"]


class MergeLimitConformance(ConformanceBase):
    """Overrides, features, bills, and calls by the old name."""

    async def test_overrides_come_along(self, storage: Storage, clock: ManualClock) -> None:
        """One gives way to one of the target's that is in force; all of them are kept."""
        for subject, meter, limit in ((VISITOR, "a", 5), (VISITOR, "b", 6), ("ada", "b", 7), ("ada", "c", 8)):
            await storage.set_override(Override(subject, meter, limit, DAY if meter == "c" else None, "why"))
            clock.advance("1s")
        clock.advance(DAY)  # the target's on c is over
        await storage.set_override(Override(VISITOR, "c", 9))
        await storage.merge(VISITOR, "ada")
        limits = [
            (await storage.peek(call(charge(meter=meter), subject=subject))).tallies[0].limit
            for subject in ("ada", VISITOR)
            for meter in "abcd"
        ]
        assert limits == [5, 7, 9, 100] * 2
        kept = await storage.overrides("ada")
        assert [(one.subject, one.meter, one.limit) for one in kept] == [
            ("ada", "a", 5),
            ("ada", "b", 6),
            ("ada", "b", 7),
            ("ada", "c", 8),
            ("ada", "c", 9),
        ]
        assert [one.in_force(clock.now()) for one in kept] == [True, False, True, False, True]
        assert await storage.end_override(VISITOR, "a")

    async def test_features_come_with_the_customer(self, storage: Storage) -> None:
        """What the source's customer is entitled to, the target is."""
        await entitle(storage, "export", customer="cus_v", subject=VISITOR)
        await storage.merge(VISITOR, "ada")
        assert await may(storage)

    async def test_a_unit_is_on_one_bill_once(self, storage: Storage, clock: ManualClock) -> None:
        """Whatever was reported of either is not reported again, and what was not is, once."""
        for subject, customer in ((VISITOR, "cus_v"), ("ada", "cus_a")):
            await apply(storage, customer=customer, subject=subject)
        await storage.consume(billed_call(10, subject=VISITOR))
        assert await storage.report_billed(billing(), 9) == 1
        clock.advance("1d")
        await storage.consume(billed_call(5, subject=VISITOR))
        await storage.consume(billed_call(7))
        await storage.merge(VISITOR, "ada")
        await storage.consume(billed_call(1, subject=VISITOR))
        while await storage.report_billed(billing(), 9):
            pass
        assert await told(storage) == 23
        clock.advance(MONTH)
        await storage.consume(billed_call(2))
        while await storage.report_billed(billing(), 9):
            pass
        assert await told(storage) == 25

    async def test_a_bill_of_a_window_that_is_over(self, storage: Storage, clock: ManualClock) -> None:
        """It goes to the target's customer, in its own window."""
        await apply(storage, customer="cus_v", subject=VISITOR)
        await storage.consume(billed_call(10, subject=VISITOR))
        clock.advance(MONTH)
        await storage.consume(billed_call(4, subject="bob"))  # bob is on the free plan: on no bill
        await set_plan(storage, PAYING, subject="ada")
        await storage.consume(billed_call(7))
        await storage.merge(VISITOR, "ada")
        while await storage.report_billed(billing(), 9):
            pass
        assert await told(storage, "ada") == 17

    async def test_calls_by_the_old_name(self, storage: Storage, clock: ManualClock) -> None:
        """They count for the target, are refused at its limit, and give back to it."""
        await use(storage, 10, "ada")
        clock.advance("1d")
        before = await storage.consume(call(charge(cost=20), subject=VISITOR))
        await storage.merge(VISITOR, "ada")
        after = await storage.consume(call(charge(cost=30), subject=VISITOR))
        assert (after.subject, after.tallies[0].used) == ("ada", 60)
        assert not (await storage.consume(call(charge(cost=41), subject=VISITOR))).admitted
        receipts: list[Receipt | None] = [one.tallies[0].receipt for one in (before, after)]
        for receipt, left in zip(receipts, (40, 10), strict=True):
            assert receipt is not None
            await storage.refund(VISITOR, (receipt,))
            assert await used(storage) == left
        assert await storage.meters(VISITOR) == ("calls",)


class ForgetMergedConformance(ConformanceBase):
    """Erasing those who were merged, and members of teams."""

    async def test_who_was_merged_is_forgotten_with_the_person(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 31: the old name means nobody any more, and is counted as anybody new."""
        await refuse_once(storage, clock, subject=VISITOR)
        await use(storage, 5, VISITOR)
        await storage.merge("older", VISITOR)
        await storage.merge(VISITOR, "ada", drafts=(tells_of_merge(),))
        assert await storage.forget("ada") > 0
        assert await storage.messages() == ()
        for name in (VISITOR, "older"):
            counted = await storage.consume(call(subject=name))
            assert (counted.subject, counted.tallies[0].used) == (name, 1)
        assert await used(storage) == 0
        assert (await storage.merge(VISITOR, "ada")).first

    async def test_an_old_name_is_forgotten_by_itself(self, storage: Storage) -> None:
        """Decision 31: what has become the person's stays; that the name was theirs is erased."""
        await use(storage, 5, VISITOR)
        await storage.merge("older", "ada", drafts=(tells_of_merge("older"),))
        await storage.merge(VISITOR, "ada", drafts=(tells_of_merge(),))
        assert await storage.forget(VISITOR) > 0
        assert [one[0].key for one in await storage.messages()] == ["event:older"]
        assert await used(storage) == 5
        assert await used(storage, subject=VISITOR) == 0
        assert (await storage.peek(call(subject="older"))).subject == "ada"
        assert await storage.forget(VISITOR) == 0

    async def test_overrides_are_forgotten(self, storage: Storage) -> None:
        """Decision 31: those in force, and those that are over."""
        for limit in (5, 6):
            await storage.set_override(Override("ada", "calls", limit, None, "ada asked for it"))
        assert await storage.forget("ada") >= 2
        assert await storage.overrides("ada") == ()
        assert (await storage.peek(call())).tallies[0].limit == 100

    async def test_a_member_is_forgotten_in_every_team(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: counters under the person's name go, running or over; all others stay."""
        stays = ("calls", "calls@ada.b", "calls@bob", "calls@bob@ada", "calls:/of@ada")
        for team in ("acme", "umbrella"):
            for _ in range(2):
                for meter in (*stays, "calls@ada"):
                    await use(storage, 3, team, meter=meter)
                clock.advance(MONTH)
            for member in ("ada", "bob"):
                await storage.grant(Grant(f"k-{member}", team, f"calls@{member}", 5))
                await storage.set_override(Override(team, f"calls@{member}", 9))
        assert await storage.forget("ada") >= 6
        for team in ("acme", "umbrella"):
            assert await storage.meters(team) == tuple(sorted(stays))
            assert [one.meter for one in await storage.grants(team)] == ["calls@bob"]
            assert [one.meter for one in await storage.overrides(team)] == ["calls@bob"]
            assert await used(storage, charge(meter="calls@ada"), team) == 0
        assert await storage.forget("ada") == 0

    async def test_what_a_racing_call_has_left(self, storage: Storage) -> None:
        """Decision 31: forgotten with the person, under whatever name it lies."""
        await storage.merge(VISITOR, "ada")
        await begin_journey(storage, subject=VISITOR)
        await act(storage, subject=VISITOR)
        assert await storage.forget("ada") > 0
        assert await storage.messages() == ()
        assert await storage.decisions() == ()

"""Comparisons with the billing service: one at a time, gone on with, and what they compare with."""

import json
from dataclasses import replace
from datetime import timedelta

from skene.engine.comparing import Verdict, as_kept
from skene.engine.standing import Standing, Subscription
from skene.ports.storage import Storage
from skene.ports.syncs import Compared
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    PAYING,
    TRIAL,
    ConformanceBase,
    StorageFactory,
    draft,
    gather,
    set_plan,
    update,
)

__all__ = ["ComparisonConformance", "SyncRunConformance"]

LEASE = timedelta(seconds=60)
DAY = timedelta(days=1)
ONE = Subscription("sub_1", "active", "paid", amount=1900, currency="eur")


async def _keep(
    storage: Storage, customer: str = "cus_ada", *, subject: str | None = "ada", standing: Standing = PAYING
) -> None:
    ticket = await storage.begin_sync(customer)
    said = json.dumps(as_kept([ONE] if standing is not FREE else []))
    await storage.apply_billing(replace(update(ticket, standing, subject=subject), subscriptions_json=said))


async def _verdict(
    storage: Storage, *listed: Subscription, customer: str = "cus_ada", mark: bool = True
) -> Compared:
    (found,) = await storage.compare_subscriptions({customer: as_kept(listed)}, mark=mark)
    return found


class SyncRunConformance(ConformanceBase):
    """One comparison over all processes, gone on with where it was."""

    async def test_a_run_is_one_persons(self, storage: Storage, clock: ManualClock) -> None:
        """L5: nobody else gets a run while its lease is kept up."""
        run = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert run is not None
        assert (run.started_at, run.stage, run.cursor, run.counts) == (clock.now(), "first", None, {})
        assert await storage.claim_sync("first", LEASE, lasts=DAY) is None
        clock.advance(LEASE - timedelta(seconds=1))
        assert await storage.keep_sync(run, LEASE)
        clock.advance(LEASE - timedelta(seconds=1))
        assert await storage.claim_sync("first", LEASE, lasts=DAY) is None

    async def test_it_is_gone_on_with_where_it_was(self, storage: Storage, clock: ManualClock) -> None:
        """L10: whoever takes over begins where the last page was written down."""
        run = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert run is not None
        run = replace(run, stage="second", cursor="sub_7", counts={"checked": 7, "first": "sub_9"})
        assert await storage.save_sync(run, LEASE)
        clock.advance(LEASE)
        after = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert after is not None
        assert replace(after, claim=run.claim) == run
        assert after.claim > run.claim
        # Whoever had it before was only slow, and has lost it.
        for lost in (
            await storage.keep_sync(run, LEASE),
            await storage.save_sync(replace(run, cursor="sub_1"), LEASE),
            await storage.end_sync(run, finished=True, drafts=(draft(),)),
        ):
            assert not lost
        assert await storage.messages() == ()
        assert await storage.end_sync(after, finished=False)
        again = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert again is not None
        assert again.cursor == "sub_7"

    async def test_one_that_began_too_long_ago_begins_anew(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L5: what was verified a day ago says nothing of today."""
        run = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert run is not None
        await storage.save_sync(replace(run, stage="second", cursor="sub_7"), LEASE)
        clock.advance(DAY + timedelta(seconds=1))
        anew = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert anew is not None
        assert (anew.started_at, anew.stage, anew.cursor) == (clock.now(), "first", None)

    async def test_a_finished_one_tells_of_it_and_another_may_begin(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """A finished run and the messages about it are one transaction."""
        run = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert run is not None
        assert await storage.end_sync(run, finished=True, drafts=(draft(),))
        assert len(await storage.messages()) == 1
        assert not await storage.save_sync(run, LEASE)
        clock.advance(timedelta(seconds=1))
        after = await storage.claim_sync("first", LEASE, lasts=DAY)
        assert after is not None
        assert after.started_at == clock.now()

    async def test_a_schedule_begins_one_when_it_is_time(self, storage: Storage, clock: ManualClock) -> None:
        """The first time counts from when it was first asked for."""
        assert await storage.claim_sync("first", LEASE, lasts=DAY, every=DAY) is None
        clock.advance(DAY - timedelta(seconds=1))
        assert await storage.claim_sync("first", LEASE, lasts=DAY, every=DAY) is None
        clock.advance(timedelta(seconds=1))
        run = await storage.claim_sync("first", LEASE, lasts=DAY, every=DAY)
        assert run is not None
        await storage.end_sync(run, finished=True)
        assert await storage.claim_sync("first", LEASE, lasts=DAY, every=DAY) is None
        assert await storage.claim_sync("first", LEASE, lasts=DAY) is not None  # somebody wants it now

    async def test_of_many_who_want_it_one_gets_it(self, storage_factory: StorageFactory) -> None:
        """L9: claimed from several processes at once, it is one run."""
        storages = [await storage_factory() for _ in range(4)]
        runs = await gather(
            [lambda one=one: one.claim_sync("first", LEASE, lasts=DAY) for one in storages * 3]  # type: ignore[misc] # bound early
        )
        assert len([run for run in runs if run is not None]) == 1


class ComparisonConformance(ConformanceBase):
    """What is kept of customers, beside what was listed of them."""

    async def test_who_is_equal_is_verified(self, storage: Storage, clock: ManualClock) -> None:
        """L5: only who was found equal is not looked at again."""
        await _keep(storage)
        clock.advance(DAY)
        assert await _verdict(storage, ONE, mark=False) == Compared("cus_ada", "ada", "paid", Verdict.EQUAL)
        (old,) = await storage.unverified_customers(clock.now(), None, 10)
        assert (old.customer, old.subject, old.plan) == ("cus_ada", "ada", "paid")
        assert (await _verdict(storage, ONE)).verdict is Verdict.EQUAL
        assert await storage.unverified_customers(clock.now(), None, 10) == ()
        assert await storage.verified_customers(("cus_ada", "cus_bob"), clock.now()) == {"cus_ada": "ada"}

    async def test_who_differs_is_told_and_not_verified(self, storage: Storage, clock: ManualClock) -> None:
        """L5: who differs is verified by being put right."""
        await _keep(storage)
        clock.advance(DAY)
        assert (await _verdict(storage, replace(ONE, quantity=2))).verdict is Verdict.DIFFERS
        assert (await _verdict(storage)).verdict is Verdict.PARTLY
        assert await storage.verified_customers(("cus_ada",), clock.now()) == {}
        await _keep(storage)  # applied: that verifies, too
        assert await storage.verified_customers(("cus_ada",), clock.now()) == {"cus_ada": "ada"}

    async def test_nothing_kept_differs(self, storage: Storage) -> None:
        """L5: a customer nobody has heard of differs."""
        assert await _verdict(storage, ONE) == Compared("cus_ada", None, None, Verdict.DIFFERS)
        await storage.link("ada", "cus_ada")
        assert await _verdict(storage, ONE) == Compared("cus_ada", "ada", None, Verdict.DIFFERS)
        await storage.begin_sync("cus_ada")  # somebody wanted to fetch, and did not come to apply
        assert (await _verdict(storage, ONE)).verdict is Verdict.DIFFERS

    async def test_a_subject_who_holds_something_else_differs(self, storage: Storage) -> None:
        """L5: the subject's plan counts, not only what is kept of the customer."""
        await _keep(storage)
        await set_plan(storage, FREE)
        assert await _verdict(storage, ONE) == Compared("cus_ada", "ada", "free", Verdict.DIFFERS)
        await set_plan(storage, TRIAL)
        assert (await _verdict(storage, ONE)).verdict is Verdict.DIFFERS
        await set_plan(storage, PAYING)
        assert (await _verdict(storage, ONE)).verdict is Verdict.EQUAL

    async def test_a_plan_whose_end_has_passed_is_equal_all_the_same(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """A lapse that was known beforehand is no difference."""
        await _keep(storage, standing=Standing("paid", clock.now() + DAY, paying=True))
        clock.advance(2 * DAY)
        assert await _verdict(storage, ONE) == Compared("cus_ada", "ada", "free", Verdict.EQUAL)

    async def test_a_customer_nobody_is_tied_to(self, storage: Storage) -> None:
        """What is kept for whoever is tied to it later is compared, too."""
        await _keep(storage, subject=None)
        assert await _verdict(storage, ONE) == Compared("cus_ada", None, "paid", Verdict.EQUAL)

    async def test_the_forgotten_are_left_alone(self, storage: Storage) -> None:
        """Decision 31: a comparison does not bring anybody back."""
        await _keep(storage)
        await storage.forget("ada")
        assert await _verdict(storage, ONE) == Compared("cus_ada", None, None, Verdict.FORGOTTEN)

    async def test_only_who_has_a_plan_is_looked_at_again(self, storage: Storage, clock: ManualClock) -> None:
        """Who holds the default plan and gives none cannot have lost anything."""
        for name, standing in (("ada", PAYING), ("bob", FREE), ("cleo", TRIAL)):
            await _keep(storage, f"cus_{name}", subject=name, standing=standing)
        await _keep(storage, "cus_dan", subject=None)
        await storage.link("eve", "cus_eve")
        await set_plan(storage, TRIAL, subject="eve")
        await storage.link("finn", "cus_finn")
        clock.advance(DAY)
        found = await storage.unverified_customers(clock.now(), None, 10)
        assert [(one.customer, one.subject) for one in found][:3] == [
            ("cus_ada", "ada"),
            ("cus_cleo", "cleo"),
            ("cus_dan", None),
        ]
        assert [one.customer for one in found][3:] == ["cus_eve"]
        first = await storage.unverified_customers(clock.now(), None, 2)
        rest = await storage.unverified_customers(clock.now(), first[-1].customer, 2)
        assert (*first, *rest) == found

    async def test_events_are_remembered_together(self, storage: Storage) -> None:
        """Decision 16: what was recorded in a batch is a duplicate, too."""
        await storage.record_event("evt_1", "changed")
        assert await storage.unknown_events(("evt_1", "evt_2", "evt_3")) == {"evt_2", "evt_3"}
        await storage.record_events({"evt_1": "changed", "evt_2": "changed"})
        await storage.record_events({})
        assert await storage.unknown_events(("evt_1", "evt_2", "evt_3")) == {"evt_3"}
        assert await storage.begin_sync("cus_ada", "evt_2") is None

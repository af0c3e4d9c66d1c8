"""Watchers: steps that hear when a subject's plan changes, at once or when its end has passed."""

from dataclasses import replace
from datetime import timedelta

from skene.engine.standing import Standing
from skene.ports.accounts import Customer, Update
from skene.ports.firings import Firing, Watcher
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    ATTRIBUTION,
    FREE,
    MICROSECOND,
    PAYING,
    TRIAL,
    ConformanceBase,
    apply,
    conversions,
    set_plan,
    update,
)
from skene.testing.conformance.happening import ACTED, DAY, LEASE

PRO = Standing("pro")
ONE = (Watcher("winback", "winback.0"),)
TWO = (*ONE, Watcher("hello", "hello.1"))


async def heard(storage: Storage) -> list[tuple[str, str, object, object]]:
    """Who was told of which change since the last look, oldest first: step, subject, from, to."""
    _, claimed = await storage.claim_firings(100, LEASE)
    told: list[tuple[str, str, object, object]] = []
    for firing in sorted(claimed, key=lambda one: one.id):
        assert firing.key.startswith(f"plan.changed:{firing.step}:")
        assert set(firing.data) == {"from", "to"}
        told.append((firing.step, firing.subject, firing.data["from"], firing.data["to"]))
        await storage.record(firing, (), closing=ACTED)
    return told


async def watched(storage: Storage, change: Update) -> None:
    """Apply what a fetch said while a step watches."""
    await storage.apply_billing(replace(change, watchers=ONE))


async def by_hand(storage: Storage, standing: Standing, *, subject: str = "ada") -> None:
    """Set a plan by hand while a step watches."""
    await storage.set_plan(subject, standing, default_plan="free", attribution=ATTRIBUTION, watchers=ONE)


class WatcherConformance(ConformanceBase):
    """Changes of plans that others are told of."""

    async def test_a_change_is_told_to_every_watcher(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: once each, as a firing of the subject that is due at once."""
        await storage.set_plan("ada", PRO, default_plan="free", attribution=ATTRIBUTION, watchers=TWO)
        _, claimed = await storage.claim_firings(10, LEASE)
        one, two = sorted(claimed, key=lambda firing: firing.step, reverse=True)
        assert one.key != two.key
        assert one.key.startswith("plan.changed:winback.0:")
        for firing, step in ((one, "winback.0"), (two, "hello.1")):
            assert firing == Firing(
                id=firing.id,
                claim=firing.claim,
                key=firing.key,
                loop=step.partition(".")[0],
                step=step,
                subject="ada",
                data={"from": "free", "to": "pro"},
                journey=None,
                occurred_at=clock.now(),
                due_at=clock.now(),
                deadline=None,
                failures=0,
                now=clock.now(),
                current_plan="pro",
            )

    async def test_only_changes_are_told(self, storage: Storage) -> None:
        """Decision 22: the same plan again is no change, whoever says it and whatever else changes."""
        await by_hand(storage, FREE)
        assert await heard(storage) == []
        await by_hand(storage, TRIAL)
        await by_hand(storage, PAYING)
        assert await heard(storage) == [("winback.0", "ada", "free", "paid")]
        await by_hand(storage, PRO)
        await by_hand(storage, FREE)
        await by_hand(storage, PRO)
        assert [(old, new) for _, _, old, new in await heard(storage)] == [
            ("paid", "pro"),
            ("pro", "free"),
            ("free", "pro"),
        ]
        await set_plan(storage, FREE)
        await apply(storage, PAYING)
        assert await heard(storage) == []

    async def test_what_billing_says(self, storage: Storage) -> None:
        """L5, decision 22: what is stale, repeated or nobody's is not told; a duplicate is told once."""
        early = await storage.begin_sync("cus_ada")
        await watched(storage, update(await storage.begin_sync("cus_ada")))
        await watched(storage, update(early, PRO))
        await watched(storage, update(await storage.begin_sync("cus_ada")))
        await watched(storage, update(await storage.begin_sync("cus_new"), subject=None))
        assert await heard(storage) == [("winback.0", "ada", "free", "paid")]
        await watched(storage, update(await storage.begin_sync("cus_ada"), FREE))
        assert await heard(storage) == [("winback.0", "ada", "paid", "free")]

    async def test_what_a_link_changes(self, storage: Storage) -> None:
        """Decision 17: whom the customer's plan is given, and from whom it is taken."""
        await apply(storage, subject=None)
        await storage.link("ada", "cus_ada", watchers=ONE)
        assert await heard(storage) == [("winback.0", "ada", "free", "paid")]
        await storage.link("ada", "cus_ada", watchers=ONE)
        assert await heard(storage) == []
        await storage.link("bob", "cus_ada", watchers=ONE)
        assert sorted(await heard(storage)) == [
            ("winback.0", "ada", "paid", "free"),
            ("winback.0", "bob", "free", "paid"),
        ]
        await storage.link("bob", "cus_nothing_known", watchers=ONE)
        await storage.link("cy", "cus_cy", watchers=ONE)
        assert await heard(storage) == []

    async def test_an_end_that_passes_is_noted(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: at its instant, once; what was in force already is now written down."""
        end = clock.now() + DAY
        await apply(storage, Standing("paid", end, paying=True))
        clock.set(end - MICROSECOND)
        assert await storage.note_lapses(ONE, 100) == 0
        assert await heard(storage) == []
        clock.set(end)
        assert await storage.note_lapses(TWO, 100) == 1
        assert sorted(await heard(storage)) == [
            ("hello.1", "ada", "paid", "free"),
            ("winback.0", "ada", "paid", "free"),
        ]
        assert await storage.get_customer("ada") == Customer(
            "ada", "cus_ada", "free", None, False, "ada@example.test"
        )
        assert await storage.note_lapses(TWO, 100) == 0
        await by_hand(storage, PAYING)
        assert await heard(storage) == [("winback.0", "ada", "free", "paid")]
        assert await conversions(storage) == 2

    async def test_an_end_that_was_moved(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: only the last that was said counts: renewed, made endless, ended sooner."""
        begin = clock.now()
        for name in ("ada", "bob", "cy"):
            await set_plan(storage, Standing("pro", begin + 2 * DAY), subject=name)
        await set_plan(storage, Standing("pro", begin + 3 * DAY), subject="ada")
        await set_plan(storage, PRO, subject="bob")
        await set_plan(storage, Standing("pro", begin + DAY), subject="cy")
        lapsed: list[list[str]] = []
        for _ in range(4):
            clock.advance(DAY)
            await storage.note_lapses(ONE, 100)
            lapsed.append([subject for _, subject, _, _ in await heard(storage)])
        assert lapsed == [["cy"], [], ["ada"], []]

    async def test_as_many_as_asked_for(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `note_lapses`: those that ended longest ago come first; nobody is left out."""
        begin = clock.now()
        for n in (3, 1, 4, 2, 5):
            await set_plan(storage, Standing("pro", begin + n * DAY), subject=f"s{n}")
        clock.advance(timedelta(days=30))
        assert await storage.note_lapses(ONE, 2) == 2
        assert {subject for _, subject, _, _ in await heard(storage)} == {"s1", "s2"}
        assert await storage.note_lapses(ONE, 2) == 2
        assert {subject for _, subject, _, _ in await heard(storage)} == {"s3", "s4"}
        assert await storage.note_lapses((), 2) == 1
        assert await storage.note_lapses(ONE, 2) == 0
        assert await heard(storage) == []

    async def test_an_end_nobody_noted_is_told_later(self, storage: Storage, clock: ManualClock) -> None:
        """L10: a webhook that comes first does not swallow the change; watchers hear a chain without gaps."""
        for subject in ("ada", "bob", "cy"):
            await by_hand(storage, Standing("pro", clock.now() + DAY), subject=subject)
        assert len(await heard(storage)) == 3
        clock.advance(2 * DAY)
        await by_hand(storage, FREE)
        assert await heard(storage) == [("winback.0", "ada", "pro", "free")]
        await by_hand(storage, PAYING, subject="bob")
        assert await heard(storage) == [("winback.0", "bob", "pro", "paid")]
        await by_hand(storage, PRO, subject="cy")
        assert await heard(storage) == []
        assert await storage.note_lapses(ONE, 100) == 0

    async def test_an_end_that_had_passed_before(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: a plan that is over when it is heard of was never in force: nobody hears of it."""
        await by_hand(storage, Standing("pro", clock.now()))
        assert await heard(storage) == []
        assert await storage.note_lapses(ONE, 100) == 0
        assert await heard(storage) == []

    async def test_the_default_plan_ends_in_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: an end that changes no plan is told to nobody."""
        await by_hand(storage, Standing("free", clock.now() + DAY))
        clock.advance(DAY)
        await storage.note_lapses(ONE, 100)
        assert await heard(storage) == []
        assert await storage.note_lapses(ONE, 100) == 0

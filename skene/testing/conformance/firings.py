"""`Firings`: what is set off once, and dealt with by one worker at a time. Recording is in `recording.py`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.engine.standing import Standing
from skene.ports.contacts import Suppressed
from skene.ports.firings import (
    Closing,
    DecisionRow,
    Entry,
    Firing,
    FiringState,
    Journey,
    Outcome,
    Phase,
    Recorded,
)
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    PAYING,
    ConformanceBase,
    apply,
    refuse_once,
    set_plan,
    wall,
)
from skene.testing.conformance.delivery import awkward
from skene.testing.conformance.happening import (
    ACTED,
    BROKE,
    DAY,
    LEASE,
    act,
    entry,
    fired,
    mail,
    take_firing,
)


class EmitConformance(ConformanceBase):
    """What is set off."""

    async def test_a_firing_reads_back(self, storage: Storage, clock: ManualClock) -> None:
        """L10: every field as it was recorded, never looked at, whatever is done to the data later."""
        data = awkward()
        wait = timedelta(hours=3, microseconds=1)
        new = fired(data=data, after=wait, journey="j9")
        assert await storage.emit("ada", (new,), {}) == 1
        data["to"] = "changed"
        occurred = clock.now()
        clock.advance("5h")
        now, (firing,) = await storage.claim_firings(10, LEASE)
        assert now == clock.now()
        assert firing == Firing(
            id=firing.id,
            claim=firing.claim,
            key="f1",
            loop="welcome",
            step="welcome.0",
            subject="ada",
            data=awkward(),
            journey="j9",
            occurred_at=occurred,
            due_at=occurred + wait,
            deadline=None,
            failures=0,
            now=clock.now(),
        )

    async def test_a_key_fires_once(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: in one call, in the next, while it is worked on, when it has ended."""
        first = fired(data={"n": 1})
        assert await storage.emit("ada", (first, replace(first, data={"n": 2}), fired("f2")), {}) == 2
        assert await storage.emit("bob", (fired(subject="bob"), fired("f3", subject="bob")), {}) == 1
        _, claimed = await storage.claim_firings(10, LEASE)
        assert {(firing.key, firing.subject) for firing in claimed} == {
            ("f1", "ada"),
            ("f2", "ada"),
            ("f3", "bob"),
        }
        assert next(firing.data for firing in claimed if firing.key == "f1") == {"n": 1}
        assert await storage.emit("ada", (first,), {}) == 0
        for firing in claimed:
            await storage.record(firing, (), closing=ACTED)
        clock.advance(6 * DAY)
        assert await storage.emit("ada", (first, fired("f4")), {}) == 1
        assert (await take_firing(storage)).key == "f4"

    async def test_keys_are_compared_letter_by_letter(self, storage: Storage) -> None:
        """Decision 13: nothing is trimmed, folded or normalised."""
        keys = ("k", "K", "k ", "é", "e\u0301", "", "'; --", "🌍")
        assert await storage.emit("ada", tuple(fired(key) for key in keys), {}) == len(keys)
        _, claimed = await storage.claim_firings(10, LEASE)
        assert {firing.key for firing in claimed} == set(keys)

    async def test_nothing_to_set_off(self, storage: Storage) -> None:
        """Contract of `emit`: goals alone, or nothing at all, are no firing."""
        assert await storage.emit("ada", (), {}) == 0
        assert await storage.emit("ada", (), {"welcome": DAY}) == 0
        assert await storage.pending_firings() == 0
        assert (await storage.claim_firings(10, LEASE))[1] == ()

    async def test_a_thousand_at_once(self, storage: Storage) -> None:
        """L10: however many there are in one call, each is recorded."""
        many = tuple(fired(f"f{n}", subject=f"s{n}") for n in range(1_000))
        assert await storage.emit("ada", many[:600], {}) == 600
        assert await storage.emit("ada", many, {}) == 400
        assert await storage.pending_firings() == 1_000
        _, claimed = await storage.claim_firings(2_000, LEASE)
        assert {firing.key for firing in claimed} == {new.key for new in many}


class FiringClaimConformance(ConformanceBase):
    """Leases of firings."""

    async def test_due_at_its_time_and_longest_first(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: not a microsecond early; in the order they came due, not that of recording."""
        waits = {"late": timedelta(hours=2), "soon": timedelta(hours=1), "now": timedelta(0)}
        firings = tuple(fired(key, after=wait) for key, wait in waits.items())
        await storage.emit("ada", firings, {})
        begin = clock.now()
        assert (await take_firing(storage)).key == "now"
        clock.set(begin + timedelta(hours=1) - MICROSECOND)
        _, claimed = await storage.claim_firings(1, 9 * DAY)
        assert [firing.key for firing in claimed] == ["now"]
        clock.advance(MICROSECOND)
        assert (await take_firing(storage)).key == "soon"
        clock.set(begin + timedelta(hours=2))
        _, claimed = await storage.claim_firings(1, LEASE)
        assert [firing.key for firing in claimed] == ["soon"]
        _, claimed = await storage.claim_firings(1, LEASE)
        assert [firing.key for firing in claimed] == ["late"]
        assert (await storage.claim_firings(1, LEASE))[1] == ()

    async def test_no_more_than_asked_for(self, storage: Storage, clock: ManualClock) -> None:
        """L10: nobody waits behind somebody younger."""
        for n in range(7):
            await storage.emit("ada", (fired(f"f{n}"),), {})
            clock.advance("1s")
        shares = [(await storage.claim_firings(3, LEASE))[1] for _ in range(4)]
        assert [[firing.key for firing in share] for share in shares] == [
            ["f0", "f1", "f2"],
            ["f3", "f4", "f5"],
            ["f6"],
            [],
        ]

    async def test_a_firing_is_handed_over_when_its_lease_ends(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L9, L10: not a moment before; what a dead worker held comes back as it was."""
        await storage.emit("ada", (fired(data={"n": 1}),), {})
        first = await take_firing(storage)
        clock.advance(LEASE - MICROSECOND)
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        clock.advance(MICROSECOND)
        second = await take_firing(storage)
        assert second.id == first.id
        assert second.claim != first.claim
        assert (second.data, second.failures, second.occurred_at) == (first.data, 0, first.occurred_at)
        assert (await storage.claim_firings(10, LEASE))[1] == ()

    async def test_a_firing_is_kept_for_another_lease(self, storage: Storage, clock: ManualClock) -> None:
        """L9: counted from now, by each of the two verbs that do it, and to the microsecond."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        clock.advance("20s")
        assert await storage.keep_firing(firing, LEASE)
        clock.advance(LEASE - MICROSECOND)
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        assert await storage.record(firing, (), lease=LEASE) == Recorded(held=True)
        clock.advance(LEASE - MICROSECOND)
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        assert await storage.record(firing, ()) == Recorded(held=True)  # neither: the lease stays as it is
        clock.advance(MICROSECOND)
        assert (await take_firing(storage)).claim != firing.claim
        assert not await storage.keep_firing(firing, LEASE)

    async def test_a_lost_claim_may_not_record(self, storage: Storage, clock: ManualClock) -> None:
        """L9: the earlier worker records nothing, moves nothing; the later one is not disturbed."""
        await storage.emit("ada", (fired(),), {})
        first = await take_firing(storage)
        clock.advance(LEASE)
        second = await take_firing(storage)
        journey = Journey("j1", "welcome", "ada")
        following = Entry("ada", Outcome.ACTED, (mail(),), (fired("f2"),), journey)
        lost = Recorded(held=False)
        assert await storage.record(first, (following,), lease=9 * DAY) == lost
        assert await storage.record(first, (following,), closing=ACTED) == lost
        assert await storage.record(first, (), closing=BROKE) == lost
        assert not await storage.keep_firing(first, 9 * DAY)
        assert not await storage.postpone_firing(first, timedelta(0), failed=True)
        assert await storage.messages() == ()
        assert await storage.decisions() == ()
        assert await storage.funnel() == ()
        assert await storage.pending_firings() == 1
        clock.advance(LEASE)
        third = await take_firing(storage)
        assert third.failures == 0
        assert not await storage.keep_firing(second, LEASE)
        assert await storage.record(third, (following,), closing=ACTED) == Recorded(held=True, acted=1)
        assert await storage.record(third, (following,), closing=ACTED) == lost

    async def test_an_end_nobody_noticed_loses_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `Firings`: a late worker may go on with what nobody else has taken."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        clock.advance(LEASE + DAY)
        assert (await storage.record(firing, (entry(),), lease=LEASE)).acted == 1
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        clock.advance(LEASE + DAY)
        assert await storage.keep_firing(firing, LEASE)
        clock.advance(LEASE + DAY)
        assert await storage.postpone_firing(firing, DAY)

    async def test_made_up_claims_on_firings_are_lost(self, storage: Storage) -> None:
        """Contract: the number guards, not only the id."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        for wrong in (replace(firing, claim=firing.claim + 1), replace(firing, id=firing.id + 1)):
            assert not await storage.keep_firing(wrong, LEASE)
            assert not await storage.postpone_firing(wrong, LEASE)
            assert not (await storage.record(wrong, (entry(),), closing=ACTED)).held
        assert await storage.messages() == ()
        assert (await storage.record(firing, (), closing=ACTED)).held

    async def test_a_postponed_firing(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 23: a condition waits durably, with its deadline; failures are counted, waits are not."""
        await storage.emit("ada", (fired(data=awkward()),), {})
        firing = await take_firing(storage)
        until = clock.now() + timedelta(minutes=5, microseconds=1)
        assert await storage.postpone_firing(firing, timedelta(seconds=2), deadline=until)
        assert not await storage.postpone_firing(firing, timedelta(0))
        assert not (await storage.record(firing, (), closing=ACTED)).held
        assert await storage.pending_firings() == 1
        clock.advance(timedelta(seconds=2) - MICROSECOND)
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        clock.advance(MICROSECOND)
        second = await take_firing(storage)
        assert (second.deadline, second.failures, second.due_at) == (until, 0, clock.now())
        assert await storage.postpone_firing(second, DAY, failed=True, reason="no answer")
        clock.advance(DAY)
        third = await take_firing(storage)
        assert (third.deadline, third.failures) == (until, 1)
        later = until + DAY
        assert await storage.postpone_firing(third, timedelta(0), deadline=later, failed=True)
        fourth = await take_firing(storage)
        assert (fourth.deadline, fourth.failures) == (later, 2)
        assert (fourth.data, fourth.occurred_at) == (awkward(), firing.occurred_at)

    @pytest.mark.parametrize("state", [FiringState.DONE, FiringState.DEAD])
    async def test_a_closed_firing_is_final(
        self, storage: Storage, clock: ManualClock, state: FiringState
    ) -> None:
        """L9: nothing sets a firing off again by itself."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        closing = Closing(Phase.CONDITION, Outcome.NOT_MET, "no row", state)
        assert await storage.record(firing, (), closing=closing) == Recorded(held=True)
        assert await storage.pending_firings() == 0
        clock.advance(50 * DAY)
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        assert not await storage.keep_firing(firing, LEASE)
        assert not await storage.postpone_firing(firing, timedelta(0))
        assert not (await storage.record(firing, (entry(),))).held
        assert await storage.emit("ada", (fired(),), {}) == 0

    async def test_the_subject_as_it_is_now(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: plan, address and wish of the moment of the claim, not of the trigger."""
        await storage.emit("ada", (fired(),), {})
        await storage.emit("bob", (fired("f2", subject="bob"),), {})
        end = clock.now() + timedelta(seconds=31)
        await apply(storage, Standing("paid", end, paying=True))
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        ada, bob = sorted((await storage.claim_firings(10, LEASE))[1], key=lambda f: f.subject)
        assert (ada.current_plan, ada.email, ada.unsubscribed) == ("paid", "ada@example.test", True)
        assert (bob.current_plan, bob.email, bob.unsubscribed) == (None, None, False)
        assert "ada@example.test" not in repr(ada)
        await storage.unsuppress(subject="ada")
        await set_plan(storage, PAYING, subject="bob")
        clock.set(end)
        ada, bob = sorted((await storage.claim_firings(10, LEASE))[1], key=lambda f: f.subject)
        assert (ada.current_plan, ada.unsubscribed) == ("free", False)
        assert bob.current_plan == "paid"
        assert (ada.over, bob.over) == (None, None)

    async def test_how_many_are_on_their_way(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: pending and claimed ones, whether due or not; what has ended is not counted."""
        assert await storage.pending_firings() == 0
        await storage.emit("ada", (fired(), fired("f2"), fired("f3", after=DAY)), {})
        _, (one, two) = await storage.claim_firings(10, LEASE)
        assert await storage.pending_firings() == 3
        await storage.record(one, (), closing=ACTED)
        await storage.postpone_firing(two, DAY)
        assert await storage.pending_firings() == 2


class LogConformance(ConformanceBase):
    """The log of decisions."""

    async def test_the_log_comes_latest_first(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `decisions`: by loop, subject, outcome, time and number, in any combination."""
        begin = clock.now()
        for n in range(6):
            subject, loop = ("ada", "bob")[n % 2], ("a", "b", "c")[n // 2]
            await storage.emit(subject, (fired(f"f{n}", subject=subject, loop=loop),), {})
            outcome = Outcome.ACTED if n % 3 else Outcome.NOT_MET
            await storage.record(
                await take_firing(storage), (), closing=Closing(Phase.CONDITION, outcome, f"r{n}")
            )
            clock.advance("1h")
        rows = await storage.decisions()
        assert [row.firing for row in rows] == ["f5", "f4", "f3", "f2", "f1", "f0"]
        assert rows[-1] == DecisionRow(
            begin, "a", "welcome.0", "ada", Phase.CONDITION, Outcome.NOT_MET, "r0", "f0"
        )
        assert await storage.decisions(limit=2) == rows[:2]
        assert await storage.decisions(subject="ada") == rows[1::2]
        assert await storage.decisions(loop="b") == rows[2:4]
        assert await storage.decisions(outcome=Outcome.NOT_MET) == (rows[2], rows[5])
        assert await storage.decisions(since=rows[3].at) == rows[:4]
        assert await storage.decisions(since=rows[3].at + MICROSECOND) == rows[:3]
        assert await storage.decisions(loop="b", subject="bob", outcome=Outcome.NOT_MET) == (rows[2],)
        assert await storage.decisions(subject="bob", since=begin + DAY) == ()
        assert await storage.decisions(subject="ada", limit=1) == (rows[1],)

    async def test_what_happens_at_once_keeps_its_order(self, storage: Storage) -> None:
        """Contract of `decisions`: the instant alone does not order them."""
        for n in range(12):
            await act(storage, f"f{n}")
        assert [row.firing for row in await storage.decisions()] == [f"f{n}" for n in range(11, -1, -1)]

    async def test_a_wall_is_logged_once(self, storage: Storage, clock: ManualClock) -> None:
        """L3: the first refusal of a window; a loop that only watches says so."""
        await refuse_once(storage, clock)
        at = clock.now()
        clock.advance("1h")
        await refuse_once(storage, clock, wall_id="w2")
        await storage.open_wall(wall(clock, "w3", subject="bob", held_out=True), ())
        clock.advance("1h")
        await storage.open_wall(wall(clock, "w4", subject="cy", shadow=True), ())
        rows = await storage.decisions()
        assert [(row.firing, row.outcome) for row in rows] == [
            ("w4", Outcome.SHADOW),
            ("w3", Outcome.REFUSED),
            ("w1", Outcome.REFUSED),
        ]
        assert rows[-1] == DecisionRow(
            at, "freemium", "freemium.0", "ada", Phase.GATE, Outcome.REFUSED, None, "w1"
        )

    async def test_single_calls_are_not_logged(self, storage: Storage) -> None:
        """Decision 28 and the tables: rows grow with firings and walls, never with calls or plans."""
        await set_plan(storage, FREE)
        await apply(storage)
        await storage.emit("ada", (fired(),), {})
        await storage.postpone_firing(await take_firing(storage), timedelta(0), failed=True, reason="later")
        assert await storage.decisions() == ()

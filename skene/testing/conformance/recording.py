"""`Firings.record`: what follows from a firing, all of it or nothing."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.ports.firings import (
    Closing,
    DecisionRow,
    Entry,
    FiringState,
    Journey,
    Outcome,
    Phase,
    Recorded,
    Repeat,
)
from skene.ports.outbox import MessageState
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MICROSECOND, ConformanceBase, refuse_once
from skene.testing.conformance.delivery import awkward
from skene.testing.conformance.happening import (
    ACTED,
    BROKE,
    DAY,
    EPISODE,
    LEASE,
    SCANNED,
    act,
    entry,
    fired,
    mail,
    open_tick,
    take,
    take_firing,
)

WEEK = timedelta(days=7)
ALWAYS = Repeat()


class RecordConformance(ConformanceBase):
    """One transaction."""

    async def test_all_that_follows(self, storage: Storage, clock: ManualClock) -> None:
        """L10: messages, next firings, the journey and the log are there at once, field by field."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        clock.advance("1s")
        one = replace(mail(journey="j1"), data=awkward(), kind="grant", template="", channel="grants")
        other = mail("m2", journey="j1", marketing=False)
        following = fired("f2", step="welcome.1", data=awkward(), after=DAY, journey="j1")
        journey = Journey("j1", "welcome", "ada", within=WEEK)
        all_of_it = Entry("ada", Outcome.ACTED, (one, other), (following,), journey)
        assert await storage.record(firing, (all_of_it,), closing=ACTED) == Recorded(held=True, acted=1)
        begun = clock.now()
        pending = MessageState.PENDING
        assert await storage.messages() == ((one, pending, None), (other, pending, None))
        row = DecisionRow(begun, "welcome", "welcome.0", "ada", Phase.ACTION, Outcome.ACTED, None, "f1")
        assert await storage.decisions() == (row,)
        assert [line.journeys for line in await storage.funnel(since=begun)] == [1]
        assert await storage.pending_firings() == 1
        assert [message.draft for message in await storage.claim(10, LEASE)] == [one, other]
        clock.advance(DAY)
        second = await take_firing(storage)
        assert (second.key, second.step, second.subject) == ("f2", "welcome.1", "ada")
        assert (second.data, second.journey, second.tick) == (awkward(), "j1", None)
        assert (second.occurred_at, second.due_at) == (begun, begun + DAY)

    async def test_each_key_and_id_once(self, storage: Storage, clock: ManualClock) -> None:
        """L4: what was posted, set off or begun before is dropped, the rest is recorded."""
        await refuse_once(storage, clock)
        await storage.emit("ada", (fired(), fired("f2", after=DAY)), {})
        firing = await take_firing(storage)
        taken = replace(mail("upgrade_prompt:w1"), template="another")
        journey = Journey("j1", "welcome", "ada", within=WEEK)
        drafts = (taken, mail("m1"), replace(mail("m1"), template="another"))
        following = (fired("f2"), fired("f3", after=DAY), fired("f3"))
        first = Entry("ada", Outcome.ACTED, drafts, following, journey)
        assert (await storage.record(firing, (first,), lease=LEASE)).acted == 1
        clock.advance(LEASE)
        again = await take_firing(storage)
        later = replace(first, next=(*following, fired("f4", after=DAY)))
        assert (await storage.record(again, (later,), closing=ACTED)).held
        templates = {draft.key: draft.template for draft, _, _ in await storage.messages()}
        assert templates == {"upgrade_prompt:w1": "upgrade_prompt", "m1": "welcome"}
        assert (await storage.claim_firings(10, LEASE))[1] == ()
        assert await storage.pending_firings() == 3
        (row,) = await storage.funnel(loop="welcome", until=clock.now())  # it began at the first time
        assert row.journeys == 1

    async def test_a_chain_goes_on_with_its_journey(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: the second step begins no other journey."""
        begun = Journey("j1", "welcome", "ada")
        following = fired("f2", step="welcome.1", journey="j1")
        await act(storage, "f1", Entry("ada", Outcome.ACTED, next=(following,), journey=begun))
        second = await take_firing(storage)
        assert second.journey == "j1"
        goes_on = Entry("ada", Outcome.ACTED, (mail(journey="j1"),))
        assert (await storage.record(second, (goes_on,), closing=ACTED)).acted == 1
        assert (await take(storage)).draft.journey == "j1"
        assert [row.journeys for row in await storage.funnel()] == [1]

    async def test_a_thousand_entries(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `record`: the largest batch is recorded at once, each with all that follows."""
        names = [f"s{n}" for n in range(1_000)]
        await open_tick(storage, clock.advance(DAY))
        firing = await take_firing(storage)
        entries = tuple(
            Entry(
                name,
                Outcome.ACTED,
                (mail(f"m:{name}", subject=name, journey=f"j:{name}", loop="digest"),),
                (fired(f"next:{name}", subject=name, after=DAY, journey=f"j:{name}"),),
                Journey(f"j:{name}", "digest", name, within=WEEK),
            )
            for name in names
        )
        assert (await storage.record(firing, entries[:400], repeat=EPISODE, lease=LEASE)).acted == 400
        recorded = await storage.record(firing, entries, repeat=EPISODE, closing=SCANNED)
        assert recorded == Recorded(held=True, acted=600)
        assert dict(await storage.outbox_counts()) == {MessageState.PENDING: 1_000}
        assert await storage.pending_firings() == 1_000
        assert [row.journeys for row in await storage.funnel()] == [1_000]
        log = await storage.decisions(limit=2_000)
        assert (log[0].subject, log[0].outcome) == ("", Outcome.SCANNED)
        assert sorted(row.subject for row in log[1:]) == sorted(names)
        assert [message.draft.subject for message in await storage.claim(2_000, LEASE)] == names

    async def test_the_end_of_a_firing_is_logged(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `record`: where nobody was acted upon, and for every tick; else the entries say it."""
        await act(storage, "f1")
        assert [row.phase for row in await storage.decisions()] == [Phase.ACTION]
        await storage.emit("ada", (fired("f2"),), {})
        await storage.record(await take_firing(storage), (), closing=BROKE)
        (row, _) = await storage.decisions()
        assert (row.phase, row.outcome, row.reason, row.subject, row.firing) == (
            Phase.CONDITION,
            Outcome.FAILED,
            "the statement timed out",
            "ada",
            "f2",
        )
        await open_tick(storage, clock.advance(DAY))
        tick = await take_firing(storage)
        closing = replace(SCANNED, reason="2 rows")
        entries = (entry("ada", "t1"), entry("bob", "t1", outcome=Outcome.HELD_OUT))
        await storage.record(tick, entries, repeat=EPISODE, closing=closing)
        lines = {
            (row.step, row.subject, row.phase, row.outcome, row.reason, row.firing, row.at)
            for row in (await storage.decisions())[:3]
        }
        at = clock.now()
        assert lines == {
            ("digest.0", "", Phase.CONDITION, Outcome.SCANNED, "2 rows", tick.key, at),
            ("digest.0", "ada", Phase.ACTION, Outcome.ACTED, None, tick.key, at),
            ("digest.0", "bob", Phase.ACTION, Outcome.HELD_OUT, None, tick.key, at),
        }

    async def test_nothing_to_record(self, storage: Storage) -> None:
        """Contract of `record`: neither entries nor a closing: nothing but the claim is looked at."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        assert await storage.record(firing, (), repeat=ALWAYS) == Recorded(held=True)
        assert await storage.decisions() == ()
        assert await storage.pending_firings() == 1


class RepeatConformance(ConformanceBase):
    """Whether a step may act upon a subject again."""

    async def test_a_cooldown(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: counted from the last time it acted, not from the last time it wanted to."""
        rule = Repeat(cooldown=WEEK)
        assert (await act(storage, "f1", repeat=rule)).acted == 1
        begin = clock.now()
        clock.set(begin + WEEK - MICROSECOND)
        assert await self.again(storage, "f2", rule) == Recorded(held=True)
        clock.set(begin + WEEK)
        assert (await act(storage, "f3", repeat=rule)).acted == 1
        clock.set(begin + 2 * WEEK - MICROSECOND)
        assert (await self.again(storage, "f4", rule)).acted == 0
        clock.set(begin + 2 * WEEK)
        assert (await act(storage, "f5", repeat=rule)).acted == 1
        assert [draft.key for draft, _, _ in await storage.messages()] == ["f1:ada", "f3:ada", "f5:ada"]

    async def test_a_number_of_times(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: `max_fires` is for ever."""
        rule = Repeat(max_fires=2)
        acted: list[int] = []
        for n in range(4):
            acted.append((await act(storage, f"f{n}", repeat=rule)).acted)
            clock.advance(400 * DAY)
        assert acted == [1, 1, 0, 0]
        assert (await act(storage, "f9", repeat=Repeat(max_fires=3))).acted == 1
        assert (await act(storage, "f10", repeat=Repeat(max_fires=3))).acted == 0

    async def test_both_rules_hold(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: what is refused by one of them is not counted by the other."""
        rule = Repeat(cooldown=WEEK, max_fires=2)
        acted: list[int] = []
        for n in range(6):
            acted.append((await act(storage, f"f{n}", repeat=rule)).acted)
            clock.advance(WEEK / 2)
        assert acted == [1, 0, 1, 0, 0, 0]

    async def test_rules_are_of_one_step_and_subject(self, storage: Storage) -> None:
        """Decision 25: others are not held back."""
        rule = Repeat(cooldown=WEEK, max_fires=1)
        for n, (subject, step) in enumerate((("ada", "a.0"), ("bob", "a.0"), ("ada", "a.1"), ("Ada", "a.0"))):
            recorded = await act(
                storage, f"f{n}", entry(subject, f"f{n}"), subject=subject, step=step, repeat=rule
            )
            assert recorded.acted == 1

    @pytest.mark.parametrize("outcome", [Outcome.HELD_OUT, Outcome.SHADOW])
    async def test_left_alone_counts_too(
        self, storage: Storage, clock: ManualClock, outcome: Outcome
    ) -> None:
        """Decision 21: or those held out would begin more journeys than the others."""
        rule = Repeat(cooldown=WEEK)
        held_out = entry("ada", "f1", outcome=outcome)
        assert (await act(storage, "f1", held_out, repeat=rule)).acted == 1
        assert (await act(storage, "f2", held_out, repeat=rule)).acted == 0
        assert [row.outcome for row in await storage.decisions()] == [Outcome.REPEATED, outcome]
        assert await storage.messages() == ()

    async def test_a_repetition_is_logged(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `record`: nothing of its entry is recorded, and the log says why."""
        await act(storage, "f1", repeat=Repeat(max_fires=1))
        clock.advance("1h")
        journey = Journey("j2", "welcome", "ada", within=WEEK)
        wanted = Entry("ada", Outcome.ACTED, (mail("m2"),), (fired("next"),), journey)
        recorded = await act(storage, "f2", wanted, repeat=Repeat(max_fires=1))
        assert recorded == Recorded(held=True, acted=0)
        assert (await storage.decisions())[0] == DecisionRow(
            clock.now(), "welcome", "welcome.0", "ada", Phase.GATE, Outcome.REPEATED, None, "f2"
        )
        assert len(await storage.decisions()) == 2
        assert len(await storage.messages()) == 1
        assert await storage.pending_firings() == 0
        assert await storage.funnel() == ()

    @pytest.mark.parametrize("rule", [ALWAYS, Repeat(cooldown=WEEK), Repeat(max_fires=2)])
    async def test_the_same_firing_after_a_lost_lease(
        self, storage: Storage, clock: ManualClock, rule: Repeat
    ) -> None:
        """L9, L10: what it did itself is not repeated, not counted twice, and not called a repetition."""
        await storage.emit("ada", (fired(),), {})
        first = await take_firing(storage)
        assert (await storage.record(first, (entry(),), repeat=rule)).acted == 1
        clock.advance(LEASE)
        second = await take_firing(storage)
        recorded = await storage.record(second, (entry(),), repeat=rule, closing=ACTED)
        assert recorded == Recorded(held=True, acted=0)
        assert [row.outcome for row in await storage.decisions()] == [Outcome.ACTED]
        assert len(await storage.messages()) == 1
        clock.advance(WEEK)
        assert (await act(storage, "f2", repeat=rule)).acted == 1

    async def test_without_a_rule_nothing_is_remembered(self, storage: Storage) -> None:
        """Contract of `record`: a step of a chain acts because the chain goes on."""
        assert (await act(storage, "f1")).acted == 1
        assert (await act(storage, "f2", repeat=Repeat(max_fires=1))).acted == 1
        assert (await act(storage, "f3")).acted == 1

    async def test_the_end_alone_touches_nobody(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `record`: a firing that ends without entries was not acted upon."""
        rule = Repeat(max_fires=1)
        await storage.emit("ada", (fired(),), {})
        not_met = Closing(Phase.CONDITION, Outcome.NOT_MET, state=FiringState.DONE)
        await storage.record(await take_firing(storage), (), repeat=rule, closing=not_met)
        assert (await act(storage, "f2", repeat=rule)).acted == 1

    async def again(self, storage: Storage, key: str, rule: Repeat) -> Recorded:
        """Another firing for ada, of which nothing must follow."""
        before = len(await storage.messages())
        recorded = await act(storage, key, repeat=rule)
        assert len(await storage.messages()) == before
        return recorded

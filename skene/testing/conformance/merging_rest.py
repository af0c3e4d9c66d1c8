"""`Storage.merge`: everything of a subject but its counters becomes another one's."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.engine.standing import Standing
from skene.ports.contacts import Suppressed
from skene.ports.counters import Draft
from skene.ports.firings import Entry, Journey, Outcome, Repeat, Watcher
from skene.ports.grants import Grant
from skene.ports.hooks import EventKind
from skene.ports.merging import ASKED_ALREADY, Merged
from skene.ports.outbox import MessageState, Never, Rules
from skene.ports.outbox import Outcome as Ending
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MONTH,
    PAYING,
    TRIAL,
    ConformanceBase,
    apply,
    call,
    charge,
    conversions,
    draft,
    notice,
    refuse_once,
    set_plan,
    used,
)
from skene.testing.conformance.happening import (
    ACTED,
    DAY,
    LEASE,
    act,
    begin_journey,
    fired,
    mail,
    send,
    take,
    take_firing,
)
from skene.testing.conformance.merging import VISITOR, use

__all__ = ["MergeConformance", "tells_of_merge"]

WATCHER = Watcher("winback", "winback.0")
HOUR = timedelta(hours=1)


def tells_of_merge(source: str = VISITOR) -> Draft:
    """What a hook would be told."""
    plain = mail(f"event:{source}", marketing=False)
    data = {"at": "2026-03-01T00:00:00+00:00", "data": {"source": source}}
    return replace(plain, kind="event", template=EventKind.MERGED, channel="warehouse", data=data)


class MergeConformance(ConformanceBase):
    """Everything else becomes the target's."""

    async def test_a_wall_from_before_the_sign_up_is_credited(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 20: whoever met it without a name."""
        await refuse_once(storage, clock, subject=VISITOR)
        clock.advance("1d")
        await storage.merge(VISITOR, "ada")
        found = await storage.get_wall("w1")
        assert found is not None
        assert found.subject == "ada"
        assert (await storage.peek(call(charge(0)))).tallies[0].wall == "w1"
        assert (await apply(storage)).wall == "w1"
        assert await conversions(storage) == 1

    async def test_who_was_asked_is_not_asked_again(self, storage: Storage, clock: ManualClock) -> None:
        """L4: of two prompts for one step, plan and window one goes out."""
        for subject, name in (("ada", "w1"), (VISITOR, "w2")):
            await refuse_once(storage, clock, subject=subject, wall_id=name)
        await storage.merge(VISITOR, "ada")
        assert [(one[0].wall, one[1], one[2]) for one in await storage.messages("ada")] == [
            ("w1", MessageState.PENDING, None),
            ("w2", MessageState.CANCELLED, ASKED_ALREADY),
        ]
        assert [message.draft.wall for message in await storage.claim(10, LEASE)] == ["w1"]

    async def test_who_was_asked_without_a_name(self, storage: Storage, clock: ManualClock) -> None:
        """L4: what has gone out to the source is not repeated to the target; in hand, it is dropped."""
        await refuse_once(storage, clock, subject=VISITOR, wall_id="w1")
        await send(storage, await take(storage))
        await refuse_once(storage, clock, wall_id="w2")
        (in_hand,) = await storage.claim(10, LEASE)
        await storage.merge(VISITOR, "ada")
        assert await storage.begin_attempt(in_hand, {}) is None
        assert not await storage.settle(in_hand, Ending(MessageState.SENT))
        states = {one[0].wall: one[1] for one in await storage.messages("ada")}
        assert states == {"w1": MessageState.SENT, "w2": MessageState.CANCELLED}
        clock.advance(LEASE)
        assert await storage.claim(10, LEASE) == ()

    async def test_other_prompts_go_out(self, storage: Storage, clock: ManualClock) -> None:
        """L4: about another step, or another window, they are no repetition."""
        await refuse_once(storage, clock, wall_id="w1")
        clock.advance(MONTH)
        await refuse_once(storage, clock, subject=VISITOR, wall_id="w2")
        other = replace(draft("k3", subject=VISITOR), step="other.0")
        await storage.record_notice(
            notice(await storage.consume(call(subject=VISITOR)), "n", drafts=(other,), subject=VISITOR)
        )
        await storage.merge(VISITOR, "ada")
        taken = await storage.claim(10, LEASE)
        assert {message.draft.key for message in taken} == {"upgrade_prompt:w1", "upgrade_prompt:w2", "k3"}
        assert {message.draft.subject for message in taken} == {"ada"}

    async def test_a_message_in_hand_asks_what_the_target_wants(self, storage: Storage) -> None:
        """Decision 27: unsubscribed under either name is unsubscribed; a cap counts the mails of both."""
        await act(storage, "sent", subject=VISITOR)
        await send(storage, await take(storage))
        for key in ("a", "b"):
            await act(storage, key, subject=VISITOR)
        first, second = await storage.claim(10, LEASE)
        await storage.merge(VISITOR, "ada")
        capped = await storage.begin_attempt(first, {}, Rules(cap=(1, 30 * DAY)))
        assert getattr(capped, "capped", False), capped
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject=VISITOR, source="link")
        assert isinstance(await storage.begin_attempt(second, {}), Never)
        assert [one.subject for one in await storage.suppressions(subject="ada")] == ["ada"]
        assert await storage.unsuppress(subject=VISITOR) == 1

    async def test_suppressions_of_the_source(self, storage: Storage) -> None:
        """Decision 27: who wanted no mail without a name wants none with one."""
        for subject in ("bob", VISITOR, "visitor of bob"):
            await storage.suppress(Suppressed.UNSUBSCRIBED, subject=subject, source="link")
        await storage.merge(VISITOR, "ada")
        await storage.merge("visitor of bob", "bob")
        known = {one.subject for one in await storage.suppressions()}
        assert known == {"ada", "bob"}

    async def test_a_firing_in_hand_is_about_the_target(self, storage: Storage, clock: ManualClock) -> None:
        """What a worker records after the merge is recorded of the target, and of nobody else."""
        await storage.emit(VISITOR, (fired(subject=VISITOR),), {})
        firing = await take_firing(storage)
        assert (await storage.merge(VISITOR, "ada")).moved == 1
        entry = Entry(
            VISITOR,
            Outcome.ACTED,
            (mail("m1", subject=VISITOR, journey="j1"),),
            (fired("f2", subject=VISITOR, journey="j1"),),
            Journey("j1", "welcome", VISITOR, within=7 * DAY),
        )
        once = Repeat(max_fires=1)
        assert (await storage.record(firing, (entry,), repeat=once, closing=ACTED)).acted == 1
        assert {one[0].subject for one in await storage.messages()} == {"ada"}
        assert {row.subject for row in await storage.decisions()} == {"ada"}
        assert (await take_firing(storage)).subject == "ada"
        assert (await act(storage, "again", repeat=once)).acted == 0
        await storage.emit("ada", (), {"welcome": 7 * DAY})
        assert [row.goals for row in await storage.funnel()] == [1]

    async def test_firings_and_journeys(self, storage: Storage, clock: ManualClock) -> None:
        """What is on its way goes on, and reaches the goal under either name."""
        await begin_journey(storage, subject=VISITOR)
        await storage.emit(VISITOR, (fired("later", subject=VISITOR, after=HOUR),), {})
        await storage.merge(VISITOR, "ada")
        await storage.emit(VISITOR, (fired("then", subject=VISITOR, after=HOUR),), {"welcome": 7 * DAY})
        assert [(row.journeys, row.goals) for row in await storage.funnel()] == [(1, 1)]
        message = await take(storage)
        assert (message.draft.subject, message.over) == ("ada", "the goal is reached")
        clock.advance(HOUR)
        _, taken = await storage.claim_firings(10, LEASE)
        assert {firing.subject for firing in taken} == {"ada"}
        assert await storage.decisions(subject=VISITOR) == ()
        assert len(await storage.decisions(subject="ada")) == 1

    async def test_repetitions_of_both(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: how often a step may act counts under both names, and since the last time."""
        twice, rest = Repeat(max_fires=2), Repeat(cooldown=DAY)
        for subject in ("ada", VISITOR):
            await act(storage, f"a:{subject}", subject=subject, repeat=twice)
        await act(storage, "b", subject=VISITOR, repeat=rest, step="rest.0")
        await act(storage, "c", repeat=rest, step="late.0")
        clock.advance(HOUR)
        await act(storage, "d", subject=VISITOR, repeat=rest, step="late.0")
        await storage.merge(VISITOR, "ada")
        clock.advance(DAY - HOUR)
        assert (await act(storage, "e", repeat=twice)).acted == 0
        assert (await act(storage, "f", repeat=rest, step="rest.0")).acted == 1
        assert (await act(storage, "g", repeat=rest, step="late.0")).acted == 0

    async def test_the_tie_to_a_customer(self, storage: Storage, clock: ManualClock) -> None:
        """Whoever has paid without a name has paid: plan, address and customer come along, once."""
        ends = clock.now() + MONTH
        await apply(storage, Standing("paid", ends, paying=True), customer="cus_v", subject=VISITOR)
        merged = await storage.merge(VISITOR, "ada", watchers=(WATCHER,))
        assert (merged.customer, merged.untied) == ("cus_v", None)
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.customer, known.plan, known.until, known.paying) == ("cus_v", "paid", ends, True)
        assert known.email == "ada@example.test"
        assert await storage.get_customer(VISITOR) == known
        heard = await take_firing(storage)
        assert (heard.subject, heard.data) == ("ada", {"from": "free", "to": "paid"})
        again = await apply(storage, PAYING, customer="cus_v", subject=VISITOR)
        assert (again.subject, again.converted) == ("ada", False)
        assert await conversions(storage) == 1
        clock.set(ends)
        assert (await storage.claim_lookup(VISITOR, HOUR)) == "cus_v"
        assert (await storage.claim_lookup("ada", HOUR)) is None

    async def test_the_target_keeps_its_customer(self, storage: Storage) -> None:
        """Where both have one the target's stays, and the other is told of."""
        await apply(storage, customer="cus_v", subject=VISITOR)
        await apply(storage, Standing("pro", paying=True), customer="cus_a")
        merged = await storage.merge(VISITOR, "ada", watchers=(WATCHER,))
        assert (merged.customer, merged.untied) == ("cus_a", "cus_v")
        assert await storage.pending_firings() == 0
        assert (await storage.peek(call())).plan == "free"  # no limit table of the call's knows it
        assert (await storage.peek(call())).held_plan == "pro"
        late = await apply(storage, FREE, customer="cus_v", subject=VISITOR)
        assert (late.subject, late.after) == (None, "free")
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.customer, known.plan) == ("cus_a", "pro")

    async def test_nobody_who_pays_is_unheard(self, storage: Storage) -> None:
        """A customer that gives nothing gives way to one that pays, now and when it pays later on."""
        await apply(storage, customer="cus_v", subject=VISITOR)
        await apply(storage, FREE, customer="cus_a")
        merged = await storage.merge(VISITOR, "ada")
        assert (merged.customer, merged.untied) == ("cus_v", "cus_a")
        assert (await storage.peek(call())).plan == "paid"
        for subject, customer in (("visitor of bob", "cus_v2"), ("bob", "cus_b")):
            await apply(storage, FREE, customer=customer, subject=subject)
        merged = await storage.merge("visitor of bob", "bob")
        assert (merged.customer, merged.untied) == ("cus_b", "cus_v2")
        late = await apply(storage, PAYING, customer="cus_v2", subject="visitor of bob")
        assert (late.subject, late.after, late.converted) == ("bob", "paid", True)

    async def test_a_plan_set_by_hand_comes_along(self, storage: Storage) -> None:
        """It comes along unless the target holds more than the default plan."""
        await set_plan(storage, TRIAL, subject=VISITOR)
        await storage.merge(VISITOR, "ada", watchers=(WATCHER,))
        assert (await storage.peek(call())).plan == "paid"
        assert (await take_firing(storage)).data == {"from": "free", "to": "paid"}
        await set_plan(storage, Standing("gold"), subject="visitor of bob")
        await set_plan(storage, TRIAL, subject="bob")
        await storage.merge("visitor of bob", "bob")
        assert (await storage.peek(call(subject="bob"))).plan == "paid"
        assert await conversions(storage) == 0

    async def test_a_plan_that_comes_along_ends(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: at its end, once, of the target."""
        await set_plan(storage, Standing("paid", clock.now() + DAY), subject=VISITOR)
        await storage.merge(VISITOR, "ada")
        clock.advance(DAY)
        assert (await storage.peek(call())).plan == "free"
        assert await storage.note_lapses((WATCHER,), 10) == 1
        heard = await take_firing(storage)
        assert (heard.subject, heard.data) == ("ada", {"from": "paid", "to": "free"})

    async def test_what_is_said_of_the_source_later(self, storage: Storage) -> None:
        """Whoever still uses the old name means the target."""
        await storage.merge(VISITOR, "ada")
        assert await storage.get_customer(VISITOR) is None
        await set_plan(storage, TRIAL, subject=VISITOR)
        assert (await storage.peek(call())).plan == "paid"
        await storage.link(VISITOR, "cus_v")
        assert (await apply(storage, customer="cus_v", subject=None)).subject == "ada"

    async def test_a_chain_of_names(self, storage: Storage) -> None:
        """Whatever was merged before counts as the last of them; the first merge of a name stands."""
        await storage.merge("a", "b")
        await storage.grant(Grant("k", "a", "calls", 1))
        await storage.merge("b", "c")
        await storage.grant(Grant("k2", "a", "calls", 1))
        assert len(await storage.grants("c")) == 2
        assert await storage.merge("d", "a") == Merged("c", 0, first=True)
        await use(storage, 5, "e")
        assert (await storage.merge("e", "b")).subject == "c"
        assert await used(storage, subject="c") == 5
        assert await storage.merge("a", "f") == Merged("c", 0, first=False)

    @pytest.mark.parametrize(("source", "target"), [("b", "b"), ("c", "a"), ("c", "b"), ("new", "new")])
    async def test_a_circle_is_refused(self, storage: Storage, source: str, target: str) -> None:
        """Contract: neither into itself, nor into somebody who counts as it."""
        await storage.merge("a", "b")
        await storage.merge("b", "c")
        with pytest.raises(ValueError, match="cannot be merged"):
            await storage.merge(source, target)

    async def test_hooks_are_told_once(self, storage: Storage) -> None:
        """Messages about a merge are written with it, about whom it is now."""
        await storage.merge("ada", "ada lovelace")
        for _ in range(2):
            await storage.merge(VISITOR, "ada", drafts=(tells_of_merge(),))
        assert [(one[0].key, one[0].subject) for one in await storage.messages()] == [
            (f"event:{VISITOR}", "ada lovelace")
        ]

    async def test_nobody_is_merged(self, storage: Storage) -> None:
        """Contract: a visitor of whom nothing is known may be merged, and may be back later."""
        assert await storage.merge(VISITOR, "ada") == Merged("ada", 0, first=True)
        assert await storage.merge(VISITOR, "ada") == Merged("ada", 0, first=False)
        assert await storage.get_customer("ada") is None
        await use(storage, 3, "bob")
        assert await used(storage) == 0

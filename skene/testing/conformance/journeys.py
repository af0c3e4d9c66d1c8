"""Journeys: how they are counted, how they reach their goal, and when they are over."""

from datetime import datetime, timedelta

import pytest

from skene.ports.contacts import Suppressed
from skene.ports.firings import Entry, Firing, Journey, Outcome
from skene.ports.ledger import FunnelRow
from skene.ports.outbox import Claimed, MessageState
from skene.ports.outbox import Outcome as Ending
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    PAYING,
    ConformanceBase,
    refuse_once,
    set_plan,
)
from skene.testing.conformance.happening import (
    ACTED,
    DAY,
    LEASE,
    act,
    begin_journey,
    fired,
    mail,
    post,
    send,
    take_firing,
)

WEEK = 7 * DAY
HOUR = timedelta(hours=1)
GOAL, PAID, GONE = "the goal is reached", "converted", "unsubscribed"


async def welcome(storage: Storage) -> FunnelRow:
    """The row of the loop whose journeys these are."""
    (row,) = await storage.funnel(loop="welcome")
    return row


class GoalConformance(ConformanceBase):
    """Reaching what a loop is for."""

    async def test_a_goal_within_its_time(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: to the microsecond, its last instant included."""
        begin = clock.now()
        for name in ("ada", "bob", "cy"):
            await begin_journey(storage, name, subject=name, within=WEEK)
        clock.set(begin + WEEK - MICROSECOND)
        await storage.emit("ada", (), {"welcome": WEEK})
        clock.set(begin + WEEK)
        await storage.emit("bob", (), {"welcome": WEEK})
        clock.set(begin + WEEK + MICROSECOND)
        await storage.emit("cy", (), {"welcome": WEEK})
        row = await welcome(storage)
        assert (row.journeys, row.goals) == (3, 2)

    async def test_the_first_time_counts(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: reaching it again changes nothing; a journey that began since has one of its own."""
        await begin_journey(storage, "j1")
        clock.advance("2h")
        await storage.emit("ada", (), {"welcome": WEEK})
        assert (await welcome(storage)).median_time_to_goal == 2 * HOUR
        clock.advance("1d")
        await begin_journey(storage, "j2")
        clock.advance("4h")
        await storage.emit("ada", (), {"welcome": WEEK})
        row = await welcome(storage)
        assert (row.journeys, row.goals, row.median_time_to_goal) == (2, 2, 3 * HOUR)

    async def test_whose_goal_it_is(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: of the subject and the loops that are named; several journeys may reach it at once."""
        await begin_journey(storage, "j1")
        await begin_journey(storage, "j2")
        await begin_journey(storage, "j3", loop="other")
        await begin_journey(storage, "j4", subject="bob")
        clock.advance("1h")
        assert await storage.emit("ada", (fired(),), {"welcome": WEEK, "unknown": WEEK}) == 1
        welcomed, other = sorted(await storage.funnel(), key=lambda row: row.loop != "welcome")
        assert (welcomed.journeys, welcomed.goals, other.goals) == (3, 2, 0)
        await storage.emit("ada", (fired(),), {"welcome": WEEK, "other": WEEK})  # the firing is not new
        assert [row.goals for row in await storage.funnel()] == [1, 2]
        await storage.emit("cy", (), {"welcome": WEEK})
        assert (await welcome(storage)).goals == 2

    async def test_loops_have_times_of_their_own(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: in one call, each loop's journeys are measured by its own time."""
        await begin_journey(storage, "j1", loop="short")
        await begin_journey(storage, "j2", loop="long")
        clock.advance("2d")
        await storage.emit("ada", (), {"short": DAY, "long": WEEK})
        assert [(row.loop, row.goals) for row in await storage.funnel()] == [("long", 1), ("short", 0)]

    @pytest.mark.parametrize("outcome", [Outcome.ACTED, Outcome.HELD_OUT])
    @pytest.mark.parametrize("later", [timedelta(0), HOUR])
    async def test_a_goal_before_its_journey(
        self, storage: Storage, clock: ManualClock, later: timedelta, outcome: Outcome
    ) -> None:
        """Decision 21: it counts, in no time; the first step acts, and what would go on is over."""
        acted = outcome is Outcome.ACTED
        await storage.emit("ada", (fired(),), {})
        await storage.postpone_firing(await take_firing(storage), later)
        clock.advance(later)
        await storage.emit("ada", (), {"welcome": WEEK})
        await storage.emit("ada", (), {"welcome": WEEK})
        clock.advance(later)
        journey = Journey("j1", "welcome", "ada", not acted, within=WEEK)
        onward = (fired("f2", step="welcome.1", journey="j1"),)
        drafts = (mail(journey="j1", marketing=False),) if acted else ()
        entry = Entry("ada", outcome, drafts, onward, journey)
        assert (await storage.record(await take_firing(storage), (entry,), closing=ACTED)).acted == 1
        row = await welcome(storage)
        assert (row.goals, row.held_out_goals) == ((1, 0) if acted else (0, 1))
        assert row.median_time_to_goal == timedelta(0)
        assert (await take_firing(storage)).over == GOAL
        assert [message.over for message in await storage.claim(10, LEASE)] == [None] * acted
        clock.advance(LEASE)
        await storage.emit("ada", (), {"welcome": WEEK})
        await set_plan(storage, PAYING)
        assert (await take_firing(storage)).over == GOAL
        assert [message.over for message in await storage.claim(10, LEASE)] == [PAID] * acted

    async def test_which_firings_a_goal_is_noted_with(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `emit`: of the subject and the loop, on their way, in time, told of before the goal."""
        loops = {"welcome": WEEK, "other": DAY}
        reached: set[str] = set()

        async def fire(name: str, subject: str = "ada", loop: str = "welcome") -> None:
            await storage.emit(subject, (fired(name, subject=subject, loop=loop),), {})

        await fire("late")
        clock.advance(MICROSECOND)
        await fire("last")
        clock.advance(WEEK)
        await fire("ended")
        (ended,) = [one for one in (await storage.claim_firings(10, LEASE))[1] if one.key == "ended"]
        await storage.record(ended, (), closing=ACTED)
        await fire("other", loop="third")
        await fire("bob", subject="bob")
        await fire("claimed", loop="other")
        _, claimed = await storage.claim_firings(10, LEASE)
        await storage.open_tick("welcome.0", clock.now(), fired("tick"))  # of somebody, for once
        await storage.emit("ada", (fired("after"),), loops)
        clock.advance(LEASE)
        for firing in (await storage.claim_firings(10, LEASE))[1]:
            journey = Journey(firing.key, firing.loop, firing.subject, within=WEEK)
            begins = Entry(firing.subject, Outcome.ACTED, journey=journey)
            assert (await storage.record(firing, (begins,), closing=ACTED)).held
            onward = fired(f"next {firing.key}", subject=firing.subject, journey=firing.key)
            await storage.emit(firing.subject, (onward,), {})
        assert len(claimed) == 3
        for firing in (await storage.claim_firings(10, LEASE))[1]:
            assert firing.journey is not None
            if firing.over == GOAL:
                reached.add(firing.journey)
        assert reached == {"last", "claimed"}

    async def test_a_goal_is_of_the_journey_that_the_firing_begins(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Contract of `record`: not of other people's, nor of other loops'; nor of one that goes on."""
        await storage.emit("ada", (fired(), fired("f2", journey="j9")), {})
        await storage.emit("ada", (), {"welcome": WEEK})
        _, (first, onward) = await storage.claim_firings(10, LEASE)
        await storage.record(
            first,
            (
                Entry("ada", Outcome.ACTED, journey=Journey("j1", "other", "ada")),
                Entry("bob", Outcome.ACTED, journey=Journey("j2", "welcome", "bob")),
            ),
            closing=ACTED,
        )
        going = Entry("ada", Outcome.ACTED, journey=Journey("j3", "welcome", "ada"))
        await storage.record(onward, (going,), closing=ACTED)
        assert [row.goals for row in await storage.funnel()] == [0, 0]


class JourneyConformance(ConformanceBase):
    """Journeys in the report."""

    async def test_a_history_of_journeys(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: every figure, the hold-out group beside it; loops that only watch are in no row."""
        begin = clock.now()
        await refuse_once(storage, clock, subject="wally")
        for n in range(4):
            await begin_journey(storage, f"a{n}", subject=f"s{n}")
        for n in range(3):
            await begin_journey(storage, f"h{n}", subject=f"held{n}", held_out=True)
        await begin_journey(storage, "w1", subject="watched", shadow=True)
        await begin_journey(storage, "w2", subject="watched", loop="watching", shadow=True)
        for message in await storage.claim(4, LEASE):
            if message.draft.journey in ("a0", "a1"):
                await send(storage, message, f"p:{message.draft.journey}")
        await storage.mark_report("p:a1", "clicked")
        for hours, subject in ((3, "s0"), (6, "s2"), (9, "held0"), (1, "watched")):
            clock.set(begin + hours * HOUR)
            await storage.emit(subject, (), {"welcome": WEEK})
        expected = FunnelRow(
            "welcome",
            prompts=2,
            clicks=1,
            journeys=4,
            goals=2,
            held_out_journeys=3,
            held_out_goals=1,
            median_time_to_goal=6 * HOUR,
            journey_subjects=4,
            goal_subjects=2,
            held_out_journey_subjects=3,
            held_out_goal_subjects=1,
        )
        assert await storage.funnel() == (FunnelRow("freemium", walls=1, subjects=1), expected)
        assert await storage.funnel(loop="welcome") == (expected,)
        assert await storage.funnel(loop="watching") == ()

    async def test_one_row_for_both(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: a loop with walls and journeys has one row, its mails of both kinds added up."""
        await refuse_once(storage, clock)
        await begin_journey(storage, "j1", loop="freemium")
        await storage.mark_clicked("w1")
        for message in await storage.claim(10, LEASE):
            await send(storage, message, f"p:{message.draft.journey}")
        await storage.mark_report("p:j1", "clicked")
        assert await storage.funnel() == (
            FunnelRow("freemium", walls=1, prompts=2, clicks=2, journeys=1, subjects=1, journey_subjects=1),
        )

    async def test_a_span_is_half_open(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: by when a journey began, whenever its goal was reached."""
        await begin_journey(storage, "j1")
        first = clock.now()
        second = clock.advance("1h")
        await begin_journey(storage, "j2")
        clock.advance("1h")
        await storage.emit("ada", (), {"welcome": WEEK})

        async def found(since: datetime | None, until: datetime | None) -> list[tuple[int, int]]:
            return [(row.journeys, row.goals) for row in await storage.funnel(since=since, until=until)]

        assert await found(None, None) == [(2, 2)]
        assert await found(first, second) == [(1, 1)]
        assert await found(first + MICROSECOND, second) == []
        assert await found(first + MICROSECOND, second + MICROSECOND) == [(1, 1)]
        assert await found(second, None) == [(1, 1)]
        assert await found(None, first) == []

    async def test_only_sent_mails_are_prompts(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: one that failed is none, two of one journey are one."""
        await begin_journey(storage, "j1")
        await begin_journey(storage, "j2", subject="bob")
        await begin_journey(storage, "j3", subject="cy")
        one, two, three = await storage.claim(10, LEASE)
        await send(storage, one)
        await storage.settle(two, Ending(MessageState.DEAD))
        await storage.settle(three, Ending(MessageState.PENDING, DAY))
        await act(storage, "chain", Entry("ada", Outcome.ACTED, (mail("m2", journey="j1"),)))
        (again,) = await storage.claim(10, LEASE)
        await send(storage, again)
        assert (await welcome(storage)).prompts == 1

    async def test_a_journey_begins_once(self, storage: Storage, clock: ManualClock) -> None:
        """L9: the same id is the same journey, which keeps its beginning and its kind."""
        await begin_journey(storage, "j1")
        begin = clock.now()
        clock.advance("1h")
        journey = Journey("j1", "welcome", "ada", held_out=True)
        await act(storage, "again", Entry("ada", Outcome.HELD_OUT, journey=journey))
        (row,) = await storage.funnel(since=begin, until=begin + MICROSECOND)
        assert (row.journeys, row.held_out_journeys) == (1, 0)
        assert await storage.funnel(since=clock.now()) == ()


class OverConformance(ConformanceBase):
    """Whether a chain goes on."""

    async def test_while_nothing_happens_it_goes_on(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `over`: not for what others do, nor for what happened before it began."""
        await set_plan(storage, PAYING)
        await set_plan(storage, FREE)
        await begin_journey(storage, "j0")
        await storage.emit("ada", (), {"welcome": WEEK})
        clock.advance(MICROSECOND)
        await begin_journey(storage, "j1")
        await set_plan(storage, PAYING, subject="bob")
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="bob", source="link")
        await storage.emit("bob", (), {"welcome": WEEK})
        await storage.emit("ada", (), {"other": WEEK})
        firing, message = await self.look(storage, clock, "j1")
        assert (firing.over, message.over) == (None, None)

    async def test_over_at_the_goal(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `over`: for what is evaluated and for what is sent, transactional mail too."""
        await begin_journey(storage)
        await storage.emit("ada", (), {"welcome": WEEK})
        firing, message = await self.look(storage, clock, "j1", marketing=False)
        assert (firing.over, message.over) == (GOAL, GOAL)

    @pytest.mark.parametrize("later", [timedelta(0), MICROSECOND, 90 * DAY])
    async def test_over_when_converted(self, storage: Storage, clock: ManualClock, later: timedelta) -> None:
        """Contract of `over`: at the instant it began or after; it stays so when the plan lapses again."""
        await begin_journey(storage)
        clock.advance(later)
        await set_plan(storage, PAYING)
        await set_plan(storage, FREE)
        firing, message = await self.look(storage, clock, "j1", marketing=False)
        assert (firing.over, message.over) == (PAID, PAID)

    async def test_a_conversion_before_it_began(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `over`: who paid once may be won back; the next payment ends it."""
        await set_plan(storage, PAYING)
        await set_plan(storage, FREE)
        clock.advance(MICROSECOND)
        await begin_journey(storage)
        firing, _ = await self.look(storage, clock, "j1")
        assert firing.over is None
        await set_plan(storage, PAYING)
        clock.advance(LEASE)
        _, (firing,) = await storage.claim_firings(10, LEASE)
        assert firing.over == PAID

    async def test_over_when_unsubscribed(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: for marketing; what is not is still sent, and a changed mind goes on."""
        await begin_journey(storage)
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        firing, message = await self.look(storage, clock, "j1")
        assert (firing.over, firing.unsubscribed, message.over) == (GONE, True, GONE)
        _, message = await self.look(storage, clock, "j1", marketing=False, key="2")
        assert message.over is None
        await storage.unsuppress(subject="ada")
        firing, message = await self.look(storage, clock, "j1", key="3")
        assert (firing.over, firing.unsubscribed, message.over) == (None, False, None)

    async def test_nothing_is_over_without_a_journey(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `over`: a message of no journey is not ended by one of its subject's."""
        await begin_journey(storage)
        await storage.emit("ada", (), {"welcome": WEEK})
        await set_plan(storage, PAYING)
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        firing, message = await self.look(storage, clock, None)
        assert (firing.over, firing.unsubscribed, message.over) == (None, True, None)

    async def look(
        self,
        storage: Storage,
        clock: ManualClock,
        journey: str | None,
        *,
        marketing: bool = True,
        key: str = "1",
    ) -> tuple[Firing, Claimed]:
        """A firing and a message of a journey, as they are claimed; those before them are out of the way."""
        await storage.claim(10, 400 * DAY)
        await storage.claim_firings(10, 400 * DAY)
        await storage.emit("ada", (fired(f"next {key}", step="welcome.1", journey=journey),), {})
        await post(storage, clock, mail(f"mail {key}", journey=journey, marketing=marketing))
        _, (firing,) = await storage.claim_firings(10, LEASE)
        (message,) = await storage.claim(10, LEASE)
        assert (firing.journey, message.draft.journey) == (journey, journey)
        return firing, message

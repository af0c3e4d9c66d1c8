"""`Storage.prune`: what is needed for a time only, and what must never go."""

from datetime import timedelta

import pytest

from skene.ports.contacts import Suppressed
from skene.ports.firings import FiringState, Outcome, Repeat
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import ConformanceBase, refuse_once
from skene.testing.conformance.happening import (
    ACTED,
    BROKE,
    DAY,
    EPISODE,
    LEASE,
    SCANNED,
    act,
    begin_journey,
    entry,
    fired,
    open_tick,
    scan,
    take_firing,
)

HOUR = timedelta(hours=1)


class PruneConformance(ConformanceBase):
    """Upkeep of the other loops."""

    async def test_a_key_guards_for_90_days(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 22: an event that is delivered again two months later does not fire again."""
        await act(storage)
        clock.advance(90 * DAY - HOUR)
        await storage.prune()
        assert await storage.emit("ada", (fired(),), {}) == 0
        clock.advance(2 * HOUR)
        assert await storage.prune() >= 1
        assert await storage.emit("ada", (fired(),), {}) == 1

    @pytest.mark.parametrize("state", [FiringState.DONE, FiringState.DEAD])
    async def test_what_has_just_ended_stays_a_week(
        self, storage: Storage, clock: ManualClock, state: FiringState
    ) -> None:
        """Contract of `prune`: however long it took to its end."""
        await storage.emit("ada", (fired(after=200 * DAY),), {})
        clock.advance(200 * DAY)
        closing = ACTED if state is FiringState.DONE else BROKE
        assert (await storage.record(await take_firing(storage), (), closing=closing)).held
        clock.advance(7 * DAY - HOUR)
        await storage.prune()
        assert await storage.emit("ada", (fired(),), {}) == 0
        clock.advance(2 * HOUR)
        await storage.prune()
        assert await storage.emit("ada", (fired(),), {}) == 1

    async def test_what_is_on_its_way_stays(self, storage: Storage, clock: ManualClock) -> None:
        """L10: waiting or in hand, however old it is; with the data that it needs."""
        await storage.emit("ada", (fired("f1", data={"n": 1}), fired("f2", after=900 * DAY)), {})
        held = await take_firing(storage, 950 * DAY)
        clock.advance(900 * DAY)
        await storage.prune()
        assert await storage.pending_firings() == 2
        assert (await take_firing(storage)).key == "f2"
        assert (await storage.record(held, (entry(),), closing=ACTED)).acted == 1

    async def test_ticks_go_after_400_days(self, storage: Storage, clock: ManualClock) -> None:
        """L9: but never the latest of a step, or the schedule would begin anew and fire old ticks."""
        begin = clock.now()
        for step in ("a.0", "b.0"):
            for days in range(3):
                assert await storage.open_tick(step, begin + days * DAY, None)
            clock.advance(3 * DAY)
        clock.set(begin + 399 * DAY)
        assert await storage.prune() == 0
        clock.set(begin + 500 * DAY)
        assert await storage.prune() == 4
        assert await storage.prune() == 0
        clock.set(begin + 5_000 * DAY)
        await storage.prune()
        for step in ("a.0", "b.0"):
            latest = begin + 2 * DAY
            assert await storage.last_tick(step) == latest
            assert await storage.open_tick(step, latest, fired(step, subject="", step=step)) is False
        assert await storage.pending_firings() == 0

    async def test_episodes_outlive_pruning(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: a yearly schedule still knows whom its last result had."""
        assert await scan(storage, clock, ["ada", "bob"]) == 2
        assert await scan(storage, clock, ["ada"]) == 0
        clock.advance(900 * DAY)
        await storage.prune()
        assert await scan(storage, clock, ["ada", "bob"]) == 1
        await storage.prune()
        await open_tick(storage, clock.advance(DAY))
        firing = await take_firing(storage)
        entries = (entry("ada", firing.key), entry("bob", firing.key))
        assert (await storage.record(firing, entries, repeat=EPISODE, closing=SCANNED)).acted == 0

    async def test_repetitions_are_known_for_ever(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: `max_fires` and long cooldowns do not end because somebody tidied up."""
        await act(storage, "f1", repeat=Repeat(max_fires=1))
        clock.advance(900 * DAY)
        await storage.prune()
        assert (await act(storage, "f2", repeat=Repeat(max_fires=1))).acted == 0
        assert (await act(storage, "f3", repeat=Repeat(cooldown=1_000 * DAY))).acted == 0

    async def test_the_log_goes_after_90_days(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: what was decided long ago is nobody's business; what it led to is still counted."""
        await refuse_once(storage, clock)
        await begin_journey(storage)
        clock.advance(10 * DAY)
        await act(storage, "f2")
        assert len(await storage.decisions()) == 3
        clock.advance(80 * DAY - HOUR)
        await storage.prune()
        assert len(await storage.decisions()) == 3
        clock.advance(2 * HOUR)
        assert await storage.prune() >= 2
        assert [(row.firing, row.outcome) for row in await storage.decisions()] == [("f2", Outcome.ACTED)]
        clock.advance(900 * DAY)
        await storage.prune()
        assert await storage.decisions() == ()
        assert [(row.walls, row.journeys) for row in await storage.funnel()] == [(1, 0), (0, 1)]

    async def test_what_people_wish_is_never_pruned(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: neither suppressions nor messages, which are looked at years later."""
        await act(storage)
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        await storage.suppress(Suppressed.BOUNCED, address="digest", source="resend")
        clock.advance(5_000 * DAY)
        await storage.prune()
        assert sum((await storage.suppression_counts()).values()) == 2
        assert len(await storage.claim(10, LEASE)) == 1

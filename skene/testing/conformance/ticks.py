"""Ticks of schedules, and episodes: whom a schedule writes to once."""

from datetime import UTC, datetime, timedelta

from skene.ports.firings import Closing, FiringState, Outcome, Phase, Recorded, Repeat
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MICROSECOND, ConformanceBase
from skene.testing.conformance.happening import (
    BROKE,
    DAY,
    EPISODE,
    LEASE,
    SCANNED,
    act,
    entry,
    fired,
    open_tick,
    scan,
    take_firing,
)

NINE = datetime(2026, 3, 1, 9, tzinfo=UTC)


class TickConformance(ConformanceBase):
    """Each tick once."""

    async def test_a_tick_is_recorded_once(self, storage: Storage, clock: ManualClock) -> None:
        """L9, decision 22: with its firing, in one transaction, for ever."""
        assert await storage.last_tick("digest.0") is None
        first = fired("t1", subject="", step="digest.0", loop="digest")
        assert await storage.open_tick("digest.0", NINE, first) is True
        assert await storage.open_tick("digest.0", NINE, first) is False
        other = fired("t1 again", subject="", step="digest.0", loop="digest")
        assert await storage.open_tick("digest.0", NINE, other) is False
        assert await storage.last_tick("digest.0") == NINE
        firing = await take_firing(storage)
        assert (firing.key, firing.tick, firing.subject) == ("t1", NINE, "")
        assert (firing.step, firing.loop, firing.occurred_at) == ("digest.0", "digest", clock.now())
        await storage.record(firing, (), closing=SCANNED)
        clock.advance(DAY)
        assert await storage.open_tick("digest.0", NINE, first) is False
        assert await storage.pending_firings() == 0

    async def test_ticks_only_go_forward(self, storage: Storage) -> None:
        """L9: an earlier one is refused, together with its firing; a microsecond is enough to be later."""
        step = "digest.0"
        assert await storage.open_tick(step, NINE, None)
        for late in (NINE, NINE - MICROSECOND, NINE - 400 * DAY):
            assert await storage.open_tick(step, late, fired("late", subject="", step=step)) is False
        assert await storage.pending_firings() == 0
        assert await storage.last_tick(step) == NINE
        assert await storage.open_tick(step, NINE + MICROSECOND, fired("t2", subject="", step=step))
        assert await storage.last_tick(step) == NINE + MICROSECOND
        assert (await take_firing(storage)).tick == NINE + MICROSECOND

    async def test_a_tick_without_a_firing(self, storage: Storage) -> None:
        """Decision 22: where a schedule begins, and ticks that came too late, set nothing off."""
        assert await storage.open_tick("digest.0", NINE, None) is True
        assert await storage.open_tick("digest.0", NINE, fired("t1", subject="", step="digest.0")) is False
        assert await storage.last_tick("digest.0") == NINE
        assert await storage.pending_firings() == 0
        assert await storage.decisions() == ()

    async def test_steps_have_ticks_of_their_own(self, storage: Storage) -> None:
        """L9: two schedules share no ticks, even when they fire together."""
        steps = ("digest.0", "digest.1", "Digest.0")
        for n, step in enumerate(steps):
            assert await storage.open_tick(step, NINE - n * DAY, fired(step, subject="", step=step))
        assert [await storage.last_tick(step) for step in steps] == [NINE, NINE - DAY, NINE - 2 * DAY]
        _, claimed = await storage.claim_firings(10, LEASE)
        assert {firing.step: firing.tick for firing in claimed} == {
            step: NINE - n * DAY for n, step in enumerate(steps)
        }

    async def test_other_firings_are_no_ticks(self, storage: Storage) -> None:
        """Decision 22: what is emitted for the step of a schedule moves no tick."""
        await storage.emit("ada", (fired(step="digest.0"),), {})
        firing = await take_firing(storage)
        assert firing.tick is None
        await storage.record(firing, (), closing=SCANNED)
        assert await storage.last_tick("digest.0") is None


class EpisodeConformance(ConformanceBase):
    """Decision 25: once, until the subject has left the result."""

    async def test_once_until_it_has_left_the_result(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: however many ticks it stays, and again when it comes back."""
        acted = [
            await scan(storage, clock, subjects)
            for subjects in (["ada", "bob"], ["ada", "bob"], ["ada"], ["ada", "bob"], ["bob"], ["ada", "bob"])
        ]
        assert acted == [2, 0, 0, 1, 0, 1]
        assert [len(await storage.messages(subject)) for subject in ("ada", "bob")] == [2, 2]

    async def test_a_failed_scan_ends_no_episode(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: who is missing in half a result may be in the other half."""
        assert await scan(storage, clock, ["ada"]) == 1
        assert await scan(storage, clock, ["bob"], closing=BROKE) == 1
        assert await scan(storage, clock, ["ada", "bob", "cy"]) == 1
        assert await scan(storage, clock, ["ada"], closing=BROKE) == 0
        assert await scan(storage, clock, [], closing=BROKE) == 0
        assert await scan(storage, clock, ["ada", "bob", "cy"]) == 0
        assert await scan(storage, clock, ["cy"]) == 0
        assert await scan(storage, clock, ["ada", "bob", "cy"]) == 2

    async def test_only_what_was_read_to_the_end_counts(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: a tick that was skipped, came too late, or is still going on ends no episode."""
        assert await scan(storage, clock, ["ada"]) == 1
        skipped = Closing(Phase.TRIGGER, Outcome.SKIPPED, "came too late")
        assert await scan(storage, clock, [], closing=skipped) == 0
        assert await scan(storage, clock, ["ada"]) == 0
        assert await storage.open_tick("digest.0", clock.advance(DAY), None)
        assert await scan(storage, clock, ["ada"]) == 0
        dead = Closing(Phase.CONDITION, Outcome.SCANNED, state=FiringState.DEAD)
        assert await scan(storage, clock, [], closing=dead) == 0
        assert await scan(storage, clock, ["ada"]) == 0
        await open_tick(storage, clock.advance(DAY))
        _, going_on = await storage.claim_firings(1, 90 * DAY)
        assert await scan(storage, clock, ["ada"]) == 0
        assert (await storage.record(going_on[0], (), closing=SCANNED)).held
        assert await scan(storage, clock, ["ada"]) == 0

    async def test_a_scan_that_nobody_finished_yet(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: before the first complete result everybody who was seen is still in the episode."""
        assert await scan(storage, clock, ["ada"], closing=BROKE) == 1
        assert await scan(storage, clock, ["bob"], closing=BROKE) == 1
        assert await scan(storage, clock, ["ada", "bob"], closing=BROKE) == 0
        assert await scan(storage, clock, ["ada", "bob"]) == 0

    async def test_a_tick_goes_on_after_a_lost_lease(self, storage: Storage, clock: ManualClock) -> None:
        """L9, L10: killed between two batches: the next worker reads all again, and each acts once."""
        assert await scan(storage, clock, ["old"]) == 1
        await open_tick(storage, clock.advance(DAY))
        first = await take_firing(storage)
        batch = (entry("ada", first.key), entry("old", first.key))
        recorded = await storage.record(first, batch, repeat=EPISODE, lease=LEASE)
        assert recorded == Recorded(held=True, acted=1)
        clock.advance(LEASE)
        second = await take_firing(storage)
        assert second.key == first.key
        all_of_it = tuple(entry(name, first.key) for name in ("cy", "ada", "old", "bob"))
        recorded = await storage.record(second, all_of_it, repeat=EPISODE, lease=LEASE)
        assert recorded == Recorded(held=True, acted=2)
        assert (await storage.record(second, all_of_it, repeat=EPISODE, closing=SCANNED)).acted == 0
        assert not (await storage.record(first, batch, repeat=EPISODE, closing=SCANNED)).held
        names = [draft.subject for draft, _, _ in await storage.messages()]
        assert sorted(names) == ["ada", "bob", "cy", "old"]
        log = [row.subject for row in await storage.decisions() if row.firing == first.key]
        assert sorted(log) == ["", "ada", "bob", "cy"]
        assert await scan(storage, clock, ["ada", "bob", "cy", "old"]) == 0

    async def test_entries_and_the_end_in_one(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: the tick that is being closed is not the one its own subjects are compared with."""
        for subjects, expected in ((["ada"], 1), (["ada"], 0), ([], 0), (["ada"], 1)):
            await open_tick(storage, clock.advance(DAY))
            firing = await take_firing(storage)
            entries = tuple(entry(subject, firing.key) for subject in subjects)
            recorded = await storage.record(firing, entries, repeat=EPISODE, closing=SCANNED)
            assert recorded == Recorded(held=True, acted=expected)

    async def test_a_tick_that_ends_late(self, storage: Storage, clock: ManualClock) -> None:
        """L9: an earlier tick that is worked on after a later one neither repeats nor undoes anything."""
        assert await scan(storage, clock, ["bob"]) == 1
        await open_tick(storage, clock.advance(DAY))
        _, (slow,) = await storage.claim_firings(1, 90 * DAY)
        assert await scan(storage, clock, ["ada"]) == 1
        late = (entry("ada", slow.key), entry("bob", slow.key))
        assert (await storage.record(slow, late, repeat=EPISODE, closing=SCANNED)).acted == 0
        assert await scan(storage, clock, ["ada"]) == 0
        assert await scan(storage, clock, ["ada", "bob"]) == 1
        assert [len(await storage.messages(subject)) for subject in ("ada", "bob")] == [1, 2]

    async def test_episodes_are_of_one_step(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: kept per step and subject."""
        assert await scan(storage, clock, ["ada"], step="a.0") == 1
        assert await scan(storage, clock, ["ada"], step="b.0") == 1
        assert await scan(storage, clock, [], step="b.0") == 0
        assert await scan(storage, clock, ["ada"], step="a.0") == 0
        assert await scan(storage, clock, ["ada"], step="b.0") == 1

    async def test_a_schedule_with_a_cooldown(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 25: then the time decides, and neither staying in the result nor leaving it."""
        rule = Repeat(cooldown=timedelta(days=3))
        acted = [
            await scan(storage, clock, subjects, repeat=rule)
            for subjects in (["ada"], ["ada"], [], ["ada"], ["ada"], [], ["ada"])
        ]
        assert acted == [1, 0, 0, 1, 0, 0, 1]

    async def test_events_have_no_episodes(self, storage: Storage) -> None:
        """Decision 25: what an event sets off is acted upon each time, unless another rule says no."""
        for n in range(3):
            assert (await act(storage, f"f{n}", repeat=EPISODE)).acted == 1
        assert len(await storage.messages()) == 3

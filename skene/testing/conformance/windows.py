"""Which window a use falls into, as the storage keeps it."""

from datetime import UTC, datetime, timedelta

from skene.engine.window import EPOCH, FOREVER, Anchored, Edges, Rolling, calendar_edges, cycle_edges
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    apply,
    call,
    charge,
    used,
)

HOUR = timedelta(hours=1)


class AnchoredConformance(ConformanceBase):
    """Windows that open with the first use."""

    async def test_a_window_is_half_open(self, storage: Storage, clock: ManualClock) -> None:
        """L1, decision 1: `[start, end)` to the microsecond, lasting exactly the period."""
        clock.advance(timedelta(microseconds=123_457))
        item = charge(2)
        first = (await storage.consume(call(item))).tallies[0]
        assert (first.start, first.end) == (clock.now(), clock.now() + MONTH)
        await storage.consume(call(item))
        clock.set(first.end - MICROSECOND)
        refused = await storage.consume(call(item))
        assert not refused.admitted
        assert (refused.tallies[0].start, refused.tallies[0].end) == (first.start, first.end)
        clock.set(first.end)
        second = await storage.consume(call(item))
        assert second.admitted
        assert second.tallies[0].used == 1
        assert (second.tallies[0].start, second.tallies[0].end) == (first.end, first.end + MONTH)

    async def test_the_next_window_opens_with_the_next_use(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 1: not when the last one ended, and not on a grid."""
        await storage.consume(call())
        clock.advance(timedelta(days=47, hours=5, microseconds=3))
        assert (await storage.peek(call())).tallies[0].used == 0
        counted = (await storage.consume(call())).tallies[0]
        assert (counted.used, counted.start, counted.end) == (1, clock.now(), clock.now() + MONTH)

    async def test_uses_do_not_move_the_window(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: later uses fall into the window that the first one opened."""
        start = clock.now()
        for number in range(1, 10):
            counted = (await storage.consume(call())).tallies[0]
            assert (counted.used, counted.start) == (number, start)
            clock.advance("3d")

    async def test_a_clock_that_steps_back_reopens_nothing(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L1, decision 8: an earlier window is not reopened, and the running one goes on."""
        start = clock.now()
        item = charge(1)
        await storage.consume(call(item))
        clock.advance("31d")
        second = (await storage.consume(call(item))).tallies[0]
        for back in (start + timedelta(days=29), start, start - timedelta(days=400)):
            clock.set(back)
            refused = await storage.consume(call(item))
            assert not refused.admitted
            assert (refused.tallies[0].start, refused.tallies[0].end) == (second.start, second.end)
        clock.set(second.end)
        assert (await storage.consume(call(item))).admitted

    async def test_a_new_period_waits_for_the_running_window(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 1: a deploy that changes the period neither forgives nor doubles what is running."""
        first = (await storage.consume(call(charge(1)))).tallies[0]
        shorter = charge(1, rule=Anchored(HOUR))
        clock.advance("2h")
        refused = await storage.consume(call(shorter))
        assert not refused.admitted
        assert refused.tallies[0].end == first.end
        clock.set(first.end)
        assert (await storage.consume(call(shorter))).tallies[0].end == first.end + HOUR

    async def test_lengths_from_a_second_to_ten_years(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: durations are exact."""
        for length in (timedelta(seconds=1), timedelta(days=3653)):
            item = charge(1, meter=f"m{length.days}", rule=Anchored(length))
            end = (await storage.consume(call(item))).tallies[0].end
            assert end == clock.now() + length
            clock.set(end - MICROSECOND)
            assert not (await storage.consume(call(item))).admitted
            clock.set(end)
            assert (await storage.consume(call(item))).admitted


class RollingConformance(ConformanceBase):
    """Windows that slide."""

    async def test_never_more_than_the_limit_in_any_trailing_window(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L1, decision 1: held against a log of every admitted use, over irregular times and costs."""
        rule = Rolling(HOUR)
        log: list[tuple[datetime, int]] = []
        refusals = 0
        for number in range(240):
            clock.advance(timedelta(seconds=(number * 7919) % 311, microseconds=number))
            cost = 1 + number % 4
            counted = await storage.consume(call(charge(20, cost=cost, rule=rule)))
            refusals += not counted.admitted
            if counted.admitted:
                log.append((clock.now(), cost))
            trailing = sum(units for at, units in log if at > clock.now() - HOUR)
            assert trailing <= 20
            assert trailing <= counted.tallies[0].used <= 20
        assert refusals > 20
        assert len(log) > 60

    async def test_a_part_falls_out_whole_and_on_time(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: a part counts until its last instant has left the window, and not an instant longer."""
        rule = Rolling(HOUR)
        clock.set(datetime(2026, 3, 1, 9, 0, 17, tzinfo=UTC))
        item = charge(2, rule=rule)
        await storage.consume(call(item))
        first_out = rule.part_at(clock.now()) + rule.part + HOUR
        clock.advance("10m")
        await storage.consume(call(item))
        second_out = rule.part_at(clock.now()) + rule.part + HOUR
        clock.set(first_out - MICROSECOND)
        assert not (await storage.consume(call(item))).admitted
        clock.set(first_out)
        assert await used(storage, item) == 1
        assert (await storage.consume(call(item))).admitted
        clock.set(second_out - MICROSECOND)
        assert not (await storage.consume(call(item))).admitted
        clock.set(second_out)
        assert (await storage.consume(call(item))).admitted

    async def test_a_clock_that_steps_back_frees_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """L1, decision 8: uses do not leave the window because the clock was put back."""
        item = charge(2, rule=Rolling(HOUR))
        await storage.consume(call(item))
        clock.advance("30m")
        await storage.consume(call(item))
        for _ in range(3):
            clock.advance(timedelta(hours=-2))
            assert not (await storage.consume(call(item))).admitted

    async def test_many_uses_stay_small(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: rows do not grow with calls; the count stays exact over hundreds of uses."""
        item = charge(1000, rule=Rolling(HOUR))
        for number in range(1, 301):
            assert (await storage.consume(call(item))).tallies[0].used == number
            clock.advance("1s")

    async def test_refunds_reach_their_part(self, storage: Storage, clock: ManualClock) -> None:
        """L2: units go back to the part they were charged in; a part that is out is left alone."""
        item = charge(10, rule=Rolling(HOUR))
        early = (await storage.consume(call(item, charge(meter="other")))).tallies[0].receipt
        clock.advance("20m")
        late = (await storage.consume(call(item))).tallies[0].receipt
        assert early is not None
        assert late is not None
        await storage.refund("ada", (early,))
        assert await used(storage, item) == 1
        clock.advance("50m")
        assert await used(storage, item) == 1
        await storage.consume(call(item))
        await storage.refund("ada", (early,))
        assert await used(storage, item) == 2
        await storage.refund("ada", (late,))
        assert await used(storage, item) == 1

    async def test_a_fixed_window_may_become_a_rolling_one(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L1: a deploy that changes the kind of window keeps what was used."""
        await storage.consume(call(charge(3, rule=Anchored(HOUR))))
        await storage.consume(call(charge(3, rule=Anchored(HOUR))))
        clock.advance("5m")
        rolling = charge(3, rule=Rolling(HOUR))
        assert (await storage.consume(call(rolling))).tallies[0].used == 3
        assert not (await storage.consume(call(rolling))).admitted
        fixed = await storage.consume(call(charge(4, rule=Anchored(HOUR))))
        assert fixed.tallies[0].used == 4
        assert fixed.tallies[0].receipt is not None
        await storage.refund("ada", (fixed.tallies[0].receipt,))
        assert await used(storage, charge(4, rule=Anchored(HOUR))) == 3


class EdgesConformance(ConformanceBase):
    """Windows between known instants."""

    async def test_calendar_months_turn_at_local_midnight(self, storage: Storage, clock: ManualClock) -> None:
        """L1, decision 1: March in Helsinki ends at 21:00 UTC, summer time having begun."""
        end = datetime(2026, 3, 31, 21, tzinfo=UTC)
        clock.set(end - timedelta(days=20))
        rule = Edges(calendar_edges("month", "Europe/Helsinki", clock.now()))
        item = charge(1, rule=rule)
        first = (await storage.consume(call(item))).tallies[0]
        assert (first.start, first.end) == (datetime(2026, 2, 28, 22, tzinfo=UTC), end)
        clock.set(end - MICROSECOND)
        assert not (await storage.consume(call(item))).admitted
        clock.set(end)
        second = await storage.consume(call(item))
        assert second.admitted
        assert (second.tallies[0].start, second.tallies[0].end) == (
            end,
            datetime(2026, 4, 30, 21, tzinfo=UTC),
        )
        clock.set(end - HOUR)
        assert not (await storage.consume(call(item))).admitted

    async def test_edges_that_moved_open_a_later_window(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: when a deploy moves the edges, a window that begins later opens."""
        now = clock.now()
        await storage.consume(call(charge(1, rule=Edges(()))))
        later = charge(1, rule=Edges((now - HOUR, now + HOUR)))
        counted = await storage.consume(call(later))
        assert counted.admitted
        assert (counted.tallies[0].start, counted.tallies[0].end) == (now - HOUR, now + HOUR)

    async def test_billing_cycles_follow_the_customer(self, storage: Storage, clock: ManualClock) -> None:
        """L1, decision 1: the subscription's own period; day 31 clamps to the 28th and comes back."""
        start, end = datetime(2026, 1, 31, 8, tzinfo=UTC), datetime(2026, 2, 28, 8, tzinfo=UTC)
        clock.set(datetime(2026, 2, 10, tzinfo=UTC))
        await apply(storage, PAYING, cycle=cycle_edges(start, end, anchor=start))
        item = charge({"free": 1, "paid": 1}, rule=Edges((), billing_cycle=True))
        first = await storage.consume(call(item))
        assert (first.tallies[0].start, first.tallies[0].end) == (start, end)
        clock.set(end - MICROSECOND)
        assert not (await storage.consume(call(item))).admitted
        clock.set(end)
        second = await storage.consume(call(item))
        assert second.admitted
        assert (second.tallies[0].start, second.tallies[0].end) == (
            end,
            datetime(2026, 3, 31, 8, tzinfo=UTC),
        )

    async def test_billing_cycles_without_a_customer_use_the_steps_edges(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 1: who has no subscription has the windows the step names."""
        now = clock.now()
        item = charge(1, rule=Edges((now - HOUR, now + HOUR), billing_cycle=True))
        for subject in ("ada", "bob"):
            counted = (await storage.consume(call(item, subject=subject))).tallies[0]
            assert (counted.start, counted.end) == (now - HOUR, now + HOUR)
            await apply(storage, FREE, customer=f"cus_{subject}", subject=subject)
        assert not (await storage.consume(call(item))).admitted

    async def test_a_lifetime_never_ends(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: one window from the beginning to the end of time."""
        item = charge(2, rule=Edges(()))
        counted = (await storage.consume(call(item))).tallies[0]
        assert (counted.start, counted.end) == (EPOCH, FOREVER)
        clock.advance(timedelta(days=36_500))
        assert (await storage.consume(call(item))).tallies[0].used == 2
        assert not (await storage.consume(call(item))).admitted

"""`Ledger` and conversions: who was stopped, asked, clicked, and paid."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product

from skene.engine.standing import Standing
from skene.ports.ledger import FunnelRow
from skene.ports.outbox import MessageState, Outcome
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    ATTRIBUTION,
    FREE,
    MICROSECOND,
    MONTH,
    PAYING,
    TRIAL,
    ConformanceBase,
    apply,
    call,
    charge,
    conversions,
    draft,
    refuse_once,
    set_plan,
    update,
    wall,
)

SECOND = timedelta(seconds=1)


class WallConformance(ConformanceBase):
    """First refusals of a window."""

    async def test_a_wall_stands_until_its_window_ends(self, storage: Storage, clock: ManualClock) -> None:
        """L4, decision 18: one wall and one message per window; the next window has its own."""
        first = wall(clock, "w1")
        assert await storage.open_wall(first, (draft("k1", wall="w1"),)) == "w1"
        clock.set(first.window_end - MICROSECOND)
        assert await storage.open_wall(wall(clock, "w2"), (draft("k2", wall="w2"),)) == "w1"
        assert await storage.get_wall("w2") is None
        clock.set(first.window_end)
        assert await storage.open_wall(wall(clock, "w3"), (draft("k3", wall="w3"),)) == "w3"
        assert await storage.open_wall(wall(clock, "w4"), ()) == "w3"
        assert [message[0].key for message in await storage.messages()] == ["k1", "k3"]

    async def test_walls_are_told_apart(self, storage: Storage, clock: ManualClock) -> None:
        """L4: by subject, step and plan; in whatever order they are opened."""
        walls = [
            wall(clock, f"w{n}", subject=subject, step=step, plan=plan)
            for n, (subject, step, plan) in enumerate(
                product(("ada", "bob"), ("s.0", "s.1"), ("free", "pro"))
            )
        ]
        for one in walls:
            assert await storage.open_wall(one, ()) == one.id
        for one in reversed(walls):
            assert await storage.open_wall(replace(one, id="again"), ()) == one.id
        (row,) = await storage.funnel()
        assert row.walls == 8

    async def test_a_wall_reads_back(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 18: every field, exactly."""
        clock.advance(timedelta(microseconds=654_321))
        plain = replace(wall(clock, "w1"), limit=2**63 - 1, used=2**63 - 1)
        marked = wall(clock, "w2", step="other.0", held_out=True, shadow=True)
        for one in (plain, marked):
            await storage.open_wall(one, ())
            assert await storage.get_wall(one.id) == one
        assert await storage.get_wall("w9") is None

    async def test_a_refusal_knows_its_wall(self, storage: Storage, clock: ManualClock) -> None:
        """L3, decision 18: so that later refusals write nothing; shown only to what does not fit."""
        refused, fits = charge(0), charge(5, meter="other")
        assert (await storage.consume(call(refused))).tallies[0].wall is None
        one = wall(clock)
        await storage.open_wall(one, ())
        assert (await storage.consume(call(refused))).tallies[0].wall == "w1"
        assert (await storage.peek(call(refused))).tallies[0].wall == "w1"
        assert [t.wall for t in (await storage.consume(call(fits, refused))).tallies] == [None, "w1"]
        assert (await storage.consume(call(charge(0, step="freemium.1")))).tallies[0].wall is None
        assert (await storage.consume(call(refused, subject="bob"))).tallies[0].wall is None
        assert (await storage.consume(call(fits))).tallies[0].wall is None
        await set_plan(storage, Standing("pro"))
        assert (await storage.consume(call(charge({"free": 0, "pro": 0})))).tallies[0].wall is None
        await set_plan(storage, FREE)
        clock.set(one.window_end)
        assert (await storage.consume(call(refused))).tallies[0].wall is None

    async def test_a_message_key_is_used_once(self, storage: Storage, clock: ManualClock) -> None:
        """L4, decision 19: a second draft with the same key is dropped, for ever, the wall being recorded."""
        drafts = (draft("k1", wall="w1"), draft("k1", wall="w1"), draft("k2", wall="w1"))
        await storage.open_wall(wall(clock, "w1"), drafts)
        (message, *_) = await storage.claim(1, SECOND)
        await storage.settle(message, Outcome(MessageState.SENT))
        clock.advance(timedelta(days=400))
        assert await storage.open_wall(wall(clock, "w2"), drafts) == "w2"
        assert await storage.get_wall("w2") is not None
        assert [message[0].key for message in await storage.messages()] == ["k1", "k2"]

    async def test_marks_need_a_wall(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: clicks and checkouts are of walls that exist; repeating them counts once."""
        assert not await storage.mark_clicked("w1")
        assert not await storage.mark_checkout("w1", "cs_1")
        await refuse_once(storage, clock)
        for _ in range(2):
            assert await storage.mark_clicked("w1")
            assert await storage.mark_checkout("w1", "cs_1")
            assert await storage.mark_checkout("w1", None)
        (row,) = await storage.funnel()
        assert (row.walls, row.clicks, row.checkouts) == (1, 1, 1)


class ConversionConformance(ConformanceBase):
    """Beginning to pay."""

    async def test_paying_is_one_conversion(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: recorded once, credited to the wall, however often billing repeats itself."""
        await refuse_once(storage, clock)
        clock.advance("2d")
        first = await apply(storage)
        assert (first.converted, first.wall, first.before, first.after) == (True, "w1", "free", "paid")
        for _ in range(10):
            again = await apply(storage)
            assert (again.converted, again.wall) == (False, None)
        assert await conversions(storage) == 1

    async def test_a_trial_is_no_conversion(self, storage: Storage) -> None:
        """Decision 20: it is one when money flows."""
        assert not (await apply(storage, TRIAL)).converted
        assert not (await apply(storage, FREE)).converted
        assert not (await apply(storage, TRIAL)).converted
        assert (await apply(storage, PAYING)).converted
        assert not (await apply(storage, Standing("pro", paying=True))).converted
        assert await conversions(storage) == 1

    async def test_every_lapse_can_convert_again(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: once per lapse into paid; an end that has passed is a lapse."""
        assert (await apply(storage)).converted
        await apply(storage, FREE)
        assert (await apply(storage)).converted
        end = clock.now() + timedelta(days=5)
        assert not (await apply(storage, Standing("paid", end, paying=True))).converted
        clock.set(end - MICROSECOND)
        assert not (await apply(storage, Standing("paid", end, paying=True))).converted
        clock.set(end)
        assert (await apply(storage)).converted
        assert await conversions(storage) == 3

    async def test_a_stale_fetch_converts_nobody(self, storage: Storage) -> None:
        """L5: what a fetch begun earlier saw is no news."""
        early = await storage.begin_sync("cus_ada")
        await apply(storage, FREE)
        assert not (await storage.apply_billing(update(early, PAYING))).converted
        assert await conversions(storage) == 0

    async def test_the_last_wall_is_credited(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: of any step and plan, watched or not, but of this subject."""
        await storage.open_wall(wall(clock, "w1", step="a.0"), ())
        clock.advance("1d")
        await storage.open_wall(wall(clock, "w2", step="b.0", plan="pro", shadow=True), ())
        clock.advance("1d")
        await storage.open_wall(wall(clock, "w3", subject="bob", step="a.0"), ())
        assert (await apply(storage)).wall == "w2"

    async def test_a_wall_too_old_is_not_credited(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 20: within the given time, or to none."""
        for subject, late, credited in (("ada", -SECOND, "ada"), ("bob", SECOND, None)):
            opened = clock.now()
            await storage.open_wall(wall(clock, subject, subject=subject), ())
            clock.set(opened + ATTRIBUTION + late)
            change = await apply(storage, customer=f"cus_{subject}", subject=subject)
            assert (change.converted, change.wall) == (True, credited)
        await storage.open_wall(wall(clock, "cy", subject="cy"), ())
        clock.advance("2h")
        change = await apply(storage, customer="cy", subject="cy", attribution=timedelta(hours=1))
        assert (change.converted, change.wall) == (True, None)

    async def test_without_a_wall_it_is_nobodys_merit(self, storage: Storage) -> None:
        """Decision 21: recorded, credited to none."""
        change = await apply(storage)
        assert (change.converted, change.wall) == (True, None)
        assert await storage.funnel() == (FunnelRow(None, conversions=1, revenue=(("eur", 1900),)),)

    async def test_a_plan_set_by_hand_converts(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `set_plan`: the same consequences as an update from billing."""
        await refuse_once(storage, clock)
        change = await set_plan(storage, PAYING)
        assert (change.converted, change.wall) == (True, "w1")
        assert not (await set_plan(storage, PAYING)).converted
        await set_plan(storage, FREE)
        assert (await set_plan(storage, PAYING)).converted


async def tell_history(storage: Storage, clock: ManualClock) -> tuple[datetime, datetime]:
    """Two loops, a watched one, a hold-out group, two currencies; returns when each of the two began."""
    begin = clock.now()
    # Loop a: five walls an hour apart, three prompts, two clicks, one checkout; four paid, one held out.
    for n in range(5):
        held = n == 4
        prompts = () if held else (draft(f"a{n}", subject=f"a{n}", wall=f"a{n}"),)
        await storage.open_wall(
            wall(clock, f"a{n}", subject=f"a{n}", loop="a", step="a.0", held_out=held), prompts
        )
        clock.advance("1h")
    middle = clock.now()
    await storage.open_wall(wall(clock, "b0", subject="b0", loop="b", step="b.0"), ())
    await storage.open_wall(wall(clock, "s0", subject="s0", loop="s", step="s.0", shadow=True), ())
    for message in await storage.claim(3, timedelta(minutes=1)):
        await storage.begin_attempt(message, {})
        await storage.settle(message, Outcome(MessageState.SENT))
    for message in await storage.claim(3, timedelta(minutes=1)):
        await storage.settle(message, Outcome(MessageState.CANCELLED))
    await storage.mark_clicked("a0")
    await storage.mark_clicked("a1")
    await storage.mark_checkout("a1", "cs_1")
    for subject, hours, amount, currency in (
        ("a0", 10, 1900, "eur"),
        ("a1", 20, 500, "eur"),
        ("a4", 30, 2500, "usd"),
        ("s0", 40, 1900, "eur"),
        ("walk-in", 40, 7, "eur"),
        ("a2", 50, None, "eur"),  # what was paid is not known
    ):
        clock.set(begin + timedelta(hours=hours))
        ticket = await storage.begin_sync(subject)
        await storage.apply_billing(update(ticket, subject=subject, amount=amount, currency=currency))
    return begin, middle


class FunnelConformance(ConformanceBase):
    """The report."""

    async def test_nothing_happened(self, storage: Storage) -> None:
        """Decision 21: no rows, and no unattributed conversions."""
        assert await storage.funnel() == ()

    async def test_a_history_told_by_hand(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: every figure of two loops, a hold-out group, a watched loop, two currencies."""
        begin, middle = await tell_history(storage, clock)
        # Times to pay: 10 h, 19 h, 48 h and, held out, 26 h; the median of four lies between 19 h and 26 h.
        loop_a = FunnelRow(
            "a",
            walls=5,
            prompts=3,
            clicks=2,
            checkouts=1,
            conversions=4,
            held_out=1,
            held_out_conversions=1,
            revenue=(("eur", 2400), ("usd", 2500)),
            median_time_to_pay=timedelta(hours=22, minutes=30),
            subjects=5,
            held_out_subjects=1,
            paid_subjects=4,
            held_out_paid_subjects=1,
        )
        loop_b = FunnelRow("b", walls=1, subjects=1)
        others = FunnelRow(None, conversions=2, revenue=(("eur", 1907),))
        assert await storage.funnel() == (loop_a, loop_b, others)
        assert await storage.funnel(loop="a") == (loop_a,)
        assert await storage.funnel(loop="s") == ()
        assert await storage.funnel(loop="nobody's") == ()
        assert await storage.funnel(since=middle) == (loop_b, others)
        assert await storage.funnel(since=middle, until=middle + SECOND) == (loop_b,)
        assert await storage.funnel(until=middle) == (loop_a,)
        first = await storage.funnel(since=begin, until=begin + MICROSECOND)
        assert first == (
            FunnelRow(
                "a",
                walls=1,
                prompts=1,
                clicks=1,
                conversions=1,
                revenue=(("eur", 1900),),
                median_time_to_pay=timedelta(hours=10),
                subjects=1,
                paid_subjects=1,
            ),
        )
        assert await storage.funnel(since=begin + MICROSECOND, until=begin + timedelta(hours=1)) == ()

    async def test_unattributed_conversions_count_when_they_happen(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Decision 21: in the span they were recorded in, half open."""
        paid = clock.now()
        await apply(storage)
        others = (FunnelRow(None, conversions=1, revenue=(("eur", 1900),)),)
        assert await storage.funnel(since=paid, until=paid + MICROSECOND) == others
        assert await storage.funnel(since=paid + MICROSECOND) == ()
        assert await storage.funnel(until=paid) == ()

    async def test_only_sent_prompts_count(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: a failed prompt is not a prompt; a warning without a wall marks none."""
        states = [state for state in MessageState if state is not MessageState.CLAIMED]
        for n in range(len(states)):
            await refuse_once(storage, clock, subject=f"s{n}", wall_id=f"w{n}")
        await storage.open_wall(wall(clock, "w99", subject="s99"), (draft("lone", subject="s99"),))
        claimed = await storage.claim(20, timedelta(minutes=1))
        for message, state in zip(claimed, [*states, MessageState.SENT], strict=True):
            await storage.begin_attempt(message, {})
            assert await storage.settle(message, Outcome(state, delay=MONTH))
        (row,) = await storage.funnel()
        assert (row.walls, row.prompts) == (len(states) + 1, 1)

    async def test_names_sort_as_text(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: by name, code point by code point, the same in every store."""
        names = ["b", "B", "a", "é", "_", "a b", "10", "9"]
        for n, name in enumerate(names):
            await storage.open_wall(wall(clock, f"w{n}", loop=name, step=f"{name}.0"), ())
        assert [row.loop for row in await storage.funnel()] == sorted(names)

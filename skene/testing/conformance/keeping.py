"""`Storage.prune`: what people look back at for a year goes after it, and what still counts never does."""

import pytest

from skene.engine.window import Edges, Rolling
from skene.ports.outbox import MessageState
from skene.ports.outbox import Outcome as Ending
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    apply,
    call,
    charge,
    draft,
    notice,
    refuse_once,
    set_plan,
    used,
    wall,
)
from skene.testing.conformance.billed import billed_call, give_back, report
from skene.testing.conformance.happening import DAY, LEASE, send, take

__all__ = ["KeepingConformance"]

KEPT = 400 * DAY
AGES = 5_000 * DAY
LIFETIME = Edges(())


class KeepingConformance(ConformanceBase):
    """Counters, windows that are over, messages and webhooks."""

    async def test_a_counter_that_nobody_uses_goes(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `prune`: 400 days after its window, and once more its own length."""
        await storage.consume(call(charge(5), charge(5, meter="tokens", step="tokens.0")))
        clock.advance(MONTH + KEPT + MONTH - MICROSECOND)
        assert await storage.prune() == 0
        assert await storage.meters("ada") == ("calls", "tokens")
        await storage.consume(call(charge(5)))
        clock.advance(MICROSECOND)
        assert await storage.prune() >= 1
        assert await storage.meters("ada") == ("calls",)
        assert await used(storage, charge(5)) == 1
        assert await used(storage, charge(5, meter="tokens", step="tokens.0")) == 0

    async def test_a_lifetime_is_never_over(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: its units are used once and for all."""
        item = charge(1, rule=LIFETIME)
        await storage.consume(call(item))
        clock.advance(AGES)
        assert await storage.prune() == 0
        assert not (await storage.consume(call(item))).admitted

    async def test_a_use_counts_as_long_as_it_is_in_the_window(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L1: in a rolling window of years, of which the counter only says when the first use leaves it."""
        item = charge(2, rule=Rolling(1_000 * DAY))
        await storage.consume(call(item))
        clock.advance(990 * DAY)
        await storage.consume(call(item))
        clock.advance(999 * DAY)
        await storage.prune()
        assert await used(storage, item) == 1
        clock.advance(AGES)
        await storage.prune()
        assert await storage.meters("ada") == ()

    async def test_what_is_still_to_be_billed_stays(self, storage: Storage, clock: ManualClock) -> None:
        """Every unit is reported, in windows that are over too, once somebody is there to get the bill."""
        await set_plan(storage, PAYING)
        await storage.consume(billed_call(3))
        clock.advance(MONTH)
        await storage.consume(billed_call(5))
        clock.advance(AGES)
        await storage.prune()
        await apply(storage)
        assert await report(storage) == 8
        assert await storage.prune() == 2
        assert await storage.prune() == 0

    async def test_windows_that_are_over_go_after_400_days(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Contract of `prune`: until then a late give-back corrects them."""
        await apply(storage)
        first = await storage.consume(billed_call(3))
        clock.advance(MONTH)
        second = await storage.consume(billed_call(1))
        clock.advance(MONTH)
        await storage.consume(billed_call(1))
        assert await report(storage) == 5
        clock.advance(KEPT - MONTH - MICROSECOND)
        await storage.prune()
        await give_back(storage, first)
        assert await report(storage) == -3
        clock.advance(MICROSECOND)
        assert await storage.prune() == 1
        await give_back(storage, first)
        assert await report(storage) == 0
        await give_back(storage, second)
        assert await report(storage) == -1

    @pytest.mark.parametrize("state", [MessageState.SENT, MessageState.CANCELLED, MessageState.SKIPPED])
    async def test_messages_go_after_400_days(
        self, storage: Storage, clock: ManualClock, state: MessageState
    ) -> None:
        """Contract of `prune`: from when they were settled, however long that took."""
        await refuse_once(storage, clock)
        clock.advance(AGES)
        assert await storage.settle(await take(storage), Ending(state, provider_id="p1"))
        clock.advance(KEPT - MICROSECOND)
        await storage.prune()
        assert [one[1] for one in await storage.messages()] == [state]
        clock.advance(MICROSECOND)
        assert await storage.prune() == 1
        assert await storage.messages() == ()
        assert await storage.outbox_counts() == {}
        assert not await storage.mark_report("p1", "clicked")

    async def test_messages_that_somebody_waits_for_stay(self, storage: Storage, clock: ManualClock) -> None:
        """L10: a dead letter is dealt with by a person, however late."""
        for name, state in (("w1", MessageState.DEAD), ("w2", MessageState.PARKED)):
            await refuse_once(storage, clock, subject=name, wall_id=name)
            assert await storage.settle(await take(storage), Ending(state))
        for name in ("w3", "w4"):
            await refuse_once(storage, clock, subject=name, wall_id=name)
        assert len(await storage.claim(1, LEASE)) == 1
        clock.advance(AGES)
        await storage.prune()
        assert [one[1].value for one in await storage.messages()] == ["dead", "parked", "claimed", "pending"]
        (row, *_) = await storage.outbox_rows(states=(MessageState.DEAD,))
        assert await storage.retry_message(row.id)

    async def test_a_wall_that_stands_asks_once(self, storage: Storage, clock: ManualClock) -> None:
        """L4: its prompt may be gone, and is not sent again."""
        prompt = draft(wall="w1")
        assert await storage.open_wall(wall(clock, "w1", lasts=AGES), (prompt,)) == "w1"
        await send(storage, await take(storage))
        clock.advance(KEPT)
        assert await storage.prune() >= 1
        assert await storage.messages() == ()
        assert await storage.open_wall(wall(clock, "w2", lasts=AGES), (prompt,)) == "w1"
        assert await storage.messages() == ()

    async def test_a_window_that_runs_warns_once(self, storage: Storage, clock: ManualClock) -> None:
        """L4: its warning may be gone, and is not sent again."""
        warning = draft("usage_warning:1")
        counted = await storage.consume(call(charge(5, rule=LIFETIME)))
        assert await storage.record_notice(notice(counted, "0.8", drafts=(warning,)))
        await send(storage, await take(storage))
        clock.advance(KEPT)
        assert await storage.prune() == 1
        assert not await storage.record_notice(notice(counted, "0.8", drafts=(warning,)))
        assert await storage.messages() == ()

    async def test_who_was_asked_long_ago_is_asked_no_more(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L4: a prompt that was pruned has gone out all the same, whomever its subject is merged into."""
        await storage.open_wall(
            wall(clock, "w1", subject="guest", lasts=AGES), (draft("p1", subject="guest", wall="w1"),)
        )
        await send(storage, await take(storage))
        clock.advance(KEPT)
        await storage.prune()
        await storage.open_wall(wall(clock, "w2", lasts=AGES), (draft("p2", wall="w2"),))
        await storage.merge("guest", "ada")
        assert [one[1] for one in await storage.messages("ada")] == [MessageState.CANCELLED]

    async def test_webhooks_go_after_400_days(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `prune`: no service sends one again after that."""
        await apply(storage, event="evt_1")
        assert await storage.record_event("evt_2", "changed")
        await storage.record_events({"evt_3": "changed"})
        clock.advance(KEPT - MICROSECOND)
        await storage.prune()
        assert await storage.unknown_events(("evt_1", "evt_2", "evt_3")) == frozenset()
        clock.advance(MICROSECOND)
        assert await storage.prune() == 3
        assert await storage.unknown_events(("evt_1", "evt_2", "evt_3")) == {"evt_1", "evt_2", "evt_3"}
        assert (await storage.get_customer("ada")) is not None

"""`Counters.refund`, idempotency keys and `record_notice`."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.engine.window import Anchored
from skene.errors import IdempotencyConflict
from skene.ports.counters import Counted, Receipt
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    call,
    charge,
    draft,
    notice,
    set_plan,
    used,
)


def receipts(counted: Counted) -> tuple[Receipt, ...]:
    """Everything that was charged."""
    found = counted.receipts
    assert len(found) == len(counted.tallies), "an admitted call has a receipt for every counter"
    return found


class RefundConformance(ConformanceBase):
    """Giving units back."""

    async def test_a_refund_undoes_a_charge(self, storage: Storage) -> None:
        """L2, decision 4: 100 calls that all failed count nothing, in one counter or in several."""
        charges = (charge(1, meter="a"), charge(1, meter="b", step="freemium.1"))
        for _ in range(100):
            counted = await storage.consume(call(*charges))
            assert counted.admitted
            await storage.refund("ada", receipts(counted))
        assert [tally.used for tally in (await storage.peek(call(*charges))).tallies] == [0, 0]

    async def test_a_refund_may_be_of_a_part(self, storage: Storage) -> None:
        """Contract: a hold of 2,000 of which 1,312 were used gives back 688."""
        (receipt,) = receipts(await storage.consume(call(charge(5000, cost=2000))))
        await storage.refund("ada", (replace(receipt, cost=688),))
        assert await used(storage) == 1312

    async def test_a_refund_never_goes_below_zero(self, storage: Storage) -> None:
        """L1: giving back more than was taken buys nothing."""
        (receipt,) = receipts(await storage.consume(call()))
        await storage.refund("ada", (replace(receipt, cost=50),))
        await storage.refund("ada", (receipt,))
        assert await used(storage) == 0
        assert (await storage.consume(call(charge(100, cost=100)))).admitted
        assert not (await storage.consume(call())).admitted

    async def test_a_refund_never_lands_in_another_window(self, storage: Storage, clock: ManualClock) -> None:
        """L1, decision 4: units of a past window are not taken off the running one."""
        (old,) = receipts(await storage.consume(call(charge(100, cost=100))))
        clock.advance(MONTH)
        await storage.consume(call(charge(100, cost=100)))
        await storage.refund("ada", (old,))
        assert await used(storage) == 100
        assert not (await storage.consume(call())).admitted

    async def test_a_refund_into_a_window_that_just_ended(self, storage: Storage, clock: ManualClock) -> None:
        """L1: with no window running, a late refund changes nothing for the next one."""
        (old,) = receipts(await storage.consume(call(charge(100, cost=5))))
        clock.advance(MONTH)
        await storage.refund("ada", (old,))
        counted = await storage.consume(call())
        assert (counted.tallies[0].used, counted.tallies[0].start) == (1, clock.now())

    async def test_a_refund_keeps_the_window(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 1: a window that was opened stays open, even when nothing is used in it any more."""
        counted = await storage.consume(call())
        await storage.refund("ada", receipts(counted))
        clock.advance("2d")
        assert (await storage.consume(call())).tallies[0].start == counted.tallies[0].start

    async def test_a_refund_goes_to_the_plan_it_was_charged_to(self, storage: Storage) -> None:
        """Decision 7: the subject may have paid between the charge and the refund."""
        (receipt,) = receipts(await storage.consume(call(charge(100, cost=9))))
        await set_plan(storage, PAYING)
        await storage.consume(call(charge(100, cost=9)))
        await storage.refund("ada", (receipt,))
        assert await used(storage) == 9
        await set_plan(storage, FREE)
        assert await used(storage) == 0

    async def test_a_refund_of_nothing_known_is_ignored(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: receipts of the forgotten, or of nobody, do no harm."""
        (receipt,) = receipts(await storage.consume(call()))
        await storage.refund("nobody", (receipt,), "k1")
        await storage.refund("ada", (replace(receipt, meter="other"),))
        await storage.refund("ada", (replace(receipt, plan="other"),))
        await storage.refund("ada", (replace(receipt, at=clock.now() - timedelta(days=99)),))
        await storage.refund("ada", ())
        assert await used(storage) == 1
        assert await used(storage, subject="nobody") == 0


class KeyConformance(ConformanceBase):
    """Idempotency keys."""

    async def test_a_retry_is_free(self, storage: Storage) -> None:
        """Decision 9: one charge per subject and key, and admitted again even at the limit."""
        first = await storage.consume(call(charge(1), key="k1"))
        assert first.admitted
        assert not first.replayed
        for look in (storage.consume, storage.consume, storage.peek):
            again = await look(call(charge(1), key="k1"))
            assert again.admitted
            assert again.replayed
            assert again.tallies[0].used == 1
            assert again.tallies[0].fits
            assert again.tallies[0].receipt is None
            assert again.tallies[0].start == first.tallies[0].start
        assert not (await storage.consume(call(charge(1), key="k2"))).admitted
        assert not (await storage.consume(call(charge(1)))).admitted

    async def test_a_retry_charges_no_counter_at_all(self, storage: Storage) -> None:
        """Decision 9: with several counters, none is charged again."""
        charges = (charge(5, meter="a"), charge(5, meter="b", step="freemium.1"))
        await storage.consume(call(*charges, key="k1"))
        again = await storage.consume(call(*charges, key="k1"))
        assert [tally.used for tally in again.tallies] == [1, 1]

    async def test_counters_of_a_retry_are_as_they_are_now(self, storage: Storage) -> None:
        """Contract: a replay reports the present count."""
        await storage.consume(call(key="k1"))
        await storage.consume(call(charge(100, cost=10)))
        assert (await storage.consume(call(key="k1"))).tallies[0].used == 11

    async def test_another_request_under_the_key_is_a_conflict(self, storage: Storage) -> None:
        """Decision 9: another fingerprint is refused loudly and charges nothing."""
        await storage.consume(call(key="k1", fingerprint="POST /a"))
        for _ in range(2):
            with pytest.raises(IdempotencyConflict):
                await storage.consume(call(key="k1", fingerprint="POST /b"))
        assert await used(storage) == 1
        assert (await storage.consume(call(key="k1", fingerprint="POST /a"))).replayed

    async def test_keys_belong_to_their_subject(self, storage: Storage) -> None:
        """Decision 9: two subjects may use the same key, for different requests."""
        await storage.consume(call(key="k1", fingerprint="POST /a"))
        other = await storage.consume(call(key="k1", fingerprint="POST /b", subject="bob"))
        assert other.admitted
        assert not other.replayed
        assert await used(storage, subject="bob") == 1

    async def test_any_ascii_key_of_64_characters(self, storage: Storage) -> None:
        """Contract: 1–64 ASCII characters, told apart to the last one, case included."""
        keys = ["a", "A", "x" * 63 + "y", "x" * 63 + "z", "' OR 1=1 --", '%_\\"$1 :k', " ", "  "]
        for key in keys:
            assert not (await storage.consume(call(key=key))).replayed
        for key in keys:
            assert (await storage.consume(call(key=key))).replayed
        assert await used(storage) == len(keys)

    async def test_a_refund_frees_the_key(self, storage: Storage) -> None:
        """Decision 9: a call that failed may be tried again under its key, and is charged then."""
        counted = await storage.consume(call(key="k1", fingerprint="POST /a"))
        await storage.refund("ada", receipts(counted), "k1")
        again = await storage.consume(call(key="k1", fingerprint="POST /b"))
        assert again.admitted
        assert not again.replayed
        assert again.tallies[0].used == 1

    async def test_what_a_repetition_relies_on_is_not_given_back(self, storage: Storage) -> None:
        """L2: the first call fails after its repetition went on for free; both together cost one unit."""
        first = await storage.consume(call(key="k"))
        assert (await storage.consume(call(key="k"))).replayed
        await storage.refund("ada", receipts(first), "k")
        assert await used(storage) == 1
        assert (await storage.consume(call(key="k"))).replayed

    async def test_a_refund_without_the_key_keeps_it(self, storage: Storage) -> None:
        """Decision 9: giving back part of a hold does not make its call chargeable again."""
        counted = await storage.consume(call(charge(100, cost=10), key="k1"))
        await storage.consume(call(key="k2"))
        await storage.refund("ada", receipts(counted))
        await storage.refund("ada", (), "k2")
        assert (await storage.consume(call(charge(100, cost=10), key="k1"))).replayed
        assert not (await storage.consume(call(key="k2"))).replayed

    async def test_a_retry_after_the_window(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 9: a retry stays free when a new window has begun meanwhile."""
        item = charge(1, rule=Anchored(timedelta(hours=1)))
        await storage.consume(call(item, key="k1"))
        clock.advance(timedelta(hours=23))
        again = await storage.consume(call(item, key="k1"))
        assert again.admitted
        assert again.replayed
        assert again.tallies[0].used == 0
        clock.advance("1m")
        assert (await storage.consume(call(item))).tallies[0].start == clock.now()

    async def test_keys_are_pruned_after_a_day(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `prune`: keys last 24 h, and only they go."""
        await storage.consume(call(key="k1"))
        clock.advance(timedelta(hours=24) - MICROSECOND)
        await storage.consume(call(key="k2"))
        assert await storage.prune() == 0
        assert (await storage.consume(call(key="k1"))).replayed
        clock.advance(MICROSECOND * 2)
        assert await storage.prune() == 1
        assert await storage.prune() == 0
        assert not (await storage.consume(call(key="k1"))).replayed
        assert (await storage.consume(call(key="k2"))).replayed
        assert await used(storage) == 3


class NoticeConformance(ConformanceBase):
    """Warnings of a window."""

    async def test_a_warning_is_recorded_once(self, storage: Storage) -> None:
        """L4, decision 18: once per crossing, together with its message."""
        counted = await storage.consume(call())
        due = notice(counted, "freemium.0@0.8", drafts=(draft("usage_warning:1"),))
        assert await storage.record_notice(due) is True
        assert await storage.record_notice(due) is False
        assert await storage.record_notice(replace(due, drafts=(draft("usage_warning:2"),))) is False
        assert [message[0].key for message in await storage.messages()] == ["usage_warning:1"]
        for look in (storage.peek, storage.consume):
            assert (await look(call())).tallies[0].notices == ("freemium.0@0.8",)

    async def test_names_are_recorded_one_by_one(self, storage: Storage) -> None:
        """Decision 18: a new name is recorded beside the old ones; a message is never doubled."""
        counted = await storage.consume(call())
        mail = draft("usage_warning:1")
        assert await storage.record_notice(notice(counted, "a", drafts=(mail,)))
        assert await storage.record_notice(notice(counted, "a", "b", drafts=(mail,)))
        assert not await storage.record_notice(notice(counted, "b", "a"))
        assert set((await storage.peek(call())).tallies[0].notices) == {"a", "b"}
        assert len(await storage.messages()) == 1

    async def test_only_the_running_window_is_warned_of(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 18: a late warning is dropped with its message; the next window starts bare."""
        counted = await storage.consume(call())
        mail = (draft("usage_warning:1"),)
        assert await storage.record_notice(notice(counted, "early"))
        clock.advance(MONTH)
        assert not await storage.record_notice(notice(counted, "late", drafts=mail))
        second = await storage.consume(call())
        assert second.tallies[0].notices == ()
        assert not await storage.record_notice(notice(counted, "late", drafts=mail))
        assert await storage.messages() == ()
        assert await storage.record_notice(notice(second, "early", drafts=mail))
        assert len(await storage.messages()) == 1

    async def test_warnings_belong_to_their_counter(self, storage: Storage) -> None:
        """Decision 18: told apart by subject, meter and plan; nobody's counter takes none."""
        first = await storage.consume(call())
        await storage.consume(call(subject="bob"))
        assert await storage.record_notice(notice(first, "a"))
        assert not await storage.record_notice(notice(first, "a", subject="nobody"))
        assert not await storage.record_notice(replace(notice(first, "b"), meter="other"))
        assert not await storage.record_notice(replace(notice(first, "b"), plan="paid"))
        assert (await storage.peek(call(subject="bob"))).tallies[0].notices == ()

    async def test_warnings_change_no_count(self, storage: Storage, clock: ManualClock) -> None:
        """L1: counting and giving back go on as before."""
        counted = await storage.consume(call(charge(10, cost=8)))
        await storage.record_notice(notice(counted, "a"))
        after = await storage.peek(call(charge(10)))
        assert (after.tallies[0].used, after.tallies[0].end) == (8, counted.tallies[0].end)
        await storage.refund("ada", receipts(counted))
        assert (await storage.consume(call(charge(10)))).tallies[0].used == 1
        assert (await storage.peek(call())).tallies[0].notices == ("a",)

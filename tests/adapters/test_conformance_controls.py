"""The conformance suite can fail: each of these stores makes one mistake that was made somewhere before."""

import inspect
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unicodedata import normalize

import pytest
from anyio.lowlevel import checkpoint

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import Key, MessageRow
from skene.engine import counter as engine
from skene.engine.counter import Counter
from skene.engine.window import Rolling, WindowRule
from skene.errors import IdempotencyConflict
from skene.ports.accounts import Applied, Ticket, Update
from skene.ports.counters import Consume, Counted, Draft, Receipt
from skene.ports.ledger import FunnelRow, Wall
from skene.ports.notifier import Body
from skene.ports.outbox import Attempt, Claimed, Outcome, Rules
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance
from tests.support.careless import CARELESS_WITH_FIRINGS
from tests.support.careless_counting import CARELESS_WITH_BILLING
from tests.support.careless_keeping import CARELESS_WITH_WHAT_IS_OLD
from tests.support.careless_merging import CARELESS_WITH_MERGES
from tests.support.careless_sending import CARELESS_WITH_MESSAGES
from tests.support.careless_spells import CARELESS_WITH_SPELLS

MICROSECOND = timedelta(microseconds=1)
NO_RULES = Rules()


def without_limits(call: Consume) -> Consume:
    return replace(call, charges=tuple(replace(c, limits=dict.fromkeys(c.limits)) for c in call.charges))


class ReadsThenWrites(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        seen = await self.peek(call)
        await checkpoint()
        return await super().consume(without_limits(call)) if seen.admitted else seen


class LooksForTheKeyFirst(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        if (await self.peek(call)).replayed:
            return await super().consume(call)
        await checkpoint()
        counted = await super().consume(replace(call, idempotency_key=None))
        if counted.admitted and call.idempotency_key is not None:
            keys = self._state.keys.setdefault(call.subject, {})
            keys[call.idempotency_key] = Key(call.fingerprint, counted.now)
        return counted


class KeysOfEverybody(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        self._state.keys.setdefault(call.subject, self._state.keys.setdefault("", {}))
        return await super().consume(call)


class RemembersRefusedKeys(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        counted = await super().consume(call)
        if call.idempotency_key is not None:
            keys = self._state.keys.setdefault(call.subject, {})
            keys.setdefault(call.idempotency_key, Key(call.fingerprint, counted.now))
        return counted


class ChargesWhatFits(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        counted = await super().consume(call)
        fitting = tuple(tally.charge for tally in counted.tallies if tally.fits)
        if not counted.admitted and fitting:
            await super().consume(replace(call, charges=fitting))
        return counted


class PeeksWithConsequences(MemoryStorage):
    async def peek(self, call: Consume) -> Counted:
        counted = await super().peek(call)
        for tally in counted.tallies:
            self._state.counters.setdefault((tally.charge.meter, counted.plan), {}).setdefault(
                call.subject, Counter(tally.start, tally.end)
            )
        return counted


class ForgetsUseOnUpgrade(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        self._state.counters.clear()
        return await super().apply_billing(update)


class RefundsIntoTheRunningWindow(MemoryStorage):
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        now = self._state.clock.now()
        moved = tuple(replace(receipt, at=now) for receipt in receipts)
        await super().refund(subject, moved, idempotency_key)
        await super().refund(subject, receipts, idempotency_key)


class WallPerRefusal(MemoryStorage):
    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...], **how: Any) -> str:
        self._state.standing.clear()
        return await super().open_wall(wall, drafts, **how)


class NewestEventWins(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        newest = Ticket(update.ticket.customer, 10**9)
        return await super().apply_billing(replace(update, ticket=newest))


class ConvertsEveryTime(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        if update.subject in self._state.holders:
            self._state.holders[update.subject].standing = None
        return await super().apply_billing(update)


class RecordsEventsTooEarly(MemoryStorage):
    async def begin_sync(self, customer: str, event: str | None = None) -> Ticket | None:
        ticket = await super().begin_sync(customer, event)
        if event is not None:
            await self.record_event(event, "")
        return ticket


class PrunesEvents(MemoryStorage):
    async def prune(self) -> int:
        self._state.events.clear()
        return await super().prune()


class AsksAtEveryRefusal(MemoryStorage):
    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        return await super().claim_lookup(subject, timedelta(0))


class ClaimsWithoutGuard(MemoryStorage):
    def _held(self, claimed: Claimed) -> MessageRow | None:
        return self._state.open.get(claimed.id)


class ClaimsWithoutLease(MemoryStorage):
    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        claimed = await super().claim(limit, timedelta(0))
        await checkpoint()
        return claimed


class SettlesEverythingUnknown(MemoryStorage):
    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        settled = await super().settle(claimed, outcome)
        if settled:
            self._state.messages[claimed.id].begun = None
        return settled


class RendersAgain(MemoryStorage):
    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = NO_RULES) -> Attempt:
        self._state.messages[claimed.id].body = None
        return await super().begin_attempt(claimed, body, rules)


class CountsWatchedLoops(MemoryStorage):
    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...], **how: Any) -> str:
        return await super().open_wall(replace(wall, shadow=False), drafts, **how)


class CountsHeldOutApart(MemoryStorage):
    async def funnel(self, **span: Any) -> tuple[FunnelRow, ...]:
        rows = await super().funnel(**span)
        return tuple(replace(row, walls=row.walls - row.held_out) for row in rows)


class ForgetsTooLittle(MemoryStorage):
    async def forget(self, subject: str) -> int:
        erased = await super().forget(subject)
        self._state.blocked.clear()
        return erased


class ForgetsTooMuch(MemoryStorage):
    async def forget(self, subject: str) -> int:
        erased = await super().forget(subject)
        self._state.conversions.clear()
        return erased


class RaisesTheLimit(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        seen = await self.peek(call)
        raised = tuple(
            replace(t.charge, limits=dict.fromkeys(t.charge.limits, t.limit)) for t in seen.tallies
        )
        kept, self._state.grants = self._state.grants, {}
        counted = await super().consume(replace(call, charges=raised))
        self._state.grants = kept
        return counted


class GrantsInEveryWindow(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        counted = await super().consume(call)
        for row in self._state.grants.get(call.subject, ()):
            row.pot = replace(row.pot, spent=0)
        return counted


class KeepsWhatFailedCallsWereGranted(MemoryStorage):
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        kept = {row.pot.number: row.pot for row in self._state.grants.get(subject, ())}
        await super().refund(subject, receipts, idempotency_key)
        self._state.change_pots(subject, kept.values())


class FoldsNames(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        return await super().consume(replace(call, subject=normalize("NFC", call.subject)))


Present = Callable[..., Counter]


def inclusive_end(counter: Counter | None, rule: WindowRule, now: Any, cycle: Sequence[Any] = ()) -> Counter:
    late = counter is not None and now == counter.end
    return engine.present(counter, rule, now - MICROSECOND if late else now, cycle)


def reopens(counter: Counter | None, rule: WindowRule, now: Any, cycle: Sequence[Any] = ()) -> Counter:
    return engine.present(None if counter and now < counter.start else counter, rule, now, cycle)


def on_a_grid(counter: Counter | None, rule: WindowRule, now: Any, cycle: Sequence[Any] = ()) -> Counter:
    ended = counter is not None and now >= counter.end and not isinstance(rule, Rolling)
    fresh = engine.present(counter, rule, now, cycle)
    return Counter(counter.end, counter.end + (fresh.end - fresh.start)) if counter and ended else fresh


def parts_leave_early(
    counter: Counter | None, rule: WindowRule, now: Any, cycle: Sequence[Any] = ()
) -> Counter:
    return engine.present(counter, rule, now + rule.part if isinstance(rule, Rolling) else now, cycle)


ONE_PRESENT: dict[str, Present] = {
    "test_a_window_is_half_open": inclusive_end,
    "test_a_clock_that_steps_back_reopens_nothing": reopens,
    "test_the_next_window_opens_with_the_next_use": on_a_grid,
    "test_never_more_than_the_limit_in_any_trailing_window": parts_leave_early,
}

STORES: list[tuple[type[MemoryStorage], str]] = [
    (ReadsThenWrites, "test_400_at_once_admit_exactly_100"),
    (ReadsThenWrites, "test_costs_never_pass_the_limit"),
    (ReadsThenWrites, "test_crossed_counters_neither_deadlock_nor_overrun"),
    (LooksForTheKeyFirst, "test_50_retries_at_once_are_one_charge"),
    (LooksForTheKeyFirst, "test_two_requests_fight_for_a_key"),
    (KeysOfEverybody, "test_keys_belong_to_their_subject"),
    (RemembersRefusedKeys, "test_a_refused_key_is_not_remembered"),
    (ChargesWhatFits, "test_all_counters_admit_or_none_is_charged"),
    (PeeksWithConsequences, "test_peek_changes_nothing"),
    (ForgetsUseOnUpgrade, "test_a_downgrade_does_not_forgive"),
    (RefundsIntoTheRunningWindow, "test_a_refund_never_lands_in_another_window"),
    (WallPerRefusal, "test_50_walls_at_once_are_one"),
    (WallPerRefusal, "test_a_wall_stands_until_its_window_ends"),
    (NewestEventWins, "test_a_stale_fetch_still_records_its_event"),
    (NewestEventWins, "test_a_stale_fetch_converts_nobody"),
    (ConvertsEveryTime, "test_paying_is_one_conversion"),
    (ConvertsEveryTime, "test_ten_webhooks_at_once_are_one_conversion"),
    (RecordsEventsTooEarly, "test_a_failed_fetch_does_not_record_its_event"),
    (PrunesEvents, "test_an_event_is_applied_once"),
    (AsksAtEveryRefusal, "test_a_look_up_once_per_interval"),
    (AsksAtEveryRefusal, "test_one_look_up_for_20_refusals"),
    (ClaimsWithoutGuard, "test_a_lost_claim_may_not_act"),
    (ClaimsWithoutLease, "test_workers_never_share_a_message"),
    (SettlesEverythingUnknown, "test_an_attempt_nobody_settled"),
    (RendersAgain, "test_the_body_is_frozen"),
    (CountsWatchedLoops, "test_a_history_told_by_hand"),
    (CountsHeldOutApart, "test_a_history_told_by_hand"),
    (ForgetsTooLittle, "test_a_late_webhook_brings_nobody_back"),
    (ForgetsTooMuch, "test_what_was_proven_is_still_counted"),
    (ReadsThenWrites, "test_200_at_once_admit_exactly_25"),
    (RaisesTheLimit, "test_granted_units_are_spent_once"),
    (GrantsInEveryWindow, "test_200_at_once_admit_exactly_25"),
    (KeepsWhatFailedCallsWereGranted, "test_failing_calls_cost_nothing"),
    (FoldsNames, "test_ids_that_look_alike_are_different"),
    *CARELESS_WITH_BILLING,
    *CARELESS_WITH_FIRINGS,
    *CARELESS_WITH_MESSAGES,
    *CARELESS_WITH_MERGES,
    *CARELESS_WITH_SPELLS,
    *CARELESS_WITH_WHAT_IS_OLD,
]


async def run(store: type[MemoryStorage], test: str) -> None:
    """One test of the suite, as pytest would call it."""
    clock, shared = ManualClock(), store()

    async def factory() -> MemoryStorage:
        return shared

    given: dict[str, Any] = {"storage": store(clock=clock), "clock": clock, "storage_factory": factory}
    method = getattr(StorageConformance(), test)
    for mark in getattr(method, "pytestmark", ()):
        if mark.name == "parametrize":
            name, values = mark.args
            given[name] = values[0]  # one will do
    await method(**{name: given[name] for name in inspect.signature(method).parameters})


@pytest.mark.parametrize(("store", "test"), STORES, ids=[f"{s.__name__}-{t}" for s, t in STORES])
async def test_a_careless_store_fails(store: type[MemoryStorage], test: str) -> None:
    await run(MemoryStorage, test)  # the careful one passes, called in the same way
    with pytest.raises((AssertionError, ExceptionGroup, IdempotencyConflict)):
        await run(store, test)


def test_no_test_hides_another_one() -> None:
    names = Tally(
        name for part in StorageConformance.__mro__ for name in vars(part) if name.startswith("test_")
    )
    assert [name for name, times in names.items() if times > 1] == []


@pytest.mark.parametrize("test", ONE_PRESENT)
async def test_a_careless_window_fails(test: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await run(MemoryStorage, test)
    monkeypatch.setattr("skene.adapters.memory.counters.present", ONE_PRESENT[test])
    with pytest.raises(AssertionError):
        await run(MemoryStorage, test)


@pytest.mark.parametrize("order", [(2, 1, 0), (2, 0, 1), (1, 2, 0)])
async def test_applying_the_latest_arrival_fails(order: tuple[int, ...]) -> None:
    for store, outcome in ((MemoryStorage, True), (NewestEventWins, False)):
        try:
            await StorageConformance().test_the_fetch_begun_last_stands(store(clock=ManualClock()), order)
        except AssertionError:
            assert not outcome
        else:
            assert outcome


async def test_an_inexact_limit_fails() -> None:
    class OneMore(MemoryStorage):
        async def consume(self, call: Consume) -> Counted:
            raised = tuple(
                replace(c, limits={p: n if n is None else n + 1 for p, n in c.limits.items()})
                for c in call.charges
            )
            return await super().consume(replace(call, charges=raised))

    for limit in (0, 1, 2, 100):
        await StorageConformance().test_exactly_the_limit_is_admitted(MemoryStorage(), limit)
        with pytest.raises(AssertionError):
            await StorageConformance().test_exactly_the_limit_is_admitted(OneMore(), limit)

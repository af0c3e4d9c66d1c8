"""Skene, broken in one place at a time."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from skene.adapters.memory import MemoryStorage, accounts, counters, merging
from skene.adapters.memory.state import Holder, State
from skene.engine import counter as counting
from skene.engine import periods
from skene.engine.counter import Counter
from skene.engine.limits import limit_for
from skene.engine.window import Edges, Rolling, WindowRule, calendar_edges
from skene.ports.counters import Consume, Counted
from skene.runtime.lookup import LookUps
from tests.properties import world

__all__ = ["MUTANTS", "Mutant"]

Mutant = Callable[[pytest.MonkeyPatch], None]
MICROSECOND = timedelta(microseconds=1)


def one_more_than_the_limit(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        counters, "fits", lambda c, limit, cost, granted: counting.fits(c, limit, cost - 1, granted)
    )


def the_end_belongs_to_the_window(patch: pytest.MonkeyPatch) -> None:
    def present(found: Counter | None, rule: WindowRule, now: datetime, cycle: Sequence[datetime]) -> Counter:
        ends = found is not None and now == found.end
        return counting.present(found, rule, now - MICROSECOND if ends else now, cycle)

    patch.setattr(counters, "present", present)


def the_clock_reopens_a_window(patch: pytest.MonkeyPatch) -> None:
    def present(found: Counter | None, rule: WindowRule, now: datetime, cycle: Sequence[datetime]) -> Counter:
        known = None if found is not None and now < found.start else found
        return counting.present(known, rule, now, cycle)

    patch.setattr(counters, "present", present)


def rolling_windows_forget(patch: pytest.MonkeyPatch) -> None:
    def present(found: Counter | None, rule: WindowRule, now: datetime, cycle: Sequence[datetime]) -> Counter:
        if isinstance(rule, Rolling) and found is not None and len(found.parts) > 1:
            found = replace(found, parts=found.parts[-1:])
        return counting.present(found, rule, now, cycle)

    patch.setattr(counters, "present", present)


def the_cost_is_one(patch: pytest.MonkeyPatch) -> None:
    def charge(found: Counter, rule: WindowRule, now: datetime, cost: int, extra: int = 0) -> Any:
        return counting.charge(found, rule, now, 1, min(extra, 1))

    patch.setattr(counters, "charge", charge)


def a_refund_goes_to_any_window(patch: pytest.MonkeyPatch) -> None:
    def give_back(found: Counter, at: datetime, cost: int) -> Counter | None:
        return counting.give_back(found, found.parts[-1][0] if found.parts else found.start, cost)

    patch.setattr(counters, "give_back", give_back)


def a_refund_counts_twice(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(counters, "give_back", lambda found, at, cost: counting.give_back(found, at, 2 * cost))


def a_refund_is_lost(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(counters, "give_back", lambda found, at, cost: counting.give_back(found, at, 0))


def a_refund_keeps_the_key(patch: pytest.MonkeyPatch) -> None:
    refund = MemoryStorage.refund

    async def keeping(self: Any, subject: str, receipts: Any, key: str | None = None) -> None:
        await refund(self, subject, receipts, None)

    patch.setattr(MemoryStorage, "refund", keeping)


def a_repeated_key_is_charged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(MemoryStorage, "_replayed", lambda self, subject, call, charging: False)


def a_key_is_everybodys(patch: pytest.MonkeyPatch) -> None:
    replayed = MemoryStorage._replayed

    def anybodys(self: Any, subject: str, call: Consume, *, charging: bool) -> bool:
        known = (one for one, keys in self._state.keys.items() if call.idempotency_key in keys)
        return replayed(self, next(known, subject), call, charging=charging)

    patch.setattr(MemoryStorage, "_replayed", anybodys)


def the_first_of_two_stays_charged(patch: pytest.MonkeyPatch) -> None:
    consume = MemoryStorage.consume

    async def hasty(self: Any, call: Consume) -> Counted:
        counted = await consume(self, call)
        if not counted.admitted and len(call.charges) > 1:
            await consume(self, replace(call, charges=call.charges[:1], idempotency_key=None))
        return counted

    patch.setattr(MemoryStorage, "consume", hasty)


def granted_units_are_spent_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(counters, "draw", lambda pots, units, now: ())


def granted_units_never_expire(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(counters, "unspent", lambda pots, now: sum(pot.units - pot.spent for pot in pots))


def granted_units_do_not_come_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(counters, "put_back", lambda pots, units: ())


def a_limit_of_ones_own_is_ignored(patch: pytest.MonkeyPatch) -> None:
    def planned(limit: int | None, feature: Any, features: Any, own: Any, now: datetime) -> int | None:
        return limit_for(limit, feature, features, None, now)

    patch.setattr(counters, "limit_for", planned)


def an_upgrade_forgets_what_was_used(patch: pytest.MonkeyPatch) -> None:
    stand = MemoryStorage._stand

    def forgiving(self: Any, subject: str, *about: Any) -> Any:
        applied = stand(self, subject, *about)
        if applied.before != applied.after:
            for table in self._state.counters.values():
                table.pop(subject, None)
        return applied

    patch.setattr(MemoryStorage, "_stand", forgiving)


def all_plans_share_a_counter(patch: pytest.MonkeyPatch) -> None:
    table = State.table
    patch.setattr(State, "table", lambda self, meter, plan: table(self, meter, "free"))


def a_plan_never_ends(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Holder, "standing_at", lambda self, now: self.standing)


def nobody_asks_before_refusing(patch: pytest.MonkeyPatch) -> None:
    async def never(self: LookUps, counted: Counted) -> bool:
        return False

    patch.setattr(LookUps, "learned_of_payment", never)


def a_wall_is_built_twice(patch: pytest.MonkeyPatch) -> None:
    consume = MemoryStorage.consume

    async def forgetful(self: Any, call: Consume) -> Counted:
        self._state.standing.pop(call.subject, None)
        return await consume(self, call)

    patch.setattr(MemoryStorage, "consume", forgetful)


def warnings_are_not_remembered(patch: pytest.MonkeyPatch) -> None:
    async def forgetful(self: Any, notice: Any) -> bool:
        state = self._state
        state.post(
            [replace(one, key=f"{one.key}@{state.last_message}") for one in notice.drafts], state.clock.now()
        )
        return True

    patch.setattr(MemoryStorage, "record_notice", forgetful)


def a_merge_forgives(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(merging.MemoryMerging, "_unite_counts", lambda self, source, target: 0)


def a_webhook_brings_back_the_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(accounts, "digest", lambda customer: b"nobody")


def a_month_is_that_of_utc(patch: pytest.MonkeyPatch) -> None:
    def calendar(unit: str, zone: str, day: Any) -> Edges:
        return Edges(calendar_edges(unit, "UTC", periods._noon(day)))

    patch.setattr(periods, "_calendar", calendar)


def routes_are_counted_together(patch: pytest.MonkeyPatch) -> None:
    def together(step: Any, route: str) -> Any:
        return replace(step, meter=f"{step.meter}:/a")

    patch.setattr(world, "for_route", together)


MUTANTS: tuple[Mutant, ...] = (
    one_more_than_the_limit,
    the_end_belongs_to_the_window,
    the_clock_reopens_a_window,
    rolling_windows_forget,
    the_cost_is_one,
    a_refund_goes_to_any_window,
    a_refund_counts_twice,
    a_refund_is_lost,
    a_refund_keeps_the_key,
    a_repeated_key_is_charged,
    a_key_is_everybodys,
    the_first_of_two_stays_charged,
    granted_units_are_spent_again,
    granted_units_never_expire,
    granted_units_do_not_come_back,
    a_limit_of_ones_own_is_ignored,
    an_upgrade_forgets_what_was_used,
    all_plans_share_a_counter,
    a_plan_never_ends,
    nobody_asks_before_refusing,
    a_wall_is_built_twice,
    warnings_are_not_remembered,
    a_merge_forgives,
    a_webhook_brings_back_the_forgotten,
    a_month_is_that_of_utc,
    routes_are_counted_together,
)

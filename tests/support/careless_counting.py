"""Stores that make one mistake each with overrides, features or bills: the suite must see it."""

from dataclasses import replace

from anyio.lowlevel import checkpoint

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import PastWindow
from skene.engine.bill import Bill
from skene.ports.accounts import Applied, Update
from skene.ports.counters import BilledUse, Consume, Counted, Draft, Receipt
from skene.ports.overrides import Overridden, Override

__all__ = ["CARELESS_WITH_BILLING"]


class OverridesForever(MemoryStorage):
    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        made = await super().set_override(override, drafts)
        limits = self._state.holders[override.subject].own_limits or {}
        limits[override.meter] = replace(limits[override.meter], until=None)
        return made


class OverridesRaiseOnly(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        for holder in self._state.holders.values():
            holder.own_limits = {
                meter: own
                for meter, own in (holder.own_limits or {}).items()
                if own.limit is None or own.limit > 3
            }
        return await super().consume(call)


class OverridesTheDefaultPlanOnly(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        holder = self._state.holders.get(call.subject)
        if holder is not None and holder.standing is not None and holder.standing.plan != call.default_plan:
            holder.own_limits = None
        return await super().consume(call)


class OverridesGoWithTheCustomer(MemoryStorage):
    async def link(self, subject: str, customer: str, **how: object) -> None:
        payer = self._state.payers.get(customer)
        loser = self._state.holders.get(payer.subject or "") if payer else None
        if loser is not None:
            loser.own_limits = None
        await super().link(subject, customer)


class LooksBeforeItOverrides(MemoryStorage):
    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        before = list(self._state.overrides.get(override.subject, ()))
        await checkpoint()
        self._state.overrides[override.subject] = before
        return await super().set_override(override, drafts)


class RemembersFeatures(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        holder = self._state.holders.get(update.subject or "")
        known = holder.features if holder else ()
        return await super().apply_billing(replace(update, features=(*known, *update.features)))


class BillsWhatFailed(MemoryStorage):
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        kept = {where: dict(table) for where, table in self._state.bills.items()}
        await super().refund(subject, receipts, idempotency_key)
        self._state.bills = kept


class ReportsTheRunningWindow(MemoryStorage):
    async def report_billed(self, use: BilledUse, limit: int) -> int:
        self._state.past.clear()
        return await super().report_billed(use, limit)


class CarriesReportsOn(MemoryStorage):
    async def consume(self, call: Consume) -> Counted:
        before = dict(self._state.bills.get(("calls", "paid"), {}))
        counted = await super().consume(call)
        for subject, bill in before.items():
            table = self._state.bills["calls", "paid"]
            table[subject] = replace(table[subject], reported=bill.reported)
        return counted


class ReportsFromTheStart(MemoryStorage):
    async def report_billed(self, use: BilledUse, limit: int) -> int:
        for table in self._state.bills.values():
            for subject, bill in table.items():
                table[subject] = Bill(True, 0, bill.since, bill.reports)
        return await super().report_billed(use, limit)


class NumbersReportsByWindow(MemoryStorage):
    async def report_billed(self, use: BilledUse, limit: int) -> int:
        for table in self._state.bills.values():
            for subject, bill in table.items():
                table[subject] = replace(bill, reports=0)
        return await super().report_billed(use, limit)


class WaitsForCustomers(MemoryStorage):
    async def report_billed(self, use: BilledUse, limit: int) -> int:
        waiting = sorted(self._state.bills.get((use.meter, use.plan), {}))
        if waiting and self._customer(waiting[0]) is None:
            return 0
        return await super().report_billed(use, limit)


class MarksBeforeItLooks(MemoryStorage):
    async def report_billed(self, use: BilledUse, limit: int) -> int:
        looked = await super().report_billed(use, limit)
        await checkpoint()
        for table in self._state.bills.values():
            for subject, bill in table.items():
                table[subject] = replace(bill, billable=False)
        return looked


class ForgetsLateGiveBacks(MemoryStorage):
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        await super().refund(subject, receipts, idempotency_key)
        for windows in self._state.past.values():
            for name, window in windows.items():
                windows[name] = PastWindow(window.end, window.used, replace(window.bill, billable=False))


class HoldsByPlan(MemoryStorage):
    """A counter for each plan, of a stock too."""

    def _own(self, call: Consume) -> Consume:
        holder = self._state.holders.get(call.subject)
        if holder is None or holder.standing is None or call.default_plan in ("free", "paid"):
            return call
        plan = holder.standing.plan
        charges = [replace(c, limits={plan: c.limits[call.default_plan]}) for c in call.charges]
        return replace(call, default_plan=plan, charges=tuple(charges))

    async def consume(self, call: Consume) -> Counted:
        return await super().consume(self._own(call))

    async def peek(self, call: Consume) -> Counted:
        return await super().peek(self._own(call))


class ReleasesNoSeats(MemoryStorage):
    """Nothing is given back to a window that has run for years."""

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        kept = tuple(one for one in receipts if one.at.year > 1970)
        await super().refund(subject, kept, idempotency_key)


CARELESS_WITH_BILLING: list[tuple[type[MemoryStorage], str]] = [
    (HoldsByPlan, "test_what_is_held_stays_through_plans_and_years"),
    (ReleasesNoSeats, "test_releasing_makes_room_and_never_more_than_there_was"),
    (OverridesForever, "test_an_override_ends_by_itself"),
    (OverridesRaiseOnly, "test_an_override_is_the_limit"),
    (OverridesTheDefaultPlanOnly, "test_an_override_outlives_plans"),
    (OverridesGoWithTheCustomer, "test_who_loses_a_customer_keeps_the_override"),
    (LooksBeforeItOverrides, "test_overrides_at_once_leave_one_in_force"),
    (RemembersFeatures, "test_a_feature_is_lost_with_the_next_fetch"),
    (BillsWhatFailed, "test_what_is_given_back_is_taken_off_the_bill"),
    (ReportsTheRunningWindow, "test_a_window_that_is_over_is_reported_in_it"),
    (CarriesReportsOn, "test_a_window_that_is_over_is_reported_in_it"),
    (ReportsFromTheStart, "test_every_unit_is_reported_once"),
    (NumbersReportsByWindow, "test_every_unit_is_reported_once"),
    (WaitsForCustomers, "test_who_is_no_customer_waits_in_nobodys_way"),
    (MarksBeforeItLooks, "test_90_calls_and_reports_at_once"),
    (ForgetsLateGiveBacks, "test_a_late_give_back_corrects_its_own_window"),
]

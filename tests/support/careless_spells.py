"""Stores that date, credit, end or refund conversions wrongly, or tell hooks of them wrongly."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from skene.adapters.memory import MemoryStorage
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Update
from skene.ports.counters import Draft

__all__ = ["CARELESS_WITH_SPELLS"]


class DatesWhenItHears(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        paid = update.standing.subscription
        if paid is None:
            return await super().apply_billing(update)
        undated = replace(update.standing, subscription=replace(paid, started_at=None))
        return await super().apply_billing(replace(update, standing=undated))


class CreditsTheLast(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        return await super().apply_billing(replace(update, credit="last"))


class NeverEnds(MemoryStorage):
    def _lose(self, subject: str, written: Standing, after: Standing, now: datetime, terms: Any) -> None:
        super()._lose(subject, replace(written, paying=False), after, now, terms)


class LapsesInSilence(MemoryStorage):
    async def note_lapses(self, *what: Any, **how: Any) -> int:
        return await super().note_lapses(*what)


class AddsRefundsUp(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        if update.refund is not None:
            number = self._state.payers[update.ticket.customer].drawn
            payment = f"{update.refund.payment}:{number}"
            update = replace(update, refund=replace(update.refund, payment=payment))
        return await super().apply_billing(update)


class TellsEveryTime(MemoryStorage):
    async def mark_clicked(self, wall: str, drafts: tuple[Draft, ...] = ()) -> bool:
        known = await super().mark_clicked(wall)
        self._state.post(drafts if known else (), self._state.clock.now())
        return known


class NamesEventsByTheInstant(MemoryStorage):
    async def apply_billing(self, update: Update) -> Applied:
        self._state.changes = 0
        return await super().apply_billing(update)


CARELESS_WITH_SPELLS: list[tuple[type[MemoryStorage], str]] = [
    (DatesWhenItHears, "test_a_late_webhook_is_dated_by_the_payment"),
    (DatesWhenItHears, "test_who_paid_long_ago_is_nobodys_merit"),
    (CreditsTheLast, "test_the_first_wall_can_be_credited"),
    (NeverEnds, "test_every_way_to_stop_paying_ends_it"),
    (LapsesInSilence, "test_a_life_of_paying"),
    (AddsRefundsUp, "test_refunds_count_once_in_any_order"),
    (TellsEveryTime, "test_marks_write_their_messages_once"),
    (NamesEventsByTheInstant, "test_changes_of_one_instant_are_told_apart"),
]

"""Conversions in memory: when a subject begins to pay, when it stops, and what is given back."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from skene.adapters.memory.state import Conversion, State, WallRow
from skene.engine.spells import PRECISION, conversion_date
from skene.engine.standing import Standing
from skene.ports.accounts import Credit
from skene.ports.billing import Refund
from skene.ports.firings import Watcher
from skene.ports.happened import Spell, churned, converted, refunded

__all__ = ["Terms", "begin_spell", "end_spell", "refund"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change of plan is credited, and who hears of it; see `ports.accounts.Update`."""

    attribution: timedelta
    credit: Credit
    watchers: tuple[Watcher, ...]
    hooks: tuple[str, ...]


def begin_spell(state: State, subject: str, standing: Standing, terms: Terms, now: datetime) -> str | None:
    """Record a conversion. Returns the wall it is credited to."""
    theirs = [state.conversions[place] for place in state.spells.get(subject, ())]
    lapse = max((one.ended_at for one in theirs if one.ended_at is not None), default=None)
    paid = standing.subscription
    at = conversion_date(paid.started_at if paid else None, lapse, now)
    wall = _credited(state, subject, at, terms)
    one = Conversion(
        subject,
        max(at, wall.opened_at) if wall else at,
        wall.wall.id if wall else None,
        paid.amount if paid else None,
        paid.currency if paid else None,
        number=len(state.conversions) + 1,
        loop=wall.wall.loop if wall else None,
        plan=standing.plan,
        again=bool(theirs),
    )
    state.spells.setdefault(subject, []).append(len(state.conversions))
    state.conversions.append(one)
    state.converted[subject] = len(state.conversions)
    state.post(converted(terms.hooks, _spell(one), now), now)
    return one.wall


def end_spell(state: State, subject: str, at: datetime, hooks: tuple[str, ...], now: datetime) -> None:
    """Note that a subject has stopped paying."""
    for place in state.spells.get(subject, ()):
        one = state.conversions[place]
        if one.ended_at is None:
            ended_at = max(at, one.at)  # nothing ends before it began; a clock may have been wrong
            state.conversions[place] = replace(one, ended_at=ended_at)
            state.post(churned(hooks, _spell(one), ended_at, now), now)


def refund(state: State, subject: str, told: Refund, hooks: tuple[str, ...], now: datetime) -> None:
    """Count what was given back of a payment, with the conversion that has it or else with the latest."""
    places = sorted(
        state.spells.get(subject, ()), key=lambda place: (state.conversions[place].at, place), reverse=True
    )
    having = (place for place in places if told.payment in state.conversions[place].refunds)
    place = next(having, places[0] if places else None)
    one = None if place is None else state.conversions[place]
    amount, currency = told.amount, told.currency
    if one is None or place is None or one.currency not in (None, currency):
        state.post(refunded(hooks, subject, None, told.payment, amount, currency, now), now)
        return
    if amount <= one.refunds.get(told.payment, 0):
        return
    refunds = {**one.refunds, told.payment: amount}
    state.conversions[place] = replace(one, refunds=refunds, currency=currency)
    state.post(refunded(hooks, subject, _spell(one), told.payment, amount, currency, now), now)


def _credited(state: State, subject: str, at: datetime, terms: Terms) -> WallRow | None:
    theirs = [
        row
        for row in state.opened.get(subject, ())
        if at - terms.attribution <= row.opened_at < at + PRECISION
    ]
    choose = min if terms.credit == "first" else max
    return choose(theirs, key=lambda row: (row.opened_at, row.wall.id), default=None)


def _spell(one: Conversion) -> Spell:
    return Spell(
        one.number, one.subject, one.wall, one.loop, one.plan, one.amount, one.currency, one.at, one.again
    )

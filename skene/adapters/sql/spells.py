"""Conversions: when a subject begins to pay, when it stops, and what is given back; each in a transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.posting import post
from skene.adapters.sql.tables import conversions, walls
from skene.engine.spells import PRECISION, conversion_date
from skene.engine.standing import Standing
from skene.ports.accounts import Credit
from skene.ports.billing import Refund
from skene.ports.firings import Watcher
from skene.ports.happened import Spell, churned, converted, refunded

__all__ = ["Terms", "begin_spell", "end_spells", "refund"]


@dataclass(frozen=True, slots=True)
class Terms:
    """How a change of plan is credited, and who hears of it; see `ports.accounts.Update`."""

    attribution: timedelta
    credit: Credit = "last"
    watchers: tuple[Watcher, ...] = ()
    hooks: tuple[str, ...] = ()


def begin_spell(
    connection: sa.Connection, now: datetime, subject: str, standing: Standing, terms: Terms
) -> str | None:
    """Record a conversion of a subject that was not paying. Returns the wall it is credited to."""
    end_spells(connection, now, [(subject, now)], terms.hooks)  # one whose end went by unnoticed
    before = sa.select(
        sa.func.count(), sa.func.max(conversions.c.ended_at, type_=conversions.c.ended_at.type)
    ).where(conversions.c.subject == subject)
    number, lapse = connection.execute(before).one()
    paid = standing.subscription
    at = conversion_date(paid.started_at if paid else None, lapse, now)
    wall = _credited(connection, subject, at, terms)
    values = {
        "subject": subject,
        "wall": wall["id"] if wall else None,
        "loop": wall["loop"] if wall else None,
        "plan": standing.plan,
        "amount": paid.amount if paid else None,
        "currency": paid.currency if paid else None,
        "subscription": paid.id if paid else None,
        "converted_at": max(at, wall["opened_at"]) if wall else at,
        "recorded_at": now,
        "again": number > 0,
    }
    record = sa.insert(conversions).values(values).returning(conversions)
    spell = _spell(connection.execute(record).mappings().one())
    post(connection, now, converted(terms.hooks, spell, now))
    return spell.wall


def end_spells(
    connection: sa.Connection, now: datetime, ends: Sequence[tuple[str, datetime]], hooks: tuple[str, ...]
) -> None:
    """Note that subjects have stopped paying, each at an instant."""
    for subject, at in sorted(ends):
        # Nothing ends before it began; a clock may have been wrong.
        end = sa.case(
            (conversions.c.converted_at > at, conversions.c.converted_at),
            else_=sa.literal(at, conversions.c.ended_at.type),
        )
        open_ones = (conversions.c.subject == subject, conversions.c.ended_at.is_(None))
        note = sa.update(conversions).where(*open_ones).values(ended_at=end).returning(conversions)
        for row in connection.execute(note).mappings().all():
            post(connection, now, churned(hooks, _spell(row), row["ended_at"], now))


def refund(
    connection: sa.Connection, now: datetime, subject: str, told: Refund, hooks: tuple[str, ...]
) -> None:
    """Count what was given back of a payment, with the conversion that has it or else with the latest."""
    theirs = (
        sa.select(conversions)
        .where(conversions.c.subject == subject)
        .order_by(conversions.c.converted_at.desc(), conversions.c.id.desc())
        .with_for_update()
    )
    rows = connection.execute(theirs).mappings().all()
    row = next((row for row in rows if told.payment in row["refunds"]), rows[0] if rows else None)
    if row is None or row["currency"] not in (None, told.currency):
        post(connection, now, refunded(hooks, subject, None, told.payment, told.amount, told.currency, now))
        return
    known: dict[str, Any] = row["refunds"]
    if told.amount <= known.get(told.payment, 0):
        return
    amounts = {**known, told.payment: told.amount}
    values = {"refunds": amounts, "refunded": sum(amounts.values()), "currency": told.currency}
    connection.execute(sa.update(conversions).where(conversions.c.id == row["id"]).values(values))
    spell = _spell(row)
    post(connection, now, refunded(hooks, subject, spell, told.payment, told.amount, told.currency, now))


def _credited(connection: sa.Connection, subject: str, at: datetime, terms: Terms) -> sa.RowMapping | None:
    opened, first = walls.c.opened_at, terms.credit == "first"
    theirs = sa.select(walls.c.id, walls.c.loop, opened).where(
        walls.c.subject == subject, opened >= at - terms.attribution, opened < at + PRECISION
    )
    order = (opened, walls.c.id) if first else (opened.desc(), walls.c.id.desc())
    return connection.execute(theirs.order_by(*order).limit(1)).mappings().one_or_none()


def _spell(row: sa.RowMapping) -> Spell:
    names = "subject wall loop plan amount currency converted_at again".split()  # noqa: SIM905 (fields read best as a line)
    return Spell(row["id"], **{name: row[name] for name in names})

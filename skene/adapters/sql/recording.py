"""What follows from a firing: one transaction, a handful of statements for any number of entries."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.arrivals import enter
from skene.adapters.sql.decisions import log
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.firings import held
from skene.adapters.sql.outbox import post
from skene.adapters.sql.tables import firings, journeys, recipients, ticks
from skene.engine.early import goal_before
from skene.ports.firings import (
    Closing,
    DecisionRow,
    Entry,
    Firing,
    FiringState,
    Outcome,
    Phase,
    Recorded,
    Repeat,
)
from skene.ports.happened import goal_reached

__all__ = ["record"]


def record(
    connection: sa.Connection,
    now: datetime,
    firing: Firing,
    entries: tuple[Entry, ...],
    repeat: Repeat | None,
    closing: Closing | None,
    lease: timedelta | None,
) -> Recorded:
    """Record what follows from a firing, or nothing if the claim was lost."""
    ours = sa.select(firings.c.goal_at, firings.c.subject).where(*held(firing)).with_for_update()
    row = connection.execute(ours).one_or_none()
    if row is None:
        return Recorded(held=False)
    if row.subject != firing.subject:  # who was merged into somebody since the firing was claimed
        entries = tuple(
            entry.about(row.subject) if entry.subject == firing.subject else entry for entry in entries
        )
        firing = replace(firing, subject=row.subject)
    acting = _admit(connection, now, firing, entries, repeat) if repeat and entries else _Admitted(entries)
    _begin(connection, now, firing, acting.entries, row.goal_at)
    post(connection, now, [draft for entry in acting.entries for draft in entry.drafts])
    enter(connection, now, [following for entry in acting.entries for following in entry.next])
    lines = [_line(now, firing, entry.subject, Phase.ACTION, entry.outcome) for entry in acting.entries]
    if firing.tick is None:
        lines += [_line(now, firing, subject, Phase.GATE, Outcome.REPEATED) for subject in acting.repeated]
    if closing is not None and (firing.tick is not None or not entries):
        lines.append(_line(now, firing, firing.subject, closing.phase, closing.outcome, closing.reason))
    log(connection, lines)
    if closing is not None:
        _close(connection, now, firing, closing)
    elif lease is not None:
        connection.execute(sa.update(firings).where(*held(firing)).values(due_at=now + lease))
    return Recorded(held=True, acted=len(acting.entries))


@dataclass(frozen=True, slots=True)
class _Admitted:
    """Entries that are recorded, and subjects that were acted upon before by other firings."""

    entries: Sequence[Entry]
    repeated: Sequence[str] = ()


def _admit(
    connection: sa.Connection, now: datetime, firing: Firing, entries: Sequence[Entry], repeat: Repeat
) -> _Admitted:
    """Say who may be acted upon, and remember it: one statement does both, so that of two at once one acts.

    Whom this firing has acted upon before, under an earlier claim, is left out silently.
    """
    before = sa.select(recipients.c.subject).where(
        recipients.c.step == firing.step,
        recipients.c.subject.in_({entry.subject for entry in entries}),
        recipients.c.firing == firing.id,
        # SQLite gives the ids of rows that were pruned, which are a week old at least, to new ones.
        recipients.c.fired_at > firing.occurred_at - timedelta(days=1),
    )
    done = set(connection.scalars(before))
    asked = sorted({entry.subject for entry in entries} - done)  # so that two transactions lock in one order
    if not asked:
        return _Admitted(())
    fresh = {"step": firing.step, "fired_at": now, "fires": 1, "firing": firing.id}
    seen = firing.tick if repeat.episode else None
    rows = [{"subject": subject, "seen_tick": seen, **fresh} for subject in asked]
    answers = connection.execute(_ask(connection, now, firing, repeat), rows)
    acted = {row.subject for row in answers if row.firing == firing.id and row.fired_at == now}
    return _Admitted(
        [entry for entry in entries if entry.subject in acted],
        [subject for subject in asked if subject not in acted],
    )


def _ask(connection: sa.Connection, now: datetime, firing: Firing, repeat: Repeat) -> sa.Executable:
    """Insert recipients, or change those who may be acted upon again; returns whose firing is whose."""
    table = recipients.c
    rules: list[sa.ColumnElement[bool]] = []
    if repeat.cooldown is not None:
        rules.append(table.fired_at <= now - repeat.cooldown)
    if repeat.max_fires is not None:
        rules.append(table.fires < repeat.max_fires)
    put = insert(connection, recipients)
    new = put.excluded
    changes: dict[str, Any] = {
        "fired_at": new.fired_at,
        "fires": table.fires + 1,
        "firing": new.firing,
    }
    if not (repeat.episode and firing.tick is not None):
        asked = put.on_conflict_do_update(
            index_elements=[table.subject, table.step], set_=changes, where=sa.and_(sa.true(), *rules)
        )
        return asked.returning(table.subject, table.firing, table.fired_at)
    rules.append(_new_episode(connection, firing))
    may = sa.and_(*rules)
    # Seen in this tick, acted upon or not: the row changes in any case.
    kept = {name: sa.case((may, change), else_=table[name]) for name, change in changes.items()}
    kept["seen_tick"] = sa.case((table.seen_tick > new.seen_tick, table.seen_tick), else_=new.seen_tick)
    asked = put.on_conflict_do_update(index_elements=[table.subject, table.step], set_=kept)
    return asked.returning(table.subject, table.firing, table.fired_at)


def _new_episode(connection: sa.Connection, firing: Firing) -> sa.ColumnElement[bool]:
    """Not seen since the last tick whose result was read to the end. A scan that broke off tells nothing."""
    whole = (
        sa.select(ticks.c.tick)
        .where(ticks.c.step == firing.step, ticks.c.tick < firing.tick, ticks.c.scanned_at.is_not(None))
        .order_by(ticks.c.tick.desc())
        .limit(1)
    )
    last: datetime | None = connection.scalar(whole)
    never = recipients.c.seen_tick.is_(None)
    return never if last is None else sa.or_(never, recipients.c.seen_tick < last)


def _begin(
    connection: sa.Connection,
    now: datetime,
    firing: Firing,
    entries: Sequence[Entry],
    goal_at: datetime | None,
) -> None:
    early = goal_before(goal_at, now)
    rows: list[dict[str, Any]] = [
        {
            "id": journey.id,
            "loop": journey.loop,
            "subject": journey.subject,
            "begun_at": now,
            "within_seconds": None if journey.within is None else ceil(journey.within.total_seconds()),
            "held_out": journey.held_out,
            "shadow": journey.shadow,
            "goal_at": early if (journey.loop, journey.subject) == (firing.loop, firing.subject) else None,
        }
        for journey in sorted((entry.journey for entry in entries if entry.journey), key=lambda one: one.id)
    ]
    if rows:
        connection.execute(insert(connection, journeys).on_conflict_do_nothing(), rows)
    hooks = {entry.journey.id: entry.journey.hooks for entry in entries if entry.journey}
    for way in rows if early else ():
        if way["goal_at"] is not None:
            about = {name: way[name] for name in ("loop", "held_out", "shadow")}
            told = goal_reached(hooks[way["id"]], way["subject"], now, journey=way["id"], **about)
            post(connection, now, told)


def _line(
    now: datetime, firing: Firing, subject: str, phase: Phase, outcome: Outcome, reason: str | None = None
) -> DecisionRow:
    return DecisionRow(now, firing.loop, firing.step, subject, phase, outcome, reason, firing.key)


def _close(connection: sa.Connection, now: datetime, firing: Firing, closing: Closing) -> None:
    end = sa.update(firings).where(*held(firing))
    values: dict[str, Any] = {
        "state": closing.state,
        "due_at": None,
        "settled_at": now,
        "reason": closing.reason,
        "data": {},
    }
    connection.execute(end.values(values))
    whole = closing.state is FiringState.DONE and closing.outcome is Outcome.SCANNED
    if whole and firing.tick is not None:
        scanned = sa.update(ticks).where(ticks.c.step == firing.step, ticks.c.tick == firing.tick)
        connection.execute(scanned.values(scanned_at=now))

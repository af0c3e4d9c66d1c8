"""Firings on their way: the verbs of `ports.firings` but `record`, each in the caller's transaction."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.aliases import living
from skene.adapters.sql.arrivals import enter
from skene.adapters.sql.circumstances import Circumstances, look_up
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.posting import post
from skene.adapters.sql.tables import firings, journeys, ticks
from skene.engine.subject import storable_id
from skene.ports.firings import Firing, FiringState, NewFiring
from skene.ports.happened import goal_reached

__all__ = [
    "claim_firings",
    "emit",
    "held",
    "keep_firing",
    "last_tick",
    "open_tick",
    "pending_firings",
    "postpone_firing",
]

_FIELDS = (
    *("id", "claim", "key", "loop", "step", "subject", "data", "journey"),
    *("occurred_at", "deadline", "failures", "tick"),
)


def emit(
    connection: sa.Connection,
    now: datetime,
    subject: str,
    new: tuple[NewFiring, ...],
    goals: Mapping[str, timedelta],
    hooks: tuple[str, ...],
) -> int:
    """Record firings, each key once, and that a subject has reached the goals of loops.

    Goals are noted with firings first, then with journeys: `record` locks the firing until its journey can
    be seen. So either the firing has the goal when it is recorded, or its journey is found here.
    """
    named, subject = subject, living(connection, subject)
    if subject != named:
        new = tuple(replace(one, subject=subject) if one.subject == named else one for one in new)
    if goals:
        _reach_early(connection, now, subject, goals)
    for loop, within in sorted(goals.items()):
        reached = sa.update(journeys).where(
            journeys.c.subject == subject,
            journeys.c.loop == loop,
            journeys.c.begun_at >= now - within,
            journeys.c.goal_at.is_(None),
        )
        told = reached.values(goal_at=now).returning(journeys.c.id, journeys.c.held_out, journeys.c.shadow)
        for way in connection.execute(told).all():
            event = goal_reached(
                hooks, subject, now, journey=way.id, loop=loop, held_out=way.held_out, shadow=way.shadow
            )
            post(connection, now, event)
    return enter(connection, now, new)


def _reach_early(
    connection: sa.Connection, now: datetime, subject: str, goals: Mapping[str, timedelta]
) -> None:
    """Note the goals with firings that may yet begin a journey: of all loops before any journey is locked."""
    theirs = [
        sa.and_(firings.c.loop == loop, firings.c.occurred_at >= now - within)
        for loop, within in goals.items()
    ]
    on_their_way = (
        sa.select(firings.c.id)
        .where(
            firings.c.subject == subject,
            firings.c.due_at.is_not(None),
            firings.c.journey.is_(None),
            firings.c.tick.is_(None),
            firings.c.goal_at.is_(None),
            sa.or_(*theirs),
        )
        .order_by(firings.c.id)  # two transactions lock in one order
        .with_for_update()
    )
    ids = connection.scalars(on_their_way).all()
    if ids:
        connection.execute(sa.update(firings).where(firings.c.id.in_(ids)).values(goal_at=now))


def last_tick(connection: sa.Connection, now: datetime, step: str) -> datetime | None:
    """The latest tick that was recorded for a schedule step."""
    latest = sa.select(ticks.c.tick).where(ticks.c.step == step).order_by(ticks.c.tick.desc()).limit(1)
    tick: datetime | None = connection.scalar(latest)
    return tick


def open_tick(
    connection: sa.Connection, now: datetime, step: str, tick: datetime, firing: NewFiring | None
) -> bool:
    """Record a tick of a schedule and its firing, once, and only forward."""
    serialise(connection, "tick", step)
    latest = last_tick(connection, now, step)
    if latest is not None and tick <= latest:
        return False
    connection.execute(insert(connection, ticks).values(step=step, tick=tick, opened_at=now))
    if firing is not None:
        enter(connection, now, (firing,), tick)
    return True


def claim_firings(
    connection: sa.Connection, now: datetime, limit: int, lease: timedelta
) -> tuple[datetime, tuple[Firing, ...]]:
    """Take firings that are due, or whose lease has ended, those due longest first."""
    due = (
        sa.select(firings.c.id, firings.c.due_at)
        .where(firings.c.due_at <= now)
        .order_by(firings.c.due_at, firings.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    was_due: dict[int, datetime] = {row.id: row.due_at for row in connection.execute(due)}
    if not was_due:
        return now, ()
    take = (
        sa.update(firings)
        .where(firings.c.id.in_(was_due))
        .values(state=FiringState.CLAIMED, claim=firings.c.claim + 1, due_at=now + lease)
        .returning(*(firings.c[field] for field in _FIELDS))
    )
    rows = [_storable(connection, row) for row in connection.execute(take).mappings().all()]
    known = look_up(connection, now, rows)
    taken = [_firing(row, was_due[row["id"]], known) for row in rows]
    return now, tuple(sorted(taken, key=lambda firing: (firing.due_at, firing.id)))


def _storable(connection: sa.Connection, row: sa.RowMapping) -> sa.RowMapping | Mapping[str, Any]:
    """A row under the id that everything else knows its subject by: SQLite's triggers cannot make it."""
    subject = storable_id(row["subject"])
    if subject == row["subject"]:
        return row
    connection.execute(sa.update(firings).where(firings.c.id == row["id"]).values(subject=subject))
    return {**row, "subject": subject}


def held(firing: Firing) -> tuple[sa.ColumnElement[bool], ...]:
    """The firing, if this claim on it is the latest and it has not ended."""
    return (
        firings.c.id == firing.id,
        firings.c.key == firing.key,  # SQLite gives the id of a row that was erased to a new one
        firings.c.claim == firing.claim,
        firings.c.state == FiringState.CLAIMED,
    )


def keep_firing(connection: sa.Connection, now: datetime, firing: Firing, lease: timedelta) -> bool:
    """Hold a firing for another lease."""
    keep = sa.update(firings).where(*held(firing)).values(due_at=now + lease)
    return connection.execute(keep).rowcount > 0


def postpone_firing(
    connection: sa.Connection,
    now: datetime,
    firing: Firing,
    wait: timedelta,
    deadline: datetime | None,
    failed: bool,
    reason: str | None,
) -> bool:
    """Let go of a firing, to be looked at again."""
    values = {
        "state": FiringState.PENDING,
        "due_at": now + wait,
        "failures": firings.c.failures + int(failed),
        "reason": reason,
        **({"deadline": deadline} if deadline else {}),
    }
    return connection.execute(sa.update(firings).where(*held(firing)).values(values)).rowcount > 0


def pending_firings(connection: sa.Connection, now: datetime) -> int:
    """How many firings are on their way."""
    on_their_way = sa.select(sa.func.count()).select_from(firings).where(firings.c.due_at.is_not(None))
    return connection.execute(on_their_way).scalar_one()


def _firing(row: sa.RowMapping | Mapping[str, Any], was_due: datetime, known: Circumstances) -> Firing:
    subject = row["subject"]
    return Firing(
        **row,
        due_at=was_due,
        now=known.now,
        current_plan=known.plan(subject),
        email=known.email(subject),
        unsubscribed=subject in known.unsubscribed,
        over=known.goes_no_further(subject, row["journey"]),
    )

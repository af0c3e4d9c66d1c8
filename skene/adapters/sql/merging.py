"""Making one subject out of two: the verb of `ports.merging`, in the caller's transaction.

Tables are dealt with in the order in which other verbs lock their rows, so that nobody waits in a circle.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.accounts import standing_at
from skene.adapters.sql.aliases import living
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.outbox import post
from skene.adapters.sql.overrides import hold_in_force, in_force
from skene.adapters.sql.spells import end_spells
from skene.adapters.sql.tables import (
    conversions,
    customers,
    decisions,
    firings,
    journeys,
    outbox,
    overrides,
    recipients,
    suppressions,
    walls,
)
from skene.adapters.sql.uniting import unite_counts, unite_grants, unite_keys
from skene.adapters.sql.watching import tell
from skene.engine.merging import Billing, bring_together
from skene.ports.contacts import Suppressed
from skene.ports.counters import Draft
from skene.ports.firings import Watcher
from skene.ports.merging import ASKED_ALREADY, Merged
from skene.ports.outbox import PERHAPS_SENT, MessageState

__all__ = ["merge"]

Row = sa.RowMapping

_ON_THEIR_WAY = (MessageState.PENDING, MessageState.CLAIMED)


def merge(
    connection: sa.Connection,
    now: datetime,
    source: str,
    target: str,
    watchers: tuple[Watcher, ...],
    hooks: tuple[str, ...],
    drafts: tuple[Draft, ...],
) -> Merged:
    """Make everything of the source the target's.

    Raises:
        ValueError: the target is the source, or was merged into it.
    """
    pair = _hold_both(connection, source, target)
    target, first = pair.target, pair.first
    customer, untied, moved = _unite_accounts(connection, now, pair, watchers, hooks)
    # A firing that is being recorded is waited for, and then shows what goes on from it.
    while some := _rename(connection, firings, source, target):
        moved += some
    moved += unite_keys(connection, source, target)
    counters, latest = unite_counts(connection, now, source, target)
    moved += counters
    if first and latest > now:
        became_one = sa.update(customers).where(customers.c.subject == source)
        connection.execute(became_one.values(updated_at=latest))
    moved += unite_grants(connection, source, target, again=not first)
    moved += _unite_recipients(connection, source, target)
    _ask_once(connection, now, source, target)
    for table in (outbox, walls, journeys, conversions, decisions):
        moved += _rename(connection, table, source, target)
    moved += _unite_suppressions(connection, source, target)
    moved += _unite_overrides(connection, now, source, target)
    if first:
        post(connection, now, [replace(draft, subject=target) for draft in drafts])
    return Merged(target, moved, first, customer, untied)


@dataclass(frozen=True, slots=True)
class _Pair:
    """The two, and their rows in skene_customers. The target is whom the source will count as."""

    source: str
    target: str
    first: bool
    theirs: Row | None
    ours: Row | None


def _hold_both(connection: sa.Connection, source: str, target: str) -> _Pair:
    """Find out who is who, and let nobody else change that, or what they hold, until the transaction ends."""
    while True:
        home = living(connection, source)
        first = home == source
        into = living(connection, target) if first else home
        if source in (target, into):
            raise ValueError(f"{source!r} cannot be merged into {target!r}, which counts as it")
        pair = (
            sa.select(customers).where(customers.c.subject.in_((source, into))).order_by(customers.c.subject)
        )
        tied: Sequence[str | None] = connection.scalars(pair.with_only_columns(customers.c.customer)).all()
        for customer in sorted(filter(None, tied)):
            serialise(connection, "customer", customer)
        for subject in sorted((source, into)):
            serialise(connection, "subject", subject)
        rows = {row["subject"]: row for row in connection.execute(pair.with_for_update()).mappings()}
        theirs, ours = rows.get(source), rows.get(into)
        known = [row["customer"] for row in rows.values()]
        same = theirs["merged_into"] if theirs else None
        settled = same == (None if first else into) and (ours is None or ours["merged_into"] is None)
        if settled and set(known) <= {*tied, None}:
            return _Pair(source, into, first, theirs, ours)


def _rename(connection: sa.Connection, table: sa.Table, source: str, target: str) -> int:
    return connection.execute(
        sa.update(table).where(table.c.subject == source).values(subject=target)
    ).rowcount


def _unite_recipients(connection: sa.Connection, source: str, target: str) -> int:
    """Whom steps have acted upon: as often as both together, and last when either was."""
    acted = sa.select(recipients).where(recipients.c.subject == source).order_by(recipients.c.step)
    rows = connection.execute(acted.with_for_update()).mappings().all()
    if not rows:
        return 0
    put = insert(connection, recipients)
    ours, new = recipients.c, put.excluded
    later = new.fired_at > ours.fired_at
    seen = sa.or_(ours.seen_tick.is_(None), new.seen_tick > ours.seen_tick)
    changes: dict[str, Any] = {
        "fires": ours.fires + new.fires,
        "fired_at": sa.case((later, new.fired_at), else_=ours.fired_at),
        "firing": sa.case((later, new.firing), else_=ours.firing),
        "seen_tick": sa.case((seen, new.seen_tick), else_=ours.seen_tick),
    }
    add = put.on_conflict_do_update(index_elements=[ours.subject, ours.step], set_=changes)
    connection.execute(add, [{**row, "subject": target} for row in rows])
    return connection.execute(sa.delete(recipients).where(recipients.c.subject == source)).rowcount


def _ask_once(connection: sa.Connection, now: datetime, source: str, target: str) -> None:
    """Of the messages that ask the same person to upgrade, about running windows, let one go out."""
    asking = (
        sa.select(outbox.c.id, outbox.c.subject, outbox.c.step, outbox.c.plan, outbox.c.state, outbox.c.begun)
        .join(walls, walls.c.id == outbox.c.wall)
        .where(
            outbox.c.subject.in_((source, target)),
            outbox.c.kind == "upgrade_prompt",
            walls.c.window_end > now,
        )
        .order_by(outbox.c.id)
        .with_for_update(of=outbox)
    )
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in connection.execute(asking).mappings():
        groups.setdefault((row["step"], row["plan"]), []).append(row)
    # Walls know it for longer than messages are kept.
    prompted = sa.select(walls.c.step, walls.c.plan, walls.c.subject).where(
        walls.c.subject.in_((source, target)), walls.c.window_end > now, walls.c.prompted_at.is_not(None)
    )
    known = connection.execute(prompted).all() if groups else ()
    for name, rows in groups.items():
        before = {row.subject for row in known if (row.step, row.plan) == name}
        asked = bool(before) or any(row["state"] in PERHAPS_SENT or row["begun"] is not None for row in rows)
        unsent = [row for row in rows if row["state"] in _ON_THEIR_WAY and row["begun"] is None]
        unsent.sort(key=lambda row: row["subject"] != target)  # the target's goes out, if it has one
        gone = [row["id"] for row in (unsent if asked else unsent[1:])]
        if gone and len(before | {row["subject"] for row in rows}) > 1:
            over = {"state": MessageState.CANCELLED, "reason": ASKED_ALREADY, "due_at": None}
            end = sa.update(outbox).where(outbox.c.id.in_(gone))
            connection.execute(end.values(settled_at=now, **over))


def _unite_suppressions(connection: sa.Connection, source: str, target: str) -> int:
    kept = suppressions.c
    theirs = (kept.kind.in_(tuple(Suppressed)), kept.subject == source)  # named for the primary key
    columns = (kept.kind, sa.literal(target), kept.address, kept.at, kept.source)
    names = ["kind", "subject", "address", "at", "source"]
    move = insert(connection, suppressions).from_select(names, sa.select(*columns).where(*theirs))
    connection.execute(move.on_conflict_do_nothing())
    return connection.execute(sa.delete(suppressions).where(*theirs)).rowcount


def _unite_overrides(connection: sa.Connection, now: datetime, source: str, target: str) -> int:
    """One gives way to one of the target's that is in force on the same counter."""
    ours = sa.select(overrides.c.meter).where(overrides.c.subject == target, in_force(now))
    held = connection.scalars(ours).all()
    if held:
        theirs = (overrides.c.subject == source, in_force(now), overrides.c.meter.in_(held))
        connection.execute(sa.update(overrides).where(*theirs).values(ended_at=now))
    moved = _rename(connection, overrides, source, target)
    if moved:
        hold_in_force(connection, now, target)
    return moved


def _unite_accounts(
    connection: sa.Connection,
    now: datetime,
    pair: _Pair,
    watchers: tuple[Watcher, ...],
    hooks: tuple[str, ...],
) -> tuple[str | None, str | None, int]:
    """What billing and people have set. Returns the customer, one that lost its tie, and what has changed."""
    theirs, ours = pair.theirs, pair.ours
    source, target = _billing(theirs, now), _billing(ours, now)
    tie, plan = bring_together(target, source)
    changes: dict[str, Any] = {}
    if theirs is not None:
        if tie:
            changes |= {
                name: theirs[name] for name in ("customer", "email", "cycle", "checked_at", "features")
            }
        if plan:
            changes |= {name: theirs[name] for name in ("plan", "until", "default_plan", "paying")}
    dropped = (pair.target, ours) if plan else (pair.source, theirs)
    _end_paying(connection, now, *dropped, hooks)
    if pair.first:  # its name keeps the instant at which the two became one
        _bury(connection, now, pair)
    if changes:
        changes["updated_at"] = now
        fresh: dict[str, Any] = {"subject": pair.target, "cycle": [], "paying": False, **changes}
        put = insert(connection, customers).values(fresh)
        connection.execute(put.on_conflict_do_update(index_elements=[customers.c.subject], set_=changes))
    if plan and theirs is not None:
        before = ours["plan"] if ours is not None and ours["plan"] is not None else theirs["default_plan"]
        tell(connection, now, pair.target, before, theirs["plan"], watchers, hooks)
    untied = target.customer if tie else source.customer
    return source.customer if tie else target.customer, untied, int(bool(changes))


def _billing(row: Row | None, now: datetime) -> Billing:
    if row is None:
        return Billing()
    standing = standing_at(row, now)
    return Billing(row["customer"], standing is not None and standing.plan != row["default_plan"])


def _end_paying(
    connection: sa.Connection, now: datetime, subject: str, dropped: Row | None, hooks: tuple[str, ...]
) -> None:
    """What is not kept is not paid for any more, so that one conversion at most stays open."""
    until = dropped["until"] if dropped is not None else None
    ended = until if until is not None and until < now else now
    end_spells(connection, now, [(subject, ended)], hooks)


def _bury(connection: sa.Connection, now: datetime, pair: _Pair) -> None:
    """Leave the source's name behind, and let everything that was merged into it count as the target, too."""
    empty: dict[str, Any] = dict.fromkeys(
        ("customer", "plan", "until", "default_plan", "email", "checked_at", "features", "overrides")
    )
    values: dict[str, Any] = {
        **empty,
        "paying": False,
        "cycle": [],
        "updated_at": now,
        "merged_into": pair.target,
    }
    put = insert(connection, customers).values({"subject": pair.source, **values})
    connection.execute(put.on_conflict_do_update(index_elements=[customers.c.subject], set_=values))
    earlier = sa.update(customers).where(customers.c.merged_into == pair.source)
    connection.execute(earlier.values(merged_into=pair.target))

"""Comparisons with the billing service: the verbs of `ports.syncs`, each in the caller's transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.accounts import digest, standing_at
from skene.adapters.sql.dialect import insert, serialise
from skene.adapters.sql.outbox import post
from skene.adapters.sql.tables import customers, forgotten, subscriptions, syncs, webhook_events
from skene.engine.comparing import Verdict, compare
from skene.ports.counters import Draft
from skene.ports.syncs import Compared, SyncRun

__all__ = [
    "claim_sync",
    "compare_subscriptions",
    "end_sync",
    "keep_sync",
    "record_events",
    "save_sync",
    "unknown_events",
    "unverified_customers",
    "verified_customers",
]

_NAME = "billing"
_HELD = [customers.c[name].label(f"held_{name}") for name in ("plan", "until", "paying", "default_plan")]


def claim_sync(
    connection: sa.Connection,
    now: datetime,
    stage: str,
    lease: timedelta,
    lasts: timedelta,
    every: timedelta | None,
) -> SyncRun | None:
    """Go on with the run that has not ended, or begin one."""
    serialise(connection, "sync", _NAME)
    kept = connection.execute(sa.select(syncs).where(syncs.c.name == _NAME)).mappings().one_or_none()
    if kept is None:
        first: dict[str, Any] = {"name": _NAME, "stage": stage, "started_at": now, "claim": 0, "counts": {}}
        if every is not None:
            connection.execute(sa.insert(syncs).values(finished_at=now, **first))
            return None
        connection.execute(sa.insert(syncs).values(**{**first, "claim": 1}, lease_until=now + lease))
        return SyncRun(1, now, stage)
    if kept["lease_until"] is not None and kept["lease_until"] > now:
        return None
    age, claim = now - kept["started_at"], kept["claim"] + 1
    if kept["finished_at"] is None and age <= lasts:
        run = SyncRun(claim, kept["started_at"], kept["stage"], kept["cursor"], kept["counts"])
    elif every is not None and kept["finished_at"] is not None and age < every:
        return None
    else:
        run = SyncRun(claim, now, stage)
    values = {**_state(run), "claim": claim, "started_at": run.started_at, "finished_at": None}
    mine = sa.update(syncs).where(syncs.c.name == _NAME)
    connection.execute(mine.values(lease_until=now + lease, **values))
    return run


def keep_sync(connection: sa.Connection, now: datetime, run: SyncRun, lease: timedelta) -> bool:
    """Hold a run for another lease."""
    return connection.execute(_mine(run).values(lease_until=now + lease)).rowcount == 1


def save_sync(connection: sa.Connection, now: datetime, run: SyncRun, lease: timedelta) -> bool:
    """Write down how far a run has come, and hold it."""
    return connection.execute(_mine(run).values(lease_until=now + lease, **_state(run))).rowcount == 1


def end_sync(
    connection: sa.Connection, now: datetime, run: SyncRun, finished: bool, drafts: tuple[Draft, ...]
) -> bool:
    """Give a run back, or say that it is finished."""
    values: dict[str, Any] = {"finished_at": now, **_state(run)} if finished else {}
    ended = connection.execute(_mine(run).values(lease_until=None, **values)).rowcount == 1
    if ended:
        post(connection, now, drafts)
    return ended


def _mine(run: SyncRun) -> sa.Update:
    return sa.update(syncs).where(
        syncs.c.name == _NAME, syncs.c.claim == run.claim, syncs.c.finished_at.is_(None)
    )


def _state(run: SyncRun) -> dict[str, Any]:
    return {"stage": run.stage, "cursor": run.cursor, "counts": dict(run.counts)}


def compare_subscriptions(
    connection: sa.Connection, now: datetime, listed: Mapping[str, Sequence[Mapping[str, Any]]], mark: bool
) -> tuple[Compared, ...]:
    """Compare what is kept of some customers with what was listed of them."""
    digests = {digest(customer): customer for customer in listed}
    gone = sa.select(forgotten.c.digest).where(forgotten.c.digest.in_(digests))
    blocked = {digests[one] for one in connection.scalars(gone)}
    both = subscriptions.outerjoin(customers, customers.c.customer == subscriptions.c.customer)
    rows = {
        row["customer"]: row
        for row in connection.execute(
            sa.select(subscriptions, customers.c.subject, *_HELD)
            .select_from(both)
            .where(subscriptions.c.customer.in_(list(listed)))
        ).mappings()
    }
    tied = sa.select(customers.c.customer, customers.c.subject).where(
        customers.c.customer.in_([one for one in listed if one not in rows])
    )
    subjects = {row.customer: row.subject for row in connection.execute(tied)}
    found = [
        Compared(customer, None, None, Verdict.FORGOTTEN)
        if customer in blocked
        else _compared(rows[customer], said, now)
        if customer in rows
        else Compared(customer, subjects.get(customer), None, Verdict.DIFFERS)
        for customer, said in listed.items()
    ]
    equal = [one.customer for one in found if one.verdict is Verdict.EQUAL]
    if mark and equal:
        verified = sa.update(subscriptions).where(subscriptions.c.customer.in_(equal))
        connection.execute(verified.values(verified_at=now))
    return tuple(found)


def _compared(row: sa.RowMapping, listed: Sequence[Mapping[str, Any]], now: datetime) -> Compared:
    """One customer. A row without a plan is one that was never fetched to the end."""
    said = standing_at(row, now)
    held = standing_at(_held(row), now) if row["subject"] is not None else said
    same = (
        said is not None
        and held is not None
        and (said.plan, said.until, said.paying) == (held.plan, held.until, held.paying)
    )
    verdict = compare(row["subscriptions"], listed) if same else Verdict.DIFFERS
    return Compared(row["customer"], row["subject"], held.plan if held else None, verdict)


def _held(row: sa.RowMapping) -> Any:
    return {name: row[f"held_{name}"] for name in ("plan", "until", "paying", "default_plan")}


def unverified_customers(
    connection: sa.Connection, now: datetime, before: datetime, after: str | None, limit: int
) -> tuple[Compared, ...]:
    """Customers who give a plan besides the default, or whose subject holds one, not verified lately."""
    held = sa.and_(customers.c.plan.is_not(None), customers.c.plan != customers.c.default_plan)
    gives = sa.and_(subscriptions.c.plan.is_not(None), subscriptions.c.plan != subscriptions.c.default_plan)
    old = sa.or_(subscriptions.c.verified_at.is_(None), subscriptions.c.verified_at < before)
    known = subscriptions.outerjoin(customers, customers.c.customer == subscriptions.c.customer)
    never = customers.outerjoin(subscriptions, customers.c.customer == subscriptions.c.customer)
    columns = (customers.c.subject, customers.c.plan, customers.c.until, customers.c.default_plan)
    held_paying = customers.c.paying
    parts = [
        sa.select(subscriptions.c.customer, *columns, held_paying)
        .select_from(known)
        .where(old, sa.or_(gives, held), subscriptions.c.customer > (after or "")),
        sa.select(customers.c.customer, *columns, held_paying)
        .select_from(never)
        .where(subscriptions.c.customer.is_(None), held, customers.c.customer > (after or "")),
    ]
    rows = [
        row
        for part in parts
        for row in connection.execute(part.order_by(part.selected_columns[0]).limit(limit)).mappings()
    ]
    found: list[Compared] = []
    for row in sorted(rows, key=lambda row: str(row["customer"]))[:limit]:
        standing = standing_at(row, now) if row["subject"] is not None else None
        plan = standing.plan if standing else None
        found.append(Compared(row["customer"], row["subject"], plan, Verdict.PARTLY))
    return tuple(found)


def verified_customers(
    connection: sa.Connection, now: datetime, names: tuple[str, ...], since: datetime
) -> dict[str, str | None]:
    """Those of some customers that were verified at an instant or later, and who is tied to each."""
    both = subscriptions.outerjoin(customers, customers.c.customer == subscriptions.c.customer)
    rows = connection.execute(
        sa.select(subscriptions.c.customer, customers.c.subject)
        .select_from(both)
        .where(subscriptions.c.customer.in_(names), subscriptions.c.verified_at >= since)
    )
    return {row.customer: row.subject for row in rows}


def unknown_events(connection: sa.Connection, now: datetime, events: tuple[str, ...]) -> frozenset[str]:
    """Those of some webhooks' ids that were never recorded."""
    known = sa.select(webhook_events.c.event).where(webhook_events.c.event.in_(events))
    return frozenset(events) - frozenset(connection.scalars(known))


def record_events(connection: sa.Connection, now: datetime, events: Mapping[str, str]) -> None:
    """Remember webhooks that need no fetch."""
    rows = [{"event": event, "type": kind, "received_at": now} for event, kind in events.items()]
    if rows:
        connection.execute(insert(connection, webhook_events).on_conflict_do_nothing(), rows)

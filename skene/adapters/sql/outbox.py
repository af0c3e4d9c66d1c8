"""Messages on their way: the verbs of `ports.outbox`, each in the caller's transaction."""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from skene.adapters.sql.accounts import standing_at
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import customers, outbox, walls
from skene.ports.counters import Draft
from skene.ports.notifier import Body
from skene.ports.outbox import Claimed, MessageState, Outcome

__all__ = ["begin_attempt", "claim", "messages", "outbox_counts", "post", "settle"]

_FIELDS = (
    *("key", "kind", "loop", "step", "subject", "plan"),
    *("channel", "template", "wall", "cancel_on_upgrade"),
)


def post(connection: sa.Connection, now: datetime, drafts: Iterable[Draft]) -> None:
    """Put messages into the outbox, each key once."""
    for draft in drafts:
        values = {field: getattr(draft, field) for field in _FIELDS}
        fresh = {"state": MessageState.PENDING, "due_at": now, "claim": 0, "failures": 0, "created_at": now}
        row = insert(connection, outbox).values(data=draft.data, **fresh, **values)
        connection.execute(row.on_conflict_do_nothing())


def claim(connection: sa.Connection, now: datetime, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
    """Take messages that are due, or whose lease has ended, oldest first."""
    due = (
        sa.select(outbox.c.id)
        .where(outbox.c.due_at <= now)
        .order_by(outbox.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
        .cte("due")
        .prefix_with("MATERIALIZED", dialect="postgresql")  # or the planner may run it again for every row
    )
    take = (
        sa.update(outbox)
        .where(outbox.c.id.in_(sa.select(due.c.id)))
        .values(state=MessageState.CLAIMED, claim=outbox.c.claim + 1, due_at=now + lease)
        .returning(outbox)
    )
    rows = sorted(connection.execute(take).mappings(), key=lambda row: row["id"])
    if not rows:
        return ()
    subjects = sa.select(customers).where(customers.c.subject.in_({row["subject"] for row in rows}))
    holders = {row["subject"]: row for row in connection.execute(subjects).mappings()}
    return tuple(_claimed(row, holders.get(row["subject"]), now) for row in rows)


def begin_attempt(connection: sa.Connection, now: datetime, claimed: Claimed, body: Body) -> bool:
    """Record that an attempt begins and freeze the body."""
    first, frozen = outbox.c.first_attempt_at, outbox.c.body
    begin = (
        sa.update(outbox)
        .where(*_held(claimed), outbox.c.due_at > now)
        .values(
            begun=claimed.claim,
            first_attempt_at=sa.func.coalesce(first, sa.literal(now, first.type)),
            body=sa.func.coalesce(frozen, sa.literal(body, frozen.type)),
        )
    )
    return connection.execute(begin).rowcount > 0


def settle(connection: sa.Connection, now: datetime, claimed: Claimed, outcome: Outcome) -> bool:
    """Record how it ended."""
    again = outcome.state is MessageState.PENDING
    end = (
        sa.update(outbox)
        .where(*_held(claimed))
        .values(
            state=outcome.state,
            reason=outcome.reason,
            provider_id=outcome.provider_id,
            failures=outbox.c.failures + int(outcome.failed),
            begun=sa.func.nullif(outbox.c.begun, claimed.claim),
            due_at=now + outcome.delay if again else None,
            settled_at=None if again else now,
        )
        .returning(outbox.c.wall)
    )
    row = connection.execute(end).one_or_none()
    if row is not None and row.wall is not None and outcome.state is MessageState.SENT:
        prompted = sa.update(walls).where(walls.c.id == row.wall, walls.c.prompted_at.is_(None))
        connection.execute(prompted.values(prompted_at=now))
    return row is not None


def messages(
    connection: sa.Connection, now: datetime, subject: str | None
) -> tuple[tuple[Draft, MessageState, str | None], ...]:
    """All messages, oldest first."""
    chosen = sa.select(outbox).order_by(outbox.c.id)
    if subject is not None:
        chosen = chosen.where(outbox.c.subject == subject)
    rows = connection.execute(chosen).mappings()
    return tuple((_draft(row), MessageState(row["state"]), row["reason"]) for row in rows)


def outbox_counts(connection: sa.Connection, now: datetime) -> Mapping[MessageState, int]:
    """How many messages are in each state."""
    counts = sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)
    return {MessageState(state): count for state, count in connection.execute(counts)}


def _held(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    """The message, if this claim on it is the latest and not settled."""
    return (
        outbox.c.id == claimed.id,
        outbox.c.claim == claimed.claim,
        outbox.c.state == MessageState.CLAIMED,
    )


def _draft(row: sa.RowMapping) -> Draft:
    return Draft(data=row["data"], **{field: row[field] for field in _FIELDS})


def _claimed(row: sa.RowMapping, holder: sa.RowMapping | None, now: datetime) -> Claimed:
    standing = standing_at(holder, now)
    return Claimed(
        id=row["id"],
        claim=row["claim"],
        draft=_draft(row),
        failures=row["failures"],
        body=row["body"],
        first_attempt_at=row["first_attempt_at"],
        unsettled=row["begun"] is not None,
        now=now,
        current_plan=standing.plan if standing else None,
        email=holder["email"] if holder else None,
    )

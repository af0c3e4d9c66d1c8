"""Messages on their way: claiming and settling them, each in the caller's transaction."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import sqlalchemy as sa

from skene.adapters.sql.circumstances import Circumstances, look_up
from skene.adapters.sql.paces import hold_channel
from skene.adapters.sql.posting import FIELDS, post
from skene.adapters.sql.tables import journeys, outbox, walls
from skene.ports.counters import Draft
from skene.ports.outbox import Claimed, MessageState, Outcome

__all__ = ["claim", "draft_of", "held", "messages", "outbox_counts", "post", "settle"]


def claim(connection: sa.Connection, now: datetime, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
    """Take messages that are due, or whose lease has ended: marketing last, then those due longest first."""
    due = (
        sa.select(outbox.c.id, outbox.c.marketing)
        .where(outbox.c.due_at <= now)
        .order_by(outbox.c.due_at, outbox.c.id)  # as the index has them, however many there are
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = connection.execute(due).all()
    if not found:
        return ()
    ids = [row.id for row in found]
    if len(found) == limit and any(row.marketing for row in found):
        # Behind a campaign there may be somebody who waits for an answer.
        first = list(connection.scalars(due.with_only_columns(outbox.c.id).where(~outbox.c.marketing)))
        ids = list(dict.fromkeys([*first, *ids]))[:limit]
    take = (
        sa.update(outbox)
        .where(outbox.c.id.in_(ids))
        .values(state=MessageState.CLAIMED, claim=outbox.c.claim + 1, due_at=now + lease)
        .returning(outbox)
    )
    taken = connection.execute(take).mappings()
    rows = sorted(taken, key=lambda row: row["id"])
    known = look_up(connection, now, rows)
    return tuple(_claimed(row, known) for row in rows)


def settle(connection: sa.Connection, now: datetime, claimed: Claimed, outcome: Outcome) -> bool:
    """Record how it ended."""
    again = outcome.state is MessageState.PENDING
    end = (
        sa.update(outbox)
        .where(*held(claimed))
        .values(
            state=outcome.state,
            reason=outcome.reason,
            provider_id=outcome.provider_id,
            failures=outbox.c.failures + int(outcome.failed),
            begun=sa.func.nullif(outbox.c.begun, claimed.claim),
            due_at=now + outcome.delay if again else None,
            settled_at=None if again else now,
        )
        .returning(outbox.c.wall, outbox.c.journey, outbox.c.channel)
    )
    row = connection.execute(end).one_or_none()
    if row is None:
        return False
    if outcome.state is MessageState.SENT:
        for table, asked in ((walls, row.wall), (journeys, row.journey)):
            if asked is not None:
                prompted = sa.update(table).where(table.c.id == asked, table.c.prompted_at.is_(None))
                connection.execute(prompted.values(prompted_at=now))
    post(connection, now, outcome.drafts)
    if outcome.hold > timedelta(0):
        hold_channel(connection, now, row.channel, outcome.hold)
    return True


def messages(
    connection: sa.Connection, now: datetime, subject: str | None
) -> tuple[tuple[Draft, MessageState, str | None], ...]:
    """All messages, oldest first."""
    chosen = sa.select(outbox).order_by(outbox.c.id)
    if subject is not None:
        chosen = chosen.where(outbox.c.subject == subject)
    rows = connection.execute(chosen).mappings()
    return tuple((draft_of(row), MessageState(row["state"]), row["reason"]) for row in rows)


def outbox_counts(connection: sa.Connection, now: datetime) -> Mapping[MessageState, int]:
    """How many messages are in each state."""
    counts = sa.select(outbox.c.state, sa.func.count()).group_by(outbox.c.state)
    return {MessageState(state): count for state, count in connection.execute(counts)}


def held(claimed: Claimed) -> tuple[sa.ColumnElement[bool], ...]:
    """The message, if this claim on it is the latest and not settled."""
    return (
        outbox.c.id == claimed.id,
        outbox.c.key == claimed.draft.key,  # SQLite gives the id of a row that was erased to a new one
        outbox.c.claim == claimed.claim,
        outbox.c.state == MessageState.CLAIMED,
    )


def draft_of(row: sa.RowMapping) -> Draft:
    """The message as it was written."""
    return Draft(**{field: row[field] for field in FIELDS})


def _claimed(row: sa.RowMapping, known: Circumstances) -> Claimed:
    subject = row["subject"]
    return Claimed(
        id=row["id"],
        claim=row["claim"],
        draft=draft_of(row),
        failures=row["failures"],
        body=row["body"],
        first_attempt_at=row["first_attempt_at"],
        unsettled=row["begun"] is not None,
        now=known.now,
        current_plan=known.plan(subject),
        email=known.email(subject),
        over=known.over(subject, row["journey"], marketing=row["marketing"]),
    )

"""Messages for people: looking at them, and deciding about those that are stuck."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.sql.outbox import draft_of
from skene.adapters.sql.tables import journeys, outbox
from skene.ports.notifier import Body
from skene.ports.outbox import MessageRow, MessageState

__all__ = ["discard_message", "mark_report", "outbox_row", "outbox_rows", "retry_message"]


def outbox_rows(
    connection: sa.Connection,
    now: datetime,
    states: tuple[MessageState, ...],
    loop: str | None,
    subject: str | None,
    limit: int,
) -> tuple[MessageRow, ...]:
    """Messages, latest first."""
    chosen = sa.select(outbox).order_by(outbox.c.id.desc()).limit(limit)
    if states:
        chosen = chosen.where(outbox.c.state.in_(states))
    if loop is not None:
        chosen = chosen.where(outbox.c.loop == loop)
    if subject is not None:
        chosen = chosen.where(outbox.c.subject == subject)
    return tuple(_message(row) for row in connection.execute(chosen).mappings())


def outbox_row(
    connection: sa.Connection, now: datetime, message: int
) -> tuple[MessageRow, Body | None] | None:
    """One message and its frozen body."""
    rows = connection.execute(sa.select(outbox).where(outbox.c.id == message)).mappings()
    row = rows.one_or_none()
    return None if row is None else (_message(row), row["body"])


def retry_message(connection: sa.Connection, now: datetime, message: int) -> bool:
    """Make a message due at once, afresh, with the same key and body."""
    return _decide(
        connection,
        now,
        message,
        {
            "state": MessageState.PENDING,
            "due_at": now,
            "failures": 0,
            "begun": None,
            "first_attempt_at": None,
            "reason": None,
            "settled_at": None,
        },
    )


def discard_message(connection: sa.Connection, now: datetime, message: int, reason: str) -> bool:
    """Settle a message as cancelled."""
    cancelled = {"state": MessageState.CANCELLED, "due_at": None, "reason": reason, "begun": None}
    return _decide(connection, now, message, {**cancelled, "settled_at": now})


def mark_report(connection: sa.Connection, now: datetime, provider_id: str, kind: str) -> bool:
    """Note what became of a sent message, as its provider reports."""
    known = sa.select(outbox.c.journey).where(outbox.c.provider_id == provider_id)
    rows = connection.execute(known).all()
    if kind == "clicked":
        ids = sorted({row.journey for row in rows if row.journey is not None})
        clicked = sa.update(journeys).where(journeys.c.id.in_(ids), journeys.c.clicked_at.is_(None))
        if ids:
            connection.execute(clicked.values(clicked_at=now))
    return bool(rows)


def _decide(connection: sa.Connection, now: datetime, message: int, values: dict[str, Any]) -> bool:
    """Change a message that is not sent, and in nobody's hands: those of a worker, until the lease ends."""
    in_hand = sa.and_(outbox.c.state == MessageState.CLAIMED, outbox.c.due_at > now)
    idle = (outbox.c.state != MessageState.SENT, sa.not_(in_hand))
    decided = sa.update(outbox).where(outbox.c.id == message, *idle)
    return connection.execute(decided.values(values)).rowcount > 0


def _message(row: sa.RowMapping) -> MessageRow:
    return MessageRow(
        id=row["id"],
        draft=draft_of(row),
        state=MessageState(row["state"]),
        reason=row["reason"],
        failures=row["failures"],
        due_at=row["due_at"],
        created_at=row["created_at"],
        settled_at=row["settled_at"],
        provider_id=row["provider_id"],
    )

"""What a message must pass before it leaves: in one transaction with the record that an attempt begins."""

from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa

from skene.adapters.sql.dialect import serialise
from skene.adapters.sql.outbox import held
from skene.adapters.sql.paces import take_turn, wait_for
from skene.adapters.sql.tables import outbox, suppressions
from skene.engine.cap import cap_wait, counts_until
from skene.ports.contacts import REASONS, Suppressed
from skene.ports.notifier import Body
from skene.ports.outbox import PERHAPS_SENT, Attempt, Begun, Claimed, Later, Never, Rules

__all__ = ["begin_attempt"]

_OF_ADDRESSES = (Suppressed.BOUNCED, Suppressed.COMPLAINED)


def begin_attempt(
    connection: sa.Connection, now: datetime, claimed: Claimed, body: Body, rules: Rules
) -> Attempt:
    """Record that an attempt begins and freeze the body, unless it may not, or not yet."""
    ours = sa.select(outbox.c.subject).where(*held(claimed), outbox.c.due_at > now).with_for_update()
    subject: str | None = connection.scalar(ours)
    if subject is None:
        return None
    # Whom it is about may have been merged into somebody since the message was claimed.
    draft = replace(claimed.draft, subject=subject)
    claimed = replace(claimed, draft=draft)
    reason = _suppressed(connection, draft.subject if draft.marketing else None, rules.address)
    if reason is not None:
        return Never(reason)
    if draft.marketing and rules.cap is not None:
        delay = _capped(connection, now, claimed, *rules.cap)
        if delay is not None:
            return Later(delay, capped=True)
    if rules.pace is None:
        wait = wait_for(connection, now, draft.channel)
    else:
        wait = take_turn(connection, now, draft.channel, rules.pace, rules.patience)
    if wait > rules.patience:
        return Later(wait)
    first, frozen = outbox.c.first_attempt_at, outbox.c.body
    begin = (
        sa.update(outbox)
        .where(outbox.c.id == claimed.id)
        .values(
            begun=claimed.claim,
            first_attempt_at=sa.func.coalesce(first, sa.literal(now, first.type)),
            body=sa.func.coalesce(frozen, sa.literal(body, frozen.type)),
        )
    )
    connection.execute(begin)
    return Begun(wait)


def _suppressed(connection: sa.Connection, subject: str | None, address: str | None) -> str | None:
    """Why nothing may be sent to the address, or no marketing mail to the subject."""
    table = suppressions.c
    about: list[sa.ColumnElement[bool]] = []
    if subject is not None:
        about.append(sa.and_(table.kind == Suppressed.UNSUBSCRIBED, table.subject == subject))
    if address is not None:
        about.append(sa.and_(table.kind.in_(_OF_ADDRESSES), table.subject == "", table.address == address))
    if not about:
        return None
    known = set(connection.scalars(sa.select(table.kind).where(sa.or_(*about))))
    return next((REASONS[kind] for kind in REASONS if kind in known), None)


def _capped(
    connection: sa.Connection, now: datetime, claimed: Claimed, most: int, within: timedelta
) -> timedelta | None:
    """How long until the subject may get one more marketing message; None: now."""
    serialise(connection, "cap", claimed.draft.subject)
    table = outbox.c
    unknown = sa.and_(table.begun.is_not(None), table.settled_at.is_(None))
    counting = sa.select(table.settled_at).where(
        table.marketing,
        table.subject == claimed.draft.subject,
        table.id != claimed.id,
        sa.or_(sa.and_(table.state.in_(PERHAPS_SENT), table.settled_at > now - within), unknown),
    )
    ends = (counts_until(settled, within, now) for settled in connection.scalars(counting))
    return cap_wait(ends, most, within, now)

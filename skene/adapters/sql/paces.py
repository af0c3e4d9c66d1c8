"""Whose turn it is on a channel, over all workers: one row for each channel that was ever held back."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import paces

__all__ = ["hold_channel", "take_turn", "wait_for"]


def wait_for(connection: sa.Connection, now: datetime, channel: str) -> timedelta:
    """How long nobody may send through a channel, from now."""
    free = sa.select(paces.c.next_at).where(paces.c.channel == channel)
    return max(timedelta(0), (connection.scalar(free) or now) - now)


def take_turn(
    connection: sa.Connection, now: datetime, channel: str, pace: timedelta, patience: timedelta
) -> timedelta:
    """Take the channel's next turn and tell how far away it is; none is taken when that is too far."""
    free = _lock(connection, now, channel)
    wait = max(timedelta(0), free - now)
    if wait <= patience:
        _move(connection, channel, max(free, now) + pace)
    return wait


def hold_channel(connection: sa.Connection, now: datetime, channel: str, hold: timedelta) -> None:
    """Let nobody send through a channel for a time."""
    free = _lock(connection, now, channel)
    if now + hold > free:
        _move(connection, channel, now + hold)


def _lock(connection: sa.Connection, now: datetime, channel: str) -> datetime:
    """When the channel is free; nobody else changes that before this transaction ends."""
    free = sa.select(paces.c.next_at).where(paces.c.channel == channel).with_for_update()
    known: datetime | None = connection.scalar(free)
    if known is not None:
        return known
    fresh = insert(connection, paces).values(channel=channel, next_at=now).on_conflict_do_nothing()
    connection.execute(fresh)
    made: datetime = connection.execute(free).scalar_one()
    return made


def _move(connection: sa.Connection, channel: str, to: datetime) -> None:
    connection.execute(sa.update(paces).where(paces.c.channel == channel).values(next_at=to))

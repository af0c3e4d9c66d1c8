"""Firings as they arrive: written once for each key, by whichever verb set them off."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import firings
from skene.ports.firings import FiringState, NewFiring

__all__ = ["enter"]


def enter(
    connection: sa.Connection, now: datetime, new: Iterable[NewFiring], tick: datetime | None = None
) -> int:
    """Record firings, each key once. Returns how many were new."""
    rows = [
        {
            "key": firing.key,
            "loop": firing.loop,
            "step": firing.step,
            "subject": firing.subject,
            "data": dict(firing.data),
            "journey": firing.journey,
            "tick": tick,
            "occurred_at": now,
            "due_at": now + firing.after,
            "state": FiringState.PENDING,
            "claim": 0,
            "failures": 0,
        }
        for firing in sorted(new, key=lambda firing: firing.key)  # two transactions lock in one order
    ]
    if not rows:
        return 0
    put = insert(connection, firings).on_conflict_do_nothing().returning(firings.c.id)
    return len(connection.execute(put, rows).all())

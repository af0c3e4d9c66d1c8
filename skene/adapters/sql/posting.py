"""Writing messages, by whichever verb decided upon them, in its transaction."""

from collections.abc import Iterable
from datetime import datetime

import sqlalchemy as sa

from skene.adapters.sql.dialect import insert
from skene.adapters.sql.tables import outbox
from skene.ports.counters import Draft
from skene.ports.outbox import MessageState

__all__ = ["FIELDS", "post"]

FIELDS = (
    *("key", "kind", "loop", "step", "subject", "plan", "channel", "template"),
    *("data", "wall", "cancel_on_upgrade", "journey", "marketing"),
)


def post(connection: sa.Connection, now: datetime, drafts: Iterable[Draft]) -> None:
    """Put messages into the outbox, each key once."""
    fresh = {"state": MessageState.PENDING, "due_at": now, "claim": 0, "failures": 0, "created_at": now}
    rows = [{**{field: getattr(draft, field) for field in FIELDS}, **fresh} for draft in drafts]
    if rows:
        connection.execute(insert(connection, outbox).on_conflict_do_nothing(), rows)

"""Making one subject another one's, as far as counting sees it."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import Holder
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.dialect import insert
from skene.adapters.sql.storage import SqlStorage
from skene.adapters.sql.tables import customers
from skene.adapters.sqlite import SqliteStorage

__all__ = ["Store", "merge"]

Store = MemoryStorage | SqliteStorage | PostgresStorage


async def merge(storage: Store, source: str, target: str) -> None:
    """From now on `source` is `target`. What it had used is not moved."""
    if isinstance(storage, SqlStorage):

        def write(connection: sa.Connection, now: datetime) -> None:
            row: dict[str, Any] = {
                "subject": source,
                "merged_into": target,
                "paying": False,
                "cycle": [],
                "updated_at": now,
            }
            mark = insert(connection, customers).values(row)
            connection.execute(mark.on_conflict_do_update(index_elements=[customers.c.subject], set_=row))

        await storage._write(write)  # pyright: ignore[reportPrivateUsage] - no verb does only this
    else:
        state = storage._state  # pyright: ignore[reportPrivateUsage] - no verb does only this
        state.holders[source] = Holder(merged_into=target, merged_at=state.clock.now())

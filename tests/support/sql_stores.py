"""SQL storages over the same data, and what they send to it."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import event

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.tables import METADATA
from skene.adapters.sqlite import SqliteStorage
from skene.ports.clock import Clock
from skene.ports.counters import Draft
from skene.ports.firings import Entry, Firing, Journey, Outcome
from skene.testing.clock import ManualClock
from skene.testing.conformance.happening import DAY, fired, mail, open_tick, take_firing
from tests.support.sqlite_files import prepared

__all__ = ["PATIENT", "STEP", "Opener", "Sql", "Statements", "counts", "open_sql", "tick", "whole"]

PATIENT = timedelta(seconds=20)
"""What is counted does not depend on how busy the machine is; test_postgres_faults.py is about time."""
STEP = "digest.0"
Sql = PostgresStorage | SqliteStorage
Opener = Callable[[], Awaitable[Sql]]
"""Opens one more storage over the same data and on the same clock."""


async def open_sql(where: str, clock: Clock) -> Sql:
    """A started storage, by the address of its database or the path of its file."""
    storage: Sql
    if "://" in where:
        storage = PostgresStorage(where, clock=clock, timeout=PATIENT)
    else:
        storage = SqliteStorage(prepared(Path(where)), clock=clock)
    await storage.start()
    return storage


async def counts(storage: Sql) -> dict[str, int]:
    """How many rows there are of what `record` writes."""

    def count(connection: sa.Connection, now: object) -> dict[str, int]:
        names = ("outbox", "firings", "journeys", "recipients", "decisions")
        tables = {name: METADATA.tables[f"skene_{name}"] for name in names}
        number = sa.func.count()
        return {
            name: connection.execute(sa.select(number).select_from(table)).scalar_one()
            for name, table in tables.items()
        }

    return await storage._read(count)  # pyright: ignore[reportPrivateUsage] - no verb counts rows


async def tick(storage: Sql, clock: ManualClock) -> Firing:
    """The next day's tick, claimed."""
    await open_tick(storage, clock.advance(DAY), STEP)
    return await take_firing(storage)


def whole(subject: str, key: str) -> Entry:
    """Everything that can follow from a firing."""
    name = f"{key}:{subject}"
    drafts: tuple[Draft, ...] = (
        mail(f"email:{name}", subject=subject, journey=f"j:{name}"),
        mail(f"crm:{name}", subject=subject, marketing=False),
    )
    following = (fired(f"next:{name}", subject=subject, after=DAY, journey=f"j:{name}"),)
    return Entry(
        subject, Outcome.ACTED, drafts, following, Journey(f"j:{name}", "digest", subject, within=7 * DAY)
    )


class Statements:
    """What a verb sends to the database; a statement with many rows of values is one."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.sent: list[tuple[str, Any]] = []
        execute = sa.Connection.execute

        def watched(connection: sa.Connection, *args: Any, **kwargs: Any) -> Any:
            if not event.contains(connection, "before_cursor_execute", self.note):
                event.listen(connection, "before_cursor_execute", self.note)
            return execute(connection, *args, **kwargs)

        patch.setattr(sa.Connection, "execute", watched)

    def note(self, connection: object, cursor: object, statement: str, parameters: Any, *_: object) -> None:
        """Remember one."""
        self.sent.append((statement, parameters))

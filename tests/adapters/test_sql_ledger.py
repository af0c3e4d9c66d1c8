"""Conversions in SQL: what a migration can still tell of earlier ones, and reports that take their time."""

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.runtime.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.migrations import statements
from skene.adapters.sql.tables import conversions, customers
from skene.adapters.sqlite import SqliteStorage
from skene.testing.clock import ManualClock

pytestmark = pytest.mark.anyio

BEGAN = ManualClock().now() - timedelta(days=300)
DAY = timedelta(days=1)


def tell_again(connection: sa.Connection) -> dict[tuple[str, datetime], Any]:
    """Rows as the release before wrote them, and what the migration makes of them."""
    for subject, paying, until in (
        ("pays", True, None),
        ("left", False, None),
        ("ended", True, BEGAN + 5 * DAY),
        ("back", True, None),
    ):
        row = {"paying": paying, "until": until, "cycle": [], "updated_at": BEGAN + 9 * DAY}
        connection.execute(sa.insert(customers).values(subject=subject, plan="paid", **row))
    for subject, day in (("pays", 0), ("left", 0), ("ended", 0), ("back", 0), ("back", 3), ("", 0), ("", 1)):
        begun = BEGAN + day * DAY
        connection.execute(sa.insert(conversions).values(subject=subject, plan="paid", converted_at=begun))
    (update,) = [
        one
        for one in statements(MigrationContext.configure(connection), "0004_truth")
        if one.startswith("UPDATE") and "skene_conversions" in one
    ]
    connection.exec_driver_sql(update)
    rows = connection.execute(sa.select(conversions)).mappings()
    return {(row["subject"], row["converted_at"]): (row["again"], row["ended_at"]) for row in rows}


def check(told: dict[tuple[str, datetime], Any]) -> None:
    assert told == {
        ("pays", BEGAN): (False, None),
        ("left", BEGAN): (False, BEGAN + 9 * DAY),
        ("ended", BEGAN): (False, BEGAN + 5 * DAY),
        ("back", BEGAN): (False, BEGAN + 3 * DAY),
        ("back", BEGAN + 3 * DAY): (True, None),
        ("", BEGAN): (False, None),
        ("", BEGAN + DAY): (False, None),
    }


async def test_sqlite_tells_what_it_can_of_earlier_conversions(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "skene.db")
    await storage.start()
    await storage.aclose()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/skene.db")
    with engine.begin() as connection:
        check(tell_again(connection))
    engine.dispose()


async def test_postgres_tells_what_it_can_of_earlier_conversions(postgres: str) -> None:
    engine = create_async_engine(postgres.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.begin() as connection:
        check(await connection.run_sync(tell_again))
    await engine.dispose()


async def test_a_report_may_take_longer_than_a_request(postgres: str) -> None:
    def slowly(connection: sa.Connection, now: datetime) -> int:
        return connection.execute(sa.text("SELECT 1 FROM pg_sleep(0.6)")).scalar_one()

    storage = PostgresStorage(postgres, timeout=timedelta(seconds=0.5))
    await storage.start()
    assert await storage._report(slowly) == 1
    with pytest.raises(Exception, match="statement timeout"):
        await storage._read(slowly)
    await storage.aclose()

"""Bills while a release is rolled out: processes of the one before count on, and know nothing of bills."""

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage, counting
from skene.adapters.sqlite import SqliteStorage
from skene.ports.counters import Consume, Counted
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import apply
from skene.testing.conformance.billed import billed_call, billing, reports
from tests.support.sql_stores import PATIENT
from tests.support.sqlite_files import connected

pytestmark = pytest.mark.anyio

Windows = list[tuple[datetime, int]]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def storage(postgres: str, clock: ManualClock) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(postgres, clock=clock, timeout=PATIENT)
    await storage.start()
    await apply(storage)
    yield storage
    await storage.aclose()


class Before:
    """A process of the release before: it calls the functions of version 0003."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", clock: ManualClock) -> None:
        self.connection, self.clock = connection, clock

    async def consume(self, asked: Consume) -> None:
        query = "SELECT * FROM skene_consume_v2($1, $2, $3::text::jsonb, $4, $5, $6, $7)"
        arguments = counting.consume_arguments(asked, counting.Shapes(), self.clock.now(), spend=True)
        assert (await self.connection.fetch(query, *arguments))[0]["outcome"] == "admitted"

    async def give_back(self, counted: Counted) -> None:
        receipts = counted.receipts
        arguments = counting.refund_arguments("ada", receipts, None, self.clock.now())
        await self.connection.execute(counting.Queries.under("").refund.replace("_v3", "_v2"), *arguments)


@pytest.fixture
async def before(postgres: str, clock: ManualClock) -> AsyncIterator[Before]:
    connection = await asyncpg.connect(postgres)
    yield Before(connection, clock)
    await connection.close()


async def told(storage: PostgresStorage | SqliteStorage) -> list[int]:
    """Units of all reports, in the order of the windows they are of."""
    await storage.report_billed(billing(), 100)
    said = await reports(storage)
    totals: dict[str, int] = {}
    for one in sorted(said, key=lambda one: str(one["at"])):
        month = str(one["at"])[:7]
        totals[month] = totals.get(month, 0) + int(one["units"])
    return list(totals.values())


@pytest.fixture(autouse=True)
def at_the_beginning_of_a_month(clock: ManualClock) -> None:
    """So that a window of 30 days is told by its month."""
    clock.set(datetime.fromisoformat("2026-07-01T00:00:00+00:00"))


async def test_a_window_moved_on_by_the_release_before(
    storage: PostgresStorage, before: Before, clock: ManualClock
) -> None:
    """What was reported before does not leak into the next window; what was not is still owed."""
    await storage.consume(billed_call(5))
    assert await told(storage) == [5]
    await before.consume(billed_call(2))
    clock.set(datetime.fromisoformat("2026-08-02T00:00:00+00:00"))
    await before.consume(billed_call(3))
    await storage.consume(billed_call(1))
    assert await told(storage) == [5 + 2, 3 + 1]
    assert await told(storage) == [7, 4]


async def test_nobody_of_the_new_release_came_after(
    storage: PostgresStorage, before: Before, clock: ManualClock
) -> None:
    """The report itself makes up for it. A window that only the release before counted is on no bill yet."""
    await storage.consume(billed_call(5))
    clock.set(datetime.fromisoformat("2026-08-02T00:00:00+00:00"))
    await before.consume(billed_call(3))
    assert await told(storage) == [5]
    await storage.consume(billed_call(1))
    assert await told(storage) == [5, 4]


async def test_windows_between_are_on_no_bill(
    storage: PostgresStorage, before: Before, clock: ManualClock
) -> None:
    """They were opened, used and left by the release before alone."""
    await storage.consume(billed_call(5))
    clock.set(datetime.fromisoformat("2026-08-02T00:00:00+00:00"))
    await before.consume(billed_call(3))
    clock.set(datetime.fromisoformat("2026-09-02T00:00:00+00:00"))
    await storage.consume(billed_call(1))
    assert await told(storage) == [5, 1]


async def test_all_given_back_before_the_release_before_moves_on(
    storage: PostgresStorage, before: Before, clock: ManualClock
) -> None:
    """It keeps no window that was not used, and something was reported of this one."""
    counted = await storage.consume(billed_call(5))
    assert await told(storage) == [5]
    await before.give_back(counted)
    clock.set(datetime.fromisoformat("2026-08-02T00:00:00+00:00"))
    await before.consume(billed_call(3))
    await storage.consume(billed_call(1))
    said = [int(one["units"]) for one in await reports(storage)]
    await storage.report_billed(billing(), 100)
    assert sorted(int(one["units"]) for one in await reports(storage)) == sorted([*said, -5, 4])


async def test_a_file_that_the_release_before_wrote_to(tmp_path: Path, clock: ManualClock) -> None:
    """The same in SQLite, where it moves windows on and writes all columns but those it does not know."""
    storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await storage.start()
    await apply(storage)
    await storage.consume(billed_call(5))
    assert await told(storage) == [5]
    with connected(tmp_path / "skene.db") as file:
        file.executescript("""
            INSERT INTO skene_usage_history (subject, meter, plan, window_start, window_end, used)
            SELECT subject, meter, plan, window_start, window_end, 7 FROM skene_usage;
            UPDATE skene_usage SET used = 3, window_start = '2026-08-02T00:00:00.000000Z',
                                   window_end = '2026-09-01T00:00:00.000000Z';
        """)
    file.close()
    clock.set(datetime.fromisoformat("2026-08-03T00:00:00+00:00"))
    await storage.consume(billed_call(1))
    assert await told(storage) == [7, 4]
    await storage.aclose()


async def test_a_file_where_nobody_of_the_new_release_came_after(tmp_path: Path, clock: ManualClock) -> None:
    storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await storage.start()
    await apply(storage)
    await storage.consume(billed_call(5))
    with connected(tmp_path / "skene.db") as file:
        file.executescript("""
            INSERT INTO skene_usage_history (subject, meter, plan, window_start, window_end, used)
            SELECT subject, meter, plan, window_start, window_end, used FROM skene_usage;
            UPDATE skene_usage SET used = 3, window_start = '2026-08-02T00:00:00.000000Z',
                                   window_end = '2026-09-01T00:00:00.000000Z';
        """)
    file.close()
    clock.set(datetime.fromisoformat("2026-08-03T00:00:00+00:00"))
    assert await told(storage) == [5]
    assert await told(storage) == [5]
    await storage.aclose()


QUERY = """
    SELECT * FROM {table} u JOIN skene_customers c ON c.subject = u.subject
     WHERE u.meter = 'calls' AND u.plan = 'paid' AND u.billable AND c.customer IS NOT NULL
     ORDER BY u.subject, u.window_start LIMIT 100
"""


@pytest.mark.parametrize("table", ["skene_usage", "skene_usage_history"])
async def test_looking_for_reports_reads_what_is_due(
    table: str, storage: PostgresStorage, postgres: str
) -> None:
    """However many counters there are beside."""
    stranger = await asyncpg.connect(postgres)
    await stranger.execute(f"""
        INSERT INTO {table} (subject, meter, plan, window_start, window_end, used, billable)
        SELECT 'subject ' || n, 'calls', 'paid', now(), now(), 5, n % 1000 = 0
          FROM generate_series(1, 20000) AS n;
        ANALYZE {table};
    """)
    assert f"{table}_billable" in await stranger.fetchval(
        "EXPLAIN (FORMAT JSON) " + QUERY.format(table=table)
    )
    await stranger.execute(f"DELETE FROM {table}")
    await stranger.close()


async def test_looking_for_reports_in_a_file(tmp_path: Path, clock: ManualClock) -> None:
    """The statements that are really sent use the indices, too."""
    storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await storage.start()
    await apply(storage)
    await storage.consume(billed_call(5))
    await storage.aclose()
    with connected(tmp_path / "skene.db") as file:
        for table in ("skene_usage", "skene_usage_history"):
            plan = str(file.execute("EXPLAIN QUERY PLAN " + QUERY.format(table=table)).fetchall())
            assert f"{table}_billable" in plan
    file.close()

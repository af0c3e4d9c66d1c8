"""Grants while a release is rolled out: processes of the one before go on counting on the new tables."""

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage, counting
from skene.adapters.sql import migrate
from skene.adapters.sqlite import SqliteStorage
from skene.engine.window import Anchored, Rolling
from skene.ports.counters import Consume
from skene.ports.grants import Grant
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MONTH, call, charge, used
from tests.support.sql_stores import PATIENT
from tests.support.sqlite_files import connected

pytestmark = pytest.mark.anyio


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def storage(postgres: str, clock: ManualClock) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(postgres, clock=clock, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


class Before:
    """A process of the release before: it calls the functions of version 0001."""

    def __init__(self, connection: "asyncpg.Connection[asyncpg.Record]", clock: ManualClock) -> None:
        self.connection, self.clock = connection, clock

    async def consume(self, asked: Consume) -> bool:
        query = "SELECT * FROM skene_consume_v1($1, $2, $3::text::jsonb, $4, $5, $6, $7)"
        arguments = counting.consume_arguments(asked, counting.Shapes(), self.clock.now(), spend=True)
        return (await self.connection.fetch(query, *arguments))[0]["outcome"] == "admitted"

    async def admitted(self, asked: Consume, times: int) -> int:
        return sum([await self.consume(asked) for _ in range(times)])

    async def refund(self, at: object, cost: int) -> None:
        query = "SELECT skene_refund_v1($1, $2, $3, $4, $5, $6)"
        await self.connection.execute(query, "ada", ["calls"], ["free"], [at], [cost], None)


@pytest.fixture
async def before(postgres: str, clock: ManualClock) -> AsyncIterator[Before]:
    connection = await asyncpg.connect(postgres)
    yield Before(connection, clock)
    await connection.close()


async def admitted(storage: PostgresStorage | SqliteStorage, asked: Consume, times: int) -> int:
    return sum([(await storage.consume(asked)).admitted for _ in range(times)])


async def test_the_release_before_admits_no_more(storage: PostgresStorage, before: Before) -> None:
    """It sees no grants, and what they have paid for is used."""
    await storage.grant(Grant("k", "ada", "calls", 5))
    asked = call(charge(2))
    assert await before.admitted(asked, 9) == 2
    assert await admitted(storage, asked, 3) == 3
    assert await before.admitted(asked, 9) == 0
    assert await admitted(storage, asked, 9) == 2


@pytest.mark.parametrize("rule", [Anchored(MONTH), Rolling(MONTH)], ids=["anchored", "rolling"])
async def test_a_window_opened_by_the_release_before(
    rule: Anchored | Rolling, storage: PostgresStorage, before: Before, clock: ManualClock
) -> None:
    """What grants paid in the window before it makes no room in this one."""
    await storage.grant(Grant("k", "ada", "calls", 5))
    asked = call(charge(5, rule=rule))
    assert await admitted(storage, asked, 10) == 10
    clock.advance("31d")
    assert await before.admitted(asked, 3) == 3
    tally = (await storage.peek(asked)).tallies[0]
    assert (tally.limit, tally.used) == (5, 3)
    assert await admitted(storage, asked, 9) == 2


async def test_a_refund_by_the_release_before(storage: PostgresStorage, before: Before) -> None:
    """It makes room, and the grant gets nothing back: in all there are still 3 of the plan and 2 granted."""
    await storage.grant(Grant("k", "ada", "calls", 2))
    asked = call(charge(3))
    assert await admitted(storage, asked, 5) == 5
    start = (await storage.peek(asked)).tallies[0].start
    await before.refund(start, 4)
    assert await admitted(storage, asked, 9) == 4
    assert await used(storage) == 3 + 2
    assert [one.spent for one in await storage.grants("ada")] == [2]


async def test_a_session_goes_on_through_the_migration(
    postgres_dsn: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its statements are prepared, and its functions planned, before the columns are there."""
    storage = PostgresStorage(postgres_dsn, clock=clock, timeout=PATIENT)
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "KNOWN", ("0001",))
        patch.setattr(migrate, "HEAD", "0001")
        await storage.migrate()
    connection = await asyncpg.connect(postgres_dsn)
    old, month, rolling = Before(connection, clock), call(charge(9)), call(charge(9, rule=Rolling(MONTH)))
    assert await old.admitted(month, 3) == 3
    assert await old.admitted(rolling, 1) == 1
    assert await storage.migrate() == list(migrate.KNOWN[1:])
    start = (await storage.peek(month)).tallies[0].start
    assert await old.admitted(month, 2) == 2
    assert await old.admitted(rolling, 1) == 1
    await old.refund(start, 1)
    clock.advance("31d")
    assert await old.admitted(month, 12) == 9
    assert await used(storage) == 9
    await connection.close()
    await storage.aclose()


async def test_a_file_that_the_release_before_wrote_to(tmp_path: Path, clock: ManualClock) -> None:
    """The same in SQLite, where it writes all columns but those it does not know."""
    storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await storage.grant(Grant("k", "ada", "calls", 5))
    asked = call(charge(5))
    assert await admitted(storage, asked, 10) == 10
    with connected(tmp_path / "skene.db") as file:
        file.execute("""
            UPDATE skene_usage SET used = 3, window_start = '2027-06-01T00:00:00.000000Z',
                                   window_end = '2027-07-01T00:00:00.000000Z'
        """)
    file.close()
    assert clock.now().year < 2027
    clock.set(clock.now().replace(year=2027, month=6, day=2))
    tally = (await storage.peek(asked)).tallies[0]
    assert (tally.limit, tally.used) == (5, 3)
    await storage.aclose()


async def test_spending_and_giving_back_do_not_deadlock(postgres: str) -> None:
    """Rows of counters by meter, then grants by their number, whichever way round a call names them."""
    one, two = (PostgresStorage(postgres, timeout=PATIENT) for _ in range(2))
    await one.start()
    await two.start()
    a, b = (charge(0, meter=meter, step=meter) for meter in "ab")
    for key, meter in (("1", "b"), ("2", "a"), ("3", "b"), ("4", "a")):
        await one.grant(Grant(key, "ada", meter, 200))

    async def worker(storage: PostgresStorage, asked: Consume) -> None:
        for _ in range(20):
            counted = await storage.consume(asked)
            receipts = counted.receipts
            assert receipts
            await storage.refund("ada", receipts)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            for storage, asked in ((one, call(a, b)), (two, call(b, a)), (one, call(b)), (two, call(a))):
                group.start_soon(worker, storage, asked)
    assert [grant.spent for grant in await one.grants("ada")] == [0] * 4
    stranger = await asyncpg.connect(postgres)
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await stranger.fetchval(query) == 0
    await stranger.close()
    await one.aclose()
    await two.aclose()


async def test_looking_for_grants_is_one_probe_of_an_index(storage: PostgresStorage, postgres: str) -> None:
    """However many a subject has spent before."""
    stranger = await asyncpg.connect(postgres)
    await stranger.execute("""
        INSERT INTO skene_grants (subject, key, meter, units, spent, granted_at, reason)
        SELECT 'subject ' || n % 50, n::text, 'calls', 5, CASE WHEN n % 100 = 0 THEN 0 ELSE 5 END, now(), ''
          FROM generate_series(1, 20000) AS n;
        ANALYZE skene_grants;
    """)
    plan = await stranger.fetchval("""
        EXPLAIN (FORMAT JSON)
        SELECT sum(g.units - g.spent) FROM skene_grants g
         WHERE g.subject = 'subject 0' AND g.meter = 'calls' AND g.spent < g.units
           AND (g.expires_at IS NULL OR g.expires_at > now())
    """)
    assert "skene_grants_left" in plan
    await stranger.execute("DELETE FROM skene_grants")
    await stranger.close()

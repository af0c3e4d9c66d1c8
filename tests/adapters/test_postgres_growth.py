"""What a decision costs PostgreSQL, and leaves behind, however many subjects there are: pages, no times."""

from functools import partial

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.testing.conformance.base import call, charge, gather
from tests.support.postgres import PostgresAddress, PostgresServer
from tests.support.sql_stores import PATIENT

pytestmark = pytest.mark.anyio

ITEM = charge(10**9)
CALLS = 200


async def load(storage: PostgresStorage, calls: int) -> None:
    """So many calls of 1,000 subjects, 50 at a time."""
    for begin in range(0, calls, 50):
        subjects = [f"s{1 + number * 7919 % 1_000}" for number in range(begin, begin + 50)]
        await gather([partial(storage.consume, call(ITEM, subject=subject)) for subject in subjects])


async def alone(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Wait until the server's other processes have ended, and so have told what they have counted."""
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    with anyio.fail_after(20):
        while await connection.fetchval(others) > 1:
            await anyio.lowlevel.checkpoint()


@pytest.mark.parametrize("spoiled", [None, "CREATE INDEX spoils ON skene_usage (used)"])
async def test_counters_change_in_place(spoiled: str | None) -> None:
    """10,000 charges touch no index, and the table does not grow, without any VACUUM. Spoiled, it does."""
    # On a server of its own: a transaction in another database may keep what is dead here a moment longer.
    with PostgresServer() as server:
        await _changed_in_place(server.create_database("alone"), spoiled)


async def _changed_in_place(postgres_dsn: str, spoiled: str | None) -> None:
    storage = PostgresStorage(postgres_dsn, timeout=PATIENT)
    await storage.migrate()
    connection = await asyncpg.connect(postgres_dsn)
    if spoiled:
        await connection.execute(spoiled)
    await load(storage, 6_000)  # the counters are opened, and the pages find the room that they need
    await storage.aclose()
    told = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'skene_usage'"
    size = "SELECT pg_table_size('skene_usage') + pg_indexes_size('skene_usage')"

    async def look() -> tuple[int, int, int]:
        await alone(connection)
        return (*await connection.fetchrow(told), await connection.fetchval(size))

    before = await look()
    await load(storage, 10_000)
    await storage.aclose()
    after = await look()
    assert after[0] - before[0] == 10_000
    await connection.close()
    in_place, grown = (after[1] - before[1]) / (after[0] - before[0]), after[2] / before[2]
    assert (in_place > 0.99, grown < 1.1) == (spoiled is None, spoiled is None), (in_place, grown)


FILL = (
    """INSERT INTO skene_usage (subject, meter, plan, window_start, window_end, used)
       SELECT 's' || i, 'calls', 'free', now(), now() + interval '30 days', 0
         FROM generate_series(1, {rows}) AS i""",
    """INSERT INTO skene_customers (subject, plan, default_plan, paying, updated_at)
       SELECT 's' || i, 'free', 'free', false, now() FROM generate_series(1, {rows}) AS i""",
    "CREATE TABLE bare (LIKE skene_usage INCLUDING ALL) WITH (fillfactor = 75)",
    "INSERT INTO bare SELECT * FROM skene_usage",
    "VACUUM (FREEZE, ANALYZE)",
)
UPSERT = """
    INSERT INTO bare (subject, meter, plan, window_start, window_end, used)
    VALUES ($1, 'calls', 'free', now(), now() + interval '30 days', 1)
    ON CONFLICT (subject, meter, plan) DO UPDATE SET used = bare.used + 1 WHERE bare.used < 1000000000
"""
PAGES = """
    SELECT sum(heap_blks_hit + heap_blks_read + idx_blks_hit + idx_blks_read)::float
      FROM pg_statio_user_tables WHERE (relname = 'bare') = $1
"""


async def pages(server: PostgresAddress, rows: int, *spoil: str) -> tuple[float, float]:
    """How many pages of tables and indexes a decision looks at, and how many a bare upsert does."""
    dsn = server.create_database(f"pages_{rows}_{len(spoil)}")
    await (storage := PostgresStorage(dsn, timeout=PATIENT)).migrate()
    filling = await asyncpg.connect(dsn)
    for statement in (*FILL, *spoil):
        await filling.execute(statement.format(rows=rows), timeout=60)
    await filling.close()
    looker = await asyncpg.connect(dsn)
    looked: list[float] = []
    for bare in (False, True):
        await alone(looker)
        before = await looker.fetchval(PAGES, bare)
        user = await asyncpg.connect(dsn)
        for number in range(CALLS):
            name = f"s{1 + number * 7919 % rows}"
            await (user.execute(UPSERT, name) if bare else storage.consume(call(ITEM, subject=name)))
        await user.close()
        await storage.aclose()
        await alone(looker)
        looked.append((await looker.fetchval(PAGES, bare) - before) / CALLS)
    await looker.close()
    server.drop_database(dsn.split("/")[3].split("?")[0])
    return looked[0], looked[1]


async def test_a_decision_grows_like_a_bare_upsert(postgres_server: PostgresAddress) -> None:
    """From 1,000 subjects to 100,000: one more page for each of its two tables. Without an index, all."""
    few, many = await pages(postgres_server, 1_000), await pages(postgres_server, 100_000)
    assert many[0] - few[0] <= (many[1] - few[1]) + 2, (few, many)
    lost = await pages(
        postgres_server, 100_000, "ALTER TABLE skene_customers DROP CONSTRAINT skene_customers_pkey"
    )
    assert lost[0] > 10 * many[0]

"""What a call costs PostgreSQL: one round trip, nothing at all when refused, and never a unit too many."""

import asyncio  # noqa: TID251 - calls that are to arrive in one turn
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.engine.window import Anchored, Edges, Rolling, calendar_edges
from skene.ports.counters import Charge, Consume
from skene.ports.grants import Grant
from skene.ports.overrides import Override
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import PAYING, call, charge, refuse_once, set_plan, used
from skene.testing.conformance.billed import billed_call
from skene.testing.conformance.features import entitle
from tests.support.merging import merge
from tests.support.postgres import PostgresAddress, PostgresServer
from tests.support.sql_stores import PATIENT
from tests.support.wire import wire

pytestmark = pytest.mark.anyio

MONTH = Edges(calendar_edges("month", "Europe/Helsinki", datetime(2026, 5, 5, tzinfo=UTC)))
ROLLING = Rolling(timedelta(days=30))


@pytest.fixture
async def storage(postgres: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


FEATURED = replace(charge(0, meter="exports"), feature="export")

CALLS: dict[str, Consume] = {
    "the first of a window": call(subject="new"),
    "the next": call(),
    "on a paid plan": call(subject="paula"),
    "refused": call(charge(1), subject="zoe"),
    "refused with nothing": call(charge(0)),
    "the first of a rolling window": call(charge(rule=ROLLING, meter="r"), subject="new"),
    "the next of a rolling window": call(charge(rule=ROLLING, meter="r")),
    "paid by a grant": call(charge(0), subject="grace"),
    "with a grant that is not needed": call(subject="grace"),
    "refused with a grant": call(charge(1, cost=9), subject="grace"),
    "in a month": call(charge(rule=MONTH, meter="m")),
    "with an override and a feature": call(FEATURED, charge(0), subject="olga"),
    "put on a bill": billed_call(subject="paula"),
    "put on a bill again": billed_call(subject="paula"),
    "by one who was merged": call(subject="ghost"),
    "with a key": call(key="k9", subject="keyed"),
    "repeated": call(key="k1", subject="keyed"),
    "on three counters": call(charge(meter="c"), charge(meter="a"), charge(rule=ROLLING, meter="b")),
    "on three counters, one full": call(
        charge(meter="x"), charge(0, meter="y"), charge(rule=MONTH, meter="z")
    ),
}


@pytest.fixture
async def prepared(storage: PostgresStorage) -> None:
    """What the calls above need to find."""
    await set_plan(storage, PAYING, subject="paula")
    await storage.grant(Grant("k", "grace", "calls", 5))
    await storage.set_override(Override("olga", "calls", 5))
    await entitle(storage, "export", subject="olga")
    await merge(storage, "ghost", "ada")
    for subject in ("ada", "paula"):
        await storage.consume(call(subject=subject))
    await storage.consume(call(charge(1), subject="zoe"))
    await storage.consume(call(charge(rule=ROLLING, meter="r")))
    await storage.consume(call(key="k1", subject="keyed"))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.usefixtures("prepared")
async def test_a_call_is_one_round_trip(
    name: str, postgres_server: PostgresAddress, migrated_database: str
) -> None:
    """Plan included; the first call of a connection prepares the statement."""
    async with wire(f"{postgres_server.socket_dir}/.s.PGSQL.{postgres_server.port}") as between:
        storage = PostgresStorage(between.dsn(migrated_database), pool_size=1, timeout=PATIENT)
        for verb in (storage.consume, storage.peek):
            await verb(call(subject="somebody"))
        before = between.round_trips
        for verb in (storage.consume, storage.peek):
            await verb(CALLS[name])
        assert between.round_trips - before == 2
        await storage.aclose()


async def test_a_refusal_writes_nothing() -> None:
    """L3: no transaction id, no log, no change to any row, whatever is refused."""
    # On a server of its own: the log and the transaction ids are those of all databases together.
    with PostgresServer() as server:
        dsn = server.create_database("alone")
        storage = PostgresStorage(dsn, migrate=True, timeout=PATIENT)
        await storage.start()
        await _refusals_write_nothing(storage, dsn)
        await storage.aclose()


async def _refusals_write_nothing(storage: PostgresStorage, dsn: str) -> None:
    await storage.consume(call(charge(1)))
    await storage.consume(call(charge(1, rule=ROLLING, meter="r")))
    await storage.grant(Grant("k", "grace", "calls", 3))
    await storage.set_override(Override("olga", "calls", 1))
    await storage.set_override(Override("olga", "x", 0))
    await entitle(storage, "export", subject="olga")
    await storage.consume(call(subject="olga"))
    await set_plan(storage, PAYING, subject="paula")
    await storage.consume(billed_call(5, cap=5, subject="paula"))
    await merge(storage, "ghost", "ada")
    await refuse_once(storage, ManualClock((await storage.peek(call())).now))
    refused = (
        call(charge(1)),
        call(charge(1), key="k"),
        call(charge(0), subject="new"),
        call(charge(1, rule=ROLLING, meter="r")),
        call(charge(2, meter="b"), charge(1), subject="ada"),
        call(charge(5, cost=6), subject="new"),
        call(charge(1, cost=5), subject="grace"),
        call(charge(None), subject="olga"),
        call(charge(9, meter="x"), FEATURED, subject="olga"),
        billed_call(cap=5, subject="paula"),
        call(charge(1), subject="ghost"),
    )
    stranger = await asyncpg.connect(dsn)
    state = "SELECT pg_current_wal_insert_lsn(), pg_snapshot_xmax(pg_current_snapshot())"
    rows = """
        SELECT array_agg(row ORDER BY row)
          FROM (SELECT xmin::text || xmax::text || ctid::text AS row FROM skene_usage
                UNION ALL
                SELECT xmin::text || xmax::text || ctid::text FROM skene_grants
                UNION ALL
                SELECT xmin::text || xmax::text || ctid::text FROM skene_customers) AS kept
    """
    for each in refused:  # what plans and buffers do once is over with
        await storage.consume(each)
    for _ in range(8):
        await asyncio.gather(*[storage.consume(each) for each in refused])
    before = await stranger.fetchrow(state), await stranger.fetchval(rows)
    for number in range(1000):
        assert not (await storage.consume(refused[number % len(refused)])).admitted
    for _ in range(20):  # and so do they together
        together = await asyncio.gather(*[storage.consume(each) for each in refused for _ in range(4)])
        assert not any(answer.admitted for answer in together)
    assert (await stranger.fetchrow(state), await stranger.fetchval(rows)) == before
    await stranger.close()


CONSUME_200 = """
import sys, anyio
from datetime import timedelta
from skene.adapters.postgres import PostgresStorage
from skene.testing.conformance.base import call

async def main():
    storage = PostgresStorage(sys.argv[1], timeout=timedelta(seconds=20))
    admitted = 0
    async def one():
        nonlocal admitted
        counted = await storage.consume(call())
        admitted += counted.admitted
    async with anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(one)
    print(admitted)
    await storage.aclose()

anyio.run(main)
"""


def test_two_processes_admit_exactly_the_limit_together(postgres: str) -> None:
    """L1, decision 3: 400 simultaneous first calls at limit 100."""
    command = [sys.executable, "-c", CONSUME_200, postgres]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    admitted = [int(process.communicate(timeout=60)[0]) for process in both]
    assert sum(admitted) == 100


async def test_opposite_orders_do_not_deadlock(postgres: str) -> None:
    """F10: (A, B) and (B, A) at once, from two storages, in running windows, new ones and with refunds."""
    one, two = (PostgresStorage(postgres, timeout=PATIENT) for _ in range(2))
    a, b = (charge(None, meter=meter, rule=Anchored(timedelta(milliseconds=50))) for meter in "ab")
    await one.start()
    await two.start()

    async def worker(storage: PostgresStorage, *charges: Charge) -> None:
        for number in range(60):
            subject = f"subject {number // 20}"
            counted = await storage.consume(call(*charges, subject=subject))
            receipts = counted.receipts
            await storage.refund(subject, receipts)

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(worker, one, a, b)
            group.start_soon(worker, two, b, a)
    for item in (a, b):
        assert await used(one, item, "subject 0") == 0
    stranger = await asyncpg.connect(postgres)
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await stranger.fetchval(query) == 0
    await stranger.close()
    await one.aclose()
    await two.aclose()


async def test_time_is_the_servers(storage: PostgresStorage, postgres: str) -> None:
    """Decision 8, F17."""
    stranger = await asyncpg.connect(postgres)
    before: datetime = await stranger.fetchval("SELECT clock_timestamp()")
    counted = await storage.consume(call())
    after: datetime = await stranger.fetchval("SELECT clock_timestamp()")
    assert before <= counted.now <= after
    assert counted.tallies[0].start == counted.now
    await stranger.close()


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
async def test_a_stricter_default_isolation_is_no_obstacle(postgres: str, level: str) -> None:
    """Decision 3, for those who have set it for all of their database."""
    name = postgres.partition("?")[0].rpartition("/")[2]
    stranger = await asyncpg.connect(postgres)
    await stranger.execute(f"ALTER DATABASE \"{name}\" SET default_transaction_isolation = '{level}'")
    try:
        storages = [PostgresStorage(postgres, timeout=PATIENT) for _ in range(2)]
        results: list[bool] = []

        async def one(storage: PostgresStorage) -> None:
            counted = await storage.consume(call(charge(20)))
            results.append(counted.admitted)

        async with anyio.create_task_group() as group:
            for number in range(60):
                group.start_soon(partial(one, storages[number % 2]))
        assert sum(results) == 20
        for storage in storages:
            await storage.aclose()
    finally:
        await stranger.execute(f'ALTER DATABASE "{name}" RESET default_transaction_isolation')
        await stranger.close()

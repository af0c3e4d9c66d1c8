"""The seed's retention loop on a table with very many dormant users, in little memory."""

import time
from datetime import UTC, datetime, timedelta

import anyio
import asyncpg
import psutil
import pytest

from skene.testing.resend_server import FakeResend
from tests.definitions.seeds import RETENTION
from tests.support.extent import amount
from tests.support.loops_at_work import FileClock
from tests.support.workers import Workers, report, run_skene, skene_command

ROWS = amount(100_000, full=1_000_000)
"""The whole million takes minutes, and the memory is the same: SKENE_TEST_FULL=1 reads it."""
MOST_MEMORY = 50 * 2**20
NINE = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def clock(tmp_path):
    clock = FileClock(tmp_path / "clock")
    clock.set(NINE - timedelta(minutes=1))
    return clock


@pytest.fixture
def resend(clock):
    return FakeResend(now=clock.now)


@pytest.fixture
async def driver(durable_server):
    driver = await asyncpg.connect(durable_server.create_database("retention"))
    await driver.execute(
        "CREATE TABLE users (id BIGINT PRIMARY KEY, email TEXT, name TEXT,"
        " last_activity_at TIMESTAMPTZ, re_engagement_sent BOOLEAN NOT NULL DEFAULT false)"
    )
    yield driver
    await driver.close()
    durable_server.drop_database("retention")


async def test_a_million_rows_in_little_memory(durable_server, driver, environment, clock, tmp_path):
    await driver.execute(
        "INSERT INTO users SELECT n, 'user' || n || '@app.test', 'User ' || n, now() - interval '30 days'"
        " FROM generate_series(1, $1::bigint) AS n",
        ROWS,
    )
    await driver.execute("INSERT INTO users SELECT -n, NULL, '', now() FROM generate_series(1, 1000) AS n")
    env = environment(
        durable_server.dsn("retention"), RETENTION.read_text(), clock=tmp_path / "clock", per_second=2
    )
    run_skene(env, "db", "upgrade")

    with anyio.fail_after(900), Workers(skene_command("worker"), [env]) as workers:
        await workers.all_at_work()
        while not await driver.fetchval("SELECT count(*) FROM skene_ticks"):
            await anyio.sleep(0.05)
        worker = psutil.Process(workers.running[0].pid)
        before, peak = worker.memory_info().rss, 0
        begun, used = time.monotonic(), sum(worker.cpu_times()[:2])
        clock.set(NINE)
        while not await driver.fetchval("SELECT count(*) FROM skene_ticks WHERE scanned_at IS NOT NULL"):
            peak = max(peak, worker.memory_info().rss)
            assert not await driver.fetchval("SELECT count(*) FROM skene_firings WHERE state = 'dead'")
            await anyio.sleep(0.2)
        seconds, used = time.monotonic() - begun, sum(worker.cpu_times()[:2]) - used
    said = await driver.fetchval("SELECT reason FROM skene_decisions WHERE outcome = 'scanned'")
    rows = [
        await driver.fetchval(f"SELECT count(*) FROM {table}")
        for table in ("skene_recipients", "skene_outbox")
    ]
    grown = max(0, peak - before)
    numbers = {
        "rows": ROWS,
        "said": said,
        "seconds": round(seconds, 1),
        "cpu": round(used, 1),
        "grown by MiB": round(grown / 2**20, 1),
        "before MiB": round(before / 2**20, 1),
    }
    measured = report(numbers)
    assert rows == [ROWS, ROWS], measured
    assert grown < MOST_MEMORY, measured

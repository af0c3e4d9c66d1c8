"""What PostgreSQL alone shows: transactions that overlap, and tables that have grown."""

from collections.abc import AsyncIterator
from datetime import timedelta

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.engine.standing import Standing
from skene.ports.firings import Entry, Journey, Outcome, Watcher
from skene.testing.conformance.happening import ACTED, DAY, fired, take_firing
from tests.support.sql_stores import PATIENT, counts, whole

pytestmark = pytest.mark.anyio


@pytest.fixture
async def storage(postgres: str) -> AsyncIterator[PostgresStorage]:
    """On the server's clock, with the patience of production."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


@pytest.fixture
async def stranger(postgres: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """Another client of the same database."""
    connection = await asyncpg.connect(postgres)
    yield connection
    await connection.close()


async def blocked(stranger: "asyncpg.Connection[asyncpg.Record]", number: int = 1) -> None:
    """Wait until so many transactions wait for a lock."""
    waiting = """
        SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid)
         WHERE NOT granted AND datname = current_database()
    """
    with anyio.fail_after(10):
        while await stranger.fetchval(waiting) < number:
            await stranger.execute("SELECT pg_stat_clear_snapshot()")
            await anyio.sleep(0.005)


async def test_a_funnel_of_200_000_journeys(
    storage: PostgresStorage, stranger: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Decision 21: it answers in time, however many there were."""
    await stranger.execute("""
        INSERT INTO skene_journeys (id, loop, subject, begun_at, within_seconds, held_out, shadow, goal_at)
        SELECT 'j' || n, 'welcome', 'user-' || n, now(), 86400, false, false, now() + n * interval '1 ms'
          FROM generate_series(0, 200000) AS n
    """)
    (row,) = await storage.funnel()
    assert (row.journeys, row.median_time_to_goal) == (200_001, timedelta(seconds=100))


async def test_a_chain_that_goes_on_while_its_subject_is_forgotten(
    postgres: str, stranger: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Decision 31: what is being recorded when the person is erased is erased, too."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    await storage.emit("ada", (fired(),), {})
    firing = await take_firing(storage)
    async with anyio.create_task_group() as tasks:
        # Held up at its last statement, when all the rest of it is done.
        lock = stranger.transaction()
        await lock.start()
        await stranger.execute("LOCK TABLE skene_decisions IN SHARE MODE")

        async def record() -> None:
            assert (await storage.record(firing, (whole("ada", "f1"),), closing=ACTED)).held

        async def forget() -> None:
            await storage.forget("ada")

        tasks.start_soon(record)
        await blocked(stranger, 1)
        tasks.start_soon(forget)
        await blocked(stranger, 2)
        await lock.rollback()
    left = await counts(storage)
    assert left == {"outbox": 0, "firings": 0, "journeys": 1, "recipients": 0, "decisions": 0}
    assert await stranger.fetchval("SELECT subject FROM skene_journeys") == ""
    await storage.aclose()


@pytest.mark.parametrize("first", ["record", "emit"])
async def test_a_goal_that_is_told_while_its_firing_is_recorded(
    postgres: str, stranger: "asyncpg.Connection[asyncpg.Record]", first: str
) -> None:
    """Decision 21: whichever of the two transactions comes first, and is open when the other one begins."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    await storage.emit("ada", (fired(),), {})
    firing = await take_firing(storage)
    entry = Entry("ada", Outcome.ACTED, journey=Journey("j1", "welcome", "ada"))

    async def record() -> None:
        assert (await storage.record(firing, (entry,), closing=ACTED)).held

    async def emit() -> None:
        await storage.emit("ada", (), {"welcome": DAY})

    # The first one is held up when it has dealt with the firing and not with what comes after it.
    held_up, order = {
        "record": ("skene_decisions", (record, emit)),
        "emit": ("skene_journeys", (emit, record)),
    }[first]
    async with anyio.create_task_group() as tasks:
        lock = stranger.transaction()
        await lock.start()
        await stranger.execute(f"LOCK TABLE {held_up} IN SHARE MODE")
        for number, verb in enumerate(order, 1):
            tasks.start_soon(verb)
            await blocked(stranger, number)
        await lock.rollback()
    (row,) = await storage.funnel()
    assert (row.journeys, row.goals) == (1, 1)
    early = await stranger.fetchval("SELECT goal_at < begun_at FROM skene_journeys")
    assert early == (first == "emit")
    await storage.aclose()


async def test_who_pays_again_while_the_end_of_the_plan_is_noted(
    postgres: str, stranger: "asyncpg.Connection[asyncpg.Record]"
) -> None:
    """Decision 15: whoever was told of the end is told of the new beginning."""
    storage = PostgresStorage(postgres, timeout=PATIENT)
    await storage.start()
    watchers = (Watcher("welcome", "welcome.0"),)

    async def pay() -> None:
        standing = Standing("paid", paying=True)
        await storage.set_plan("ada", standing, default_plan="free", attribution=DAY, watchers=watchers)

    await pay()
    other = await asyncpg.connect(postgres)
    lock = other.transaction()
    await lock.start()
    # Held up where it writes the row, after it has read it.
    await other.execute("SELECT 1 FROM skene_customers FOR UPDATE")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pay)
        await blocked(stranger)
        # What `note_lapses` does, by hand: it would pass over a row that is locked.
        await other.execute("UPDATE skene_customers SET plan = 'free', until = NULL, paying = false")
        await lock.commit()
    await other.close()
    told = await stranger.fetch("SELECT data ->> 'from', data ->> 'to' FROM skene_firings ORDER BY id")
    assert [tuple(row) for row in told] == [("free", "paid"), ("free", "paid")]
    await storage.aclose()

"""PostgresStorage when PostgreSQL, or whoever calls, lets it down."""

import asyncio  # noqa: TID251 (its own way of cancelling tasks is one of the faults)
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Thread

import anyio
import asyncpg
import pytest
import sqlalchemy as sa

from skene.adapters.postgres import PostgresStorage
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge, draft, used, wall
from tests.support.postgres import PostgresServer

pytestmark = pytest.mark.anyio

UNLIMITED = charge(None)


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of one's own, to be ill-treated."""
    with PostgresServer(durable=True, settings={"max_connections": "30"}) as server:
        yield server


@pytest.fixture
async def dsn(server: PostgresServer) -> AsyncIterator[str]:
    server.start()
    dsn = server.create_database("skene")
    await PostgresStorage(dsn).migrate()
    yield dsn
    server.start()
    server.drop_database("skene")


@pytest.fixture
async def storage(dsn: str) -> AsyncIterator[PostgresStorage]:
    storage = PostgresStorage(dsn)
    await storage.start()
    yield storage
    await storage.aclose()


@asynccontextmanager
async def stranger(dsn: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(dsn)
    yield connection
    await connection.close()


async def refused(verb: Callable[[], Awaitable[object]], within: float = 2.0) -> None:
    with anyio.fail_after(within), pytest.raises(StorageUnavailable):
        await verb()


@dataclass
class Load:
    """Callers who go on whatever happens. Their books: answered, and given up on."""

    storage: PostgresStorage
    yes: int = 0
    unknown: int = 0
    slowest: float = 0.0
    errors: set[str] = field(default_factory=set)
    stopped: bool = False

    async def caller(self) -> None:
        while not self.stopped:
            begun = anyio.current_time()
            try:
                await self.storage.consume(call(UNLIMITED))
                self.yes += 1
            except StorageUnavailable as error:
                self.unknown += 1
                self.errors.add(str(error))
                await anyio.sleep(0.02)
            self.slowest = max(self.slowest, anyio.current_time() - begun)

    async def heals(self, within: float) -> None:
        """Wait until somebody is answered again."""
        before = self.yes
        with anyio.fail_after(within):
            while self.yes == before:
                await anyio.sleep(0.02)

    async def books_are_right(self, settled: PostgresStorage) -> None:
        """L2: answered ≤ counted ≤ answered and given up on."""
        assert self.yes <= await used(settled, UNLIMITED) <= self.yes + self.unknown
        assert self.slowest <= 2.0


@asynccontextmanager
async def load(storage: PostgresStorage, callers: int = 8) -> AsyncIterator[Load]:
    one = Load(storage)
    async with anyio.create_task_group() as group:
        for _ in range(callers):
            group.start_soon(one.caller)
        await one.heals(2)
        yield one
        one.stopped = True


async def test_a_strangers_lock_is_waited_for_in_vain_but_not_long(
    storage: PostgresStorage, dsn: str
) -> None:
    """F11: its subject gets an error in time, the others are served."""
    clock = ManualClock()
    await storage.consume(call())
    served = 0

    async def others() -> None:
        nonlocal served
        while True:
            await storage.consume(call(UNLIMITED, subject=f"other {served % 7}"))
            served += 1

    async with stranger(dsn) as lock, lock.transaction():
        await lock.execute("SELECT FROM skene_usage FOR UPDATE")
        await lock.execute("LOCK TABLE skene_walls")
        for callers in (1, 4):
            async with anyio.create_task_group() as watched:
                watched.start_soon(others)
                async with anyio.create_task_group() as group:
                    for _ in range(callers):
                        group.start_soon(refused, lambda: storage.consume(call()))
                watched.cancel_scope.cancel()
            assert served >= 3  # each of them is an answer in the time that the others wait
            served = 0
        await refused(lambda: storage.open_wall(wall(clock), (draft(),)))
    assert (await storage.consume(call())).admitted
    assert await used(storage) == 2
    assert await storage.messages() == ()


async def test_a_give_back_waits_out_a_lock(dsn: str) -> None:
    """Or the units of a failed call would stay charged because of a rush."""
    storage = PostgresStorage(dsn, timeout=timedelta(seconds=20))
    receipt = (await storage.consume(call())).tallies[0].receipt
    assert receipt is not None
    async with stranger(dsn) as lock, anyio.create_task_group() as group, lock.transaction():
        await lock.execute("SELECT FROM skene_usage FOR UPDATE")
        group.start_soon(storage.refund, "ada", (receipt,))
        await anyio.sleep(1.3)  # longer than a statement waits
    assert await used(storage) == 0
    await storage.aclose()


async def test_a_full_pool_is_waited_for_in_vain_but_not_long(dsn: str) -> None:
    """F9."""
    storage = PostgresStorage(dsn, pool_size=2)
    for number in range(50):
        await storage.consume(call(subject=f"s{number}"))
    async with stranger(dsn) as lock, lock.transaction():
        await lock.execute("SELECT FROM skene_usage FOR UPDATE")
        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(refused, lambda n=number: storage.consume(call(subject=f"s{n}")))
    assert (await storage.consume(call(subject="s0"))).admitted
    await storage.aclose()


async def test_killed_connections_cost_no_acknowledged_use(storage: PostgresStorage, dsn: str) -> None:
    async with load(storage) as under_load, stranger(dsn) as killer:
        for _ in range(20):
            await killer.execute("""
                SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()
            """)
            await under_load.heals(2)
    await under_load.books_are_right(storage)


async def test_idle_connections_that_were_killed_are_not_noticed(storage: PostgresStorage, dsn: str) -> None:
    """A call over a dead connection would be an error for nothing."""
    async with stranger(dsn) as killer:
        for _ in range(10):
            await killer.execute("""
                SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
                 WHERE pid <> pg_backend_pid() AND datname = current_database()
            """)
            await anyio.sleep(0.01)  # the news has to arrive
            assert (await storage.consume(call())).admitted
            assert await storage.get_wall("w1") is None


async def test_a_server_that_stops_and_one_that_crashes(
    storage: PostgresStorage, server: PostgresServer, caplog: pytest.LogCaptureFixture
) -> None:
    """F6, F7: errors in time while it is away, no flood of log lines, and it heals by itself."""
    caplog.set_level(logging.WARNING)
    async with load(storage) as under_load:
        for end in (server.stop, server.crash):
            await anyio.to_thread.run_sync(end)
            given_up = under_load.unknown
            caplog.clear()
            with anyio.move_on_after(1.5):
                await refused(lambda: storage.consume(call()))
                await refused(lambda: storage.get_wall("w1"))
                await anyio.sleep_forever()
            assert under_load.unknown - given_up > 100
            assert len(caplog.records) <= 3
            await anyio.to_thread.run_sync(server.start)
            await under_load.heals(5)
    await under_load.books_are_right(storage)
    assert all("PostgreSQL" in error for error in under_load.errors)


async def test_a_server_that_takes_no_writes(
    storage: PostgresStorage, dsn: str, server: PostgresServer
) -> None:
    """F8: after a failover we may still be connected to what was the primary."""
    await storage.consume(call())
    server.execute("ALTER DATABASE skene SET default_transaction_read_only = on")
    async with stranger(dsn) as killer:
        await killer.execute("""
            SELECT pg_terminate_backend(pid, 1000) FROM pg_stat_activity
             WHERE pid <> pg_backend_pid() AND datname = current_database()
        """)
    for _ in range(10):
        await refused(lambda: storage.consume(call()))
        await refused(lambda: storage.open_wall(wall(ManualClock()), (draft(),)))
    assert not (await storage.consume(call(charge(0)))).admitted  # what only reads is served
    server.execute("ALTER DATABASE skene RESET default_transaction_read_only")
    assert (await storage.consume(call())).admitted  # over a new connection, at once
    await storage.open_wall(wall(ManualClock()), (draft(),))


async def test_a_full_disk(storage: PostgresStorage, dsn: str) -> None:
    """F40: as the server tells it; nothing else about it can be made here without a disk of one's own."""
    async with stranger(dsn) as server:
        await server.execute("""
            CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                RAISE EXCEPTION 'could not extend file' USING ERRCODE = 'disk_full';
            END $$
        """)
        await server.execute("""
            CREATE TRIGGER full_disk BEFORE INSERT OR UPDATE ON skene_usage
            FOR EACH ROW EXECUTE FUNCTION full_disk()
        """)
        await refused(lambda: storage.consume(call()))
        assert not (await storage.consume(call(charge(0)))).admitted  # what only reads is served
        await server.execute("DROP FUNCTION full_disk CASCADE")
    assert (await storage.consume(call())).admitted


async def test_no_connection_left(dsn: str) -> None:
    storage = PostgresStorage(dsn)
    held: list[asyncpg.Connection[asyncpg.Record]] = []
    with suppress(asyncpg.TooManyConnectionsError):
        while True:
            held.append(await asyncpg.connect(dsn))
    await refused(storage.start)
    await refused(lambda: storage.consume(call()))
    for connection in held:
        await connection.close()
    assert (await storage.consume(call())).admitted
    await storage.aclose()


async def idle_in_transaction(dsn: str) -> int:
    async with stranger(dsn) as watcher:
        query = "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
        count: int = await watcher.fetchval(query)
        return count


async def test_cancelled_callers_are_charged_wholly_or_not_at_all(dsn: str) -> None:
    """L8, F35: who is cancelled never learns of a charge, and so has none; the pool stays whole."""
    # Patient: 300 walls at once on five connections may take a busy machine longer than an answer may.
    storage = PostgresStorage(dsn, timeout=timedelta(seconds=20))
    await storage.start()
    answered = 0
    clock = ManualClock()

    async def one(turn: int, number: int) -> None:
        nonlocal answered
        with anyio.move_on_after(number % 100 * 0.001):
            await storage.consume(call(UNLIMITED))
            answered += 1  # who was cancelled does not come here
            await storage.open_wall(wall(clock, f"{turn}-{number}"), (draft(f"{turn}-{number}"),))

    for turn in range(10):
        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(one, turn, number)
    assert 0 < answered < 3000
    assert await used(storage, UNLIMITED) == answered
    assert await idle_in_transaction(dsn) == 0
    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(storage.consume, call())
    await storage.aclose()


async def test_tasks_that_asyncio_cancels(storage: PostgresStorage, dsn: str) -> None:
    """No shield holds against this. What becomes of the call is open, what becomes of the pool is not."""
    answered = 0

    async def one(asked: Consume) -> None:
        nonlocal answered
        await storage.consume(asked)
        answered += 1
        await storage.get_wall("w1")

    for _ in range(10):
        tasks = [asyncio.ensure_future(one(call(UNLIMITED))) for _ in range(200)]
        for number, task in enumerate(tasks):
            if number % 10 == 0:
                await asyncio.sleep(0.001)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert answered <= await used(storage, UNLIMITED) <= 2000
    assert await idle_in_transaction(dsn) == 0
    with anyio.fail_after(2):
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(storage.consume, call())


async def test_a_refusal_is_recorded_within_the_time_it_is_given(storage: PostgresStorage, dsn: str) -> None:
    clock = ManualClock()
    async with stranger(dsn) as lock, lock.transaction():
        await lock.execute("LOCK TABLE skene_walls IN SHARE MODE")
        began = anyio.current_time()
        with pytest.raises(StorageUnavailable):
            await storage.open_wall(wall(clock), (), within=timedelta(seconds=0.3))
        assert 0.2 < anyio.current_time() - began < 1.2
    assert await storage.open_wall(wall(clock), (), within=timedelta(seconds=5)) == "w1"


async def test_whoever_is_frozen_in_a_transaction_holds_up_nobody_for_long(dsn: str) -> None:
    """Its locks are let go of while it still stands there, as a paused container would."""
    storage = PostgresStorage(dsn)
    await storage.consume(call())
    locked = sa.text("SELECT FROM skene_usage FOR UPDATE")
    waited: list[float] = []

    async def lock() -> None:
        async with stranger(dsn) as other:
            began = anyio.current_time()
            await other.execute("SELECT FROM skene_usage FOR UPDATE")
            waited.append(anyio.current_time() - began)

    def freeze(connection: sa.Connection, now: object) -> None:
        connection.execute(locked)
        thread = Thread(target=anyio.run, args=(lock,))
        thread.start()
        thread.join(10)  # all of this process's event loop stands still

    with suppress(StorageUnavailable):
        await storage._write(freeze)  # pyright: ignore[reportPrivateUsage] - no verb freezes
    assert 1.0 < waited[0] < 4.0
    await storage.aclose()

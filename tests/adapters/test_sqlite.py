"""SqliteStorage keeps the contract of a storage, on both event loops, and what it promises beside."""

import math
import os
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest

from skene.adapters.sql.migrate import KNOWN
from skene.adapters.sqlite import SqliteStorage
from skene.errors import ConfigurationError, SchemaOutdated, StorageUnavailable
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory
from skene.testing.conformance.base import call, charge, draft, used, wall
from skene.testing.conformance.concurrency import ConcurrencyConformance
from skene.testing.conformance.delivery import ClaimConformance
from skene.testing.conformance.returns import RefundConformance
from skene.testing.conformance.rushes import RushConformance
from tests.support.extent import FULL
from tests.support.sqlite_files import connected, prepared, rows_in
from tests.support.sqlite_locks import write_lock

pytestmark = pytest.mark.anyio


class Files:
    """What the suite needs of a storage in files."""

    @pytest.fixture
    async def storage(self, tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStorage]:
        storage = SqliteStorage(prepared(tmp_path / "skene.db"), clock=clock)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    async def storage_factory(self, tmp_path: Path) -> AsyncIterator[StorageFactory]:
        async with AsyncExitStack() as stack:

            async def open_one() -> SqliteStorage:
                storage = SqliteStorage(prepared(tmp_path / "shared.db"))
                await storage.start()
                stack.push_async_callback(storage.aclose)
                return storage

            yield open_one


class TestSqliteStorage(Files, StorageConformance):
    pass


class FilesOnTrio(Files):
    @pytest.fixture
    def anyio_backend(self) -> str:
        return "trio"


class TestSqliteStorageOnTrio(
    FilesOnTrio, ConcurrencyConformance, RushConformance, RefundConformance, ClaimConformance
):
    """Where tasks meet, wait for each other or are cancelled; the rest knows nothing of event loops."""


if FULL:

    class TestSqliteStorageWhollyOnTrio(FilesOnTrio, StorageConformance):
        pass


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skene.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path)
    await storage.start()
    yield storage
    await storage.aclose()


@pytest.mark.parametrize("name", [":memory:", "", "file::memory:?cache=shared", "file:x?mode=memory"])
def test_memory_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="MemoryStorage"):
        SqliteStorage(name)


async def test_what_was_counted_is_there_after_a_restart(path: Path) -> None:
    for _ in range(2):
        storage = SqliteStorage(path)
        await storage.start()
        await storage.start()
        await storage.consume(call())
        await storage.aclose()
        await storage.aclose()
    assert await used(storage) == 2  # the next use opens it again
    await storage.aclose()


async def test_a_refusal_writes_nothing_and_waits_for_no_writer(storage: SqliteStorage, path: Path) -> None:
    """L3."""
    await storage.consume(call(charge(1)))
    log = path.with_name(path.name + "-wal")
    before = log.stat()
    with write_lock(path), anyio.fail_after(5):
        for _ in range(1000):
            assert not (await storage.consume(call(charge(1)))).admitted
            assert not (await storage.consume(call(charge(0), subject="new"))).admitted
            assert not (await storage.consume(call(charge(1), subject="ada", key="k"))).admitted
    after = log.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)


async def test_a_busy_file_is_unavailable_in_time(storage: SqliteStorage, path: Path) -> None:
    """Decision 28, F11: within 2 s, however many wait."""
    await storage.consume(call())
    failed = 0

    async def one(number: int) -> None:
        nonlocal failed
        verb = (
            partial(storage.open_wall, wall(ManualClock()), (draft(),))
            if number % 2
            else partial(storage.consume, call())
        )
        with pytest.raises(StorageUnavailable):
            await verb()
        failed += 1

    started = anyio.current_time()
    with write_lock(path), anyio.fail_after(3.2):
        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(one, number)
        assert anyio.current_time() - started < 2.2
        began = anyio.current_time()
        with pytest.raises(StorageUnavailable):
            await storage.open_wall(wall(ManualClock()), (), within=timedelta(seconds=0.2))
        assert anyio.current_time() - began < 1
    assert failed == 20
    assert await used(storage) == 1
    assert (await storage.consume(call())).admitted


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_cancelled_callers_are_charged_wholly_or_not_at_all(path: Path, backend: str) -> None:
    """L8, F35: who is cancelled never learns of a charge, and so has none."""

    async def storm() -> None:
        storage = SqliteStorage(path)
        await storage.start()
        answered = 0

        async def one(patience: float) -> None:
            nonlocal answered
            with anyio.move_on_after(patience):
                await storage.consume(call(charge(None)))
                answered += 1  # who was cancelled does not come here

        async with anyio.create_task_group() as group:
            for number in range(300):
                group.start_soon(one, (math.inf, 0.0, number * 0.0002)[number % 3])
        assert await used(storage, charge(None)) == answered
        assert 0 < answered < 300
        await storage.aclose()

    anyio.run(storm, backend=backend)


def test_one_storage_in_several_event_loops(path: Path) -> None:
    storage = SqliteStorage(path)

    async def count() -> None:
        assert (await storage.consume(call())).admitted

    for backend in ("asyncio", "trio", "asyncio"):
        anyio.run(count, backend=backend)
    threads = [threading.Thread(target=anyio.run, args=(count,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted: list[int] = []

    async def look() -> None:
        counted.append(await used(storage))
        await storage.aclose()

    anyio.run(look)
    assert counted == [7]


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")  # at rest it has no part in it
def test_a_forked_child_opens_the_file_for_itself(path: Path) -> None:
    """F42."""
    storage = SqliteStorage(path)

    async def count() -> None:
        assert (await storage.consume(call())).admitted

    anyio.run(count)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            anyio.run(count)
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    anyio.run(count)
    rows = rows_in(path, "SELECT used FROM skene_usage")
    assert rows == [(3,)]
    anyio.run(storage.aclose)


CONSUME_200 = """
import sys, anyio
from skene.adapters.sqlite import SqliteStorage
from skene.testing.conformance.base import call

async def main():
    storage = SqliteStorage(sys.argv[1])
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


def test_two_processes_admit_exactly_the_limit_together(path: Path) -> None:
    """L1, decision 3; neither process finds the file there."""
    command = [sys.executable, "-c", CONSUME_200, str(path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    admitted = [int(process.communicate(timeout=60)[0]) for process in both]
    assert sum(admitted) == 100


async def test_missing_tables_are_named(path: Path) -> None:
    storage = SqliteStorage(path, migrate=False)
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await storage.start()
    assert await storage.migrate() == list(KNOWN)
    assert await storage.migrate() == []
    await storage.start()
    await storage.consume(call())
    with connected(path) as stranger:
        stranger.execute("DROP TABLE skene_schema_version")
        stranger.execute("DROP TABLE skene_usage")
    with pytest.raises(SchemaOutdated, match="skene db upgrade"):
        await storage.consume(call())
    await storage.aclose()


async def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"unable to open .* \(there is no folder .*nowhere\)"):
        await SqliteStorage(tmp_path / "nowhere" / "skene.db").start()


async def test_a_path_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable, match=r"\(it is a folder\)"):
        await SqliteStorage(tmp_path).start()


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write to")
async def test_a_folder_that_takes_no_files() -> None:
    with pytest.raises(StorageUnavailable, match=r"\(the file, or its folder, cannot be written to\)"):
        await SqliteStorage("/proc/skene.db").start()


async def test_a_file_that_is_no_database(path: Path) -> None:
    path.write_text("Dear diary, " * 500)
    with pytest.raises(StorageUnavailable, match="not a database"):
        await SqliteStorage(path).start()


async def test_the_file_can_be_read_by_people(storage: SqliteStorage, path: Path) -> None:
    await storage.consume(call())
    row = rows_in(path, "SELECT subject, used, window_start FROM skene_usage")[0]
    assert row[:2] == ("ada", 1)
    assert len(row[2]) == 27
    assert row[2].endswith("Z")
    assert rows_in(path, "SELECT datetime(?)", (row[2],))[0][0] is not None


async def test_finished_windows_go_to_the_history(path: Path) -> None:
    clock = ManualClock()
    storage = SqliteStorage(path, clock=clock)
    first = await storage.consume(call())
    clock.advance("30d")
    await storage.consume(call())
    receipt = first.tallies[0].receipt
    assert receipt is not None
    rows = "SELECT used FROM skene_usage_history"
    assert rows_in(path, rows) == [(1,)]
    await storage.refund("ada", (receipt,))  # past windows included
    assert rows_in(path, rows) == [(0,)]
    assert await used(storage) == 1
    await storage.aclose()

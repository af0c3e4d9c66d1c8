"""SQLite decides calls that came together in one transaction: as it would have one after the other."""

import asyncio  # noqa: TID251 - cancelling from outside anyio is what is tested
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import TaskGroup

from skene.adapters.sqlite import SqliteStorage, counting
from skene.adapters.sqlite.database import Database
from skene.adapters.sqlite.flight import Asked, GivenBack
from skene.errors import IdempotencyConflict, StorageUnavailable
from skene.ports.counters import Consume, Counted
from skene.testing.conformance.base import call, charge, used
from tests.support.sqlite_files import connected, rows_in
from tests.support.sqlite_locks import write_lock

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "skene.db"


@pytest.fixture
async def storage(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path)
    await storage.start()
    yield storage
    await storage.aclose()


@asynccontextmanager
async def held_up(storage: SqliteStorage) -> AsyncIterator[TaskGroup]:
    """What is started in here waits for the file until the end, and so goes together."""
    gate = threading.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(storage._writer.alone, lambda: gate.wait(10), 10)
        await anyio.wait_all_tasks_blocked()
        yield tasks
        await anyio.wait_all_tasks_blocked()
        gate.set()


async def at_once(storage: SqliteStorage, *calls: Consume) -> list[Counted | Exception]:
    """The answers to calls that go together in this order."""
    answers: dict[int, Counted | Exception] = {}

    async def one(number: int) -> None:
        try:
            answers[number] = await storage.consume(calls[number])
        except (IdempotencyConflict, StorageUnavailable, ValueError, sqlite3.Error) as error:
            answers[number] = error

    async with held_up(storage) as tasks:
        for number in range(len(calls)):
            tasks.start_soon(one, number)
    return [answers[number] for number in range(len(calls))]


def admitted(answers: list[Counted | Exception]) -> list[bool | type[Exception]]:
    return [answer.admitted if isinstance(answer, Counted) else type(answer) for answer in answers]


def statements(storage: SqliteStorage) -> Counter[str]:
    """How often each statement runs from now on, by its first two words."""
    seen: Counter[str] = Counter()
    db = storage._database._db
    assert db is not None
    db.set_trace_callback(lambda sql: seen.update([" ".join(sql.split()[:2])]))
    return seen


async def test_calls_at_once_share_a_commit(storage: SqliteStorage) -> None:
    seen = statements(storage)
    answers = await at_once(storage, *[call(subject=f"s{n % 50}") for n in range(200)])
    assert admitted(answers) == [True] * 200
    assert seen["COMMIT"] == 1
    assert seen["INSERT INTO"] == 50  # each counter once, whoever it was charged by
    seen.clear()
    for n in range(20):  # the control: one after the other
        await storage.consume(call(subject=f"s{n}"))
    assert seen["COMMIT"] == 20


async def test_a_burst_without_any_help_shares_commits(storage: SqliteStorage) -> None:
    seen = statements(storage)
    async with anyio.create_task_group() as tasks:
        for n in range(400):
            tasks.start_soon(storage.consume, call(charge(None), subject=f"s{n}"))
    assert 1 <= seen["COMMIT"] <= 40


async def test_those_that_came_first_are_served_first(storage: SqliteStorage) -> None:
    await storage.consume(call(charge(10, cost=5)))
    calls = [call(charge(10, cost=cost)) for cost in (2, 4, 3, 1)]
    calls.insert(2, call(charge(10), subject="bob"))
    answers = await at_once(storage, *calls)
    assert admitted(answers) == [True, False, True, True, False]
    told = [answer.tallies[0].used for answer in answers if isinstance(answer, Counted)]
    assert told == [7, 7, 1, 10, 10]  # each sees what those before it have taken
    assert await used(storage, charge(10)) == 10


async def test_a_bad_call_fails_alone(storage: SqliteStorage, path: Path) -> None:
    """Whether it is found out while looking, while reading all rows at once, or while writing."""
    for subject in ("spoilt", "guarded"):
        await storage.consume(call(subject=subject))
    await storage.consume(call(key="k"))
    with connected(path) as stranger:
        stranger.execute("UPDATE skene_usage SET notices = '[' WHERE subject = 'spoilt'")
        stranger.execute(
            "CREATE TRIGGER guard BEFORE UPDATE ON skene_usage WHEN NEW.subject = 'guarded'"
            " BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
    good = [call(subject=f"s{n}") for n in range(4)]
    conflict = call(key="k", fingerprint="another")
    cases: list[tuple[Consume, type[Exception]]] = [
        (conflict, IdempotencyConflict),
        (call(subject="spoilt"), ValueError),
        (call(subject="lone \ud800 surrogate"), UnicodeEncodeError),
        (call(subject="guarded"), sqlite3.IntegrityError),
        (call(charge(), charge(meter="m"), key="k2", subject="guarded"), sqlite3.IntegrityError),
    ]
    for number, (bad, error) in enumerate(cases, 1):
        *answers, last = await at_once(storage, *good[:2], bad, *good[2:], call(key="k"))
        assert isinstance(answers[2], error)
        assert admitted([*answers[:2], *answers[3:]]) == [True] * 4
        assert isinstance(last, Counted)
        assert last.replayed
        assert [await used(storage, subject=f"s{n}") for n in range(4)] == [number] * 4
    assert await used(storage, charge(meter="m"), subject="guarded") == 0  # nothing of it was kept


async def test_what_is_wrong_with_the_file_is_told_to_everybody(
    storage: SqliteStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise sqlite3.OperationalError("no")

    monkeypatch.setattr(counting, "wall", broken)
    answers = await at_once(storage, call(), call(charge(0), subject="zoe"), call(subject="new"))
    assert admitted(answers) == [sqlite3.OperationalError] * 3
    assert await used(storage) == 0


async def test_refusals_do_not_wait_for_those_who_need_the_lock(storage: SqliteStorage, path: Path) -> None:
    """Neither those in the same transaction, nor those that come after it."""
    await storage.consume(call(charge(1)))
    answers: list[str] = []

    async def one(name: str, asked: Consume) -> None:
        counted = await storage.consume(asked)
        answers.append(f"{name} {counted.admitted}")
        refused.set() if not counted.admitted else None

    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            with write_lock(path):
                for asked in (call(charge(1)), call(charge(1), key="k")):
                    refused = anyio.Event()
                    tasks.start_soon(one, "new", call(subject="new"))
                    tasks.start_soon(one, "full", asked)
                    await refused.wait()
                assert answers == ["full False"] * 2
    assert answers == ["full False"] * 2 + ["new True"] * 2
    assert await used(storage, subject="new") == 2


async def test_nobody_is_refused_for_a_charge_that_was_not_made(storage: SqliteStorage, path: Path) -> None:
    """L7: of two calls for the last unit both are unavailable when the file is."""
    with write_lock(path):
        answers = await at_once(storage, call(charge(1)), call(charge(1)))
    assert admitted(answers) == [StorageUnavailable] * 2
    assert await used(storage, charge(1)) == 0


@pytest.mark.parametrize("careless", [False, True])
async def test_what_another_process_writes_meanwhile_counts(
    storage: SqliteStorage, path: Path, monkeypatch: pytest.MonkeyPatch, careless: bool
) -> None:
    """L1: between the look and the writing. A store without transactions does not notice."""
    await storage.consume(call(charge(9)))
    if careless:
        monkeypatch.setattr(Database, "transaction", lambda *_: nullcontext())
    stranger, written = sqlite3.connect(path, check_same_thread=False), list[int]()

    def interfere(sql: str) -> None:
        if "INTO skene_usage" in sql and not written:
            with stranger:
                written.append(stranger.execute("UPDATE skene_usage SET used = 9").rowcount)

    db = storage._database._db
    assert db is not None
    db.set_trace_callback(interfere)
    counted = await storage.consume(call(charge(9)))
    assert written == [1]
    assert counted.admitted == careless
    db.set_trace_callback(None)
    assert await used(storage, charge(9)) == (2 if careless else 9)
    stranger.close()


Storm = Callable[[Callable[[], Awaitable[object]], int], Awaitable[None]]


async def _cancelled_twice(one: Callable[[], Awaitable[object]], number: int) -> None:
    task = asyncio.ensure_future(one())
    for pause in (number % 23 * 0.0003, number % 3 * 0.0003):
        await asyncio.sleep(pause)
        if number % 4:
            task.cancel()
    await asyncio.wait([task])


async def _timed_out(one: Callable[[], Awaitable[object]], number: int) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(one(), number % 23 * 0.0003 if number % 4 else 5)


@pytest.mark.parametrize("careless", [False, True])
@pytest.mark.parametrize("leave", [_cancelled_twice, _timed_out])
async def test_who_is_cancelled_by_asyncio_leaks_nothing(
    storage: SqliteStorage, leave: Storm, careless: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """L8, at every stage. A store that forgets those who have left does leak."""
    undo, undone, answered = Asked.undo, list[GivenBack](), 0

    def watched(asked: Asked) -> GivenBack | None:
        back = undo(asked)
        undone.extend([back] if back else [])
        return None if careless else back

    async def one() -> None:
        nonlocal answered
        await storage.consume(call(charge(None)))
        answered += 1

    monkeypatch.setattr(Asked, "undo", watched)
    with anyio.fail_after(60):
        while len(undone) < 5:  # cancelled when they were charged already
            async with anyio.create_task_group() as tasks:
                for number in range(400):
                    tasks.start_soon(leave, one, number)
    for _ in range(2):  # by the second look, all is known of those whose callers did not wait
        counted = await used(storage, charge(None))
    assert counted == answered + (len(undone) if careless else 0)


async def test_beyond_4096_waiting_calls_are_turned_away_at_once(storage: SqliteStorage) -> None:
    answers = await at_once(storage, *[call(charge(None), subject=f"s{n % 9}") for n in range(4100)])
    assert admitted(answers) == [True] * 4096 + [StorageUnavailable] * 4


LOAD = """
import sys, anyio
from skene.adapters.sqlite import SqliteStorage, counting
from skene.testing.conformance.base import call, charge

async def main():
    storage = SqliteStorage(sys.argv[1])
    limit = int(sys.argv[2]) or None
    admitted = 0
    async def one(number):
        nonlocal admitted
        counted = await storage.consume(call(charge(limit), subject=f"s{number % 20}"))
        admitted += counted.admitted
    for _ in range(5):
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(one, number)
    print(admitted)
    await storage.aclose()

anyio.run(main)
"""


@pytest.mark.parametrize(("limit", "expected"), [(60, 1200), (0, 2000)])
def test_two_processes_count_exactly(path: Path, limit: int, expected: int) -> None:
    """L1, L2: bursts on 20 subjects, at a limit and without one; and nobody is turned away."""
    command = [sys.executable, "-c", LOAD, str(path), str(limit)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [int(process.communicate(timeout=120)[0]) for process in both]
    assert sum(answers) == expected
    rows = rows_in(path, "SELECT used FROM skene_usage")
    assert rows == [(expected // 20,)] * 20


MORTAL = """
import os, sys, anyio
from contextlib import contextmanager
from skene.adapters.sqlite import SqliteStorage, counting
from skene.adapters.sqlite.database import Database
from skene.testing.conformance.base import call, charge

@contextmanager
def seldom(self, db, begin):
    if not db.in_transaction:
        db.execute(begin)
    yield

async def main():
    storage = SqliteStorage(sys.argv[1])
    await storage.start()
    if sys.argv[2] == "careless":
        Database.transaction = seldom
    async def caller(number):
        while True:
            await storage.consume(call(charge(None), subject=f"s{number}"))
            os.write(1, b".")
    async with anyio.create_task_group() as tasks:
        for number in range(32):
            tasks.start_soon(caller, number)

anyio.run(main)
"""


@pytest.mark.parametrize("careless", [False, True])
def test_what_was_acknowledged_survives_a_kill(path: Path, careless: bool) -> None:
    """L2, L10: 32 callers in the midst of it. A store that answers before it commits loses calls."""
    command = [sys.executable, "-c", MORTAL, str(path), "careless" if careless else ""]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        acknowledged = len(process.stdout.read(500))
        process.kill()
        acknowledged += len(process.stdout.read())
    rows: list[Any] = rows_in(path, "SELECT coalesce(sum(used), 0) FROM skene_usage")
    if careless:
        assert rows[0][0] < acknowledged
    else:
        assert acknowledged <= rows[0][0] <= acknowledged + 32

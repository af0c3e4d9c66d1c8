"""skene's work under the real pgqueuer, on its real tables."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import anyio
import anyio.lowlevel
import asyncpg
import pytest
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.types import QueueExecutionMode

from skene import Skene, action, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.adapters.pgqueuer import PgQueuerRunner
from skene.adapters.postgres import PostgresStorage
from skene.errors import ConfigurationError, StorageUnavailable
from skene.ports.notifier import Body
from skene.ports.outbox import MessageState
from tests.runtime.shop import Post, freemium, profile
from tests.support.processes import ROOT

PATIENCE = 30


class Counting(Post):
    """A mail provider that counts attempts, and says when it has had enough of them."""

    def __init__(self, enough: int) -> None:
        super().__init__()
        self.enough = enough
        self.done = anyio.Event()

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        number = await super().send(body, idempotency_key=idempotency_key)
        if len(self.attempts) >= self.enough:
            self.done.set()
        return number


def make(dsn: str, mail: Post) -> Skene:
    """One process's skene, whose own worker stands still."""
    storage = PostgresStorage(dsn)
    return Skene(freemium(1), storage=storage, notifiers={"mail": mail}, profile=profile, worker=False)


async def ask(dsn: str, count: int) -> None:
    """Put as many prompts into the outbox, as an app does."""
    async with make(dsn, Post()) as app:
        for number in range(count):
            for _ in range(2):
                await app.consume(f"user-{number}", "calls")


@pytest.fixture
async def connect(postgres: str) -> AsyncIterator[Callable[[], Awaitable[Any]]]:
    """Connections to a database with both sets of tables."""
    opened: list[Any] = []

    async def open_one() -> Any:
        opened.append(await asyncpg.connect(postgres))
        return opened[-1]

    queries = Queries(AsyncpgDriver(await open_one()))
    if not await queries.schema_is_installed():  # by the test before
        await queries.install()
    await queries.clear_queue()
    yield open_one
    for one in opened:
        await one.close()


@asynccontextmanager
async def worker(runner: PgQueuerRunner, connection: Any) -> AsyncIterator[PgQueuer]:
    """A pgqueuer worker at work."""
    queues = PgQueuer(AsyncpgDriver(connection))
    runner.install(queues)
    async with anyio.create_task_group() as group:
        group.start_soon(queues.run)
        try:
            yield queues
        finally:
            queues.shutdown.set()


async def states(dsn: str) -> dict[MessageState, int]:
    async with make(dsn, Post()) as app:
        return dict(await app.storage.outbox_counts())


async def test_two_workers_send_fifty_messages_each_once(postgres: str, connect: Any) -> None:
    await ask(postgres, 50)
    mail = Counting(50)
    one, two = make(postgres, mail), make(postgres, mail)
    first, second = (PgQueuerRunner(skene, every=timedelta(seconds=1)) for skene in (one, two))
    async with one, two:
        with anyio.fail_after(PATIENCE):
            async with worker(first, await connect()), worker(second, await connect()):
                assert await first.wake()
                await mail.done.wait()
    assert Counter(key for key, _ in mail.attempts).most_common(1)[0][1] == 1
    assert len(mail.sent) == len(mail.attempts) == 50
    assert await states(postgres) == {MessageState.SENT: 50}


async def test_the_schedule_alone_finds_what_is_due(postgres: str, connect: Any) -> None:
    await ask(postgres, 3)
    mail = Counting(3)
    async with make(postgres, mail) as skene:
        with anyio.fail_after(PATIENCE):
            async with worker(PgQueuerRunner(skene, every=timedelta(seconds=1)), await connect()):
                await mail.done.wait()
    assert await states(postgres) == {MessageState.SENT: 3}


async def test_what_the_app_tells_of_becomes_a_message_there(postgres: str, connect: Any) -> None:
    welcome = define_loop(
        type="activation",
        steps=[step(trigger=trigger.event("project.created"), action=action.email("activation_welcome"))],
    )

    def process(mail: Post) -> Skene:
        storage = PostgresStorage(postgres)
        return Skene(welcome, storage=storage, notifiers={"mail": mail}, profile=profile, worker=False)

    mail = Counting(1)
    async with process(Post()) as app, process(mail) as there:
        assert await app.emit("project.created", "ada", {"project": "Apollo"}) == 1
        runner = PgQueuerRunner(there)
        with anyio.fail_after(PATIENCE):
            async with worker(runner, await connect()):
                await runner.wake()
                await mail.done.wait()
    assert [sent.to for sent in mail.sent] == ["ada@acme.test"]


@pytest.mark.parametrize("through", ["connection", "pool", "acquired", "queries"])
async def test_another_process_can_wake_a_worker(postgres: str, connect: Any, through: str) -> None:
    await ask(postgres, 2)
    mail = Counting(2)
    async with make(postgres, mail) as skene, asyncpg.create_pool(postgres, min_size=1, max_size=2) as pool:
        here = PgQueuerRunner(skene, every=timedelta(seconds=60))
        app = PgQueuerRunner(make(postgres, Post()))
        with anyio.fail_after(PATIENCE):
            async with worker(here, await connect()):
                if through == "acquired":
                    async with pool.acquire() as acquired:
                        assert await app.enqueue(acquired)
                else:
                    other = await connect()
                    ways = {"connection": other, "pool": pool, "queries": Queries(AsyncpgDriver(other))}
                    assert await app.enqueue(ways[through])
                await mail.done.wait()


KILLED = """
import anyio, asyncpg, sys
from pgqueuer import AsyncpgDriver, PgQueuer
from skene.adapters.pgqueuer import PgQueuerRunner
from tests.adapters.test_pgqueuer import make
from tests.runtime.shop import Post

class Hanging(Post):
    async def send(self, body, *, idempotency_key):
        print(idempotency_key, flush=True)
        await anyio.sleep_forever()

async def main(dsn):
    runner = PgQueuerRunner(make(dsn, Hanging()))
    queues = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn)))
    runner.install(queues)
    await runner.wake()
    await queues.run()

anyio.run(main, sys.argv[1])
"""


async def test_what_a_killed_worker_had_in_hand_is_finished_by_another(postgres: str, connect: Any) -> None:
    await ask(postgres, 5)
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, postgres], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True
    )
    assert killed.stdout is not None
    with killed, killed.stdout as printed:
        key = (await anyio.to_thread.run_sync(printed.readline)).strip()
        killed.send_signal(signal.SIGKILL)
    assert key.startswith("skene-upgrade_prompt:")
    mine = await connect()
    assert await mine.fetchval("SELECT count(*) FROM pgqueuer WHERE status = 'picked'") == 1
    assert await mine.fetchval("SELECT count(*) FROM skene_outbox WHERE state = 'claimed'") == 5
    # Thirty seconds pass: the leases end.
    await mine.execute("UPDATE skene_outbox SET due_at = now() WHERE state = 'claimed'")
    mail = Counting(5)
    async with make(postgres, mail) as skene:
        runner = PgQueuerRunner(skene)
        with anyio.fail_after(PATIENCE):
            async with worker(runner, await connect()):
                assert await runner.wake()  # the job of the dead one keeps nobody from looking
                await mail.done.wait()
    assert key in {attempt for attempt, _ in mail.attempts}
    assert await states(postgres) == {MessageState.SENT: 5}


class Failing:
    """A skene whose work fails as it is told to."""

    def __init__(self, *outcomes: Exception | int) -> None:
        self.outcomes = [*outcomes]
        self.started = self.pruned = self.looked = 0
        self.done = anyio.Event()
        skene = Skene(storage=MemoryStorage(), worker=False)
        self.worker, self.storage, self.clock = self, self, skene.clock

    async def start(self) -> None:
        self.started += 1

    async def prune(self) -> int:
        self.pruned += 1
        return 0

    async def work_once(self) -> int:
        self.looked += 1
        outcome = self.outcomes.pop(0) if self.outcomes else 0
        if not self.outcomes:
            self.done.set()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


async def test_it_works_until_nothing_is_due_and_calls_one_to_help() -> None:
    skene = Failing(10, 10, 3)
    queues = PgQueuer.in_memory()
    runner = PgQueuerRunner(skene)
    runner.install(queues)
    assert await runner.wake()
    with anyio.fail_after(PATIENCE):
        await queues.qm.run(mode=QueueExecutionMode.drain)
    assert skene.looked == 5  # three times with something to do, and each of two jobs once in vain
    assert (skene.started, skene.pruned) == (1, 1)


async def test_an_error_ends_neither_the_worker_nor_its_log(caplog: pytest.LogCaptureFixture) -> None:
    queues = PgQueuer.in_memory()
    away, odd = StorageUnavailable("away"), RuntimeError("odd")
    skene = Failing(away, away, odd, 0, odd)
    runner = PgQueuerRunner(skene, parallel=1)
    runner.install(queues)
    with anyio.fail_after(PATIENCE), caplog.at_level("INFO"):
        async with anyio.create_task_group() as group:
            group.start_soon(queues.qm.run)
            while not skene.done.is_set():
                await runner.wake()
                await anyio.lowlevel.checkpoint()
            queues.shutdown.set()
    told = [record.getMessage() for record in caplog.records if record.name == "skene"]
    assert told == ["work under pgqueuer failed: away", "work under pgqueuer failed: RuntimeError"]
    assert not [record for record in caplog.records if record.name != "skene" and record.levelname == "ERROR"]


async def test_no_more_jobs_than_allowed_wait_at_once() -> None:
    queues = PgQueuer.in_memory()
    runner = PgQueuerRunner(Failing(), parallel=3)
    runner.install(queues)
    assert [await runner.wake() for _ in range(5)] == [True, True, True, False, False]


async def test_one_job_does_not_go_on_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter(range(1000))
    monkeypatch.setattr(anyio, "current_time", lambda: next(times))
    skene = Failing(*[1] * 500)
    runner = PgQueuerRunner(skene, at_most=timedelta(seconds=10))
    await runner._work(PgQueuer.in_memory())
    assert skene.looked == 9


async def test_a_worker_that_is_told_to_stop_begins_nothing() -> None:
    queues = PgQueuer.in_memory()
    skene = Failing(1, 1)
    queues.shutdown.set()
    await PgQueuerRunner(skene)._work(queues)
    assert skene.looked == 0


async def test_waking_needs_a_queue_and_names_are_taken_once() -> None:
    runner = PgQueuerRunner(Failing())
    with pytest.raises(RuntimeError, match="install"):
        await runner.wake()
    queues = PgQueuer.in_memory()
    runner.install(queues)
    with pytest.raises(RuntimeError, match="skene"):
        runner.install(queues)
    PgQueuerRunner(Failing(), name="growth").install(queues)


@pytest.mark.parametrize(
    ("every", "expression"), [(1, "* * * * * */1"), (15, "* * * * * */15"), (60, "* * * * *")]
)
async def test_the_schedule_is_as_often_as_asked_for(every: int, expression: str) -> None:
    queues = PgQueuer.in_memory()
    PgQueuerRunner(Failing(), every=timedelta(seconds=every)).install(queues)
    (schedule,) = queues.sm.registry.values()
    assert schedule.parameters.expression == expression
    assert schedule.next_in() <= timedelta(seconds=every)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"every": timedelta(seconds=7)}, "every"),
        ({"every": timedelta(milliseconds=500)}, "every"),
        ({"every": 2}, "every"),
        ({"parallel": 0}, "parallel"),
        ({"parallel": True}, "parallel"),
        ({"parallel": 101}, "parallel"),
        ({"at_most": timedelta(0)}, "at_most"),
        ({"name": " "}, "name"),
    ],
)
async def test_settings_that_cannot_work_are_named(settings: Any, path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        PgQueuerRunner(Failing(), **settings)
    assert [fault.path for fault in caught.value.faults] == [f"PgQueuerRunner.{path}"]


async def test_without_pgqueuer_the_line_to_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skene.adapters.pgqueuer.find_spec", lambda name: None)
    with pytest.raises(ConfigurationError, match=r'pip install "skene-sdk\[pgqueuer\]"'):
        PgQueuerRunner(Failing())


def test_its_import_loads_neither_pgqueuer_nor_asyncpg() -> None:
    code = (
        "import sys, skene.adapters.pgqueuer; sys.exit('pgqueuer' in sys.modules or 'asyncpg' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

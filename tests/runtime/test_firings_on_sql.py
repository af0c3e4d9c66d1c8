"""The whole way of a firing on real databases: rows, queries, waits, ticks, goals, several workers."""

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import pytest

import skene.runtime.scanning as scanning
from skene import Loop, MailPolicy, Skene, action, condition, step, trigger
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.ports.firings import Outcome
from skene.testing.clock import ManualClock
from tests.runtime.reacting import loop, mail
from tests.runtime.shop import Post, freemium, profile
from tests.support.postgres import PostgresAddress
from tests.support.sql_stores import PATIENT
from tests.support.sqlite_files import connected

IDLE = "SELECT id FROM users WHERE idle ORDER BY id"
STARTED = "SELECT name FROM projects WHERE owner = $1"
PEOPLE = ["bob", "cleo", "dan", "eve", "finn"]
TABLES = [
    "CREATE TABLE users (id TEXT PRIMARY KEY, idle BOOLEAN NOT NULL)",
    "CREATE TABLE projects (owner TEXT NOT NULL, name TEXT NOT NULL)",
    *[f"INSERT INTO users VALUES ('{who}', true)" for who in PEOPLE],
]


class Database:
    """A database with the app's tables and skene's, and the processes that work on it."""

    def __init__(self, execute: Callable[[str], Any], storage: Callable[[ManualClock], Any]) -> None:
        self.execute = execute
        self.storage = storage
        self.clock = ManualClock()
        self.mail = Post()
        self.stack = AsyncExitStack()
        for statement in TABLES:
            execute(statement)

    async def process(self, *loops: Loop, **options: Any) -> Skene:
        made = Skene(
            *loops,
            storage=self.storage(self.clock),
            notifiers={"mail": self.mail},
            clock=self.clock,
            profile=profile,
            **options,
        )
        return await self.stack.enter_async_context(made)

    def got(self) -> list[tuple[str, str]]:
        return sorted((one.to.removesuffix("@acme.test"), one.template) for one in self.mail.sent)


@pytest.fixture(params=["sqlite", "postgres"])
async def database(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Database]:
    if request.param == "sqlite":
        path = tmp_path / "app.db"

        def execute(statement: str) -> None:
            with connected(path) as connection:
                connection.execute(statement)
            connection.close()

        made = Database(execute, lambda clock: SqliteStorage(path, clock=clock))
    else:
        dsn: str = request.getfixturevalue("postgres_dsn")
        server: PostgresAddress = request.getfixturevalue("postgres_server")
        name = urlsplit(dsn).path.removeprefix("/")
        made = Database(
            lambda statement: server.execute(statement, name),
            lambda clock: PostgresStorage(dsn, clock=clock, migrate=True, timeout=PATIENT),
        )
    async with made.stack:
        yield made


async def test_a_row_that_is_waited_for_a_chain_and_its_goal(database: Database) -> None:
    activation = loop(
        step(
            trigger=trigger.event("signed.up"),
            condition=condition.query(STARTED, timeout="1h"),
            action=[mail(), action.grant(5)],
            then="1d",
        ),
        step(action=mail("re_engagement")),
        goal=condition.query("SELECT 1 AS one FROM users WHERE id = $1 AND NOT idle"),
    )
    skene = await database.process(activation, freemium())
    for who in ("ada", "bob"):
        await skene.emit("signed.up", who, {"team": "Blue"}, idempotency_key="k")
        await skene.emit("signed.up", who, idempotency_key="k")
    await skene.worker.drain()
    assert database.got() == []
    for who in ("ada", "bob"):
        database.execute(f"INSERT INTO projects VALUES ('{who}', 'Plans')")
    database.clock.advance("1m")
    await skene.worker.drain()
    assert database.got() == [("ada", "activation_welcome"), ("bob", "activation_welcome")]
    assert [one.units for one in await skene.grants("ada")] == [5]
    database.execute("UPDATE users SET idle = false WHERE id = 'bob'")
    database.clock.advance("11m")
    await skene.worker.drain()
    database.clock.advance("1d")
    later = await database.process(activation, freemium())  # after a restart
    await later.worker.drain()
    assert database.got()[1:] == [("ada", "re_engagement"), ("bob", "activation_welcome")]
    (row,) = [one for one in await later.funnel() if one.loop == "activation"]
    assert (row.journeys, row.goals, row.prompts) == (2, 1, 2)
    assert [one.reason for one in await later.log(subject="bob", outcome=Outcome.STOPPED)] == [
        "the goal is reached"
    ]


async def test_several_workers_a_tick_in_batches_a_cap_and_a_change_of_plan(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scanning, "BATCH", 2)
    daily = step(
        trigger=trigger.schedule("0 13 * * *"), condition=condition.query(IDLE), action=mail("re_engagement")
    )
    changed = step(
        trigger=trigger.event("plan.changed"), condition=condition.plan(changed_to="free"), action=mail()
    )
    loops = loop(daily, name="retention"), loop(changed, name="churn"), freemium()
    policy = MailPolicy(cap=(1, "7d"))
    several = [await database.process(*loops, mail=policy) for _ in range(3)]
    until = database.clock.now() + timedelta(minutes=90)
    await several[0].set_plan("bob", "paid", until=until, paying=False)

    async def all_work() -> None:
        async with anyio.create_task_group() as tasks:
            for one in several:
                tasks.start_soon(one.worker.drain)

    await all_work()
    database.clock.advance("1h")
    await all_work()
    assert database.got() == [(who, "re_engagement") for who in PEOPLE]
    database.clock.advance("30m")
    await all_work()
    heard = [(one.loop, one.outcome) for one in await several[0].log(subject="bob")]
    assert heard == [("churn", Outcome.ACTED), ("retention", Outcome.ACTED), ("churn", Outcome.NOT_MET)]
    assert len(database.got()) == 5  # the cap
    database.clock.advance("23h45m")
    await all_work()
    assert len(database.got()) == 5  # the same episode
    ticks = await several[0].log(loop="retention", outcome=Outcome.SCANNED)
    assert [one.reason for one in ticks] == ["5 rows, 0 acted upon", "5 rows, 5 acted upon"]
    database.clock.advance("7d")
    await all_work()
    assert ("bob", "activation_welcome") in database.got()

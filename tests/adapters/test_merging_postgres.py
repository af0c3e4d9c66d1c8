"""Merging while others count, in PostgreSQL: no unit is lost or doubled, and no table read as a whole."""

from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import anyio
import asyncpg
import pytest

from skene.adapters.postgres import PostgresStorage
from skene.engine.window import Rolling
from skene.ports.counters import Charge
from skene.ports.grants import Grant
from skene.testing.conformance.base import MONTH, call, charge, gather, used
from tests.support.sql_stores import PATIENT, Statements

pytestmark = pytest.mark.anyio

VISITOR, USER = "visitor", "ada"
NAMES = (VISITOR, USER)
OLD = charge(None, meter="old")
NEW = charge(None, meter="new", rule=Rolling(MONTH))
BOTH = (charge(None, meter="b"), charge(None, meter="a"))

Merge = Callable[[PostgresStorage], Awaitable[object]]


@pytest.fixture
async def two(postgres: str) -> Any:
    storages = [PostgresStorage(postgres, timeout=PATIENT) for _ in range(2)]
    for storage in storages:
        await storage.start()
    yield storages
    for storage in storages:
        await storage.aclose()


async def merge(storage: PostgresStorage) -> None:
    await storage.merge(VISITOR, USER)


async def race(two: list[PostgresStorage], merge: Merge, rounds: int) -> tuple[Counter[str], Counter[str]]:
    """Count under both names from two processes, merge in the middle; what was acknowledged, what is kept."""
    acknowledged: Counter[str] = Counter()

    async def consume(storage: PostgresStorage, subject: str, charges: tuple[Charge, ...]) -> None:
        for number in range(rounds):
            counted = await storage.consume(call(*charges, subject=subject))
            if number % 5 == 4:  # one that fails
                receipts = counted.receipts
                for receipt in receipts:
                    await storage.refund(counted.subject, (receipt,))
            else:
                acknowledged.update(item.meter for item in charges)

    async with anyio.create_task_group() as tasks:
        for storage in two:
            for subject in NAMES:
                for charges in ((OLD,), (NEW,), BOTH):
                    tasks.start_soon(consume, storage, subject, charges)
        for storage in two:
            tasks.start_soon(merge, storage)
    kept: Counter[str] = Counter()
    for item in (OLD, NEW, *BOTH):
        kept[item.meter] = await used(two[0], item, USER)
    return acknowledged, kept


@pytest.mark.parametrize("rounds", [5, 20, 40])
async def test_what_was_acknowledged_is_counted(
    two: list[PostgresStorage], postgres: str, rounds: int
) -> None:
    """Of running counters, of ones that are opened in this moment, of several at once: no less, no more."""
    await two[0].consume(call(OLD, subject=VISITOR))
    await two[0].consume(call(OLD, subject=USER))
    acknowledged, kept = await race(two, merge, rounds)
    acknowledged["old"] += 2
    assert kept == acknowledged
    stranger = await asyncpg.connect(postgres)
    left = "SELECT count(*) FROM skene_usage WHERE subject = 'visitor'"
    assert await stranger.fetchval(left) == 0
    await stranger.close()


async def test_a_counter_that_is_opened_while_its_subject_is_merged(
    two: list[PostgresStorage], postgres: str
) -> None:
    """A row that is not there yet cannot be locked: the merge waits for the call, and finds it."""
    stranger, other = await asyncpg.connect(postgres), await asyncpg.connect(postgres)
    old, new = charge(None, meter="z"), charge(None, meter="a")
    await two[0].consume(call(old, subject=VISITOR))
    waiting = (
        "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = $1"
    )
    name = await other.fetchval("SELECT current_database()")

    async def wait_for(number: int) -> None:
        with anyio.fail_after(10):
            while await other.fetchval(waiting, name) < number:
                await other.execute("SELECT pg_stat_clear_snapshot()")
                await anyio.sleep(0.005)

    async def consume() -> None:
        assert (await two[0].consume(call(old, new, subject=VISITOR))).subject == VISITOR

    async with anyio.create_task_group() as tasks:
        # The call has opened one counter, and waits for the other one, when the merge begins.
        lock = stranger.transaction()
        await lock.start()
        await stranger.execute("SELECT 1 FROM skene_usage WHERE meter = 'z' FOR UPDATE")
        tasks.start_soon(consume)
        await wait_for(1)
        tasks.start_soon(merge, two[1])
        await wait_for(2)
        await lock.rollback()
    assert [await used(two[0], item, USER) for item in (old, new)] == [2, 1]
    await stranger.close()
    await other.close()


async def test_a_merge_that_locks_nothing_loses_some(two: list[PostgresStorage], postgres: str) -> None:
    """The control: read both, add, write. Under the same race some of what was acknowledged is gone."""

    async def naive(storage: PostgresStorage) -> None:
        stranger = await asyncpg.connect(postgres)
        read = "SELECT used FROM skene_usage WHERE subject = $1 AND meter = 'old'"
        both = [await stranger.fetchval(read, name) or 0 for name in NAMES]
        await anyio.sleep(0.02)  # as long as a program thinks
        write = "UPDATE skene_usage SET used = $2 WHERE subject = $1 AND meter = 'old'"
        await stranger.execute(write, USER, sum(both))
        await stranger.execute("DELETE FROM skene_usage WHERE subject = $1 AND meter = 'old'", VISITOR)
        await stranger.close()

    await two[0].consume(call(OLD, subject=VISITOR))
    await two[0].consume(call(OLD, subject=USER))
    acknowledged, kept = await race(two, naive, 40)
    assert kept["old"] < acknowledged["old"] + 2


async def test_no_more_than_the_limit_together(two: list[PostgresStorage]) -> None:
    """L1: once they are one, the names share one limit, grants included, whoever calls meanwhile."""
    item = charge(50)
    for name in NAMES:
        await two[0].grant(Grant("welcome", name, "calls", 5))
    admitted: Counter[str] = Counter()

    async def consume(number: int) -> None:
        counted = await two[number % 2].consume(call(item, subject=NAMES[number // 2 % 2]))
        admitted[counted.subject] += counted.admitted

    calls: list[Callable[[], Awaitable[None]]] = [partial(consume, number) for number in range(60)]
    await gather([*calls, *(partial(merge, storage) for storage in two), *calls])
    await gather([partial(consume, number) for number in range(100)])
    # Apart they may take 55 each until the merge; together not one more than what it found.
    assert sum(admitted.values()) == await used(two[0], item, USER)
    assert sum(one.spent for one in await two[0].grants(USER)) == 10
    assert not (await two[0].consume(call(item, subject=VISITOR))).admitted


async def test_every_statement_finds_its_rows(
    two: list[PostgresStorage], postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A merge, and a forgetting, reads the rows of its subjects alone: no table is read from end to end."""
    for name in NAMES:
        await two[0].consume(call(OLD, NEW, subject=name))
        await two[0].grant(Grant("welcome", name, "calls", 5))
    sent = Statements(monkeypatch)
    await merge(two[0])
    await two[0].forget("nobody")
    await two[0].forget(USER)
    stranger = await asyncpg.connect(postgres)
    await stranger.execute("SET enable_seqscan = off; SET plan_cache_mode = force_generic_plan")
    read = 0
    for statement, _ in sent.sent:
        if (
            not statement.lstrip().upper().startswith(("SELECT", "UPDATE", "DELETE"))
            or "skene_" not in statement
        ):
            continue
        await stranger.execute(f"PREPARE asked AS {statement}")
        number = await stranger.fetchval(
            "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'asked'"
        )
        nulls = f"({', '.join(['NULL'] * number)})" if number else ""
        plan = "\n".join(row[0] for row in await stranger.fetch(f"EXPLAIN EXECUTE asked{nulls}"))
        assert "Seq Scan" not in plan, f"{statement}\n{plan}"
        await stranger.execute("DEALLOCATE asked")
        read += 1
    assert read > 40
    await stranger.close()

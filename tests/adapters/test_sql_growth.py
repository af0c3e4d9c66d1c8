"""Large tables: what prunes them, and what polls them, goes by indexes, in small steps, beside calls."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import anyio
import asyncpg
import pytest
import sqlalchemy as sa

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql import pruning
from skene.adapters.sql import storage as sql_storage
from skene.adapters.sql.tables import METADATA, usage
from skene.adapters.sql.types import Instant
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, gather, used
from skene.testing.conformance.billed import billing
from skene.testing.conformance.happening import DAY, LEASE
from tests.support.sql_stores import Opener, Sql, Statements

pytestmark = pytest.mark.anyio

OLD = 10

MANY = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})"
WINDOW = "'s' || i, 'calls', 'free', :old, :{at}, 1"
FILL = {
    "usage": ("(subject, meter, plan, window_start, window_end, used)", WINDOW),
    "usage_history": ("(subject, meter, plan, window_start, window_end, used)", WINDOW),
    "idempotency_keys": ("(subject, key, fingerprint, created_at)", "'s' || i, 'k', 'f', :{at}"),
    "webhook_events": ("(event, type, received_at)", "'e{at}' || i, 't', :{at}"),
    "decisions": (
        "(at, loop, step, subject, phase, outcome, firing)",
        ":{at}, 'l', 's', 's' || i, 'gate', 'refused', 'f'",
    ),
    "firings": (
        "(key, loop, step, subject, data, state, occurred_at, settled_at)",
        "'k{at}' || i, 'l', 's', 's' || i, '{{}}', 'done', :{at}, :{at}",
    ),
    "ticks": ("(step, tick, opened_at)", "'s' || (i - {ago}), :{at}, :{at}"),
    "outbox": (
        "(key, kind, loop, step, subject, plan, channel, template, data, cancel_on_upgrade, state,"
        " created_at, settled_at)",
        "'k{at}' || i, 'email', 'l', 's', 's' || i, 'free', 'c', 't', '{{}}', false, 'sent', :{at}, :{at}",
    ),
    "customers": ("(subject, customer, plan, paying, updated_at)", "'s' || i, 'c' || i, 'paid', true, :{at}"),
    "subscriptions": ("(customer, updated_at, verified_at)", "'c' || i, :{at}, :{at}"),
}


async def fill(storage: Sql, clock: ManualClock, rows: int, tables: Iterable[str] = FILL) -> None:
    """So many rows in each table, all of today but the last of each sort, which are 2,000 days old."""

    def work(connection: sa.Connection, now: Any) -> None:
        for table in tables:
            columns, values = FILL[table]
            for at, ago, some in (("new", 0, f"i <= {rows - OLD}"), ("old", OLD, f"i > {rows - OLD}")):
                text = f"{MANY} INSERT INTO skene_{table} {columns} SELECT {values} FROM n WHERE {some}"
                moments = {
                    name: sa.bindparam(name, moment, type_=Instant())
                    for name, moment in (("new", now), ("old", now - 2_000 * DAY))
                }
                statement = text.format(rows=rows, at=at, ago=ago)
                known = [moments[name] for name in moments if f":{name}" in statement]
                connection.execute(sa.text(statement).bindparams(*known))
        connection.exec_driver_sql("ANALYZE")

    await storage._write(work)


async def execute(storage: Sql, *statements: str) -> None:
    """Carry out statements of no verb."""

    def work(connection: sa.Connection, now: object) -> None:
        for statement in statements:
            connection.exec_driver_sql(statement)

    await storage._write(work)


async def plans(storage: Sql, statements: Statements) -> list[tuple[str, str]]:
    """How each statement that looks at our tables is carried out."""

    def plan(connection: sa.Connection, _: object, statement: str, parameters: Any) -> str:
        explain = "EXPLAIN" if connection.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
        return "\n".join(map(str, connection.exec_driver_sql(f"{explain} {statement}", parameters)))

    ours = {sent: parameters for sent, parameters in statements.sent if "skene_" in sent}
    # Of syncs there are two rows.
    looking = {
        sent: each
        for sent, each in ours.items()
        if not sent.startswith("INSERT") and "skene_syncs" not in sent
    }
    return [(sent, await storage._write(plan, sent, each)) for sent, each in looking.items()]


def whole_tables(plan: str) -> list[str]:
    """The large tables that a plan reads from one end to the other."""
    names = (name for name in METADATA.tables if f"skene_{name.removeprefix('skene_')}" in plan)
    return [
        name
        for name in names
        if f"Seq Scan on {name} " in plan or f"SCAN {name}'" in plan or f"SCAN {name} USING" in plan
    ]


async def test_upkeep_and_polls_go_by_indexes(
    another: Opener, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 100,000 rows of everything, none is read but those that there is something to do about."""
    storage = await another()
    await fill(storage, clock, 100_000)
    with monkeypatch.context() as patch:
        statements = Statements(patch)
        assert await storage.prune() == OLD * 8
        await storage.claim(10, LEASE)
        await storage.claim_firings(10, LEASE)
        await storage.last_tick("s1")
        await storage.note_lapses((), 10)
        await storage.report_billed(billing(), 10)
    found = await plans(storage, statements)
    deleted = [sent for sent, _ in found if sent.startswith("DELETE")]
    assert len(deleted) >= len(pruning.ALL) + 1
    for sent, plan in found:
        assert whole_tables(plan) == [], (sent, plan)

    # Without an index the test would see it.
    await execute(storage, "DROP INDEX skene_outbox_over", "DROP INDEX skene_webhook_events_received")
    fresh = await another()  # with no plan at hand
    slow = [name for _, plan in await plans(fresh, statements) for name in whole_tables(plan)]
    assert sorted(set(slow)) == ["skene_outbox", "skene_webhook_events"]


@pytest.mark.parametrize("batch", [1, 3, 7])
async def test_the_look_through_the_counters_goes_on_where_it_stopped(
    another: Opener, clock: ManualClock, monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    """A run looks at a few, in this process or another, and after the last at the first again."""
    monkeypatch.setattr(pruning, "BATCH", batch)
    monkeypatch.setattr(sql_storage, "PRUNED_AT_ONCE", 7)
    one, two = await another(), await another()
    await fill(one, clock, 30, ["usage"])
    sizes = [await storage.prune() for storage in (one, two, one, two, one)]
    assert sum(sizes) == OLD
    assert max(sizes) <= -(-7 // batch) * batch
    assert await prunable(one) == 0
    for number in range(21):
        await one.consume(call(subject=f"s{number}"))
    clock.advance(1_000 * DAY)
    runs = 0
    while await prunable(one):
        await (one, two)[runs % 2].prune()
        runs += 1
    assert 3 <= runs <= 7


async def prunable(storage: Sql) -> int:
    """How many counters are left whose window is over."""

    def count(connection: sa.Connection, now: datetime) -> int:
        old = usage.c.window_end < now - 500 * DAY
        return connection.execute(sa.select(sa.func.count()).where(old)).scalar_one()

    return await storage._read(count)


async def test_calls_beside_two_prunings(another: Opener, clock: ManualClock) -> None:
    """L2: who comes back in that very moment is counted to the unit; what is old is deleted once."""
    one, two = await another(), await another()
    await fill(one, clock, 300, ["usage", "idempotency_keys", "webhook_events"])
    await execute(one, "UPDATE skene_usage SET window_end = window_start")
    pruned: list[int] = []

    async def prune(storage: Sql) -> None:
        pruned.append(await storage.prune())

    async def use(number: int) -> None:
        counted = await (one, two)[number % 2].consume(call(subject=f"s{1 + number % 50}"))
        assert counted.admitted

    await gather([partial(prune, one), *(partial(use, n) for n in range(200)), partial(prune, two)])
    assert [await used(one, subject=f"s{n}") for n in range(1, 51)] == [4] * 50
    # Whoever came back first has moved the old window into the history.
    assert sum(pruned) + await one.prune() == 300 + 2 * OLD


async def test_what_somebody_holds_is_passed_by(
    postgres: str, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a decision nor an upkeep waits for the other; without passing by, it does."""
    storage = PostgresStorage(postgres, clock=clock, timeout=timedelta(seconds=20))
    await fill(storage, clock, 100, ["usage", "usage_history", "outbox"])
    holder = await asyncpg.connect(postgres)
    looker = await asyncpg.connect(postgres)
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    for careful in (True, False):
        held = holder.transaction()
        await held.start()
        for table, name in (("usage", "subject"), ("usage_history", "subject"), ("outbox", "subject")):
            await holder.execute(f"SELECT FROM skene_{table} WHERE {name} = 's100' FOR UPDATE")
        if careful:
            assert await storage.prune() == 3 * (OLD - 1)
        else:
            monkeypatch.setattr(sa.Select, "with_for_update", lambda select, **_: select)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(storage.prune)
                with anyio.fail_after(15):
                    while not await looker.fetchval(waiting):
                        await anyio.lowlevel.checkpoint()
                await held.rollback()
            continue
        await held.rollback()
    assert await looker.fetchval("SELECT count(*) FROM skene_outbox") == 100 - OLD
    for connection in (holder, looker):
        await connection.close()
    await storage.aclose()

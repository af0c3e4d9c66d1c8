"""The SQL storages count as the engine does: to one history, MemoryStorage and they give the same answers."""

from collections.abc import AsyncIterator
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.packed import unpack
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.tables import grants, history, usage
from skene.adapters.sqlite import SqliteStorage
from skene.engine.bill import Bill
from skene.engine.counter import Counter
from skene.engine.grants import Pot
from skene.engine.window import WindowRule
from skene.testing.clock import ManualClock
from tests.support.extent import extent
from tests.support.histories import (
    START,
    Charging,
    Player,
    Step,
    billing_steps,
    edged_rules,
    in_step,
    rules,
    steps,
)
from tests.support.sql_stores import PATIENT, Sql


@pytest.fixture(params=["sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Sql]:
    storage: SqliteStorage | PostgresStorage
    if request.param == "sqlite":
        storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    else:
        storage = PostgresStorage(request.getfixturevalue("postgres"), clock=clock, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


subjects = count(1)


def kept_in_memory(storage: MemoryStorage, subject: str) -> dict[tuple[str, str], Counter]:
    tables = storage._state.counters.items()
    found = {name: unpack(table.get(subject)) for name, table in tables}
    return {name: counter for name, counter in found.items() if counter is not None}


async def kept_in_sql(storage: Sql, subject: str) -> dict[tuple[str, str], Counter]:
    def read(connection: sa.Connection, now: datetime) -> dict[tuple[str, str], Counter]:
        rows = connection.execute(sa.select(usage).where(usage.c.subject == subject))
        return {(row.meter, row.plan): counter(row) for row in rows}

    def counter(row: sa.Row[Any]) -> Counter:
        parts = tuple(zip(row.part_starts, row.part_used, strict=True))
        extra = row.extra if row.extra_since == row.window_start else 0
        return Counter(row.window_start, row.window_end, row.used, parts, tuple(row.notices), extra)

    return await storage._read(read)


async def pots_in_sql(storage: Sql, subject: str) -> list[Pot]:
    """Numbered from 1, as they are in memory."""

    def read(connection: sa.Connection, now: datetime) -> list[Pot]:
        rows = connection.execute(sa.select(grants).where(grants.c.subject == subject).order_by(grants.c.id))
        return [
            Pot(number, row.units, row.spent, row.expires_at, row.spent_at)
            for number, row in enumerate(rows, 1)
        ]

    return await storage._read(read)


Bills = dict[tuple[object, ...], tuple[object, ...]]
"""What is told of windows, running ones by meter and plan, those that are over by their start, too."""


def bills_in_memory(storage: MemoryStorage, subject: str) -> Bills:
    kept: Bills = {
        where: (bill.billable, bill.reported, bill.since, bill.reports)
        for where, table in storage._state.bills.items()
        if (bill := table.get(subject, Bill())) != Bill()
    }
    for where, windows in storage._state.past.items():
        for (whose, start), window in windows.items():
            if whose == subject and (window.bill.billable or window.bill.reported):
                told = (window.bill.billable, window.bill.reported, window.bill.reports)
                kept[*where, start] = (window.used, window.end, *told)
    return kept


async def bills_in_sql(storage: Sql, subject: str) -> Bills:
    def read(connection: sa.Connection, now: datetime) -> Bills:
        rows = connection.execute(sa.select(usage).where(usage.c.subject == subject)).all()
        told: Bills = {
            (row.meter, row.plan): (row.billable, row.reported, row.reported_since, row.reports)
            for row in rows
            if row.billable or row.reported_since or row.reports
        }
        marked = sa.or_(history.c.billable, history.c.reported > 0)
        over = connection.execute(sa.select(history).where(history.c.subject == subject, marked)).all()
        past: Bills = {
            (row.meter, row.plan, row.window_start): (
                *(row.used, row.window_end, row.billable, row.reported),
                row.reports,
            )
            for row in over
        }
        return told | past

    return await storage._read(read)


async def replay(
    storage: Sql,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    """Play a history on a storage and in memory, and hold the answers and what is kept against each other."""
    clock.set(START)
    subject = f"subject {next(subjects)}"
    try:
        await _replay(storage, clock, subject, history, rules, customer)
    finally:
        await storage.forget(subject)  # the next history's reports are of its own subject


async def _replay(
    storage: Sql,
    clock: ManualClock,
    subject: str,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    memory = MemoryStorage(clock=clock)
    model = Player(memory, clock, subject, rules)
    player = Player(storage, clock, subject, rules)
    async for _ in in_step(clock, history, model, player, customer=customer):
        assert player.answers[-1:] == model.answers[-1:]
    assert player.receipts == model.receipts
    assert await kept_in_sql(storage, subject) == kept_in_memory(memory, subject)
    in_memory = [row.pot for row in memory._state.grants.get(subject, ())]
    assert await pots_in_sql(storage, subject) == in_memory
    assert await bills_in_sql(storage, subject) == bills_in_memory(memory, subject)


RANDOM = extent(40, 400)


@given(
    history=st.lists(steps, min_size=20, max_size=40), rules=st.tuples(rules, rules), customer=st.booleans()
)
@RANDOM
async def test_the_same_history_has_the_same_answers(
    storage: Sql,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    await replay(storage, clock, history, rules, customer)


@given(history=st.lists(billing_steps, min_size=20, max_size=40), rules=st.tuples(edged_rules, edged_rules))
@RANDOM
async def test_the_same_history_has_the_same_bill(
    storage: Sql,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
) -> None:
    """Limits of its own, features and reports, with use on bills from the start."""
    opening: list[Step] = [Charging(0, ("free", "paid")), Charging(1, ("free",))]
    await replay(storage, clock, opening + history, rules, customer=True)

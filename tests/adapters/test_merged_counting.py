"""Counting for subjects that were merged into others: whoever names the one counts for the other."""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from pathlib import Path

import anyio
import asyncpg
import pytest
import sqlalchemy as sa

from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.storage import SqlStorage
from skene.adapters.sqlite import SqliteStorage
from skene.engine.window import Rolling
from skene.ports.counters import Charge, Receipt
from skene.ports.overrides import Override
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MONTH, apply, call, charge, notice, refuse_once, used
from tests.support.merging import Store, merge
from tests.support.sql_stores import PATIENT

pytestmark = pytest.mark.anyio

DAY = timedelta(days=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite", "postgres"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> AsyncIterator[Store]:
    made: dict[str, Callable[[], Store]] = {
        "memory": lambda: MemoryStorage(clock=clock),
        "sqlite": lambda: SqliteStorage(tmp_path / "skene.db", clock=clock),
        "postgres": lambda: PostgresStorage(
            request.getfixturevalue("postgres"), clock=clock, timeout=PATIENT
        ),
    }
    storage = made[request.param]()
    await storage.start()
    yield storage
    await storage.aclose()


async def test_one_counts_for_the_other(storage: Store, clock: ManualClock) -> None:
    """With the other's plan, limits, counters and walls; the answer names whom."""
    await storage.set_override(Override("ada", "calls", 2))
    await storage.consume(call(charge(100)))
    await merge(storage, "ghost", "ada")
    theirs = call(charge(100), subject="ghost")
    seen = await storage.peek(theirs)
    assert (seen.subject, seen.tallies[0].limit, seen.tallies[0].used) == ("ada", 2, 1)
    assert (await storage.consume(theirs)).subject == "ada"
    wall = await refuse_once(storage, clock)
    refused = await storage.consume(theirs)
    assert (refused.admitted, refused.tallies[0].used, refused.tallies[0].wall) == (False, 2, wall)
    assert await storage.meters("ghost") == ("calls",)
    await apply(storage)
    paid = await storage.consume(theirs)
    assert (paid.plan, paid.customer, paid.subject) == ("paid", "cus_ada", "ada")
    assert (await storage.consume(call(charge(100)))).subject == "ada"


async def test_keys_are_the_others(storage: Store, clock: ManualClock) -> None:
    """A repetition is free whichever name it comes by, and what was refunded is free again."""
    first = await storage.consume(call(key="k1"))
    await merge(storage, "ghost", "ada")
    assert (await storage.consume(call(key="k1", subject="ghost"))).replayed
    again = await storage.consume(call(key="k2", subject="ghost"))
    assert not again.replayed
    receipts = again.receipts
    await storage.refund("ghost", receipts, "k2")
    assert await used(storage) == 1
    assert not (await storage.consume(call(key="k2"))).replayed
    assert first.subject == "ada"


@pytest.mark.parametrize("rule", [None, Rolling(MONTH)], ids=["anchored", "rolling"])
async def test_a_failed_call_from_before(rule: Rolling | None, storage: Store, clock: ManualClock) -> None:
    """What was charged to the one while both had windows is given back to the other's."""
    item = charge(rule=rule) if rule else charge()
    charged = (await storage.consume(call(item, subject="ghost"))).tallies[0].receipt
    assert charged is not None
    if rule is None:
        clock.advance(DAY)
    for _ in range(3):
        await storage.consume(call(item))
    await erase_counters(storage, "ghost")
    await merge(storage, "ghost", "ada")
    clock.advance(timedelta(hours=1))
    await storage.refund("ghost", (charged,))
    assert await used(storage, item) == 2


async def test_a_late_failure_lands_in_no_other_window(storage: Store, clock: ManualClock) -> None:
    """Neither one whose window was over then, nor once the next has opened."""
    await storage.consume(call(charge(cost=5)))
    long_ago = Receipt("calls", "free", clock.now() - MONTH - DAY, 1)
    recent = Receipt("calls", "free", clock.now() - DAY, 1)
    await merge(storage, "ghost", "ada")
    await storage.refund("ghost", (long_ago,))
    assert await used(storage) == 5
    clock.advance(MONTH)
    await storage.consume(call(charge(cost=5)))
    await storage.refund("ghost", (recent,))
    assert await used(storage) == 5


async def test_what_is_still_the_ones_own(storage: Store, clock: ManualClock) -> None:
    """A call that came in between was charged to it: that is where it goes back."""
    await storage.consume(call())
    clock.advance(DAY)
    charged = (await storage.consume(call(subject="ghost"))).tallies[0].receipt
    assert charged is not None
    await merge(storage, "ghost", "ada")
    await storage.refund("ghost", (charged,))
    assert await used(storage) == 1


async def test_warnings_and_overrides_follow(storage: Store, clock: ManualClock) -> None:
    """They are of the other's counter."""
    await merge(storage, "ghost", "ada")
    counted = await storage.consume(call(subject="ghost"))
    assert await storage.record_notice(notice(counted, "half", subject="ghost"))
    assert not await storage.record_notice(notice(counted, "half"))
    made = await storage.set_override(Override("ghost", "calls", 7))
    assert made.subject == "ada"
    assert (await storage.peek(call())).tallies[0].limit == 7
    assert await storage.overrides("ghost") == await storage.overrides("ada") == (made,)
    assert await storage.end_override("ghost", "calls")
    assert (await storage.peek(call())).tallies[0].limit == 100


async def erase_counters(storage: Store, subject: str) -> None:
    """As a merge leaves them: moved away."""
    if isinstance(storage, SqlStorage):

        def erase(connection: sa.Connection, now: datetime) -> None:
            connection.execute(
                sa.text("DELETE FROM skene_usage WHERE subject = :subject"), {"subject": subject}
            )

        await storage._write(erase)
    else:
        for table in storage._state.counters.values():
            table.pop(subject, None)


@pytest.mark.parametrize("keyed", [False, True])
@pytest.mark.parametrize("charges", [(charge(),), (charge(), charge(meter="b"))], ids=["one", "two"])
async def test_a_call_that_waits_for_the_merge(
    keyed: bool, charges: tuple[Charge, ...], postgres: str
) -> None:
    """It finds its counter gone, and is counted for the other, key included."""
    storage = PostgresStorage(postgres, timeout=timedelta(seconds=20))
    await storage.start()
    await storage.consume(call(*charges, subject="ghost"))
    stranger = await asyncpg.connect(postgres)
    merging = stranger.transaction()
    await merging.start()
    await stranger.execute("DELETE FROM skene_usage WHERE subject = 'ghost'")
    await stranger.execute("""
        INSERT INTO skene_customers (subject, merged_into, updated_at) VALUES ('ghost', 'ada', now())
    """)
    answers: list[str] = []

    async def late() -> None:
        answers.append(
            (await storage.consume(call(*charges, subject="ghost", key="k" if keyed else None))).subject
        )

    async with anyio.create_task_group() as group:
        group.start_soon(late)
        watcher = await asyncpg.connect(postgres)
        with anyio.fail_after(10):
            while not await watcher.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                await anyio.lowlevel.checkpoint()
        await merging.commit()
        await watcher.close()
    assert answers == ["ada"]
    assert await used(storage, charges[0]) == 1
    assert await stranger.fetchval("SELECT count(*) FROM skene_usage WHERE subject = 'ghost'") == 0
    whose = await stranger.fetchval("SELECT string_agg(subject, ' ') FROM skene_idempotency_keys")
    assert whose == ("ada" if keyed else None)
    await stranger.close()
    await storage.aclose()

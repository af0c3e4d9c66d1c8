"""ValkeyStorage from several processes, with callers who go away, and stopped half-way."""

import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.valkey import ValkeyStorage
from skene.adapters.valkey.scripts import TAKE, Script
from skene.engine.standing import Standing
from skene.errors import StorageUnavailable
from skene.ports.counters import BilledUse, Draft
from skene.ports.grants import Grant
from skene.ports.holdings import Holding
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import PAYING, apply, call, charge, draft, notice, set_plan, used
from tests.support.valkey import ValkeyCluster, ValkeyServer

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture(params=["server", "cluster"])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    with ValkeyServer() if request.param == "server" else ValkeyCluster() as servers:
        yield servers.url


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def beside(clock: ManualClock) -> MemoryStorage:
    return MemoryStorage(clock=clock)


@pytest.fixture
async def storage(
    server: ValkeyServer, clock: ManualClock, beside: MemoryStorage
) -> AsyncIterator[ValkeyStorage]:
    storage = ValkeyStorage(server.url, storage=beside, clock=clock)
    await storage.start()
    yield storage
    await storage.aclose()
    server.say("FLUSHALL")


async def test_four_processes_admit_exactly_100_of_400(url: str, tmp_path: Path) -> None:
    """L1: one counter, whoever counts."""
    path = str(tmp_path / "skene.db")
    await SqliteStorage(path).migrate()
    words = [sys.executable, "-m", "tests.support.counts_in_valkey", url, path, "100"]
    processes = [subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(4)]
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert sum(map(int, told)) == 100


async def test_reading_then_writing_admits_more(server: ValkeyServer) -> None:
    """The control: without one function that does both, the same rush goes beyond the limit."""
    storage = ValkeyStorage(server.url, storage=MemoryStorage())
    servers, admitted = storage._servers, 0

    async def one() -> None:
        nonlocal admitted
        count = int(await servers.ask("GET", "naive") or 0)
        if count < 100:
            await servers.ask("SET", "naive", str(count + 1))
            admitted += 1

    async with anyio.create_task_group() as group:
        for _ in range(400):
            group.start_soon(one)
    await storage.aclose()
    server.say("FLUSHALL")
    assert admitted > 100


async def test_cancelled_callers_are_charged_wholly_or_not_at_all(storage: ValkeyStorage) -> None:
    """L8: who is cancelled never learns of a charge, and so has none."""
    answered = 0
    await storage.peek(call(charge(None)))

    async def one(group: anyio.CancelScope, number: int) -> None:
        nonlocal answered
        await storage.consume(call(charge(None)))
        answered += 1
        if number == 60:
            group.cancel()

    async with anyio.create_task_group() as group:
        for number in range(200):
            group.start_soon(one, group.cancel_scope, number)
    assert 0 < answered < 200
    assert await used(storage) == answered


async def test_a_cancelled_repetition_gives_nothing_back(storage: ValkeyStorage) -> None:
    await storage.consume(call(key="k1"))
    with anyio.CancelScope() as scope:
        scope.cancel()
        await storage.consume(call(key="k1"))
    assert await used(storage) == 1


class Killed(Exception):
    """The process ends here."""


def stop_after(storage: ValkeyStorage, patch: pytest.MonkeyPatch, steps: int) -> None:
    """Let so many steps in Valkey happen, and no more."""
    left, run = [steps], storage._servers.run

    async def counted(script: Script, *args: Any) -> list[Any]:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return await run(script, *args)

    patch.setattr(storage._servers, "run", counted)


@pytest.mark.parametrize("steps", range(9))
async def test_a_merge_that_was_stopped_is_finished_by_the_next_call(
    storage: ValkeyStorage, beside: MemoryStorage, clock: ManualClock, steps: int
) -> None:
    """L10: stopped after any step, nothing is forgiven and nothing is counted twice."""
    await storage.consume(call(charge(cost=7), subject="visitor", key="k1"))
    await storage.consume(call(charge(cost=4)))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(storage, patch, steps)
        with suppress(Killed):
            await storage.merge("visitor", "ada")
    if (await beside.peek(call(subject="visitor"))).subject == "visitor":
        assert steps == 0  # SQL is not told before Valkey is
        assert await used(storage) == 4
        return
    assert await used(storage) == 11
    assert (await storage.peek(call(subject="visitor"))).subject == "ada"
    assert await used(storage) == 11
    assert (await storage.peek(call(charge(cost=7), key="k1"))).replayed
    assert await storage._kept.fields("ada", ["merging"]) == [""]
    assert await storage._kept.fields("visitor", ["parcel"]) == [""]


@pytest.mark.parametrize("steps", range(4))
async def test_a_report_that_was_stopped_is_made_once(
    storage: ValkeyStorage, clock: ManualClock, steps: int
) -> None:
    """Every unit on one bill once, though more were used in between."""
    await apply(storage, PAYING)
    item = charge({"free": 100, "paid": None})
    billed = type(item)(item.step, item.meter, 5, item.limits, item.rule, billed=("paid",))
    await storage.consume(call(billed))
    use = BilledUse("loop", "loop.0", "calls", "paid", 2, "units")
    with pytest.MonkeyPatch.context() as patch:
        stop_after(storage, patch, steps)
        with suppress(Killed):
            await storage.report_billed(use, 10)
    await storage.consume(call(billed))
    for _ in range(3):
        await storage.report_billed(use, 10)
    reports = [row[0].data["units"] for row in await storage.messages() if row[0].kind == "usage"]
    assert sum(map(int, map(str, reports))) == 8


async def test_a_warning_that_was_stopped_is_sent_once(storage: ValkeyStorage) -> None:
    counted = await storage.consume(call())
    due = notice(counted, "freemium.0@0.8", drafts=(draft("usage_warning:1"),))
    with pytest.MonkeyPatch.context() as patch:
        stop_after(storage, patch, 1)
        with pytest.raises(Killed):
            await storage.record_notice(due)
    assert await storage.record_notice(due)
    assert not await storage.record_notice(due)
    assert len(await storage.messages()) == 1


# --- what SQL says, and how long it is believed ---


async def test_nobody_who_has_paid_elsewhere_is_refused(
    storage: ValkeyStorage, beside: MemoryStorage, clock: ManualClock
) -> None:
    """Decision 14: another process wrote the plan, and told nobody."""
    await storage.consume(call(charge(1)))
    assert not (await storage.consume(call(charge(1)))).admitted
    await set_plan(beside, PAYING)
    clock.advance(timedelta(seconds=1.1))
    assert (await storage.consume(call(charge(1)))).admitted


async def test_who_pays_no_more_is_believed_for_a_minute(
    storage: ValkeyStorage, beside: MemoryStorage, clock: ManualClock
) -> None:
    await set_plan(storage, PAYING)
    assert (await storage.consume(call(charge(0)))).admitted
    await set_plan(beside, Standing("free"))
    clock.advance("59s")
    assert (await storage.consume(call(charge(0)))).admitted
    clock.advance("2s")
    assert not (await storage.consume(call(charge(0)))).admitted


async def test_while_sql_is_away(
    storage: ValkeyStorage, beside: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those it knows are let through for a minute. Nobody is refused: that takes asking SQL first."""
    await storage.consume(call(charge(2)))

    async def away(*asked: object) -> None:
        raise StorageUnavailable("away")

    monkeypatch.setattr(beside, "holdings", away)
    clock.advance("2s")
    assert (await storage.consume(call(charge(2)))).admitted
    for late in (call(charge(2)), call(subject="bob")):
        with pytest.raises(StorageUnavailable):
            await storage.consume(late)
    clock.advance("1m")
    with pytest.raises(StorageUnavailable):
        await storage.consume(call(charge(None)))


async def test_a_change_by_this_storage_counts_at_once(storage: ValkeyStorage) -> None:
    assert not (await storage.consume(call(charge(0)))).admitted
    await storage.grant(Grant("k", "ada", "calls", 1))
    assert (await storage.consume(call(charge(0)))).admitted
    assert not (await storage.consume(call(charge(0)))).admitted
    await set_plan(storage, PAYING)
    assert (await storage.consume(call(charge(0)))).admitted
    await set_plan(storage, Standing("free"))
    assert not (await storage.consume(call(charge(0)))).admitted


async def test_what_was_read_before_a_change_is_not_believed_after_it(
    storage: ValkeyStorage, beside: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads SQL while somebody writes there must not keep what was there before."""
    read = beside.holdings

    async def changed_meanwhile(subjects: Sequence[str]) -> tuple[Holding, ...]:
        monkeypatch.setattr(beside, "holdings", read)  # once
        found = await read(subjects)
        await set_plan(storage, PAYING)
        return found

    monkeypatch.setattr(beside, "holdings", changed_meanwhile)
    assert (await storage.consume(call(charge(0)))).plan == "paid"


async def test_a_refusal_is_one_function_and_no_sql(
    storage: ValkeyStorage, server: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once what SQL says is known, and the wall."""
    from skene.testing.conformance.base import wall

    counted = await storage.consume(call(charge(1)))
    await storage.open_wall(wall(ManualClock(counted.now)), ())
    assert (await storage.consume(call(charge(1)))).tallies[0].wall == "w1"
    monkeypatch.setattr(storage, "_storage", None)
    before = server.say("INFO", "persistence")
    assert (await storage.consume(call(charge(1)))).tallies[0].wall == "w1"
    dirty = [line for line in before.splitlines() if line.startswith("rdb_changes_since_last_save")]
    assert dirty[0] in server.say("INFO", "persistence").splitlines()


async def test_two_at_once_start_one_merge(storage: ValkeyStorage) -> None:
    await storage.consume(call(charge(cost=3), subject="visitor"))
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(partial(storage.merge, "visitor", "ada"))
            group.start_soon(partial(storage.consume, call()))
    assert await used(storage) == 7


def test_the_functions_are_known_by_what_they_say() -> None:
    assert len(TAKE.digest) == 40
    assert "\t" not in TAKE.text


def test_messages_survive_being_written_down() -> None:
    """A report that waits in Valkey is the same message when it is posted."""
    import json

    from skene.adapters.valkey.billing import _frozen

    told = draft("k", wall="w")
    assert Draft(**json.loads(_frozen(told, 3))["draft"]) == told

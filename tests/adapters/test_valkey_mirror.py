"""What ValkeyStorage reads in SQL: in few goes for many, and never what was there before."""

from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import anyio
import pytest

from skene.adapters.memory import MemoryStorage
from skene.adapters.valkey import ValkeyStorage
from skene.engine.window import Edges
from skene.errors import StorageUnavailable
from skene.ports.holdings import Holding
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import PAYING, call, charge, update
from tests.support.sql_stores import PATIENT
from tests.support.valkey import ValkeyServer


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def beside(clock: ManualClock) -> MemoryStorage:
    return MemoryStorage(clock=clock)


@pytest.fixture
async def storage(
    server: ValkeyServer, clock: ManualClock, beside: MemoryStorage
) -> AsyncIterator[ValkeyStorage]:
    storage = ValkeyStorage(server.url, storage=beside, clock=clock, timeout=PATIENT)
    await storage.start()
    yield storage
    await storage.aclose()
    server.say("FLUSHALL")


class Reads:
    """SQL that takes its time: what it was asked about, and who is let through or fails."""

    def __init__(
        self, storage: ValkeyStorage, beside: MemoryStorage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.goes: list[Sequence[str]] = []
        self.admitted: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.seconds, self.broken = 0.2, ""
        self._storage, self._read = storage, beside.holdings
        monkeypatch.setattr(beside, "holdings", self.holdings)

    async def holdings(self, subjects: Sequence[str]) -> tuple[Holding, ...]:
        self.goes.append(subjects)
        await anyio.sleep(self.seconds)
        if "away" in subjects:
            raise StorageUnavailable("away")
        if self.broken in subjects:
            raise KeyError("limit")
        return await self._read(subjects)

    async def call(self, subject: str) -> None:
        try:
            if (await self._storage.consume(call(charge(None), subject=subject))).admitted:
                self.admitted.append(subject)
        except (StorageUnavailable, KeyError) as error:
            self.failed.append((subject, type(error).__name__))

    async def behind(self, first: str, *others: str) -> None:
        """Others call while the first is read."""
        async with anyio.create_task_group() as group:
            group.start_soon(self.call, first)
            while not self.goes:
                await anyio.sleep(0.001)
            for subject in others:
                group.start_soon(self.call, subject)


@pytest.fixture
def reads(storage: ValkeyStorage, beside: MemoryStorage, monkeypatch: pytest.MonkeyPatch) -> Reads:
    return Reads(storage, beside, monkeypatch)


async def test_those_who_ask_at_the_same_time_are_read_in_one_go(reads: Reads) -> None:
    """Each subject once; what fails fails those who are in it, and nobody else."""
    await reads.behind("away", *["ada", "bob", "eve"] * 10)
    assert reads.failed == [("away", "StorageUnavailable")]
    assert len(reads.goes) <= 3  # the second, and one beside it where this machine is slow
    assert all(len(subjects) == len(set(subjects)) for subjects in reads.goes)
    assert sorted(reads.admitted) == ["ada"] * 10 + ["bob"] * 10 + ["eve"] * 10


async def test_a_rush_on_one_subject_is_one_question(reads: Reads) -> None:
    """However many ask: they neither fill the queue nor wait for each other."""
    reads.seconds = 0.5
    await reads.behind("first", *["ada"] * 2000)
    assert reads.failed == []
    assert len(reads.admitted) == 2001
    assert sum("ada" in subjects for subjects in reads.goes) <= 5  # each for those who came since the last


async def test_who_cannot_be_read_fails_alone(reads: Reads) -> None:
    """A row that somebody has written by hand, say."""
    reads.broken = "bob"
    await reads.behind("first", "ada", "bob", "eve")
    assert reads.failed == [("bob", "KeyError")]
    assert sorted(reads.admitted) == ["ada", "eve", "first"]


async def test_sql_that_hangs_is_not_waited_for_long(reads: Reads) -> None:
    reads.seconds = 3.5
    with anyio.fail_after(3.4):
        await reads.behind("ada", "bob")
    assert reads.failed == [("ada", "StorageUnavailable"), ("bob", "StorageUnavailable")]


async def test_who_was_turned_away_is_asked_about_again(reads: Reads) -> None:
    """A question that never was on its way is nobody's answer later on."""
    reads.seconds = 2.5
    async with anyio.create_task_group() as group:
        for subject in ("ada", "bob", "eve"):  # two are read, and the third waits in vain
            group.start_soon(reads.call, subject)
            await anyio.sleep(0.1)
    assert [subject for subjects in reads.goes for subject in subjects] == ["ada", "bob"]
    assert len(reads.failed) == 3
    reads.seconds = 0.0
    await reads.call("eve")
    assert reads.admitted == ["eve"]


async def test_who_goes_away_takes_nobody_along(reads: Reads) -> None:
    """Whoever asked first may be cancelled: the others still hear the answer."""
    async with anyio.create_task_group() as group:
        group.start_soon(reads.call, "first")
        while not reads.goes:
            await anyio.sleep(0.001)
        with anyio.move_on_after(0.05):
            await reads._storage.peek(call(subject="ada"))
        group.start_soon(reads.call, "ada")
    assert (sorted(reads.admitted), reads.failed) == (["ada", "first"], [])


async def test_closing_waits_for_what_was_asked_and_closes_all(
    storage: ValkeyStorage, reads: Reads, beside: MemoryStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even in a scope that is cancelled already."""
    closed = list[str]()

    async def aclose() -> None:
        closed.append("beside")

    monkeypatch.setattr(beside, "aclose", aclose)
    async with anyio.create_task_group() as group:
        group.start_soon(reads.call, "ada")
        while not reads.goes:
            await anyio.sleep(0.001)
        with anyio.CancelScope() as scope:
            scope.cancel()
            await storage.aclose()
    assert closed == ["beside"]


async def test_a_cycle_that_turns_while_it_is_read_opens_the_next_window(
    storage: ValkeyStorage, beside: MemoryStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = [timedelta(days=n) for n in (-30, 1, 31, 61)]
    edges = tuple(clock.now() + day for day in days)
    ticket = await beside.begin_sync("cus_ada")
    await beside.apply_billing(replace(update(ticket, PAYING), cycle=edges))
    read = beside.holdings

    async def turned(subjects: Sequence[str]) -> tuple[Holding, ...]:
        found = await read(subjects)
        clock.set(edges[1])
        return found

    monkeypatch.setattr(beside, "holdings", turned)
    (tally,) = (await storage.consume(call(charge(5, rule=Edges((), billing_cycle=True))))).tallies
    assert (tally.start, tally.end) == (edges[1], edges[2])


async def test_a_question_that_fails_is_no_others_error(reads: Reads) -> None:
    """Many hear of the same failure; it does not grow with each of them."""
    await reads.behind("first", *["away"] * 50)
    assert reads.failed == [("away", "StorageUnavailable")] * 50
    told: list[Any] = []
    try:
        await reads._storage.consume(call(subject="away"))
    except StorageUnavailable as error:
        trace = error.__traceback__
        while trace is not None:
            told.append(trace)
            trace = trace.tb_next
    assert 0 < len(told) < 20

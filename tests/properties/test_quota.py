"""The machine on every store."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis.stateful import run_state_machine_as_test

from skene.adapters.memory import MemoryStorage
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.valkey import ValkeyStorage
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from tests.properties.machine import QuotaMachine
from tests.properties.world import START, World
from tests.support.extent import extent, seeded
from tests.support.sql_stores import PATIENT
from tests.support.valkey import ValkeyServer

Opener = Callable[[ManualClock], Storage]


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


def machine_in(new_world: Callable[[], World]) -> type[QuotaMachine]:
    class Machine(QuotaMachine):
        pass

    Machine.new_world = staticmethod(new_world)
    return Machine


def play(portal: BlockingPortal, storage: Storage, clock: ManualClock, usual: int) -> None:
    """Try examples on one storage, one after the other."""
    portal.call(storage.start)
    try:
        machine = machine_in(lambda: World(portal, storage, clock))
        settings = extent(usual, 80 * usual, stateful_step_count=40)
        seeded(run_state_machine_as_test)(machine, settings=settings)
    finally:
        portal.call(storage.aclose)


def test_in_memory(portal: BlockingPortal) -> None:
    def new_world() -> World:
        clock = ManualClock(START)
        return World(portal, MemoryStorage(clock=clock), clock)

    settings = extent(80, 5000, stateful_step_count=40)
    seeded(run_state_machine_as_test)(machine_in(new_world), settings=settings)


def test_on_sqlite(portal: BlockingPortal, tmp_path: Path) -> None:
    clock = ManualClock(START)
    play(portal, SqliteStorage(tmp_path / "skene.db", clock=clock), clock, 30)


def test_on_postgres(portal: BlockingPortal, postgres_dsn: str) -> None:
    clock = ManualClock(START)
    storage = PostgresStorage(postgres_dsn, clock=clock, timeout=PATIENT)
    portal.call(storage.migrate)
    play(portal, storage, clock, 25)


def test_in_valkey(portal: BlockingPortal) -> None:
    clock = ManualClock(START)
    with ValkeyServer() as server:
        play(portal, ValkeyStorage(server.url, storage=MemoryStorage(clock=clock), clock=clock), clock, 30)

"""Whatever is broken, the machine notices: by itself, with nobody telling it where to look."""

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import Phase
from hypothesis.stateful import run_state_machine_as_test

from skene.adapters.memory import MemoryStorage
from skene.errors import IdempotencyConflict
from skene.testing.clock import ManualClock
from tests.properties.extent import extent, seeded
from tests.properties.machine import QuotaMachine
from tests.properties.mutants import MUTANTS, Mutant
from tests.properties.world import START, World

AS_FOUND = extent(400, 2000, stateful_step_count=40, phases=(Phase.generate,))


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_the_machine_sees_what_is_broken(
    mutant: Mutant, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)

    class Machine(QuotaMachine):
        @staticmethod
        def new_world() -> World:
            clock = ManualClock(START)
            return World(portal, MemoryStorage(clock=clock), clock)

    with pytest.raises((AssertionError, IdempotencyConflict)):
        seeded(run_state_machine_as_test)(Machine, settings=AS_FOUND)

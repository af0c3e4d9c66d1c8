"""Whatever is broken, the machine notices: by itself, with nobody telling it where to look."""

from collections.abc import Iterator

import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from skene.adapters.memory import MemoryStorage
from skene.errors import IdempotencyConflict
from skene.testing.clock import ManualClock
from tests.properties.machine import QuotaMachine
from tests.properties.mutants import MUTANTS, Mutant
from tests.properties.world import START, World
from tests.support.extent import FULL, SEED, extent, seeded

AS_FOUND = extent(400, 2000, stateful_step_count=40, phases=(Phase.generate,))
SOON = {
    "a_webhook_brings_back_the_forgotten": 8,
    "an_upgrade_forgets_what_was_used": 8,
    "granted_units_do_not_come_back": 2,
    "nobody_asks_before_refusing": 1,
    "rolling_windows_forget": 1,
}
"""Of the rarer ones, the seeds that come upon them within few examples; with others it may take minutes."""


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

    play, asked = seeded(run_state_machine_as_test), AS_FOUND
    if SEED is None and not FULL and mutant.__name__ in SOON:
        play = seed(SOON[mutant.__name__])(run_state_machine_as_test)
        asked = settings(AS_FOUND, derandomize=False)
    with pytest.raises((AssertionError, IdempotencyConflict)):
        play(Machine, settings=asked)

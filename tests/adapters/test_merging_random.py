"""Random histories of two names that turn out to be one, against a model that knows it all along."""

import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.valkey import ValkeyStorage
from skene.ports.counters import Receipt
from skene.ports.grants import Grant
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge, used
from tests.support.valkey import ValkeyServer

_numbers = count(1)
NAMES = ("visitor", "ada")
LIMIT = 20
WHO = st.sampled_from(NAMES)
STEP = st.one_of(
    st.tuples(st.just("consume"), WHO, st.integers(1, 12)),
    st.tuples(st.just("refund"), WHO, st.integers(0, 5)),
    st.tuples(st.just("grant"), WHO, st.integers(1, 8)),
    st.tuples(st.just("merge"), WHO, st.just(0)),
    st.tuples(st.just("later"), WHO, st.integers(1, 3)),
)


class Model:
    """What each name has used and been granted; one of them counts for both from the first merge on."""

    def __init__(self) -> None:
        self.used = dict.fromkeys(NAMES, 0)
        self.extra = dict.fromkeys(NAMES, 0)
        self.granted = dict.fromkeys(NAMES, 0)
        self.merged = False

    def whom(self, name: str) -> str:
        return "ada" if self.merged else name

    def consume(self, name: str, cost: int) -> bool:
        name = self.whom(name)
        room = max(0, LIMIT - (self.used[name] - self.extra[name]))
        paid = max(0, cost - room)
        if paid > self.granted[name]:
            return False
        self.used[name] += cost
        self.extra[name] += paid
        self.granted[name] -= paid
        return True

    def refund(self, name: str, cost: int) -> None:
        name = self.whom(name)
        self.used[name] -= cost
        back = min(self.extra[name], cost)
        self.extra[name] -= back
        self.granted[name] += back

    def merge(self) -> None:
        if not self.merged:
            self.merged = True
            for kept in (self.used, self.extra, self.granted):
                kept["ada"] += kept["visitor"]


async def play(storage: Storage, clock: ManualClock, history: list[tuple[str, str, int]]) -> None:
    """Every answer is the model's, and so is what is kept in the end."""
    model, item = Model(), charge(LIMIT)
    receipts: dict[str, list[Receipt]] = {name: [] for name in NAMES}
    for number, (verb, name, units) in enumerate(history):
        if verb == "consume":
            counted = await storage.consume(call(charge(LIMIT, cost=units), subject=name))
            assert counted.admitted == model.consume(name, units)
            assert counted.subject == model.whom(name)
            receipts[name] += [tally.receipt for tally in counted.tallies if tally.receipt]
        elif verb == "refund":
            for receipt in receipts[name][units : units + 1]:  # under the name of the call, whoever it is now
                await storage.refund(name, (receipt,))
                model.refund(name, receipt.cost)
            del receipts[name][units : units + 1]
        elif verb == "grant":
            assert await storage.grant(Grant(f"k{number}", name, "calls", units))
            model.granted[model.whom(name)] += units
        elif verb == "merge":
            await storage.merge("visitor", "ada")
            model.merge()
        else:
            clock.advance(f"{units}h")
        for one in NAMES:
            tally = (await storage.peek(call(item, subject=one))).tallies[0]
            whom = model.whom(one)
            assert (tally.used, tally.granted) == (model.used[whom], model.granted[whom])
    await storage.merge("visitor", "ada")
    model.merge()
    assert await used(storage, item, "ada") == model.used["ada"]


@pytest.fixture(scope="module")
def valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.mark.parametrize("kind", ["memory", "sqlite", "valkey"])
@given(history=st.lists(STEP, max_size=25))
@settings(max_examples=30, deadline=None)
def test_one_subject_that_was_two(kind: str, valkey: ValkeyServer, history: list[Any]) -> None:
    """All that was admitted is counted, once, and not one unit more is admitted than the sum leaves."""

    async def run() -> None:
        clock = ManualClock()
        async with AsyncExitStack() as stack:
            storage: Storage = MemoryStorage(clock=clock)
            if kind == "sqlite":
                folder = stack.enter_context(tempfile.TemporaryDirectory())
                storage = SqliteStorage(Path(folder) / "skene.db", clock=clock)
            elif kind == "valkey":
                prefix = f"history {next(_numbers)}"
                storage = ValkeyStorage(valkey.url, storage=storage, clock=clock, prefix=prefix)
            await storage.start()
            stack.push_async_callback(storage.aclose)
            await play(storage, clock, history)

    anyio.run(run)

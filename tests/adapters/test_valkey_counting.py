"""Valkey counts as the engine does: to one history, MemoryStorage and ValkeyStorage give the same answers."""

from collections.abc import AsyncIterator, Iterator
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.packed import unpack
from skene.adapters.valkey import ValkeyStorage, wire
from skene.engine.bill import Bill
from skene.engine.counter import Counter
from skene.engine.merging import Meter
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
from tests.support.valkey import ValkeyServer

subjects = count(1)
RANDOM = extent(40, 400)


@pytest.fixture(scope="module")
def server() -> Iterator[ValkeyServer]:
    with ValkeyServer() as server:
        yield server


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def storage(server: ValkeyServer, clock: ManualClock) -> AsyncIterator[ValkeyStorage]:
    storage = ValkeyStorage(server.url, storage=MemoryStorage(clock=clock), clock=clock)
    await storage.start()
    yield storage
    await storage.aclose()


def kept_in_memory(storage: MemoryStorage, subject: str) -> dict[tuple[str, str], Meter]:
    found: dict[tuple[str, str], Meter] = {}
    for where, table in storage._state.counters.items():
        counter = unpack(table.get(subject))
        if counter is not None:
            bill = storage._state.bills.get(where, {}).get(subject, Bill())
            found[where] = Meter(counter, bill)
    return found


async def kept_in_valkey(storage: ValkeyStorage, subject: str) -> dict[tuple[str, str], Meter]:
    names = [name for name in await storage._kept.names(subject) if name.startswith("c:")]
    texts = await storage._kept.fields(subject, names)
    found: dict[tuple[str, str], Meter] = {}
    for name, text in zip(names, texts, strict=True):
        meter, plan = wire.split(name)
        found[meter, plan] = wire.read_meter(text)
    return found


def plain(kept: dict[tuple[str, str], Meter]) -> dict[tuple[str, str], Counter]:
    return {where: meter.counter for where, meter in kept.items()}


async def replay(
    storage: ValkeyStorage,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    """Play a history on a storage and in memory, and hold the answers and what is kept against each other."""
    clock.set(START)
    subject = f"subject {next(subjects)}"
    memory = MemoryStorage(clock=clock)
    model, player = (Player(one, clock, subject, rules) for one in (memory, storage))

    async def prune() -> None:
        if await memory.prune():  # idempotency keys end by themselves in Valkey, but not here
            await storage.prune()

    try:
        async for _ in in_step(clock, history, model, player, customer=customer, moved=prune):
            assert player.answers[-1:] == model.answers[-1:]
        assert player.receipts == model.receipts
        ours, theirs = await kept_in_valkey(storage, subject), kept_in_memory(memory, subject)
        assert plain(ours) == plain(theirs)
        assert {w: m.bill for w, m in ours.items()} == {w: m.bill for w, m in theirs.items()}
        assert await storage.grants(subject) == await memory.grants(subject)
    finally:
        await storage.forget(subject)  # the next history's reports are of its own subject


@given(
    history=st.lists(steps, min_size=20, max_size=40), rules=st.tuples(rules, rules), customer=st.booleans()
)
@RANDOM
async def test_the_same_history_has_the_same_answers(
    storage: ValkeyStorage,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
    customer: bool,
) -> None:
    await replay(storage, clock, history, rules, customer)


@given(history=st.lists(billing_steps, min_size=20, max_size=40), rules=st.tuples(edged_rules, edged_rules))
@RANDOM
async def test_the_same_history_has_the_same_bill(
    storage: ValkeyStorage,
    clock: ManualClock,
    history: list[Step],
    rules: tuple[WindowRule, WindowRule],
) -> None:
    """Limits of its own, features and reports, with use on bills from the start."""
    opening: list[Step] = [Charging(0, ("free", "paid")), Charging(1, ("free",))]
    await replay(storage, clock, opening + history, rules, customer=True)

"""Random calls that SQLite decides together have the answers that MemoryStorage gives one after the other."""

import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.sqlite.flight import Flight
from skene.engine.window import WindowRule
from skene.ports.counters import Receipt
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import call, charge
from tests.support.extent import extent
from tests.support.histories import LIMITS, START, Ask, Player, Refund, Step, Wait, edged_rules, rules, steps

pytestmark = pytest.mark.anyio

subjects = count(1)


@dataclass(frozen=True)
class AtOnce:
    """Calls and give-backs of either subject, that arrive in this order while the file is busy."""

    asked: tuple[tuple[int, Ask | Refund], ...]


charges = st.lists(
    st.tuples(
        st.integers(0, 1),
        st.integers(1, 3),
        st.integers(0, len(LIMITS) - 1),
        st.sampled_from((None, "export")),
    ),
    min_size=1,
    max_size=2,
    unique_by=lambda item: item[0],
).map(tuple)
plain = st.builds(Ask, charges, st.none(), st.just(""), st.just(True))
other = st.one_of(
    st.builds(
        Ask, charges, st.sampled_from((None, "k1", "k2")), st.sampled_from(("f1", "f2")), st.booleans()
    ),
    st.builds(Refund, st.integers(0, 2), st.none()),
)
bursts = st.builds(
    AtOnce,
    st.lists(
        st.tuples(st.integers(0, 1), st.one_of(plain, plain, plain, other)), min_size=2, max_size=12
    ).map(tuple),
)
histories = st.lists(st.one_of(bursts, bursts, st.tuples(st.integers(0, 1), steps)), min_size=5, max_size=25)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START)


@pytest.fixture
async def storage(tmp_path: Path, clock: ManualClock) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await storage.start()
    yield storage
    await storage.aclose()


def some(receipts: list[Receipt], which: int) -> tuple[Receipt, ...]:
    return tuple({receipt.meter: receipt for receipt in receipts[-which - 2 : -which or None]}.values())


async def play(storage: Storage, players: list[Player], burst: AtOnce) -> list[object]:
    """The answers to a burst, in the order of their calls."""
    known = [list(player.receipts) for player in players]
    answers: dict[int, object] = {}

    async def one(number: int, who: int, asked: Ask | Refund) -> None:
        player = players[who]
        if isinstance(asked, Ask):
            answers[number] = await player.ask(asked)
        else:
            await storage.refund(player.subject, some(known[who], asked.which))

    todo = [partial(one, number, who, asked) for number, (who, asked) in enumerate(burst.asked)]
    if isinstance(storage, SqliteStorage):
        gate = threading.Event()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(storage._writer.alone, lambda: gate.wait(10), 10)
            for each in todo:
                tasks.start_soon(each)
            await anyio.wait_all_tasks_blocked()
            gate.set()
    else:
        for each in todo:
            await each()
    return [answers.get(number) for number in range(len(todo))]


async def replay(
    storage: SqliteStorage,
    clock: ManualClock,
    history: list[AtOnce | tuple[int, Step]],
    rules: tuple[WindowRule, WindowRule],
) -> None:
    clock.set(START)
    names = [f"subject {next(subjects)}" for _ in range(2)]
    memory = MemoryStorage(clock=clock)
    models = [Player(memory, clock, name, rules) for name in names]
    players = [Player(storage, clock, name, rules) for name in names]
    try:
        for step in history:
            if isinstance(step, AtOnce):
                assert await play(storage, players, step) == await play(memory, models, step)
            else:
                who, alone = step
                if isinstance(alone, Wait):
                    clock.advance(alone.pause)
                await models[who].play(alone)
                await players[who].play(alone)
            for player, model in zip(players, models, strict=True):
                assert player.answers == model.answers
                assert player.receipts == model.receipts
                player.last = model.last
        for name in names:
            for meter in ("m0", "m1"):
                for rule in rules:
                    asked = call(charge(LIMITS[4], meter=meter, rule=rule), subject=name)
                    assert await storage.peek(asked) == await memory.peek(asked)
            assert await storage.grants(name) == await memory.grants(name)
    finally:
        for name in names:
            await storage.forget(name)


RANDOM = extent(60, 600)


@given(history=histories, rules=st.one_of(st.tuples(rules, rules), st.tuples(edged_rules, edged_rules)))
@RANDOM
async def test_calls_at_once_are_answered_as_if_one_after_the_other(
    storage: SqliteStorage,
    clock: ManualClock,
    history: list[AtOnce | tuple[int, Step]],
    rules: tuple[WindowRule, WindowRule],
) -> None:
    await replay(storage, clock, history, rules)


async def test_a_store_that_forgets_what_was_taken_meanwhile_is_seen(
    storage: SqliteStorage, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control."""
    read = Flight._ordinary

    def forgetful(self: Flight, asked: object) -> object:
        self._rows = {name: row for name, row in self._rows.items() if not row.changed}
        return read(self, asked)  # type: ignore[arg-type]  # whatever the other takes

    monkeypatch.setattr(Flight, "_ordinary", forgetful)
    ask = Ask(((0, 1, 0, None),), None, "", True)
    burst = AtOnce(tuple((0, ask) for _ in range(5)))
    with pytest.raises(AssertionError):
        await replay(storage, clock, [burst], (charge().rule, charge().rule))

"""MemoryStorage keeps the contract of a storage, on both event loops."""

import tracemalloc
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.packed import pack, unpack
from skene.engine.counter import Counter
from skene.engine.standing import Standing
from skene.engine.window import EPOCH, FOREVER, Anchored, Edges, Rolling, WindowRule
from skene.ports.contacts import Suppressed
from skene.ports.firings import Repeat
from skene.testing.clock import ManualClock
from skene.testing.conformance import StorageConformance, StorageFactory
from skene.testing.conformance.base import FREE, PAYING, apply, call, charge, refuse_once, set_plan
from skene.testing.conformance.happening import DAY, LEASE, act, begin_journey, fired, send, take_firing


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    async def storage(self, clock: ManualClock) -> AsyncIterator[MemoryStorage]:
        storage = MemoryStorage(clock=clock)
        await storage.start()
        yield storage
        await storage.aclose()

    @pytest.fixture
    def storage_factory(self) -> StorageFactory:
        one = MemoryStorage()  # nothing outlives it, so every storage of a test is the same

        async def factory() -> MemoryStorage:
            return one

        return factory


RULES: list[WindowRule] = [
    Anchored(timedelta(days=30)),
    Rolling(timedelta(days=30)),
    Edges(()),
    Edges((), billing_cycle=True),
]


class TestSetUsed:
    @pytest.mark.parametrize("rule", RULES)
    async def test_a_counter_is_put_where_a_test_needs_it(self, rule: WindowRule) -> None:
        clock = ManualClock()
        storage, item = MemoryStorage(clock=clock), charge(100, rule=rule)
        for used in (99, 0, 98):
            storage.set_used("ada", "calls", "free", rule, used)
            assert (await storage.peek(call(item))).tallies[0].used == used
            clock.advance("1h")
        assert (await storage.consume(call(item))).tallies[0].used == 99
        assert (await storage.consume(call(item))).admitted
        assert not (await storage.consume(call(item))).admitted
        assert storage.counts() == (("ada", "calls", "free", 100),)

    async def test_the_running_window_stays(self) -> None:
        clock = ManualClock()
        storage = MemoryStorage(clock=clock)
        first = (await storage.consume(call())).tallies[0]
        clock.advance("3d")
        storage.set_used("ada", "calls", "free", first.charge.rule, 50)
        assert (await storage.peek(call())).tallies[0] == replace(first, used=50, receipt=None)
        clock.set(first.end)
        storage.set_used("ada", "calls", "free", first.charge.rule, 7)
        assert (await storage.peek(call())).tallies[0].start == first.end

    async def test_a_rolling_window_slides_from_now(self) -> None:
        clock, rule = ManualClock(), Rolling(timedelta(hours=1))
        storage, item = MemoryStorage(clock=clock), charge(100, rule=rule)
        storage.set_used("ada", "calls", "free", rule, 60)
        clock.advance("30m")
        storage.set_used("ada", "calls", "free", rule, 70)
        clock.advance("45m")
        assert (await storage.peek(call(item))).tallies[0].used == 70
        clock.advance("17m")
        assert (await storage.peek(call(item))).tallies[0].used == 0

    async def test_billing_cycles_are_the_customers(self) -> None:
        clock = ManualClock(datetime(2026, 2, 1, tzinfo=UTC))
        storage, rule = MemoryStorage(clock=clock), Edges((), billing_cycle=True)
        end = datetime(2026, 2, 14, tzinfo=UTC)
        await apply(storage, PAYING, cycle=(end - timedelta(days=30), end))
        storage.set_used("ada", "calls", "paid", rule, 5)
        clock.set(end)
        assert (await storage.peek(call(charge(rule=rule)))).tallies[0].used == 0


def test_counters_pack_without_loss() -> None:
    at = datetime(2026, 3, 1, 1, 2, 3, 456789, tzinfo=UTC)
    plain = Counter(at, at + timedelta(days=30), 2**63 - 1)
    for counter in (plain, Counter(EPOCH, FOREVER), Counter(EPOCH, FOREVER, 2**70), replace(plain, used=0)):
        assert isinstance(pack(counter), int)
        assert unpack(pack(counter)) == counter
    early = EPOCH - timedelta(days=1)
    for counter in (
        replace(plain, notices=("a",)),
        replace(plain, parts=((at, 1),)),
        replace(plain, start=early),
    ):
        assert unpack(pack(counter)) == counter
    assert unpack(None) is None


async def test_a_subject_takes_little_room() -> None:
    storage, item = MemoryStorage(), charge()
    calls = [call(item, subject=f"subject-{n}") for n in range(4_000)]
    tracemalloc.start()
    try:
        for one in calls:
            await storage.consume(one)
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken / len(calls) <= 200


def everything(storage: MemoryStorage) -> str:
    kept: object = vars(storage)["_state"]
    return repr(vars(kept))


async def test_a_forgotten_name_is_nowhere() -> None:
    clock, name = ManualClock(), "zaphod"
    storage = MemoryStorage(clock=clock)
    for rule in RULES:
        await storage.consume(call(charge(rule=rule, meter=repr(rule)), subject=name, key=repr(rule)))
    await refuse_once(storage, clock, subject=name)
    await apply(storage, subject=name, customer="cus_z", email="z@example.test")
    await set_plan(storage, FREE, subject=name)
    await apply(storage, subject=name, customer="cus_z")
    await set_plan(storage, Standing("pro", clock.now() + DAY), subject=name)
    await begin_journey(storage, "j1", subject=name)
    (message, *_) = reversed(await storage.claim(10, LEASE))
    await send(storage, message, f"sent to {name}")
    await storage.emit(name, (fired(name, subject=name, data={"name": name}, after=DAY),), {"welcome": DAY})
    await storage.suppress(Suppressed.UNSUBSCRIBED, subject=name, source="link")
    await act(storage, f"by {name}", subject=name, repeat=Repeat(max_fires=1))
    assert name in everything(storage)
    await storage.forget(name)
    assert name not in everything(storage)
    assert "cus_z" not in everything(storage)
    assert [c.subject for c in storage.conversions] == ["", ""]
    assert [j.subject for j in storage.journeys] == [""]


async def test_what_has_happened_can_be_read_without_waiting() -> None:
    clock = ManualClock()
    storage = MemoryStorage(clock=clock)
    await begin_journey(storage)
    await send(storage, (await storage.claim(1, LEASE))[0])
    await storage.emit("ada", (fired("f1", after=DAY), fired("f2")), {"welcome": DAY})
    (journey,) = storage.journeys
    assert (journey.id, journey.loop, journey.subject) == ("j1", "welcome", "ada")
    assert (journey.held_out, journey.shadow) == (False, False)
    assert (journey.begun_at, journey.prompted_at, journey.goal_at) == (clock.now(),) * 3
    assert [(one.key, one.due_at - clock.now()) for one in storage.waiting()] == [
        ("f1", DAY),
        ("f2", timedelta(0)),
    ]
    assert [(row.subject, row.firing) for row in storage.log()] == [("ada", "begin:j1")]
    assert (await take_firing(storage)).claim == 1  # looking claims nothing


async def test_conversions_can_be_read() -> None:
    clock = ManualClock()
    storage = MemoryStorage(clock=clock)
    await apply(storage)
    await set_plan(storage, PAYING, subject="bob")
    assert [(c.subject, c.at, c.wall, c.amount, c.currency) for c in storage.conversions] == [
        ("ada", clock.now(), None, 1900, "eur"),
        ("bob", clock.now(), None, None, None),
    ]

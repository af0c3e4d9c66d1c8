"""Natural batching, without a database: who flies with whom, and what happens to those who cannot wait."""

import asyncio  # noqa: TID251 - cancelling from outside anyio is what is tested
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel
import pytest

from skene.adapters.postgres import PostgresStorage, _Asked
from skene.adapters.postgres.together import Together
from skene.engine.window import Anchored
from skene.errors import StorageUnavailable
from skene.ports.counters import Charge, Consume


class Sky:
    """Flights that take a moment, and a list of who was on each."""

    def __init__(self, **options: int) -> None:
        self.flights: list[list[int]] = []
        self.undone: list[int] = []
        self.aloft = self.most_aloft = 0
        self.fails: Exception | None = None
        self.seconds = 0.01
        self.shield = True
        self.together: Together[int, int] = Together(self.fly, abandoned=self.abandoned, **options)

    async def fly(self, items: Sequence[int]) -> list[int]:
        self.flights.append(list(items))
        self.aloft += 1
        self.most_aloft = max(self.aloft, self.most_aloft)
        try:
            with anyio.CancelScope(shield=self.shield):
                await anyio.sleep(self.seconds)
        finally:
            self.aloft -= 1
        if self.fails is not None:
            raise self.fails
        return [item * 10 for item in items]

    async def abandoned(self, item: int, result: int) -> None:
        self.undone.append(item)


async def test_a_lone_call_waits_for_nobody():
    sky = Sky()
    assert await sky.together.send(1) == 10
    assert await sky.together.send(2) == 20
    assert sky.flights == [[1], [2]]


async def test_calls_that_arrive_meanwhile_go_together_in_their_order():
    sky, results = Sky(lanes=1), {}

    async def call(item: int) -> None:
        results[item] = await sky.together.send(item)

    async with anyio.create_task_group() as tasks:
        for item in range(50):
            tasks.start_soon(call, item)
    assert results == {item: item * 10 for item in range(50)}
    assert sky.flights == [[0], list(range(1, 50))]


async def test_no_more_flights_than_lanes_and_no_larger_than_a_batch():
    sky = Sky(lanes=2, batch=8)
    async with anyio.create_task_group() as tasks:
        for item in range(100):
            tasks.start_soon(sky.together.send, item)
    assert sky.most_aloft == 2
    assert max(map(len, sky.flights)) == 8
    assert sorted(item for flight in sky.flights for item in flight) == list(range(100))


async def test_a_flight_that_fails_fails_for_all_of_it_and_for_nobody_else():
    sky, failed = Sky(lanes=1), []
    sky.fails = OSError("no connection")

    async def call(item: int) -> None:
        try:
            await sky.together.send(item)
        except OSError:
            failed.append(item)

    async with anyio.create_task_group() as tasks:
        for item in range(5):
            tasks.start_soon(call, item)
    assert sorted(failed) == list(range(5))
    sky.fails = None
    assert await sky.together.send(7) == 70


async def test_beyond_its_room_calls_are_turned_away_at_once():
    sky, refused = Sky(lanes=1, room=3), []

    async def call(item: int) -> None:
        try:
            await sky.together.send(item)
        except StorageUnavailable:
            refused.append(item)

    async with anyio.create_task_group() as tasks:
        for item in range(6):
            tasks.start_soon(call, item)
    assert refused == [4, 5]


async def test_who_leaves_before_take_off_is_not_on_the_flight():
    sky = Sky(lanes=1)

    async def impatient() -> None:
        with anyio.move_on_after(0.002):
            await sky.together.send(2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 1)
        tasks.start_soon(impatient)
        await anyio.sleep(0.004)
        tasks.start_soon(sky.together.send, 3)
    assert sky.flights == [[1], [3]]
    assert sky.undone == []


async def test_what_was_done_for_somebody_who_left_in_flight_is_undone():
    sky = Sky(lanes=1)

    async def impatient() -> None:
        with anyio.move_on_after(0.015):
            await sky.together.send(3)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 1)
        await anyio.sleep(0.001)
        tasks.start_soon(sky.together.send, 2)
        tasks.start_soon(impatient)
    assert sky.flights == [[1], [2, 3]]
    assert sky.undone == [3]


async def test_a_lane_is_passed_on_when_the_next_in_line_leaves():
    sky = Sky(lanes=1)
    results = []

    async def patient(item: int) -> None:
        results.append(await sky.together.send(item))

    with anyio.fail_after(1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(patient, 1)
            await anyio.lowlevel.checkpoint()
            leaving = anyio.CancelScope()

            async def leaver() -> None:
                with leaving:
                    await sky.together.send(2)

            tasks.start_soon(leaver)
            tasks.start_soon(patient, 3)
            while sky.aloft or not sky.flights:
                await anyio.sleep(0.001)
            leaving.cancel()
    assert sorted(results) == [10, 30]
    assert await sky.together.send(4) == 40


async def test_a_cancelled_leader_lets_nobody_wait_for_ever():
    """Those who flew with it are told that nothing is known, and the lane is free again."""
    sky, leading = Sky(lanes=1), anyio.CancelScope()
    sky.shield = False

    async def leader() -> None:
        with leading:
            await sky.together.send(2)

    async def follower() -> None:
        with pytest.raises(StorageUnavailable):
            await sky.together.send(3)

    with anyio.fail_after(1):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sky.together.send, 1)
            await anyio.lowlevel.checkpoint()
            tasks.start_soon(leader)
            tasks.start_soon(follower)
            while len(sky.flights) < 2:
                await anyio.sleep(0.001)
            leading.cancel()
    assert sky.flights == [[1], [2, 3]]
    assert await sky.together.send(4) == 40


async def test_who_is_to_lead_and_is_cancelled_at_that_moment_leaves_the_lane_to_the_next(monkeypatch):
    sky = Sky(lanes=1)
    calls = [asyncio.ensure_future(sky.together.send(item)) for item in range(3)]
    land = sky.together._land

    def cancel_the_next() -> None:
        land()
        monkeypatch.undo()
        calls[1].cancel()  # from outside anyio, as `asyncio.timeout` does it: nothing holds it back

    monkeypatch.setattr(sky.together, "_land", cancel_the_next)
    with anyio.fail_after(5):
        first, second, third = await asyncio.gather(*calls, return_exceptions=True)
    assert (first, third) == (0, 20)
    assert isinstance(second, asyncio.CancelledError)
    assert sky.flights == [[0], [2]]
    assert sky.together._flying == 0


async def test_who_is_cancelled_just_as_the_answer_comes_is_undone(monkeypatch):
    sky = Sky(lanes=1)
    calls = [asyncio.ensure_future(sky.together.send(item)) for item in range(3)]
    land = sky.together._land

    def cancel_a_passenger() -> None:
        land()
        if len(sky.flights) == 2:
            asyncio.get_running_loop().call_soon(calls[2].cancel)

    monkeypatch.setattr(sky.together, "_land", cancel_a_passenger)
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert results[:2] == [0, 10]
    assert isinstance(results[2], asyncio.CancelledError)
    assert sky.undone == [2]


async def test_what_was_refused_leaves_the_key_to_the_call_that_has_it(monkeypatch):
    """A refused call nobody waits for any more: another may have been admitted under its key meanwhile."""
    storage = PostgresStorage("postgresql://localhost/nowhere")
    undone: list[object] = []

    async def refund(*about: object) -> None:
        undone.append(about)

    monkeypatch.setattr(storage, "refund", refund)
    now, window = (
        datetime(2026, 3, 1, tzinfo=UTC),
        (datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC)),
    )
    rule = Anchored(timedelta(days=30))
    call = Consume("ada", "free", (Charge("s", "calls", 1, {"free": 3}, rule),), "k", "f")
    decided = (now, "free", None, None, None, "ada", 3, 0, 3)
    await storage._take_back(_Asked(call, ()), [("refused", *decided, False, *window, [], None, None, None)])
    assert undone == []
    await storage._take_back(_Asked(call, ()), [("admitted", *decided, True, *window, [], None, "free", now)])
    assert len(undone) == 1

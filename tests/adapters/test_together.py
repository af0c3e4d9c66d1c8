"""Natural batching, without a database: who flies with whom, and what happens to those who cannot wait."""

import asyncio  # noqa: TID251 - cancelling from outside anyio is what is tested
from collections.abc import Sequence

import anyio
import anyio.lowlevel
import pytest

from skene.adapters.together import CROWD, Together, Waiting
from skene.errors import StorageUnavailable

pytestmark = pytest.mark.anyio


class Sky:
    """Flights that last until they are let down, and a list of who was on each."""

    def __init__(self, *, open_skies: bool = True, patience: float = 5.0, **options: int) -> None:
        self.flights: list[list[int]] = []
        self.undone: list[int] = []
        self.aloft = self.most_aloft = 0
        self.fails: Exception | None = None
        self.clear = anyio.Event()
        if open_skies:
            self.clear.set()
        self.together: Together[int, int] = Together(self.fly, undo=self.undo, patience=patience, **options)

    async def fly(self, aboard: Sequence[Waiting[int, int]]) -> None:
        self.flights.append([waiting.item for waiting in aboard])
        self.aloft += 1
        self.most_aloft = max(self.aloft, self.most_aloft)
        try:
            await anyio.lowlevel.checkpoint()
            await self.clear.wait()
        finally:
            self.aloft -= 1
        if self.fails is not None:
            raise self.fails
        for waiting in aboard:
            waiting.settle(waiting.item * 10)

    async def undo(self, item: int, result: int) -> None:
        assert result == item * 10
        self.undone.append(item)

    async def is_aloft(self, flights: int = 1) -> None:
        """Wait until so many flights have taken off."""
        with anyio.fail_after(5):
            while len(self.flights) < flights:
                await anyio.lowlevel.checkpoint()


async def test_a_lone_call_waits_for_nobody() -> None:
    sky = Sky()
    assert await sky.together.send(1) == 10
    assert await sky.together.send(2) == 20
    assert sky.flights == [[1], [2]]


async def test_calls_that_arrive_in_one_turn_go_together_in_their_order() -> None:
    sky, results = Sky(), dict[int, int]()

    async def call(item: int) -> None:
        results[item] = await sky.together.send(item)

    async with anyio.create_task_group() as tasks:
        for item in range(50):
            tasks.start_soon(call, item)
    assert results == {item: item * 10 for item in range(50)}
    assert sky.flights == [list(range(50))]


async def test_calls_that_arrive_meanwhile_wait_and_go_together() -> None:
    sky = Sky(open_skies=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 0)
        await sky.is_aloft()
        for item in range(1, 40):
            tasks.start_soon(sky.together.send, item)
            await anyio.lowlevel.checkpoint()
        sky.clear.set()
    assert sky.flights == [[0], list(range(1, 40))]


async def test_those_who_land_and_call_again_go_together() -> None:
    """Closed loops: no flight for the quickest of them alone."""
    sky = Sky()

    async def caller(first: int) -> None:
        for turn in range(5):
            await sky.together.send(first + 100 * turn)

    async with anyio.create_task_group() as tasks:
        for number in range(8):
            tasks.start_soon(caller, number)
    assert [len(flight) for flight in sky.flights] == [8] * 5


async def test_no_more_flights_than_lanes_and_no_larger_than_a_batch() -> None:
    sky = Sky(batch=8)
    async with anyio.create_task_group() as tasks:
        for item in range(CROWD + 40):
            tasks.start_soon(sky.together.send, item)
    assert sky.most_aloft == 2
    assert max(map(len, sky.flights)) == 8
    assert sorted(item for flight in sky.flights for item in flight) == list(range(CROWD + 40))


async def test_a_flight_that_hangs_holds_up_only_those_aboard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skene.adapters.together.LATE", -1.0)
    sky = Sky(open_skies=False)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 1)
        await sky.is_aloft()
        tasks.start_soon(sky.together.send, 2)
        await sky.is_aloft(2)
        sky.clear.set()
    assert sky.flights == [[1], [2]]


async def test_a_flight_that_fails_fails_for_all_of_it_and_for_nobody_else() -> None:
    sky, failed = Sky(), list[int]()
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


async def test_what_a_flight_settled_before_it_failed_stands() -> None:
    sky = Sky()

    async def fly(aboard: Sequence[Waiting[int, int]]) -> None:
        aboard[0].settle(10)
        raise OSError("no connection")

    together: Together[int, int] = Together(fly, undo=sky.undo, patience=5)
    first, second = await asyncio.gather(together.send(1), together.send(2), return_exceptions=True)
    assert first == 10
    assert isinstance(second, OSError)


async def test_beyond_its_room_calls_are_turned_away_at_once() -> None:
    sky, refused = Sky(room=3), list[int]()

    async def call(item: int) -> None:
        try:
            await sky.together.send(item)
        except StorageUnavailable:
            refused.append(item)

    async with anyio.create_task_group() as tasks:
        for item in range(6):
            tasks.start_soon(call, item)
    assert refused == [3, 4, 5]


async def test_who_waits_too_long_for_take_off_is_turned_away() -> None:
    sky = Sky(open_skies=False, patience=0.02)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 1)
        await sky.is_aloft()
        for item in (2, 3):
            with pytest.raises(StorageUnavailable, match="in time"):
                await sky.together.send(item)
        sky.clear.set()
    assert sky.flights == [[1]]
    assert await sky.together.send(4) == 40


async def test_who_leaves_before_take_off_is_not_on_the_flight() -> None:
    sky, leaving = Sky(open_skies=False), anyio.CancelScope()

    async def impatient() -> None:
        with leaving:
            await sky.together.send(2)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(sky.together.send, 1)
        await sky.is_aloft()
        tasks.start_soon(impatient)
        tasks.start_soon(sky.together.send, 3)
        await anyio.lowlevel.checkpoint()
        leaving.cancel()
        await anyio.lowlevel.checkpoint()
        sky.clear.set()
    assert sky.flights == [[1], [3]]
    assert sky.undone == []


async def test_what_was_done_for_somebody_who_left_in_flight_is_undone_once_before_they_go() -> None:
    sky, leaving = Sky(open_skies=False), anyio.CancelScope()
    undone_when_gone: list[int] = []

    async def impatient() -> None:
        with leaving:
            await sky.together.send(2)
        undone_when_gone.extend(sky.undone)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(impatient)
        tasks.start_soon(sky.together.send, 3)
        await sky.is_aloft()
        leaving.cancel()
        await anyio.lowlevel.checkpoint()
        sky.clear.set()
    assert sky.flights == [[2, 3]]
    assert undone_when_gone == sky.undone == [2]


async def test_who_is_torn_away_even_while_leaving_is_undone_by_the_flight() -> None:
    """`asyncio.timeout` and the like know no shield."""
    sky = Sky(open_skies=False)
    call = asyncio.ensure_future(sky.together.send(2))
    await sky.is_aloft()
    for _ in range(3):
        call.cancel()
        await asyncio.sleep(0)
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sky.undone == []
    sky.clear.set()
    await sky.together.aclose()
    assert sky.undone == [2]


async def test_who_is_cancelled_just_as_the_answer_comes_is_undone_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sky = Sky()
    calls: list[asyncio.Future[int]] = []

    async def fly(aboard: Sequence[Waiting[int, int]]) -> None:
        for waiting in aboard:
            waiting.settle(waiting.item * 10)
        calls[1].cancel()

    monkeypatch.setattr(sky.together, "_fly", fly)
    calls += [asyncio.ensure_future(sky.together.send(item)) for item in range(3)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    await sky.together.aclose()
    assert (results[0], results[2]) == (0, 20)
    assert isinstance(results[1], asyncio.CancelledError)
    assert sky.undone == [1]


async def test_a_flight_that_is_cut_off_lets_nobody_wait_for_ever() -> None:
    """The event loop ends and cancels everything that is left."""
    sky = Sky(open_skies=False)
    call = asyncio.ensure_future(sky.together.send(1))
    await sky.is_aloft()
    for task in list(sky.together._tasks):
        task.cancel()
    with pytest.raises(StorageUnavailable, match="cut off"):
        await call
    sky.clear.set()
    assert await sky.together.send(2) == 20

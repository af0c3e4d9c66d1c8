"""The one thread that works on a file: who goes with whom, and what becomes of those who cannot wait."""

import asyncio  # noqa: TID251 - cancelling from outside anyio is what is tested
import gc
import threading
import weakref
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import Any

import anyio
import pytest
from anyio import to_thread
from anyio.abc import TaskGroup
from anyio.lowlevel import current_token

from skene.adapters.sqlite import desk, writer
from skene.adapters.sqlite.desk import Errand
from skene.adapters.sqlite.writer import Writer
from skene.errors import StorageUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class Number(Errand):
    """Its outcome is ten times the number; taking it back is a negative one."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number

    def undo(self) -> "Number | None":
        return Number(-self.number) if self.outcome is not None else None


class Office:
    """A writer, and a thread that a gate can hold up in the midst of its work."""

    def __init__(self, **options: int) -> None:
        self.batches: list[list[int]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.free = 0  # so many batches pass the gate in any case
        self.bad: dict[int, Exception] = {}
        self.keeps: set[int] = set()
        self.breaks: Exception | None = None
        self.writer = Writer(self.work, **options)

    def work(self, errands: Sequence[Number]) -> Iterator[Sequence[Number]]:
        self.batches.append([errand.number for errand in errands])
        self.begun.release()
        if len(self.batches) > self.free:
            self.gate.wait(10)
        if self.breaks is not None:
            raise self.breaks
        for errand in errands:
            errand.outcome = self.bad.get(errand.number, errand.number * 10)
        yield [errand for errand in errands if errand.number not in self.keeps]
        self.keeps.difference_update(errand.number for errand in errands)

    async def send(self, number: int, answers: list[Any] | None = None) -> Any:
        try:
            answer = await self.writer.send(Number(number))
        except Exception as error:
            if answers is None:
                raise
            answer = error
        if answers is not None:
            answers.append((number, answer))
        return answer

    async def arrive(self, tasks: TaskGroup, *numbers: int, answers: list[Any] | None = None) -> None:
        """Let them wait, one after the other: trio starts tasks in any order."""
        for number in numbers:
            tasks.start_soon(self.send, number, answers)
            await anyio.wait_all_tasks_blocked()

    def shut(self) -> None:
        """Hold up whatever the thread begins from now on."""
        self.gate.clear()
        while self.begun.acquire(blocking=False):
            pass

    async def at_work(self) -> None:
        """Until the thread has begun with something more."""
        assert await to_thread.run_sync(self.begun.acquire, True, 5)

    async def undone(self) -> list[int]:
        """What was taken back, once all is done."""
        for _ in range(2):  # after the first, everybody has heard of what was done before
            await self.send(0)
        return [number for number in chain(*self.batches) if number < 0]


async def test_a_lone_errand_waits_for_nobody() -> None:
    office = Office()
    assert await office.send(1) == 10
    assert await office.send(2) == 20
    assert office.batches == [[1], [2]]


async def test_what_comes_meanwhile_goes_together_in_its_order() -> None:
    office, answers = Office(), list[Any]()
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 1, answers)
        await office.at_work()
        await office.arrive(tasks, *range(2, 51), answers=answers)
        office.gate.set()
    assert office.batches == [[1], list(range(2, 51))]
    assert sorted(answers) == [(number, number * 10) for number in range(1, 51)]


async def test_no_more_go_together_than_a_batch() -> None:
    office = Office(batch=8)
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 1)
        await office.at_work()
        await office.arrive(tasks, *range(2, 22))
        office.gate.set()
    assert list(map(len, office.batches)) == [1, 8, 8, 4]


async def test_one_that_fails_fails_alone() -> None:
    office, answers = Office(), list[Any]()
    office.bad[2] = error = OSError("no")
    async with anyio.create_task_group() as tasks:
        for number in range(1, 4):
            tasks.start_soon(office.send, number, answers)
    assert sorted(answers) == [(1, 10), (2, error), (3, 30)]


async def test_what_breaks_the_work_itself_reaches_everybody_and_the_thread_goes_on() -> None:
    office, answers = Office(), list[Any]()
    office.breaks = error = OSError("broken")
    async with anyio.create_task_group() as tasks:
        for number in range(1, 4):
            tasks.start_soon(office.send, number, answers)
    assert sorted(answers) == [(number, error) for number in range(1, 4)]
    office.breaks = None
    assert await office.send(5) == 50


async def test_what_was_not_done_stays_in_front_but_lets_others_have_a_turn() -> None:
    office, answers = Office(), list[Any]()
    office.keeps = {1, 2}
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 3, answers)
        await office.at_work()
        await office.arrive(tasks, *(1, 2), answers=answers)
        tasks.start_soon(partial(office.writer.alone, lambda: office.batches.append([]), 5))
        await anyio.wait_all_tasks_blocked()
        await office.arrive(tasks, 4, answers=answers)
        office.gate.set()
    assert office.batches == [[3], [1, 2], [], [1, 2, 4]]
    assert sorted(answers) == [(number, number * 10) for number in range(1, 5)]


async def test_beyond_its_room_errands_are_turned_away_at_once() -> None:
    office, answers = Office(room=3), list[Any]()
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 1, answers)
        await office.at_work()
        await office.arrive(tasks, *range(2, 5), answers=answers)
        for number in (5, 6):
            with pytest.raises(StorageUnavailable, match="3 calls are waiting"):
                await office.send(number)
        with pytest.raises(StorageUnavailable):
            await office.writer.alone(lambda: None, 5)
        tasks.start_soon(partial(office.writer.alone, lambda: office.batches.append([]), 5, always=True))
        await anyio.wait_all_tasks_blocked()
        office.gate.set()
    assert office.batches == [[1], [2, 3, 4], []]


async def test_who_leaves_before_it_has_begun_leaves_nothing_behind() -> None:
    office = Office()
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 1)
        await office.at_work()
        async with anyio.create_task_group() as others:
            others.start_soon(office.send, 2)
            await anyio.wait_all_tasks_blocked()
            others.cancel_scope.cancel()
        await office.arrive(tasks, 3)
        office.gate.set()
    assert office.batches == [[1], [3]]
    assert await office.undone() == []


async def test_who_leaves_in_the_midst_of_it_takes_it_back_before_going_on() -> None:
    office = Office()
    office.gate.clear()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(office.send, 1)
            await office.at_work()
            scope.cancel()
            threading.Timer(0.01, office.gate.set).start()
    assert await office.undone() == [-1]
    assert [*chain(*office.batches)] == [1, -1, 0, 0]  # whoever looks now finds it taken back


async def test_who_leaves_while_it_is_kept_waiting_is_not_sent_again() -> None:
    office = Office()
    office.gate.clear()
    office.keeps = {1}
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(office.send, 1)
            await office.at_work()
            scope.cancel()
            threading.Timer(0.01, office.gate.set).start()
    await office.undone()
    assert office.batches.count([1]) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_who_is_cancelled_by_asyncio_itself_takes_it_back(anyio_backend: str) -> None:
    """Not even twice, or just as the answer comes, does it leave anything behind."""
    office = Office()
    for times in (1, 2):
        await office.undone()
        office.shut()
        task = asyncio.ensure_future(office.send(times))
        await office.at_work()
        for _ in range(times):
            task.cancel()
            await anyio.wait_all_tasks_blocked()
        office.gate.set()
        await asyncio.wait([task])
        assert task.cancelled()
    assert await office.undone() == [-1, -2]
    deliver = office.writer._deliver

    def delivered_and_cancelled(errands: Sequence[Errand]) -> None:
        deliver(errands)
        task.cancel()

    office.writer._deliver = delivered_and_cancelled  # type: ignore[method-assign]  # the very moment
    task = asyncio.ensure_future(office.send(3))
    await asyncio.wait([task])
    assert task.cancelled()
    del office.writer._deliver
    assert await office.undone() == [-1, -2, -3]


def test_what_was_done_for_a_loop_that_is_over_is_taken_back() -> None:
    office = Office()
    office.gate.clear()

    async def leave() -> None:
        task = asyncio.ensure_future(office.send(1))
        await office.at_work()
        for _ in range(2):
            task.cancel()
            await asyncio.wait([task], timeout=0.01)

    asyncio.run(leave())
    office.gate.set()
    assert anyio.run(office.undone) == [-1]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_loop_that_is_over_is_not_kept(backend: str) -> None:
    office, loops = Office(), list[weakref.ref[Any]]()

    async def visit() -> None:
        loops.append(weakref.ref(current_token().native_token))
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(office.send, number)

    anyio.run(visit, backend=backend)
    gc.collect()
    assert loops[0]() is None


@pytest.fixture
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "ANSWER_SECONDS", 0.05)


@pytest.mark.usefixtures("hurry")
async def test_nobody_waits_for_longer_than_promised() -> None:
    """Neither those at work, nor those who wait, nor those who came first of them."""
    office, answers = Office(batch=2), list[Any]()
    office.free = 2
    office.gate.clear()
    with anyio.fail_after(5):
        async with anyio.create_task_group() as tasks:
            for number in range(1, 10):
                tasks.start_soon(office.send, number, answers)
    office.gate.set()
    late = {number for number, answer in answers if isinstance(answer, StorageUnavailable)}
    answered = {number for number, answer in answers if answer == number * 10}
    assert answered == {*chain(*office.batches[:2])}
    assert late == set(range(1, 10)) - answered
    assert {*chain(*office.batches)} == answered | set(office.batches[2])  # the others never were done
    assert {-number for number in await office.undone()} == set(office.batches[2])


async def test_work_alone_is_not_abandoned_once_it_has_begun() -> None:
    office, gate, begun, ends = Office(), threading.Event(), threading.Event(), list[str]()

    def work() -> str:
        begun.set()
        gate.wait(10)
        ends.append("end")
        return "done"

    threading.Timer(0.6, gate.set).start()
    assert await office.writer.alone(work, 0.3) == "done"  # its time is up before it is done
    gate.clear()
    begun.clear()
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(partial(office.writer.alone, work, 5))
            await to_thread.run_sync(begun.wait, 5)
            scope.cancel()
            threading.Timer(0.01, gate.set).start()
    assert ends == ["end", "end"]


async def test_work_whose_turn_does_not_come_is_never_done() -> None:
    office, done = Office(), list[str]()
    office.gate.clear()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(office.send, 1)
        await office.at_work()
        with pytest.raises(StorageUnavailable, match=r"within 0.01 s"):
            await office.writer.alone(lambda: done.append("late"), 0.01)
        office.gate.set()
    assert await office.undone() == []
    assert done == []


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "skene sqlite"]


async def test_the_thread_ends_when_told_and_after_a_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    for end in (Writer.rest, None):
        if end is None:
            monkeypatch.setattr(writer, "REST_SECONDS", 0.01)
        before = threads()
        office = Office()
        assert await office.send(1) == 10
        (own,) = set(threads()) - set(before)
        if end is not None:
            end(office.writer)
        await to_thread.run_sync(own.join, 5)
        assert not own.is_alive()
        assert await office.send(2) == 20  # by another one
        office.writer.rest()

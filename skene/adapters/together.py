"""Natural batching: calls that arrive while a statement is in flight go together in the next one.

There is no timer. A call that finds nothing in flight goes at once, with whatever else arrived in the same
turn of the event loop; the others wait for a flight that is under way anyway. So a lone call waits for
nothing, and many calls share a statement, and what they write a commit and its flush.
"""

import asyncio  # noqa: TID251 - asyncpg's event loop; anyio's events and scopes cost more than a call's share of a flight
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeVar, cast

import anyio

from skene.errors import StorageUnavailable

__all__ = ["LANES", "Together", "Waiting"]

Item = TypeVar("Item")
Result = TypeVar("Result")

LANES = 2
"""Statements in flight at once."""
BATCH = 128
"""Calls in one statement: while it is in flight, the next one of as many is made up."""
CROWD = 64
"""With so many waiting, a second flight is worth its share of the database."""
LATE = 0.05
"""Seconds after which the flight ahead is taken to hang, so that a second one takes off beside it."""


class Waiting(Generic[Item, Result]):
    """A call on its way. A flight settles it or fails it, as soon as it knows."""

    __slots__ = ("aboard", "error", "given_up", "item", "result", "settled", "since", "wake")

    def __init__(self, item: Item, since: float, wake: "asyncio.Future[None]") -> None:
        self.item = item
        self.since = since
        self.wake = wake
        self.aboard = self.settled = self.given_up = False
        self.result: Result | None = None
        self.error: Exception | None = None

    def settle(self, result: Result) -> None:
        """This is the answer."""
        self.result = result
        self.settled = True
        if not self.wake.done():
            self.wake.set_result(None)

    def fail(self, error: Exception) -> None:
        """There is none; nothing if it is settled already."""
        if not self.settled:
            self.error = error
            self.settled = True
            if not self.wake.done():
                self.wake.set_result(None)


class Together(Generic[Item, Result]):
    """Sends calls in as few statements as their arrival allows. Belongs to one event loop."""

    def __init__(
        self,
        fly: Callable[[Sequence[Waiting[Item, Result]]], Awaitable[None]],
        *,
        undo: Callable[[Item, Result], Coroutine[Any, Any, None]],
        patience: float,
        lanes: int = LANES,
        batch: int = BATCH,
        room: int = 4096,
    ) -> None:
        """Nothing is in flight yet.

        Args:
            fly: sends some calls in one statement, and settles each. What it raises fails the rest of them.
            undo: takes back a result that nobody waits for any more.
            patience: seconds that a call waits for its take-off.
            lanes: statements in flight at once; the second only for a crowd, or beside one that hangs.
            batch: calls in one statement.
            room: calls that may wait; beyond it they are turned away at once.
        """
        self._fly = fly
        self._undo = undo
        self._patience = patience
        self._lanes = lanes
        self._batch = batch
        self._room = room
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Waiting[Item, Result]] = deque()
        self._flying = 0
        self._took_off = 0.0
        self._expiry: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def send(self, item: Item) -> Result:
        """Send a call, with whatever else is waiting.

        Whoever is cancelled before take-off is not on the flight; later, what was done is undone.

        Raises:
            StorageUnavailable: too many calls are waiting already, or it could not take off in time.
            Exception: whatever its flight failed with.
        """
        if len(self._queue) >= self._room:
            raise StorageUnavailable(f"{self._room} calls are waiting for the database already")
        now = self._loop.time()
        waiting: Waiting[Item, Result] = Waiting(item, now, self._loop.create_future())
        self._queue.append(waiting)
        if self._flying == 0 or (self._flying < self._lanes and self._is_worth_another(now)):
            self._flying += 1
            self._took_off = now
            self._run(self._lane())
        elif self._expiry is None:
            self._expiry = self._loop.call_at(now + self._patience, self._expire)
        try:
            await waiting.wake
        except BaseException:
            await self._leave(waiting)
            raise
        if waiting.error is not None:
            raise waiting.error.with_traceback(None)  # shared by a whole flight: it must not grow
        return cast(Result, waiting.result)

    async def aclose(self) -> None:
        """Wait until what is under way has ended."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _is_worth_another(self, now: float) -> bool:
        return len(self._queue) > CROWD or now - self._took_off > LATE

    async def _lane(self) -> None:
        """Fly until nobody waits any more."""
        try:
            while self._queue:
                size = min(self._batch, len(self._queue))
                await self._flight([self._queue.popleft() for _ in range(size)])
                # Those who have landed may call again: they go together, and not the first of them alone.
                await asyncio.sleep(0)
                self._took_off = self._loop.time()
        finally:
            self._flying -= 1

    async def _flight(self, aboard: list[Waiting[Item, Result]]) -> None:
        for waiting in aboard:
            waiting.aboard = True
        failure: Exception = StorageUnavailable("cut off")
        try:
            await self._fly(aboard)
        except Exception as error:  # noqa: BLE001 - it is raised to everybody aboard
            failure = error
        finally:
            for waiting in aboard:
                waiting.fail(failure)
                if waiting.given_up and waiting.error is None:
                    self._run(self._undo(waiting.item, cast(Result, waiting.result)))

    async def _leave(self, waiting: Waiting[Item, Result]) -> None:
        """A caller was cancelled: see to it that nothing is charged for it."""
        if not waiting.aboard:
            if not waiting.settled:
                self._queue.remove(waiting)
            return
        with anyio.CancelScope(shield=True):
            try:
                if not waiting.settled:
                    waiting.wake = self._loop.create_future()
                    await waiting.wake
            finally:  # asyncio itself can tear away even this
                if not waiting.settled:
                    waiting.given_up = True  # so the flight sees to it
                elif waiting.error is None:
                    undoing = self._run(self._undo(waiting.item, cast(Result, waiting.result)))
                    await asyncio.wait([undoing])

    def _expire(self) -> None:
        """Turn away those who have waited too long, and come back for the next one."""
        self._expiry = None
        now = self._loop.time()
        while self._queue and self._queue[0].since + self._patience <= now:
            self._queue.popleft().fail(StorageUnavailable("the database did not get round to it in time"))
        if self._queue:
            self._expiry = self._loop.call_at(self._queue[0].since + self._patience, self._expire)

    def _run(self, work: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
        task = self._loop.create_task(work)
        self._tasks.add(task)  # or it might be collected while it runs
        task.add_done_callback(self._tasks.discard)
        return task

"""Natural batching: calls that arrive while a statement is in flight go together in the next one.

There is no timer. A call that finds a lane free goes at once, alone; the others wait for a flight that is
under way anyway. So a lone call waits for nothing, and many calls share a statement, a commit and its flush.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar, cast

import anyio

from skene.errors import StorageUnavailable

__all__ = ["Together"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _Waiter(Generic[Item, Result]):
    __slots__ = ("error", "item", "leads", "result", "settled", "woken")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.woken: anyio.Event | None = None
        self.leads = False
        self.settled = False
        self.result: Result | None = None
        self.error: BaseException | None = None


class Together(Generic[Item, Result]):
    """Sends calls in as few statements as their arrival allows. Belongs to one event loop."""

    def __init__(
        self,
        fly: Callable[[Sequence[Item]], Awaitable[Sequence[Result]]],
        *,
        abandoned: Callable[[Item, Result], Awaitable[None]],
        lanes: int = 2,
        batch: int = 256,
        room: int = 4096,
    ) -> None:
        """Nothing is in flight yet.

        Args:
            fly: sends some calls in one statement, and returns a result for each, in their order.
            abandoned: undoes a result that nobody waits for any more.
            lanes: statements in flight at once. With two, one that hangs on a lock does not hold up the rest.
            batch: calls in one statement.
            room: calls that may wait; beyond it they are turned away at once.
        """
        self._fly = fly
        self._abandoned = abandoned
        self._lanes = lanes
        self._batch = batch
        self._room = room
        self._flying = 0
        self._queue: deque[_Waiter[Item, Result]] = deque()

    async def send(self, item: Item) -> Result:
        """Send a call, with whatever else is waiting.

        Raises:
            StorageUnavailable: too many calls are waiting already.
            Exception: whatever the flight failed with, the same for every call of it.
        """
        waiter: _Waiter[Item, Result] = _Waiter(item)
        if self._flying < self._lanes:
            self._flying += 1
            await self._lead([waiter])
        else:
            await self._wait(waiter)
        if waiter.error is not None:
            raise waiter.error.with_traceback(None)  # shared by a whole flight: it must not grow
        assert waiter.settled  # a flight settles every call it carries
        return waiter.result  # type: ignore[return-value]  # settled without an error: there is a result

    async def _wait(self, waiter: _Waiter[Item, Result]) -> None:
        if len(self._queue) >= self._room:
            raise StorageUnavailable(f"{self._room} calls are waiting for the database already")
        waiter.woken = anyio.Event()
        self._queue.append(waiter)
        try:
            await waiter.woken.wait()
        except BaseException:
            if waiter in self._queue:
                self._queue.remove(waiter)
            if waiter.leads:
                self._land()  # somebody else has to take the lane
            if waiter.settled and waiter.error is None:  # cancelled just as the answer came
                with anyio.CancelScope(shield=True):
                    await self._abandoned(waiter.item, cast(Result, waiter.result))
            waiter.error = TimeoutError()  # marks it as given up, wherever it is by now
            raise
        if waiter.leads:
            size = min(self._batch, len(self._queue))
            await self._lead([self._queue.popleft() for _ in range(size)])

    async def _lead(self, waiters: list[_Waiter[Item, Result]]) -> None:
        """Fly with these calls, in the lane that is held already."""
        unwanted: list[tuple[Item, Result]] = []
        try:
            results = await self._fly([waiter.item for waiter in waiters])
            for waiter, result in zip(waiters, results, strict=True):
                if waiter.error is not None:
                    unwanted.append((waiter.item, result))
                waiter.result = result
        except BaseException as error:
            for waiter in waiters:
                # Being cancelled is the leader's own affair; the others were let down.
                waiter.error = error if isinstance(error, Exception) else StorageUnavailable("cut off")
            raise
        finally:
            self._land()
            for waiter in waiters:
                waiter.settled = True
                if waiter.woken is not None:
                    waiter.woken.set()
        for item, result in unwanted:
            await self._abandoned(item, result)

    def _land(self) -> None:
        """Give the lane to the call that has waited longest, or free it."""
        self._flying -= 1
        if self._queue and not self._queue[0].leads:
            first = self._queue[0]
            first.leads = True
            self._flying += 1
            if first.woken is not None:
                first.woken.set()

"""What many requests want done at the same moment is done once, and all of them get the result."""

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, TypeVar

import anyio

__all__ = ["SingleFlight"]

T = TypeVar("T")


class _Flight:
    __slots__ = ("done", "error", "landed", "result")

    def __init__(self) -> None:
        self.landed = anyio.Event()
        self.done = False
        self.result: Any = None
        self.error: Exception | None = None


class SingleFlight:
    """Shares work among the requests of this process that want the same thing while it is being done.

    It saves work and promises nothing: what must happen once over all processes is up to the storage.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def share(
        self, key: Hashable, work: Callable[[], Awaitable[T]], *, within: float | None = None
    ) -> T:
        """Do `work`, or wait for somebody who is doing it under the same key.

        The work is seen through even if the request that began it is cancelled; it has to end by itself.

        Args:
            key: what is wanted.
            work: how to get it.
            within: seconds to wait for somebody else's; None for as long as they take.

        Raises:
            TimeoutError: somebody else's took longer.
            Exception: whatever the work failed with, for everyone who waited for it.
        """
        while (flight := self._flights.get(key)) is not None:
            with anyio.fail_after(within):
                await flight.landed.wait()
            if flight.error is not None:
                raise flight.error.with_traceback(None)
            if flight.done:
                result: T = flight.result
                return result
        return await self._fly(key, work)  # nobody is at it, or whoever was has been torn down

    async def _fly(self, key: Hashable, work: Callable[[], Awaitable[T]]) -> T:
        flight = self._flights[key] = _Flight()
        try:
            with anyio.CancelScope(shield=True):
                flight.result = await work()
            flight.done = True
            result: T = flight.result
            return result
        except Exception as error:
            flight.error = error
            raise
        finally:
            del self._flights[key]
            flight.landed.set()

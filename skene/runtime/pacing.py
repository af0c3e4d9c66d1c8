"""Calls to a service at a steady pace, that wait while it does not answer."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from skene.errors import BillingUnavailable, StorageUnavailable

__all__ = ["Pace", "Patience"]

T = TypeVar("T")

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0
RECOVERY = 100
"""Calls without a failure after which a pace that was slowed down doubles again."""


class Pace:
    """Lets calls through evenly spaced: never more of them in a second than allowed.

    Args:
        rate: calls per second.
    """

    def __init__(self, rate: float) -> None:
        self._most = self._rate = float(rate)
        self._next = 0.0
        self._good = 0

    async def turn(self, calls: int = 1) -> None:
        """Wait for the turn of so many calls, made at once."""
        now = anyio.current_time()
        # Booked before the wait, so that those who come meanwhile stand behind.
        self._next = max(self._next, now) + calls / self._rate
        await anyio.sleep(self._next - now)

    def failed(self) -> None:
        """The service does not keep up: half as fast, but at least one call a second."""
        self._rate, self._good = max(self._rate / 2, min(self._most, 1.0)), 0

    def worked(self) -> None:
        """It does again: after a while, faster, up to the pace that was asked for."""
        self._good += 1
        if self._good >= RECOVERY:
            self._rate, self._good = min(self._rate * 2, self._most), 0


class Patience:
    """Tries calls again while the billing service or the storage is away.

    Args:
        pace: of the calls that leave for the billing service.
        seconds: how long one call is waited for, all in all.
    """

    def __init__(self, pace: Pace, seconds: float) -> None:
        self._pace = pace
        self._seconds = seconds

    async def ask(self, call: Callable[[], Awaitable[T]], calls: int = 1, *, tries: int | None = None) -> T:
        """Make a call.

        Args:
            call: what to do, again and again.
            calls: how many calls to the billing service it takes.
            tries: give up after so many, too.

        Raises:
            BillingUnavailable, StorageUnavailable: patience is at its end.
        """
        wait, waited, tried = FIRST_WAIT, 0.0, 0
        while True:
            if calls:
                await self._pace.turn(calls)
            try:
                answer = await call()
            except (BillingUnavailable, StorageUnavailable) as error:
                tried += 1
                self._pace.failed()
                asked = error.retry_after.total_seconds() if error.retry_after else 0.0
                pause = max(wait, asked)
                if tried == tries or waited + pause > self._seconds:
                    raise
                await anyio.sleep(pause)
                waited, wait = waited + pause, min(wait * 2, LONGEST_WAIT)
            else:
                self._pace.worked()
                return answer

"""Where those who have sent an errand to `writer` wait for its outcome."""

import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import anyio
from anyio.lowlevel import current_token

from skene.errors import StorageUnavailable

__all__ = ["ANSWER_SECONDS", "Desk", "Errand", "ring"]

ANSWER_SECONDS = 1.8
"""How long it may take to get hold of the file. The port promises an answer within 2 s."""
LATE_SECONDS = 0.1
"""How much longer is waited to be told so, before it must be that the disk hangs."""


class _Bell(Protocol):
    """Something that one waits for, and that rings once."""

    def __await__(self) -> Generator[Any, None, object]: ...

    def done(self) -> bool: ...

    def set_result(self, result: None, /) -> None: ...


class Errand:
    """Something to be done with the file.

    Attributes:
        deadline: until when it may wait for the file, on `time.monotonic()`'s clock.
        outcome: the answer, or the exception to raise.
        desk: where somebody waits for it; None: nobody does.
        bell: rings when it is done, and when its turn to keep the time has come.
        done: the outcome is known to those who wait.
        left: whoever waited has gone.
    """

    __slots__ = ("bell", "deadline", "desk", "done", "left", "outcome")

    def __init__(self) -> None:
        self.deadline = time.monotonic() + ANSWER_SECONDS
        self.outcome: Any = None
        self.desk: Desk | None = None
        self.bell: _Bell
        self.done = self.left = False

    def undo(self) -> "Errand | None":
        """What takes back that it was done; None if nothing has to be."""
        return None


class _TrioBell:
    """What a future is on asyncio."""

    def __init__(self) -> None:
        self._event = anyio.Event()

    def __await__(self) -> Generator[Any, None, object]:
        return self._event.wait().__await__()

    def done(self) -> bool:
        return self._event.is_set()

    def set_result(self, result: None, /) -> None:
        self._event.set()


class Desk:
    """Where the errands of one event loop wait; touched in its own thread only.

    One of those who wait keeps the time for all: the eldest, whose time is up first. A timer for each would
    cost as much as all the rest of a call.
    """

    def __init__(self) -> None:
        loop: Any = current_token().native_token
        self._loop = weakref.ref(loop)  # a loop that is over is not kept alive
        self._on_trio = hasattr(loop, "run_sync_soon")
        self._waiting: deque[Errand] = deque()
        self._keeper: Errand | None = None

    def bell(self) -> _Bell:
        """A bell for this loop. A future of asyncio's own costs half of what an event does."""
        if self._on_trio:
            return _TrioBell()
        loop: Any = self._loop()  # is running, since it is this one
        bell: _Bell = loop.create_future()
        return bell

    def tell(self, hear: Callable[[Sequence[Errand]], object], errands: Sequence[Errand]) -> bool:
        """Have something heard in the loop, from another thread, and do not wait for it.

        Returns:
            False: the loop is over.
        """
        loop = self._loop()
        if loop is None:
            return False
        try:
            (loop.run_sync_soon if self._on_trio else loop.call_soon_threadsafe)(hear, errands)
        except RuntimeError:
            return False
        return True

    async def wait(self, errand: Errand) -> None:
        """Until it is done.

        Raises:
            StorageUnavailable: its time is up.
        """
        self._waiting.append(errand)
        if self._keeper is None:
            self._keeper = errand
        try:
            if self._keeper is not errand:
                await errand.bell
            if not errand.done:
                errand.bell = self.bell()
                with anyio.move_on_after(errand.deadline + LATE_SECONDS - time.monotonic()):
                    await errand.bell
                if not errand.done:
                    raise StorageUnavailable(f"no answer within {ANSWER_SECONDS + LATE_SECONDS} s")
        except BaseException:
            errand.left = True
            raise
        finally:
            if self._keeper is errand:
                self._pass_on()

    def _pass_on(self) -> None:
        waiting = self._waiting
        while waiting and (waiting[0].done or waiting[0].left):
            waiting.popleft()
        self._keeper = waiting[0] if waiting else None
        if self._keeper is not None:
            ring(self._keeper.bell)


def ring(bell: _Bell) -> None:
    """Ring, if nobody has."""
    if not bell.done():  # or cancelled with whoever waited
        bell.set_result(None)

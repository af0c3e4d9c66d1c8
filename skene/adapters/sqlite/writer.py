"""The one thread that works on a file: whatever waits for it when it comes free goes together.

There is no timer. A call that finds the thread at rest goes at once, alone; the others wait for a transaction
that is under way anyway. So a lone call waits for nothing, and many calls share a commit and its flush.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import anyio
from anyio.lowlevel import RunVar, current_token

from skene.errors import StorageUnavailable

__all__ = ["ANSWER_SECONDS", "Errand", "Writer"]

T = TypeVar("T")

ANSWER_SECONDS = 1.8
"""The port promises an answer within 2 s."""
REST_SECONDS = 10.0
"""How long the thread waits for more before it ends. The next errand starts another one."""


class Errand:
    """Something to be done with the file.

    Attributes:
        deadline: when its answer is of no use any more, on `time.monotonic()`'s clock.
        outcome: the answer, or the exception to raise.
        desk: where somebody waits for it; None: nobody does.
        woken: set when it is done, and when its turn to keep the time has come.
        done: the outcome is known to those who wait.
        left: whoever waited has gone.
    """

    __slots__ = ("deadline", "desk", "done", "left", "outcome", "woken")

    def __init__(self) -> None:
        self.deadline = time.monotonic() + ANSWER_SECONDS
        self.outcome: Any = None
        self.desk: _Desk | None = None
        self.woken: anyio.Event
        self.done = self.left = False

    def undo(self) -> "Errand | None":
        """What takes back that it was done; None if nothing has to be."""
        return None


class _Alone(Errand):
    """Work that shares its turn with nothing else."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work


class _Desk:
    """Where the errands of one event loop wait; touched in its own thread only.

    One of those who wait keeps the time for all: the eldest, whose time is up first. A timer for each would
    cost as much as all the rest of a call.
    """

    def __init__(self) -> None:
        loop: Any = current_token().native_token
        # Says something to the loop from another thread, and does not wait until it is heard.
        self.post: Callable[..., object] = (
            loop.run_sync_soon if hasattr(loop, "run_sync_soon") else loop.call_soon_threadsafe
        )
        self._waiting: deque[Errand] = deque()
        self._keeper: Errand | None = None

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
                await errand.woken.wait()
            if not errand.done:
                errand.woken = anyio.Event()
                with anyio.move_on_after(errand.deadline - time.monotonic()):
                    await errand.woken.wait()
                if not errand.done:
                    raise StorageUnavailable(f"no answer within {ANSWER_SECONDS} s")
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
            self._keeper.woken.set()


class Writer:
    """Does errands in a thread of its own, in the order they came. Serves any number of event loops.

    The thread starts with the first errand and ends after a rest. A process that was forked off has another.
    """

    def __init__(
        self, together: Callable[[Sequence[Any]], object], *, batch: int = 256, room: int = 4096
    ) -> None:
        """Nothing is running yet.

        Args:
            together: does some errands at once, and leaves each its outcome.
            batch: errands done at once.
            room: errands that may wait; beyond it they are turned away at once.
        """
        self._together = together
        self._batch = batch
        self._room = room
        self._desks: RunVar[_Desk] = RunVar("skene_sqlite_desk")
        self._renew()

    def _renew(self) -> None:
        # Nobody else may hold this lock: not even one who is left over from before a fork.
        self._changed = threading.Condition()
        self._pid = os.getpid()
        self._queue: deque[Errand] = deque()
        self._thread: threading.Thread | None = None
        self._resting = self._ending = False

    async def send(self, errand: Errand) -> Any:
        """Have an errand done, with whatever else is waiting, and wait for its outcome.

        Who is cancelled meanwhile takes it back, if it was done at all.

        Raises:
            StorageUnavailable: too many wait already, or there was no answer in time; then it is taken back.
            Exception: whatever it failed with.
        """
        desk = self._here(errand)
        self._put(errand)
        try:
            await desk.wait(errand)
        except BaseException as error:
            if errand.done:  # the answer came just then
                self._undo(errand)
            elif not self._withdraw(errand) and not isinstance(error, StorageUnavailable):
                errand.woken = anyio.Event()
                with anyio.move_on_after(errand.deadline - time.monotonic(), shield=True):
                    await errand.woken.wait()
            raise
        return _outcome(errand)

    async def alone(self, work: Callable[[], T], seconds: float, *, always: bool = False) -> T:
        """Run work when its turn comes. It is not abandoned once it has begun.

        Args:
            work: what to run.
            seconds: how long it may wait for its turn.
            always: let it wait, however many do already.

        Raises:
            StorageUnavailable: too many wait already, or its turn has not come in time.
            Exception: whatever it raises.
        """
        errand = _Alone(work)
        self._here(errand)
        self._put(errand, always=always)
        try:
            with anyio.move_on_after(seconds):
                await errand.woken.wait()
        finally:
            if not errand.done and not self._withdraw(errand):
                with anyio.CancelScope(shield=True):
                    await errand.woken.wait()
        if not errand.done:
            raise StorageUnavailable(f"no answer within {seconds} s")
        return cast(T, _outcome(errand))

    def rest(self) -> None:
        """End the thread once nothing is left to do, rather than wait for more."""
        with self._changed:
            self._ending = True
            self._changed.notify()

    def _here(self, errand: Errand) -> _Desk:
        """Let an errand wait in this event loop."""
        try:
            desk = self._desks.get()
        except LookupError:
            desk = _Desk()
            self._desks.set(desk)
        errand.desk, errand.woken = desk, anyio.Event()
        return desk

    def _put(self, errand: Errand, *, always: bool = False) -> None:
        if self._pid != os.getpid():
            self._renew()
        with self._changed:
            if len(self._queue) >= self._room and not always:
                raise StorageUnavailable(f"{self._room} calls are waiting for the file already")
            if self._thread is None:
                # A daemon: a process may exit as if it were killed, which loses nothing acknowledged.
                thread = threading.Thread(target=self._run, name="skene sqlite", daemon=True)
                thread.start()
                self._thread = thread
                self._ending = False
            self._queue.append(errand)
            if self._resting:
                self._changed.notify()

    def _withdraw(self, errand: Errand) -> bool:
        """Take an errand out of the queue. False: it has begun."""
        with self._changed:
            try:
                self._queue.remove(errand)
            except ValueError:
                return False
            return True

    def _undo(self, errand: Errand) -> None:
        back = errand.undo()
        if back is not None:
            self._put(back, always=True)  # of these there are no more than were let in before

    def _run(self) -> None:
        while self._serve(self._take()):
            pass

    def _take(self) -> list[Errand]:
        """Those whose turn it is; none when the thread is to end."""
        with self._changed:
            while not self._queue:
                self._resting = True
                woken = not self._ending and self._changed.wait(REST_SECONDS)
                self._resting = False
                if not woken and not self._queue:
                    self._thread = None
                    return []
            errands = [self._queue.popleft()]
            if not isinstance(errands[0], _Alone):
                while self._queue and len(errands) < self._batch and not isinstance(self._queue[0], _Alone):
                    errands.append(self._queue.popleft())
            return errands

    def _serve(self, errands: list[Errand]) -> bool:
        try:
            if errands and isinstance(errands[0], _Alone):
                errands[0].outcome = errands[0].work()
            elif errands:
                self._together(errands)
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            for errand in errands:
                errand.outcome = error
        for desk in {errand.desk for errand in errands}:
            some = [errand for errand in errands if errand.desk is desk]
            if desk is not None:
                try:
                    desk.post(self._deliver, some)
                except RuntimeError:  # that loop is over, and whoever waited there has gone with it
                    for errand in some:
                        self._undo(errand)
        return bool(errands)

    def _deliver(self, errands: Sequence[Errand]) -> None:
        """In the event loop of those who wait."""
        for errand in errands:
            errand.done = True
            if errand.left:
                self._undo(errand)
            errand.woken.set()


def _outcome(errand: Errand) -> Any:
    if isinstance(errand.outcome, BaseException):
        raise errand.outcome.with_traceback(None)  # shared by all of them: it must not grow
    return errand.outcome

"""The one thread that works on a file: whatever waits for it when it comes free goes together.

There is no timer. A call that finds the thread at rest goes at once, alone; the others wait for a transaction
that is under way anyway. So a lone call waits for nothing, and many calls share a commit and its flush.
"""

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar, cast

import anyio
from anyio.lowlevel import RunVar

from skene.adapters.sqlite.desk import LATE_SECONDS, Desk, Errand, ring
from skene.errors import StorageUnavailable

__all__ = ["Writer"]

T = TypeVar("T")

REST_SECONDS = 10.0
"""How long the thread waits for more before it ends. The next errand starts another one."""


class _Alone(Errand):
    """Work that shares its turn with nothing else."""

    __slots__ = ("work",)

    def __init__(self, work: Callable[[], object]) -> None:
        super().__init__()
        self.work = work


class Writer:
    """Does errands in a thread of its own, in the order they came. Serves any number of event loops.

    The thread starts with the first errand and ends after a rest. A process that was forked off has another.
    """

    def __init__(
        self,
        together: Callable[[Sequence[Any]], Iterable[Sequence[Errand]]],
        *,
        batch: int = 256,
        room: int = 4096,
    ) -> None:
        """Nothing is running yet.

        Args:
            together: does some errands at once, and yields those that have their outcomes. Those that it
                keeps for itself, nothing having been done, go back to where they stood.
            batch: errands done at once.
            room: errands that may wait; beyond it they are turned away at once.
        """
        self._together = together
        self._batch = batch
        self._room = room
        self._desks: RunVar[Desk] = RunVar("skene_sqlite_desk")
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
                errand.bell = desk.bell()
                with anyio.move_on_after(errand.deadline + LATE_SECONDS - time.monotonic(), shield=True):
                    await errand.bell
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
        desk = self._here(errand)
        self._put(errand, always=always)
        try:
            with anyio.move_on_after(seconds):
                await errand.bell
        finally:
            if not errand.done and not self._withdraw(errand):
                errand.bell = desk.bell()
                with anyio.CancelScope(shield=True):
                    await errand.bell
        if not errand.done:
            raise StorageUnavailable(f"no answer within {seconds} s")
        return cast(T, _outcome(errand))

    def rest(self) -> None:
        """End the thread once nothing is left to do, rather than wait for more."""
        with self._changed:
            self._ending = True
            self._changed.notify()

    def _here(self, errand: Errand) -> Desk:
        """Let an errand wait in this event loop."""
        try:
            desk = self._desks.get()
        except LookupError:
            desk = Desk()
            self._desks.set(desk)
        errand.desk, errand.bell = desk, desk.bell()
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
        while errands := self._take():
            self._serve(errands)
            del errands  # nothing of them is kept while there is a rest

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

    def _serve(self, errands: list[Errand]) -> None:
        waiting = dict.fromkeys(errands)
        try:
            for settled in self._do(errands):
                for errand in settled:
                    del waiting[errand]
                self._post(settled)
        except BaseException as error:  # noqa: BLE001 - raised where somebody waits for it
            for errand in waiting:
                errand.outcome = error
            self._post(list(waiting))
            return
        if waiting:
            # Nothing was done for them. Those that nobody waits for any more need not be sent again.
            gone = [errand for errand in waiting if errand.left]
            again = [errand for errand in waiting if errand not in gone]
            self._post(gone)
            with self._changed:
                alone: list[Errand] = []  # has its turn meanwhile: it may only read
                while self._queue and isinstance(self._queue[0], _Alone):
                    alone.append(self._queue.popleft())
                self._queue.extendleft(reversed(alone + again))

    def _do(self, errands: list[Errand]) -> Iterable[Sequence[Errand]]:
        first = errands[0]
        if not isinstance(first, _Alone):
            return self._together(errands)
        first.outcome = first.work()
        return [errands]

    def _post(self, errands: Sequence[Errand]) -> None:
        """Tell those who wait for errands that they are done."""
        for desk in {errand.desk for errand in errands}:
            some = [errand for errand in errands if errand.desk is desk]
            if desk is not None and not desk.tell(self._deliver, some):
                for errand in some:  # whoever waited there has gone with the loop
                    self._undo(errand)

    def _deliver(self, errands: Sequence[Errand]) -> None:
        """In the event loop of those who wait."""
        for errand in errands:
            errand.done = True
            if errand.left:
                self._undo(errand)
            ring(errand.bell)


def _outcome(errand: Errand) -> Any:
    if isinstance(errand.outcome, BaseException):
        raise errand.outcome.with_traceback(None)  # shared by all of them: it must not grow
    return errand.outcome

"""Counting calls that came together: in one transaction, unless something is in the way."""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence

from skene.adapters.sqlite.database import Database
from skene.adapters.sqlite.flight import CountingErrand, Flight
from skene.errors import StorageError, StorageUnavailable
from skene.ports.clock import Clock

__all__ = ["Together"]

TURN_SECONDS = 0.1
"""How long calls wait for another process, before those join that came meanwhile and may need no lock."""


class Together:
    """Does counting errands in as few transactions as can be: one, unless something is in the way.

    Args:
        database: the file; used by the thread that calls.
        clock: where time comes from.
    """

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    def __call__(self, errands: Sequence[CountingErrand]) -> Iterator[Sequence[CountingErrand]]:
        """Leave errands their outcomes, and yield them as soon as they have them.

        What is wrong with one of them is its outcome alone. Those that are not yielded wait for another
        process that is writing: they are to be sent again, with whatever has come meanwhile.
        """
        # Most often nobody else writes: then what was read is still true when it is time to write. Refusals
        # end here in any case. They have neither waited for the one writer nor become one.
        waiting = self._try("BEGIN", errands)
        if not waiting:
            yield errands
            return
        yield _without(errands, waiting)
        late = self._try("BEGIN IMMEDIATE", waiting)
        now = time.monotonic()
        overdue = [errand for errand in late if errand.deadline <= now]
        _fail(overdue, StorageUnavailable(f"{self._database.path}: database is locked"))
        yield _without(waiting, _without(late, overdue))

    def _try(self, begin: str, errands: Sequence[CountingErrand]) -> list[CountingErrand]:
        """Do errands in one transaction.

        Returns:
            Those for which nothing was done, because another process is writing.
        """
        patience = min(errand.deadline for errand in errands)
        try:
            with self._database.opened(min(patience, time.monotonic() + TURN_SECONDS)) as db:
                return [] if self._transact(db, begin, errands) else _unsure(errands)
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            if len(errands) == 1 or isinstance(error, StorageError | sqlite3.OperationalError):
                _fail(_unsure(errands), error)
                return []
        # One of them cannot be done, and must not take the others along.
        return [late for errand in _unsure(errands) for late in self._try(begin, [errand])]

    def _transact(self, db: sqlite3.Connection, begin: str, errands: Sequence[CountingErrand]) -> bool:
        try:
            with self._database.transaction(db, begin):
                flight = Flight(db, self._clock.now())
                flight.decide(errands)
                flight.write()
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:  # the rest refines it
                return False
            raise
        return True


def _unsure(errands: Iterable[CountingErrand]) -> list[CountingErrand]:
    return [errand for errand in errands if not errand.sure]


def _without(errands: Iterable[CountingErrand], some: Iterable[CountingErrand]) -> list[CountingErrand]:
    taken = set(some)
    return [errand for errand in errands if errand not in taken]


def _fail(errands: Iterable[CountingErrand], error: Exception) -> None:
    for errand in errands:
        errand.outcome = error

"""Deciding calls, all that wait in one statement or two: the ordinary ones by themselves, then whatever is left."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import anyio
import asyncpg

from skene.adapters.postgres.counting import MOST, Queries, Shape, Shapes, consume_arguments, counted
from skene.adapters.postgres.faults import FAULTS, explain, is_worth_repeating, sqlstate, told
from skene.adapters.postgres.lines import Lines
from skene.adapters.postgres.together import Together, Waiting
from skene.errors import IdempotencyConflict, StorageUnavailable
from skene.ports.counters import Charge, Consume, Counted, Receipt, Tally

__all__ = ["Flights"]

WAITING, FLYING = 0.6, 0.4
"""A call waits for its take-off, and then for its flight: shares of the time that an answer may take."""
LOCKED = {"55P03", "57014", "40P01"}
"""A stranger's lock, a time-out, a deadlock: nothing was charged, and not every call is to blame."""
_SUSPECTS = 10_000


class Asked:
    """A call, and its charge's shape if it is an ordinary one."""

    __slots__ = ("call", "charge", "cost", "shape")

    def __init__(self, call: Consume, shapes: Shapes) -> None:
        self.call = call
        self.charge = call.charges[0]
        self.cost = self.charge.cost
        self.shape: Shape | None = None
        if len(call.charges) == 1 and call.idempotency_key is None and self.cost <= MOST:
            shape = shapes.of(self.charge, call.default_plan)
            self.shape = shape if shape.plain else None


_Waiting: TypeAlias = Waiting[Asked, Counted | None]


class Flights:
    """Decides calls. Belongs to one event loop.

    A call is told None when it should be made by itself: its flight came to nothing because of one of its
    calls, and nobody knows which. Those are kept apart until they get through, so that they hold up nobody else.
    """

    def __init__(
        self,
        lines: Lines,
        queries: Queries,
        shapes: Shapes,
        *,
        clock: Callable[[], datetime | None],
        apart: Callable[[Consume, float], Awaitable[Counted]],
        refund: Callable[[str, tuple[Receipt, ...], str | None], Awaitable[None]],
        seconds: float,
    ) -> None:
        """Nothing is in flight.

        Args:
            lines: the connections.
            queries: the statements.
            shapes: what is known of the calls.
            clock: the time, None for the server's own.
            apart: decides one call over another connection, in so many seconds.
            refund: gives units back.
            seconds: how long an answer may take.
        """
        self._lines = lines
        self._queries = queries
        self._shapes = shapes
        self._clock = clock
        self._apart = apart
        self._refund = refund
        self._seconds = seconds
        self._together: Together[Asked, Counted | None] = Together(
            self._fly, undo=self._undo, patience=seconds * WAITING
        )
        self._suspects: dict[str, anyio.Lock] = {}

    async def consume(self, call: Consume) -> Counted:
        """Decide a call, with whatever else is waiting.

        Raises:
            IdempotencyConflict: its key stands for another call.
            StorageUnavailable: no answer in time.
        """
        if call.subject in self._suspects:
            return await self._by_itself(call, self._seconds)
        deadline = anyio.current_time() + self._seconds
        answer = await self._together.send(Asked(call, self._shapes))
        if answer is None:
            answer = await self._by_itself(call, max(0.1, deadline - anyio.current_time()))
        return answer

    async def aclose(self) -> None:
        """Wait until what is under way has ended."""
        await self._together.aclose()

    async def _by_itself(self, call: Consume, seconds: float) -> Counted:
        """Decide a call over another connection: one at a time of a subject, so that it takes no more of them."""
        turn = self._suspects.get(call.subject)
        if turn is None:
            if len(self._suspects) >= _SUSPECTS:
                self._suspects.clear()
            turn = self._suspects[call.subject] = anyio.Lock()
        deadline = anyio.current_time() + seconds
        try:
            with anyio.fail_after(seconds):
                await turn.acquire()
        except TimeoutError:
            raise StorageUnavailable("somebody holds a lock on a counter for long") from None
        try:
            answer = await self._apart(call, max(0.1, deadline - anyio.current_time()))
        finally:
            turn.release()
        self._suspects.pop(call.subject, None)  # it was not this one
        return answer

    async def _fly(self, aboard: Sequence[_Waiting]) -> None:
        try:
            with anyio.fail_after(self._seconds * FLYING):
                if len(aboard) == 1:
                    await self._one(aboard[0])
                else:
                    await self._several(aboard)
        except (*FAULTS, UnicodeError, ValueError, TypeError) as error:
            alone = sqlstate(error) in LOCKED or is_worth_repeating(error)
            if not alone and (len(aboard) == 1 or isinstance(error, TimeoutError) or explain(error)):
                raise told(error) from error
            for waiting in aboard:
                if not waiting.settled:
                    waiting.settle(None)

    async def _one(self, waiting: _Waiting) -> None:
        call = waiting.item.call
        arguments = consume_arguments(call, self._shapes, self._clock(), spend=True)
        rows = await self._lines.fetch(self._queries.one, arguments)
        _settle(waiting, rows)

    async def _several(self, aboard: Sequence[_Waiting]) -> None:
        counters: dict[tuple[str, str], _Counter] = {}
        for waiting in aboard:
            asked = waiting.item
            if asked.shape is None:
                continue
            key = (asked.call.subject, asked.charge.meter)
            counter = counters.get(key)
            if counter is None:
                counters[key] = _Counter(asked.shape, waiting)
            else:
                counter.add(asked.shape, waiting)
        if counters:
            await self._plain([counters[key] for key in sorted(counters)])
        left = [waiting for waiting in aboard if not waiting.settled]
        if left:
            await self._any(left)

    async def _plain(self, counters: "Sequence[_Counter]") -> None:
        """Charge ordinary calls; those that turn out to be none are left unsettled."""
        shapes: dict[Shape, int] = {}
        for counter in counters:
            if counter.shape not in shapes:
                shapes[counter.shape] = len(shapes) + 1
        rows = await self._lines.fetch(
            self._queries.plain,
            (
                [counter.subject for counter in counters],
                [shapes[counter.shape] for counter in counters],
                [counter.cost if counter.alike else counter.total for counter in counters],
                [len(counter.waiting) if counter.alike else 1 for counter in counters],
                [shape.charge.meter for shape in shapes],
                [shape.charge.step for shape in shapes],
                [shape.limits for shape in shapes],
                [shape.edges for shape in shapes],
                [shape.default_plan for shape in shapes],
                self._clock(),
            ),
        )
        for row in rows:
            counters[row[0] - 1].settle(row)

    async def _any(self, left: Sequence[_Waiting]) -> None:
        """Decide calls of every kind, one after the other in one transaction."""
        order = _in_lock_order(left)
        now = self._clock()
        arguments = [consume_arguments(waiting.item.call, self._shapes, now, spend=True) for waiting in order]
        *columns, _, _ = zip(*arguments, strict=True)
        rows = await self._lines.fetch(self._queries.many, (*map(list, columns), now, True))
        of_call: list[list[Sequence[Any]]] = [[] for _ in order]
        for row in rows:
            of_call[row[0] - 1].append(row[1:])
        for waiting, its_rows in zip(order, of_call, strict=True):
            _settle(waiting, its_rows)

    async def _undo(self, asked: Asked, answer: Counted | None) -> None:
        """Give back what a call took whose caller could not wait for the answer."""
        if answer is None:
            return
        receipts = tuple(tally.receipt for tally in answer.tallies if tally.receipt)
        if not receipts:  # else it was refused or repeated, and its key may be another call's by now
            return
        try:
            await self._refund(asked.call.subject, receipts, asked.call.idempotency_key)
        except StorageUnavailable:
            pass  # it stays charged, as when the process is killed here


class _Counter:
    """The calls on one counter, in the order they came in."""

    __slots__ = ("alike", "closed", "cost", "shape", "subject", "total", "waiting")

    def __init__(self, shape: Shape, first: _Waiting) -> None:
        self.shape = shape
        self.subject = first.item.call.subject
        self.cost = self.total = first.item.cost
        self.waiting = [first]
        self.alike = True
        self.closed = False

    def add(self, shape: Shape, waiting: _Waiting) -> None:
        """One more call; the database decides it later if it is asked in another way than those before it."""
        cost = waiting.item.cost
        if self.closed or shape is not self.shape or self.total + cost > MOST:
            self.closed = True
            return
        self.alike = self.alike and cost == self.cost
        self.total += cost
        self.waiting.append(waiting)

    def settle(self, row: Sequence[Any]) -> None:
        """Tell the calls what became of them, but those that grants may pay for."""
        _, charged, now, plan, customer, checked_at, limit, granted, used, start, end, notices, wall = row
        if not self.alike and charged <= 0:
            return  # some may fit by themselves
        taken = len(self.waiting) if not self.alike else max(0, charged)
        if taken < len(self.waiting) and (granted > 0 or limit is None):
            wanted = self.waiting[:taken]
        else:
            wanted = self.waiting
        named = tuple(notices) if notices else ()
        after = used - (self.total if not self.alike else self.cost * taken)
        for place, waiting in enumerate(wanted):
            charge: Charge = waiting.item.charge
            if place < taken:
                after += charge.cost
                receipt = Receipt(charge.meter, plan, start, charge.cost)
                tally = Tally(charge, limit, after, True, start, end, named, None, receipt, granted)
            else:
                tally = Tally(charge, limit, used, False, start, end, named, wall, None, granted)
            fits = place < taken
            waiting.settle(
                Counted(fits, False, now, plan, None, customer, checked_at, (tally,), self.subject)
            )


def _settle(waiting: _Waiting, rows: Sequence[Sequence[Any]]) -> None:
    try:
        waiting.settle(counted(waiting.item.call, rows))
    except IdempotencyConflict as error:
        waiting.fail(error)


def _in_lock_order(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Some calls in the order in which they lock their rows: the same in every process.

    Calls on the same counter keep the order they arrived in. A subject with a call on several counters at
    once keeps it for all of its calls: should two processes meet the wrong way round, the lock's time-out
    and the repetition one by one settle it.
    """
    several = {one.item.call.subject for one in waiting if len(one.item.call.charges) > 1}

    def lock(one: _Waiting) -> tuple[str, str]:
        subject = one.item.call.subject
        return subject, "" if subject in several else one.item.charge.meter

    return sorted(waiting, key=lock)

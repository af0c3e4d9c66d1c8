"""Deciding calls, all that wait in one statement or two: the ordinary ones first, then whatever is left."""

import asyncio  # noqa: TID251 - asyncpg's event loop, whose clock costs a tenth of what anyio's does
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeAlias

import anyio

from skene.adapters.postgres.counters import CallsOnCounter
from skene.adapters.postgres.counting import MOST, Queries, Shape, Shapes, consume_arguments, counted
from skene.adapters.postgres.faults import FAULTS, explain, is_worth_repeating, sqlstate, told
from skene.adapters.postgres.lines import Lines
from skene.adapters.together import Together, Waiting
from skene.errors import IdempotencyConflict, StorageUnavailable
from skene.ports.counters import Consume, Counted, Receipt

__all__ = ["Flights"]

WAITING, FLYING = 0.6, 0.4
"""A call waits for its take-off, and then for its flight: shares of the time that an answer may take."""
ENOUGH = 0.6
"""A call is made by itself only if this share is left: it would go on at the server beyond its time."""
LOCKED = {"55P03", "57014", "40P01"}
"""A stranger's lock, a time-out, a deadlock: nothing was charged, and not every call is to blame."""
_SUSPECTS = 10_000


_Waiting: TypeAlias = Waiting[Consume, Counted | None]


class Flights:
    """Decides calls. Belongs to one event loop.

    When a flight comes to nothing because of one of its calls, and nobody knows which, each is made alone.
    Its subject is kept apart until it gets through, so that it holds up nobody else.
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
        self._together: Together[Consume, Counted | None] = Together(
            self._fly, undo=self._undo, patience=seconds * WAITING
        )
        self._suspects: dict[str, anyio.Lock] = {}
        self._time = asyncio.get_running_loop().time

    async def consume(self, call: Consume) -> Counted:
        """Decide a call, with whatever else is waiting.

        Raises:
            IdempotencyConflict: its key stands for another call.
            StorageUnavailable: no answer in time.
        """
        if call.subject in self._suspects:
            return await self._by_itself(call, self._seconds)
        since = self._time()
        answer = await self._together.send(call)
        if answer is None:
            answer = await self._by_itself(call, since + self._seconds - self._time())
        return answer

    async def aclose(self) -> None:
        """Wait until what is under way has ended."""
        await self._together.aclose()

    async def _by_itself(self, call: Consume, seconds: float) -> Counted:
        """Decide a call over another connection, one at a time of a subject, so that it takes up no more."""
        turn = self._suspects.get(call.subject)
        if turn is None:
            if len(self._suspects) >= _SUSPECTS:
                self._suspects.clear()
            turn = self._suspects[call.subject] = anyio.Lock()
        deadline = self._time() + seconds
        async with turn:
            left = deadline - self._time()
            if left < self._seconds * ENOUGH:
                raise StorageUnavailable("somebody holds a lock on a counter for long")
            answer = await self._apart(call, left)
        self._suspects.pop(call.subject, None)  # it was not this one
        return answer

    async def _fly(self, aboard: Sequence[_Waiting]) -> None:
        try:
            with anyio.fail_after(self._seconds * FLYING):
                if len(aboard) == 1:
                    await self._one(aboard[0])
                else:
                    await self._several(aboard)
        except FAULTS as error:
            alone = sqlstate(error) in LOCKED or is_worth_repeating(error)
            if not alone and (len(aboard) == 1 or isinstance(error, TimeoutError) or explain(error)):
                raise told(error) from error
            for waiting in aboard:
                if not waiting.settled:
                    waiting.settle(None)

    async def _one(self, waiting: _Waiting) -> None:
        arguments = consume_arguments(waiting.item, self._shapes, self._clock(), spend=True)
        _settle(waiting, await self._lines.fetch(self._queries.one, arguments))

    async def _several(self, aboard: Sequence[_Waiting]) -> None:
        """Decide calls by their counters: those that are alike as one, as long as all of them fit."""
        counters: dict[tuple[str, str], CallsOnCounter] = {}
        others: set[tuple[str, str]] = (
            set()
        )  # counters with a call of another kind; what comes later waits for it
        for waiting in aboard:
            call = waiting.item
            charge = call.charges[0]
            key = (call.subject, charge.meter)
            if len(call.charges) > 1 or call.idempotency_key is not None or charge.cost > MOST:
                others.update((call.subject, each.meter) for each in call.charges)
            elif key not in others:
                shape = self._shapes.of(charge, call.default_plan)
                counter = counters.get(key)
                if counter is None:
                    counters[key] = CallsOnCounter(shape, waiting)
                else:
                    counter.add(shape, waiting)
        if len(counters) == 1 and not others:
            await self._one_counter(next(iter(counters.values())))
        else:
            plain = [counters[key] for key in sorted(counters) if counters[key].shape.plain]
            if plain:
                await self._plain(plain)
        left = [waiting for waiting in aboard if not waiting.settled]
        if left:
            await self._any(left)

    async def _one_counter(self, counter: CallsOnCounter) -> None:
        """Decide all calls on a counter as if they were one; unsettled are those that must not be."""
        first = counter.waiting[0].item
        whole = replace(first, charges=(replace(first.charges[0], cost=counter.total),))
        arguments = consume_arguments(whole, self._shapes, self._clock(), spend=True)
        counter.settle_as_one(counted(whole, await self._lines.fetch(self._queries.one, arguments)))

    async def _plain(self, counters: Sequence[CallsOnCounter]) -> None:
        """Charge ordinary calls; those that turn out to be none are left unsettled."""
        shapes: dict[Shape, int] = {}
        numbers = [shapes.setdefault(counter.shape, len(shapes) + 1) for counter in counters]
        rows = await self._lines.fetch(
            self._queries.plain,
            (
                [counter.subject for counter in counters],
                numbers,
                [counter.total for counter in counters],
                [counter.cost if counter.alike else None for counter in counters],
                [shape.charge.meter for shape in shapes],
                [shape.charge.step for shape in shapes],
                [shape.limits for shape in shapes],
                [shape.edges for shape in shapes],
                [shape.default_plan for shape in shapes],
                self._clock(),
            ),
        )
        for row in rows:
            counters[int(row[0]) - 1].settle(row)

    async def _any(self, left: Sequence[_Waiting]) -> None:
        """Decide calls of every kind, one after the other in one transaction."""
        order = _in_lock_order(left)
        now = self._clock()
        arguments = [consume_arguments(waiting.item, self._shapes, now, spend=True) for waiting in order]
        *columns, _, _ = zip(*arguments, strict=True)
        rows = await self._lines.fetch(self._queries.many, (*map(list, columns), now, True))
        of_call: list[list[Sequence[Any]]] = [[] for _ in order]
        for row in rows:
            of_call[int(row[0]) - 1].append(row[1:])
        for waiting, its_rows in zip(order, of_call, strict=True):
            _settle(waiting, its_rows)

    async def _undo(self, call: Consume, answer: Counted | None) -> None:
        """Give back what a call took whose caller could not wait for the answer."""
        if answer is None:
            return
        receipts = answer.receipts
        if not receipts:  # else it was refused or repeated, and its key may be another call's by now
            return
        with contextlib.suppress(StorageUnavailable):  # it stays charged, as when the process is killed here
            await self._refund(call.subject, receipts, call.idempotency_key)


def _settle(waiting: _Waiting, rows: Sequence[Sequence[Any]]) -> None:
    try:
        waiting.settle(counted(waiting.item, rows))
    except IdempotencyConflict as error:
        waiting.fail(error)


def _in_lock_order(waiting: Sequence[_Waiting]) -> list[_Waiting]:
    """Some calls in the order in which they lock their rows: the same in every process.

    Calls on the same counter keep the order they arrived in. A subject with a call on several counters at
    once, or under a key, keeps it for all of its calls: should two processes meet the wrong way round, the
    lock's time-out and the repetition one by one settle it.
    """
    several = {one.item.subject for one in waiting if len(one.item.charges) > 1 or one.item.idempotency_key}

    def lock(one: _Waiting) -> tuple[str, str]:
        subject = one.item.subject
        return subject, "" if subject in several else one.item.charges[0].meter

    return sorted(waiting, key=lock)

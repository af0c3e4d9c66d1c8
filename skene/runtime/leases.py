"""Leases: units are taken from the storage in blocks, and spent here without asking it.

They stand between the gate and the storage's counters. Every unit that is spent was charged before, in the
window in which it is spent, so nothing is ever admitted beyond a limit. What others pay for that: a unit that
lies here unspent counts as used for them, until it is returned.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from skene.engine.leasing import block, leaves_room
from skene.engine.program import CompiledStep
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume, Counted, Notice, Receipt, Tally
from skene.runtime.beside import beside
from skene.runtime.lease import Flight, Lease, Moment
from skene.runtime.lease_table import LeaseTable
from skene.runtime.parts import Parts

__all__ = ["Leases"]

LOOK = 1.0
"""Seconds between two looks for leases that are over."""
AT_ONCE = 16
"""How many are returned at the same time."""
RETURN_TIMEOUT = 2.0
CLOSING = 4.0
"""Seconds in which all are returned when the process ends."""


class Leases:
    """The leases of this process; whatever is not leased goes straight to the storage.

    Nothing is leased unless `open` is entered: somebody has to return what is not spent.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._table = LeaseTable()
        self._held_back: dict[str, int] = {}
        self._open = False
        self._tasks: TaskGroup | None = None
        self._returns = 0

    # -- what the gate asks ----------------------------------------------------------------------------------

    async def consume(self, call: Consume, step: CompiledStep | None = None) -> Counted:
        """Charge a call: to a lease if there is one, else as `Counters.consume` does. Raises the same.

        The first call of a subject is charged by itself; the next one, if it comes before long, takes a block
        for those that follow. So a subject that calls now and then costs the storage no more than without.

        Args:
            call: what is to be charged.
            step: the step that it is about, if it is about only one.
        """
        asked = None
        if step is not None and self._leasable(call, step):
            asked = self._moment()
            lease = self._lease(call.subject, call.charges[0].meter)
            if lease is not None and lease.age(asked) is not None:
                spent = lease.spend(call, asked) or await self._from_a_block(lease, step, call)
                if spent is not None:
                    return spent
                asked = self._moment()
        counted = await self._exactly(call)
        if not counted.admitted:
            return counted
        if asked is not None:
            self._learn(call, counted, asked)
        return self._less_unspent(call, counted)

    async def peek(self, call: Consume) -> Counted:
        """As `Counters.peek`, except that what lies here unspent is not used."""
        told = await self._parts.storage.peek(call)
        counted = self._less_unspent(call, told)
        if counted is told or told.admitted:
            return counted
        tallies = tuple(tally if tally.fits else _if_it_fits(tally) for tally in counted.tallies)
        return replace(counted, tallies=tallies, admitted=all(tally.fits for tally in tallies))

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give units back: to the lease they may have come from while it lasts, else to the storage."""
        if idempotency_key is None and self._table:
            receipts = tuple(receipt for receipt in receipts if not self._kept(subject, receipt))
        if receipts:
            await self._parts.storage.refund(subject, receipts, idempotency_key)

    async def record_notice(self, notice: Notice) -> bool:
        """As `Counters.record_notice`; the calls that a lease answers know of it, too."""
        recorded = await self._parts.storage.record_notice(notice)
        lease = self._lease(notice.subject, notice.meter)
        if lease is not None and lease.receipt.plan == notice.plan:
            lease.notice(notice.names)
        return recorded

    # -- how long they live ----------------------------------------------------------------------------------

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Lease while the block runs; at its end everything is returned."""
        if all(step.lease is None for step in self._parts.program.steps):
            yield
            return
        async with beside(self._look_after) as self._tasks:
            self._open = True
            try:
                yield
            finally:
                await self.close()

    async def close(self) -> None:
        """Return everything, within a few seconds, and lease nothing more."""
        self._open = False
        with anyio.move_on_after(CLOSING, shield=True):
            await self._return_all(self._table)
        self._table.clear()
        self._tasks = None

    @asynccontextmanager
    async def unleased(self, *subjects: str) -> AsyncGenerator[None]:
        """Return what these subjects have, and lease them nothing while the block runs.

        For what changes their plan, their limit, or who they are: it finds every counter as it really stands,
        and no lease goes on under what held before.
        """
        for subject in subjects:
            self._held_back[subject] = self._held_back.get(subject, 0) + 1
        try:
            for subject in subjects:
                for lease in self._table.of(subject):
                    await self._return(lease)
                    lease.end()
            yield
        finally:
            for subject in subjects:
                self._held_back[subject] -= 1
                if not self._held_back[subject]:
                    del self._held_back[subject]

    async def sweep(self) -> None:
        """Return what is left of leases that are over, and forget them.

        Raises:
            StorageUnavailable: all of them wait for the next look.
        """
        over = self._table.over(self._moment())
        if over:
            # A return that gets no answer cannot be tried again, or it might be done twice. So a question
            # that can goes first: while the storage is away, nothing is lost.
            await over[0].storage.peek(over[0].call)
            await self._return_all(over)

    async def _look_after(self) -> None:
        while True:
            await anyio.sleep(LOOK)
            try:
                await self.sweep()
            except StorageUnavailable as error:
                self._parts.log.warning("leases that are over wait to be returned: %s", error)
            except Exception as error:  # noqa: BLE001 - whatever it was, it must not end all returning
                self._parts.log.error("a look at the leases failed, going on", error=error)

    # -- taking ----------------------------------------------------------------------------------------------

    def _leasable(self, call: Consume, step: CompiledStep) -> bool:
        return (
            step.lease is not None
            and self._open
            and call.idempotency_key is None
            and not self._parts.paused  # whoever holds the worker wants to see every count as it stands
        )

    async def _from_a_block(self, lease: Lease, step: CompiledStep, call: Consume) -> Counted | None:
        """Charge a call to a block: one that is on its way, or a new one. None: it has to go by itself."""
        cost, flight = call.charges[0].cost, lease.flight
        taking = flight is None
        if flight is None:
            size = self._size(lease, step, cost)
            if not size:
                return None
            flight = self._begin(lease, lambda: self._take(lease, call, size), promised=size)
        if flight.promised < cost:
            return None  # it goes at once, together with others that do not fit into the block
        flight.promised -= cost
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error.with_traceback(None)
        counted = lease.spend(call, self._moment())
        if taking and lease.left and not self._may_stay(lease, step):
            await self._return(lease)
        return counted

    def _size(self, lease: Lease, step: CompiledStep, cost: int) -> int:
        """Units of a block that is worth taking; 0: none is."""
        limit, granted, used = self._limit(lease, step)
        size = 0 if lease.exact else block(step.lease or 0, limit, granted, used)
        return size if size >= 2 * cost else 0

    def _may_stay(self, lease: Lease, step: CompiledStep) -> bool:
        """Whether a block that was just taken is what it was to be: the limit may have changed meanwhile.

        And no grant may have paid for it, for grants get back only what is returned while the window runs.
        """
        limit, granted, used = self._limit(lease, step)
        return leaves_room(limit, granted, used) and lease.left <= block(step.lease or 0, limit, granted)

    def _limit(self, lease: Lease, step: CompiledStep) -> tuple[int | None, int, int]:
        """The limit as last heard of, what of it is granted, and what of it is used."""
        if not step.enforce:  # counted without a limit, and leased beyond it
            return step.limits.get(lease.receipt.plan), 0, 0
        tally = lease.counted.tallies[0]
        return tally.limit, tally.granted, lease.used

    def _begin(self, lease: Lease, work: Callable[[], Awaitable[None]], promised: int = 0) -> Flight:
        """Begin something that is seen through, whatever becomes of the call that it is begun for."""
        flight = lease.flight = Flight(promised)

        async def fly() -> None:
            try:
                with anyio.CancelScope(shield=True):
                    await work()
            except Exception as error:  # noqa: BLE001 - raised by all who wait for it
                flight.error = error
            finally:
                lease.flight = None
                flight.landed.set()

        assert self._tasks is not None  # nothing is leased otherwise
        self._tasks.start_soon(fly)
        return flight

    async def _take(self, lease: Lease, call: Consume, size: int) -> None:
        """Fill a lease up to `size` units."""
        asked = self._moment()
        charge = replace(call.charges[0], cost=size - lease.left)
        counted = await lease.storage.consume(replace(call, charges=(charge,)))
        await self._fill(lease, counted, asked, size)

    async def _fill(self, lease: Lease, counted: Counted, asked: Moment, size: int) -> None:
        receipt = counted.tallies[0].receipt
        if receipt is None:
            lease.used = max(lease.used, counted.tallies[0].used)
            return
        if lease.left and not lease.covers(receipt.plan, receipt.at):
            await self._hand_back(lease)  # of a window, or a plan, that is over
        lease.renew(counted, receipt, asked)
        lease.left += receipt.cost
        lease.size = size
        self._table.touch(lease.call.subject)

    def _learn(self, call: Consume, counted: Counted, asked: Moment) -> None:
        """Remember what a call by itself has shown, so that the next one may take a block."""
        receipt, subject, meter = counted.tallies[0].receipt, call.subject, call.charges[0].meter
        # Somebody who goes by an earlier name is not leased anything: only one name is kept here.
        if receipt is None or counted.subject != subject or subject in self._held_back:
            return
        storage, lease = self._parts.storage, self._table.get(subject, meter)
        if lease is None or not (lease.left or lease.flight or lease.age(asked) is not None):
            new = Lease(call, storage, counted, receipt, asked)
            new.returned = lease.returned if lease else 0
            self._table.put(new)
        elif lease.storage is not storage or not lease.covers(receipt.plan, receipt.at):
            lease.end()  # another window, or another plan
        elif not (lease.left or lease.flight or lease.exact):
            lease.renew(counted, receipt, asked)
        else:
            lease.used = max(lease.used, counted.tallies[0].used)

    # -- returning -------------------------------------------------------------------------------------------

    async def _exactly(self, call: Consume) -> Counted:
        """Ask the storage. If it refuses while units lie here, they are returned and it is asked again."""
        returns = self._returns
        counted = await self._parts.storage.consume(call)
        if not counted.admitted and await self._gave_back(call, returns):
            counted = await self._parts.storage.consume(call)
        return counted

    async def _gave_back(self, call: Consume, returns: int) -> bool:
        """Return what this process holds of a call's counters.

        Returns:
            Whether any came back since `returns`, now or on behalf of another call that was refused.
        """
        held = (self._table.get(call.subject, charge.meter) for charge in call.charges)
        found = [lease for lease in held if lease is not None]
        for lease in found:
            lease.exact = True  # or they would be taken again before this call is counted
            await self._return(lease)
        return any(lease.returned > returns for lease in found)

    def _kept(self, subject: str, receipt: Receipt) -> bool:
        """Put units back into the lease that they may have come from. False: they belong to the storage."""
        lease = self._lease(subject, receipt.meter)
        if (
            lease is None
            or lease.flight is not None
            or not self._open
            or not lease.covers(receipt.plan, receipt.at)
            or lease.left + receipt.cost > lease.size
            or lease.age(self._moment()) is None
        ):
            return False
        lease.left += receipt.cost
        return True

    async def _return_all(self, leases: Iterable[Lease]) -> None:
        waiting = iter(tuple(leases))

        async def some() -> None:
            for lease in waiting:
                await self._return(lease)

        async with anyio.create_task_group() as tasks:
            for _ in range(AT_ONCE):
                tasks.start_soon(some)

    async def _return(self, lease: Lease) -> None:
        """Return what is left of a lease, once nothing is under way with it any more."""
        while (flight := lease.flight) is not None:
            await flight.landed.wait()
        lease.size = 0
        if not lease.left or self._tasks is None:
            return
        flight = self._begin(lease, lambda: self._hand_back(lease))
        await flight.landed.wait()
        if flight.error is not None:
            raise flight.error.with_traceback(None)

    async def _hand_back(self, lease: Lease) -> None:
        """Give to the storage what is left."""
        units, lease.left = lease.left, 0
        receipt = replace(lease.receipt, cost=units)
        with anyio.move_on_after(RETURN_TIMEOUT) as scope:
            try:
                await lease.storage.refund(lease.counted.subject, (receipt,))
                lease.used -= units
            except StorageUnavailable:
                self._parts.log.warning("storage unavailable: units of a lease stay charged")
        if scope.cancelled_caught:
            self._parts.log.warning("storage too slow: units of a lease may stay charged")
        self._returns += 1
        lease.returned = self._returns

    # -- looking ---------------------------------------------------------------------------------------------

    def _moment(self) -> Moment:
        return Moment(self._parts.clock.now(), anyio.current_time())

    def _lease(self, subject: str, meter: str) -> Lease | None:
        """The lease of a counter, if it is of the storage in use; a test may swap that."""
        lease = self._table.get(subject, meter)
        return lease if lease is not None and lease.storage is self._parts.storage else None

    def _less_unspent(self, call: Consume, counted: Counted) -> Counted:
        """The storage's answer as this process sees it: what lies here unspent is not used."""
        if counted.subject != call.subject or call.subject not in self._table:
            return counted
        at = self._moment()
        tallies = tuple(
            tally
            if (lease := self._lease(call.subject, tally.charge.meter)) is None or lease.age(at) is None
            else lease.seen_from_here(tally, counted, call)
            for tally in counted.tallies
        )
        return replace(counted, tallies=tallies)


def _if_it_fits(tally: Tally) -> Tally:
    """A counter that would admit the call once what lies here is returned, or else as it is."""
    fits = tally.limit is not None and tally.used + tally.charge.cost <= tally.limit
    return replace(tally, fits=True, wall=None) if fits else tally

"""The recovery worker: opens ticks, evaluates firings, delivers messages; each once, whatever crashes."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime, timedelta

import anyio
import anyio.lowlevel

from skene.errors import StorageUnavailable
from skene.ports.firings import Firing
from skene.ports.outbox import Claimed, MessageState, Outcome
from skene.ports.retention import PRUNED_AT_ONCE
from skene.ports.storage import Storage
from skene.runtime.delivery import Delivery
from skene.runtime.firing import Evaluation
from skene.runtime.keeping import LEASE
from skene.runtime.parts import Parts
from skene.runtime.reporting import Reporting
from skene.runtime.scheduling import Scheduling

__all__ = ["Worker"]

BATCH = 10
FIRINGS = 20
LANES = 2
"""How many firings one process evaluates at a time: scans, which may be long, in one lane only."""
FRESH = 5.0
"""Seconds after a claim in which a send may begin; the rest of the batch goes back. Even with the slowest
claim, profile, turn of the channel and provider it then ends before the lease does."""
AWAY = timedelta(seconds=5)
"""How long a firing waits that could not be dealt with while something was away. The others go before it: it
may be a database that only this one asks."""
POLL = 2.0
"""Seconds between two looks when nobody wakes the worker: what other processes and triggers have written."""
PRUNE_EVERY = timedelta(hours=1)
LAPSES_EVERY = timedelta(minutes=1)
LAPSES = 500


class Worker:
    """Does what is due. Any number of workers, in any number of processes, share the work."""

    def __init__(
        self, parts: Parts, evaluation: Evaluation, compare: Callable[[], Awaitable[int]] | None = None
    ) -> None:
        self._parts = parts
        self._delivery = Delivery(parts)
        self._evaluation = evaluation
        self._compare = compare  # with the billing service, when it is time
        self._scheduling = Scheduling(parts)
        self._reporting = Reporting(parts)
        self._wakes: list[anyio.Event] = []
        self._pruned: datetime | None = None
        self._scans = False
        # When lapses were last looked for, and in which storage: a test may swap it.
        self._lapsed: tuple[Storage, datetime] | None = None

    def wake(self) -> None:
        """Something was written by this process that is due."""
        for event in self._wakes:
            event.set()

    async def run(self) -> None:
        """Work until cancelled. The message in hand is finished first, what is only claimed goes back."""
        lanes = LANES if self._parts.program.reactions.all else 0
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._repeat, self._keep_house)
            bills = [self._reporting.report_due] if self._reporting.needed else []
            if self._compare is not None:
                tasks.start_soon(self._repeat, self._unless_paused(self._compare))
            for lane in (self._deliver_some, *bills, *[self.react_once] * lanes):
                tasks.start_soon(self._repeat, self._unless_paused(lane))

    def _unless_paused(self, work: Callable[[], Awaitable[int]]) -> Callable[[], Awaitable[int]]:
        async def maybe() -> int:
            return 0 if self._parts.paused else await work()

        return maybe

    async def _repeat(self, work: Callable[[], Awaitable[int]]) -> None:
        wake = anyio.Event()
        self._wakes.append(wake)
        try:
            while True:
                done = 0
                try:
                    done = await work()
                except StorageUnavailable as error:
                    text = "what is due cannot be read, trying again: %s"
                    self._parts.log.warning(text, error)
                except Exception as error:  # noqa: BLE001 - whatever it was, it must not end all delivery
                    self._parts.log.error("the recovery worker stumbled, going on", error=error)
                if not done:
                    with anyio.move_on_after(POLL):
                        await wake.wait()
                    self._wakes.remove(wake)
                    wake = anyio.Event()
                    self._wakes.append(wake)
        finally:
            self._wakes.remove(wake)

    async def drain(self) -> int:
        """Work until nothing is due. Returns how many firings, reports and messages were dealt with."""
        total = 0
        while done := await self.work_once():
            total += done
        return total

    async def work_once(self) -> int:
        """Do some of what is due: a batch of firings, all reports, a batch of messages. Returns how many."""
        reacted = await self.react_once() if self._parts.program.reactions.all else 0
        reported = await self._reporting.report()
        await self._note_lapses()
        return reacted + reported + await self._deliver_some()

    # -- firings -------------------------------------------------------------------------------------------

    async def react_once(self) -> int:
        """Open the ticks that are due, claim some firings, and evaluate each. Returns how many."""
        now: datetime | None = None
        claimed: tuple[Firing, ...] = ()
        with anyio.CancelScope(shield=True):  # a claim that nobody hears of would only end with its lease
            await self._note_lapses()
            now, claimed = await self._parts.storage.claim_firings(FIRINGS, LEASE)
        assert now is not None  # a shielded scope does not swallow what fails in it
        waiting, stale = list(claimed), anyio.current_time() + FRESH
        done = 0
        try:
            done += await self._scheduling.open_due(now)
            while waiting and anyio.current_time() < stale:
                await anyio.lowlevel.checkpoint()
                done += await self._next(waiting)
        finally:
            await self._give_back(waiting)
        return done

    async def _next(self, waiting: list[Firing]) -> int:
        """Evaluate the first of those that wait. Returns how many were dealt with."""
        firing = waiting[0]
        if firing.tick is None:
            await self._deal_with(firing, waiting)
            return 1
        if self._scans:  # one after the other, or no lane were left for anything else
            await self._parts.storage.postpone_firing(firing, timedelta(seconds=POLL))
            waiting.pop(0)
            return 0
        self._scans = True
        try:
            rest = waiting[1:]
            del waiting[1:]
            await self._give_back(rest)  # a scan may take long, and others can have these meanwhile
            await self._deal_with(firing, waiting)
        finally:
            self._scans = False
        return 1

    async def _deal_with(self, firing: Firing, waiting: list[Firing]) -> None:
        try:
            await self._evaluation.deal_with(firing)
        except StorageUnavailable:
            await self._give_back([waiting.pop(0)], AWAY)
            raise
        waiting.pop(0)

    async def _give_back(self, firings: list[Firing], wait: timedelta = timedelta(0)) -> None:
        with anyio.move_on_after(2, shield=True), suppress(StorageUnavailable):
            for one in firings:
                await self._parts.storage.postpone_firing(one, wait)

    async def _note_lapses(self) -> None:
        """Write down the plans that have ended: steps and hooks may listen, and paying may have ended."""
        watchers, hooks = self._parts.watchers, self._parts.hook_names
        storage, now = self._parts.storage, self._parts.clock.now()
        looked, at = self._lapsed or (None, now)
        if looked is storage and timedelta(0) <= now - at < LAPSES_EVERY:
            return
        if await storage.note_lapses(watchers, LAPSES, hooks=hooks) < LAPSES:
            self._lapsed = storage, now

    # -- messages ------------------------------------------------------------------------------------------

    async def _deliver_some(self) -> int:
        """Claim some messages that are due and deal with each. Returns how many."""
        claimed: tuple[Claimed, ...] = ()
        with anyio.CancelScope(shield=True):  # as above
            claimed = await self._parts.storage.claim(BATCH, LEASE)
        waiting, stale = sorted(claimed, key=_is_marketing), anyio.current_time() + FRESH
        try:
            while waiting and anyio.current_time() < stale:
                await anyio.lowlevel.checkpoint()
                await self._delivery.see_through(waiting.pop(0))
        finally:
            with anyio.move_on_after(2, shield=True), suppress(StorageUnavailable):
                for rest in waiting:
                    await self._parts.storage.settle(rest, Outcome(MessageState.PENDING))
        return len(claimed) - len(waiting)

    # -- upkeep --------------------------------------------------------------------------------------------

    async def _keep_house(self) -> int:
        """Delete what is only needed for a time, now and then."""
        now = self._parts.clock.now()
        if self._pruned is None or now - self._pruned >= PRUNE_EVERY:
            self._pruned = now
            if await self._parts.storage.prune() >= PRUNED_AT_ONCE:
                self._pruned = None  # there is more of it
        if not self._parts.paused:
            await self._note_lapses()
        return 0


def _is_marketing(message: Claimed) -> bool:
    return message.draft.marketing

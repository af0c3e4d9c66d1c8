"""`sync`: makes plans equal to what the billing service says, at once for everybody, and again every day."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta

import anyio

from skene.definitions.units import parse_duration
from skene.errors import BillingUnavailable, StorageUnavailable, SyncRunning
from skene.ports.counters import Draft
from skene.ports.hooks import EventKind, event_drafts
from skene.ports.storage import Storage
from skene.ports.syncs import SyncRun
from skene.runtime.beside import beside
from skene.runtime.comparison import DONE, STAGES, Comparison
from skene.runtime.drift import SyncReport, as_data
from skene.runtime.pacing import Pace, Patience
from skene.runtime.parts import Parts
from skene.runtime.webhooks import BillingSync

__all__ = ["SyncVerbs", "Syncing"]

LEASE = timedelta(seconds=60)
HEARTBEAT = 15.0
"""Seconds between two renewals of the lease."""
LASTS = timedelta(hours=24)
"""A run that began longer ago is not gone on with: what it has verified is too old."""
PATIENCE = 600.0
"""Seconds that one call is waited for while the billing service or the storage is away."""
LONGEST_SINCE = timedelta(days=30)
"""Billing services remember what has happened for so long."""
LOOK_EVERY = timedelta(minutes=1)
SCHEDULED_RATE = 5


class Syncing:
    """Runs comparisons, one at a time over all processes."""

    def __init__(self, parts: Parts, sync: BillingSync, every: timedelta | None = None) -> None:
        self._parts = parts
        self._sync = sync
        self.every = every
        # When it was last asked whether a run is due, and of which storage: a test may swap it.
        self._looked: tuple[Storage, datetime] | None = None

    @property
    def by_hand(self) -> bool:
        """Whether plans are set by hand: no billing service says anything."""
        return self._parts.billing.name == "manual"

    async def run_if_due(self) -> int:
        """Begin or go on with a run if it is time. Returns how many customers were put right."""
        parts, now = self._parts, self._parts.clock.now()
        if self.every is None or self.by_hand:
            return 0
        looked, at = self._looked or (None, now)
        if looked is parts.storage and timedelta(0) <= now - at < LOOK_EVERY:
            return 0
        self._looked = parts.storage, now
        run = await parts.storage.claim_sync(STAGES[0], LEASE, lasts=LASTS, every=self.every)
        if run is None:
            return 0
        report = await self._run(run, LONGEST_SINCE, SCHEDULED_RATE, _ignore)
        return report.repaired

    async def run(self, since: timedelta, rate: float, progress: Callable[[SyncReport], None]) -> SyncReport:
        """Begin a run, or go on with the last one.

        Raises:
            SyncRunning: somebody else is at it.
            StorageUnavailable: nothing was begun.
        """
        run = await self._parts.storage.claim_sync(STAGES[0], LEASE, lasts=LASTS)
        if run is None:
            raise SyncRunning("another sync is running; it ends by itself, or frees the way within a minute")
        return await self._run(run, since, rate, progress)

    async def look(self, since: timedelta, rate: float, progress: Callable[[SyncReport], None]) -> SyncReport:
        """Compare only: nothing is written, nobody is kept from running."""

        async def save(run: SyncRun) -> None:
            pass

        run = SyncRun(0, self._parts.clock.now(), STAGES[0])
        comparison = self._comparison(run, save, since, rate, progress, dry=True)
        return await self._see_through(comparison)

    async def _run(
        self, run: SyncRun, since: timedelta, rate: float, progress: Callable[[SyncReport], None]
    ) -> SyncReport:
        storage = self._parts.storage

        async def save(state: SyncRun) -> None:
            if not await storage.save_sync(state, LEASE):
                raise SyncRunning("another process goes on with this sync: this one was away for too long")

        async def renew() -> None:
            held = True
            while held:
                await anyio.sleep(HEARTBEAT)
                try:
                    held = await storage.keep_sync(run, LEASE)
                except StorageUnavailable:
                    continue  # the next time will do, or the lease ends

        comparison = self._comparison(run, save, since, rate, progress, dry=False)
        report = comparison.report
        try:
            async with beside(renew):
                report = await self._see_through(comparison)
        finally:
            if report.finished_at is None:
                await self._give_back(run)
        if report.finished_at is not None:
            drafts = self._drafts(run, report)
            await storage.end_sync(comparison.run, finished=True, drafts=drafts)
            if drafts:
                self._parts.wake()
        self._log(report)
        return report

    def _comparison(
        self,
        run: SyncRun,
        save: Callable[[SyncRun], Awaitable[None]],
        since: timedelta,
        rate: float,
        progress: Callable[[SyncReport], None],
        *,
        dry: bool,
    ) -> Comparison:
        return Comparison(
            self._parts,
            self._sync,
            Patience(Pace(rate), PATIENCE),
            run,
            save,
            since=run.started_at - min(since, LONGEST_SINCE),
            dry=dry,
            progress=progress,
        )

    async def _see_through(self, comparison: Comparison) -> SyncReport:
        try:
            await comparison.go()
        except (BillingUnavailable, StorageUnavailable) as error:
            return replace(comparison.report, stopped=str(error))
        return replace(comparison.report, finished_at=self._parts.clock.now())

    async def _give_back(self, run: SyncRun) -> None:
        with anyio.move_on_after(2, shield=True):
            try:
                await self._parts.storage.end_sync(run, finished=False)
            except StorageUnavailable as error:
                self._parts.log.warning("a sync that has stopped is still reserved for a minute: %s", error)

    def _drafts(self, run: SyncRun, report: SyncReport) -> tuple[Draft, ...]:
        assert report.finished_at is not None  # asked only then
        about = (run.started_at.isoformat(), str(run.claim))
        data = as_data(report)
        return event_drafts(
            self._parts.hook_names, EventKind.BILLING_SYNCED, "", report.finished_at, data, *about
        )

    def _log(self, report: SyncReport) -> None:
        log = self._parts.log
        numbers = ", ".join(f"{name} {count}" for name, count in report.counts().items())
        if report.stopped is not None:
            log.warning(
                "the sync with billing has stopped, the next one goes on: %s (%s)", report.stopped, numbers
            )
        else:
            log.info("the sync with billing is done: %s", numbers)
        if report.differed:
            some = "; ".join(f"{one.customer} {one.before} → {one.after}" for one in report.drifts[:5])
            log.warning("%s customers differed from what billing says: %s", report.differed, some)


class SyncVerbs:
    """`sync`."""

    _parts: Parts
    _syncing: Syncing

    async def sync(
        self,
        *,
        dry_run: bool = False,
        since: str | timedelta = "30d",
        rate: float = 20,
        progress: Callable[[SyncReport], None] | None = None,
    ) -> SyncReport:
        """Make all plans equal to what the billing service says, whatever webhooks were lost.

        Compares page by page and fetches only those who differ. It can be stopped at any time: the next run
        goes on where it was. Webhooks may arrive meanwhile.

        Args:
            dry_run: find out what differs, and write nothing at all.
            since: how far back to look for what no webhook has told; at most 30 days.
            rate: calls to the billing service in a second, at most; 1 or more.
            progress: is told after each step what was found so far.

        Returns:
            What was found. `stopped` says why, if the billing service or the database was away for too long.

        Raises:
            SyncRunning: another one is at work, in this process or in another one.
            StorageUnavailable: nothing was begun.
            ValueError: a rate below 1.
            DefinitionError: no duration.
        """
        if not rate >= 1:
            raise ValueError(f"rate: got {rate!r}; give calls per second, 1 or more")
        if self._syncing.by_hand:
            now = self._parts.clock.now()
            return SyncReport(now, dry_run, DONE, finished_at=now)  # there is nothing to compare with
        run = self._syncing.look if dry_run else self._syncing.run
        return await run(parse_duration(since), rate, progress or _ignore)


def _ignore(report: SyncReport) -> None:
    """Nobody wants to hear of it."""

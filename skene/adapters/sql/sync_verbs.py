"""The port `Syncs` on one way to run a transaction."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from skene.adapters.sql import syncs
from skene.adapters.sql.transacting import Transacting
from skene.ports.counters import Draft
from skene.ports.syncs import Compared, SyncRun

__all__ = ["SqlSyncs"]


class SqlSyncs(Transacting):
    """Keeps how far the comparison with the billing service has come."""

    async def claim_sync(
        self, stage: str, lease: timedelta, *, lasts: timedelta, every: timedelta | None = None
    ) -> SyncRun | None:
        """Go on with the comparison that has not ended, or begin one."""
        return await self._write(syncs.claim_sync, stage, lease, lasts, every)

    async def keep_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Hold a comparison for another lease."""
        return await self._write(syncs.keep_sync, run, lease)

    async def save_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Write down how far a comparison has come."""
        return await self._write(syncs.save_sync, run, lease)

    async def end_sync(self, run: SyncRun, *, finished: bool, drafts: tuple[Draft, ...] = ()) -> bool:
        """Give a comparison back, or say that it is finished."""
        return await self._write(syncs.end_sync, run, finished, drafts)

    async def compare_subscriptions(
        self, listed: Mapping[str, Sequence[Mapping[str, Any]]], *, mark: bool
    ) -> tuple[Compared, ...]:
        """Compare what is kept of some customers with what was listed of them."""
        run = self._write if mark else self._read
        return await run(syncs.compare_subscriptions, listed, mark)

    async def unverified_customers(
        self, before: datetime, after: str | None, limit: int
    ) -> tuple[Compared, ...]:
        """Customers with a plan besides the default that were not verified lately."""
        return await self._read(syncs.unverified_customers, before, after, limit)

    async def verified_customers(
        self, customers: tuple[str, ...], since: datetime
    ) -> Mapping[str, str | None]:
        """Those of some customers that were verified lately, and who is tied to each."""
        return await self._read(syncs.verified_customers, customers, since)

    async def unknown_events(self, events: tuple[str, ...]) -> frozenset[str]:
        """Those of some webhooks that were never recorded."""
        return await self._read(syncs.unknown_events, events)

    async def record_events(self, events: Mapping[str, str]) -> None:
        """Remember webhooks that need no fetch."""
        await self._write(syncs.record_events, events)

"""One comparison of what is kept with what the billing service says, from wherever it was left."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol, TypeVar

import anyio

from skene.engine.comparing import Verdict, as_kept
from skene.engine.standing import Subscription
from skene.engine.subject import storable_id
from skene.errors import BillingUnavailable
from skene.ports.accounts import Ticket
from skene.ports.billing import BillingEvent
from skene.ports.syncs import Compared, SyncRun
from skene.runtime.drift import Drift, SyncReport
from skene.runtime.pacing import Patience
from skene.runtime.parts import Parts
from skene.runtime.webhooks import BillingSync, Fetched

__all__ = ["DONE", "STAGES", "Comparison"]

STAGES = ("subscriptions", "latest", "kept", "events")
DONE = "done"
PAGE = 100
LANES = 8
"""Customers fetched at a time: one answer takes longer than the pause between two calls."""
FETCH_CALLS = 2
"""What it takes to fetch a customer: the customer and the subscriptions."""
TRIES = 4
"""After so many failures with one customer it is seen whether the service answers anything at all."""
MARGIN = timedelta(minutes=5)
"""How far the clocks here and there may be apart."""


class _Page(Protocol):
    @property
    def after(self) -> str | None: ...


P = TypeVar("P", bound=_Page)


class Comparison:
    """Goes through the stages, and writes down after every page how far it has come.

    First all subscriptions that live, as listed; then those begun since, as the listing began with the
    latest; then what is kept and was in no listing; at last what has happened, and no webhook has told.

    Args:
        parts, sync: what to work with; every customer that differs is fetched and applied as for a webhook.
        patience: makes the calls.
        run: where to begin.
        save: writes down how far it has come.
        since: how far back to look for what has happened.
        dry: look only, and write nothing.
        progress: hears of everything that is found.
    """

    def __init__(
        self,
        parts: Parts,
        sync: BillingSync,
        patience: Patience,
        run: SyncRun,
        save: Callable[[SyncRun], Awaitable[None]],
        *,
        since: datetime,
        dry: bool,
        progress: Callable[[SyncReport], None],
    ) -> None:
        self._parts, self._sync, self._patience = parts, sync, patience
        self._save, self._since, self._dry, self._progress = save, since, dry, progress
        counts = {name: value for name, value in run.counts.items() if name != "first"}
        self.run = run
        self.report = SyncReport(run.started_at, dry, run.stage, **counts)
        # Customers of whom more is kept than was listed so far. Forgotten when the process ends: then they
        # are fetched at a later stage.
        self._waiting: dict[str, tuple[Subscription, ...]] = {}
        self._seen: dict[str, str | None] = {}  # only in a dry run, which marks nobody as verified
        self._failed: set[str] = set()  # not tried again at every stage

    async def go(self) -> None:
        """Go through what is left.

        Raises:
            BillingUnavailable, StorageUnavailable: patience was at its end. What was done is kept.
        """
        stages = (self._subscriptions, self._latest, self._kept, self._events)
        # Done, but killed before that was said: nothing is left.
        begin = (*STAGES, DONE).index(self.run.stage)
        for work, after in [*zip(stages, (*STAGES[1:], DONE), strict=True)][begin:]:
            await work()
            self.run = replace(self.run, stage=after, cursor=None)
            self._find(stage=after)
            await self._write_down()

    # -- stages --------------------------------------------------------------------------------------------

    async def _subscriptions(self) -> None:
        async for page in self._pages(self._parts.billing.subscriptions):
            if self.run.cursor is None and page.entries:
                self.run = replace(self.run, counts={"first": page.entries[0][1].id})
            await self._compare(page.entries)

    async def _latest(self) -> None:
        first = self.run.counts.get("first")
        async for page in self._pages(self._parts.billing.subscriptions):
            await self._compare(page.entries, again=True)
            if any(one.id == first for _, one in page.entries):
                return

    async def _kept(self) -> None:
        storage, began = self._parts.storage, self.run.started_at
        while True:
            page = await self._patience.ask(
                partial(storage.unverified_customers, began, self.run.cursor, PAGE), calls=0
            )
            await self._repair([one for one in page if one.customer not in self._seen])
            if len(page) < PAGE:
                return
            self.run = replace(self.run, cursor=page[-1].customer)
            await self._write_down()

    async def _events(self) -> None:
        events = self._parts.billing.events
        async for page in self._pages(lambda after: events(self._since, after)):
            await self._take(page.events)

    async def _pages(self, read: Callable[[str | None], Awaitable[P]]) -> AsyncGenerator[P]:
        """All pages from where the run stands; written down when one was dealt with."""
        while True:
            cursor = self.run.cursor
            try:
                page = await self._patience.ask(partial(read, cursor))
            except LookupError:
                if cursor is None:
                    raise
                self.run = replace(self.run, cursor=None)  # what it stood for is gone: from the beginning
                continue
            yield page
            if page.after is None:
                return
            self.run = replace(self.run, cursor=page.after)
            await self._write_down()

    async def _write_down(self) -> None:
        kept = {name: value for name, value in self.run.counts.items() if name == "first"}
        self.run = replace(self.run, counts={**kept, **self.report.counts()})
        await self._save(self.run)

    # -- customers -----------------------------------------------------------------------------------------

    async def _compare(self, entries: Sequence[tuple[str, Subscription]], *, again: bool = False) -> None:
        """Compare a page of a listing, and put right who differs."""
        listed: dict[str, tuple[Subscription, ...]] = {}
        for customer, subscription in entries:
            listed[customer] = (*listed.get(customer, self._waiting.get(customer, ())), subscription)
        said = {customer: as_kept(subscriptions) for customer, subscriptions in listed.items()}
        storage, mark = self._parts.storage, not self._dry
        found = await self._patience.ask(lambda: storage.compare_subscriptions(said, mark=mark), calls=0)
        differ: list[Compared] = []
        for one in found:
            self._waiting.pop(one.customer, None)
            if one.verdict is Verdict.PARTLY:
                self._waiting[one.customer] = listed[one.customer]
            elif one.verdict is Verdict.EQUAL and not again:
                self._note(one)
            elif one.verdict is Verdict.DIFFERS and one.customer not in self._seen:
                differ.append(one)
        await self._repair(differ)

    def _note(self, kept: Compared) -> None:
        """Somebody of whom the right thing is kept."""
        unlinked = kept.subject is None and kept.plan not in (None, self._parts.default_plan)
        self._find(checked=1, unlinked=int(unlinked))
        if self._dry:
            self._seen[kept.customer] = kept.subject

    async def _repair(
        self, customers: Sequence[Compared], events: Mapping[str, Sequence[BillingEvent]] | None = None
    ) -> None:
        failures: list[Exception] = []
        lanes = anyio.CapacityLimiter(LANES)

        async def one(kept: Compared) -> None:
            async with lanes:
                if not failures and kept.customer not in self._failed:
                    try:
                        await self._settle(kept, (events or {}).get(kept.customer, ()))
                    except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
                        failures.append(error)

        async with anyio.create_task_group() as tasks:
            for kept in customers:
                tasks.start_soon(one, kept)
        if failures:
            raise failures[0]

    async def _settle(self, kept: Compared, events: Sequence[BillingEvent]) -> None:
        """Fetch a customer, see what differs, and put it right."""
        storage, default = self._parts.storage, self._parts.default_plan
        fetched = await self._fetch(kept.customer, events[0] if events else None)
        if fetched is None:
            return
        if kept.verdict is not Verdict.DIFFERS:  # nobody has looked yet, or only at a part
            said = {kept.customer: as_kept(fetched.account.subscriptions)}
            compared = await self._patience.ask(
                lambda: storage.compare_subscriptions(said, mark=False), calls=0
            )
            known, kept = kept.subject, compared[0]
            kept = replace(kept, subject=kept.subject or known)
        subject, after = await (self._foresee if self._dry else self._apply)(fetched, kept, events)
        unlinked = subject is None and after != default
        # Of somebody who never had a plan and has none, nothing was kept that could be wrong.
        differs = kept.verdict is not Verdict.EQUAL and (kept.plan, after) != (None, default)
        drifts: tuple[Drift, ...] = ()
        if differs or subject != kept.subject:
            drifts = (Drift(kept.customer, subject, kept.plan or default, after),)
        if self._dry:
            self._seen[kept.customer] = subject
        repaired = 0 if self._dry else len(drifts)
        self._find(*drifts, checked=1, differed=len(drifts), repaired=repaired, unlinked=int(unlinked))

    async def _apply(
        self, fetched: Fetched, kept: Compared, events: Sequence[BillingEvent]
    ) -> tuple[str | None, str]:
        applied = None
        for event in events or (None,):
            applied = await self._patience.ask(partial(self._sync.apply, fetched, event), calls=0)
        assert applied is not None  # there is one event, or None in its place
        return applied.subject, applied.after

    async def _foresee(
        self, fetched: Fetched, kept: Compared, events: Sequence[BillingEvent]
    ) -> tuple[str | None, str]:
        """What would be applied."""
        names = [fetched.account.subject, *(event.subject for event in events)]
        named = next((storable_id(name) for name in names if name), None)
        subject = kept.subject or named
        standing = await self._sync.standing(fetched.account, subject)
        return subject, standing.at(self._parts.clock.now(), self._parts.default_plan).plan

    async def _fetch(self, customer: str, event: BillingEvent | None) -> Fetched | None:
        """Fetch one customer. None: forgotten; or the service has no answer for this one, which is noted."""
        billing = self._parts.billing

        async def fetch() -> Fetched | None:
            if self._dry:
                return Fetched(Ticket(customer, 0), await billing.fetch(customer))
            return await self._sync.fetch(customer, event)

        try:
            try:
                return await self._patience.ask(fetch, FETCH_CALLS, tries=TRIES)
            except BillingUnavailable:
                await self._patience.ask(billing.subscriptions)  # answers: so it is about this customer alone
            return await self._patience.ask(fetch, FETCH_CALLS, tries=1)
        except LookupError as error:
            reason: Exception = error
        except BillingUnavailable as error:
            if not await self._answers():
                raise
            reason = error
        self._parts.log.warning(
            "customer %s cannot be fetched, the last known plan stands: %s", customer, reason
        )
        self._failed.add(customer)
        self._find(failed=1)
        return None

    async def _answers(self) -> bool:
        """Whether the billing service answers at all."""
        try:
            await self._patience.ask(self._parts.billing.subscriptions, tries=1)
        except BillingUnavailable:
            return False
        return True

    # -- events --------------------------------------------------------------------------------------------

    async def _take(self, events: Sequence[BillingEvent]) -> None:
        """Take what no webhook has told: one fetch for each customer it tells news of."""
        storage, patience, began = self._parts.storage, self._patience, self.run.started_at
        ids = tuple(event.id for event in events)
        new = await patience.ask(lambda: storage.unknown_events(ids), calls=0)
        by_customer: dict[str, list[BillingEvent]] = {}
        idle: dict[str, str] = {}
        for event in reversed(events):  # as they happened
            if event.id in new:
                customer = event.customer or await self._payer(event)
                if customer is None:
                    idle[event.id] = event.type
                else:
                    by_customer.setdefault(customer, []).append(event)
        names = tuple(by_customer)
        verified: Mapping[str, str | None] = self._seen
        if not self._dry:
            verified = await patience.ask(lambda: storage.verified_customers(names, began), calls=0)
        telling: dict[str, list[BillingEvent]] = {}
        for customer, theirs in by_customer.items():
            if any(self._tells(event, customer, verified) for event in theirs):
                telling[customer] = theirs
            else:
                idle.update({event.id: event.type for event in theirs})
        await self._repair(
            [Compared(name, verified.get(name), None, Verdict.PARTLY) for name in telling], telling
        )
        self._find(events=len(new))
        if not self._dry:
            # Those of somebody who was forgotten, or is not known there, need no second look either.
            idle.update({event.id: event.type for theirs in telling.values() for event in theirs})
            await patience.ask(lambda: storage.record_events(idle), calls=0)

    async def _payer(self, event: BillingEvent) -> str | None:
        payment = event.payment
        if payment is None:
            return None
        return await self._patience.ask(lambda: self._parts.billing.customer_of(payment))

    def _tells(self, event: BillingEvent, customer: str, verified: Mapping[str, str | None]) -> bool:
        """Whether an event tells more than this run has seen of the customer anyway."""
        if customer not in verified or event.refund is not None or event.payment is not None:
            return True
        if event.at is None or event.at >= self.run.started_at - MARGIN:
            return True
        return event.subject is not None and verified[customer] is None

    def _find(self, *drifts: Drift, stage: str | None = None, **counts: int) -> None:
        self.report = self.report.more(*drifts, **counts)
        if stage is not None:
            self.report = replace(self.report, stage=stage)
        self._progress(self.report)

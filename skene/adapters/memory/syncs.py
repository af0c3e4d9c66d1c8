"""Comparisons with the billing service, in memory."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from skene.adapters.memory.accounts import digest
from skene.adapters.memory.state import Part, Payer, State, SyncRow, as_json
from skene.engine.comparing import Verdict, compare
from skene.engine.standing import Standing
from skene.ports.counters import Draft
from skene.ports.syncs import Compared, SyncRun

__all__ = ["MemorySyncs"]


class MemorySyncs(Part):
    """The port `Syncs`."""

    async def claim_sync(
        self, stage: str, lease: timedelta, *, lasts: timedelta, every: timedelta | None = None
    ) -> SyncRun | None:
        """Go on with the run that has not ended, or begin one."""
        state, now = self._state, self._state.clock.now()
        row = state.sync
        if row is None:
            first = SyncRun(0 if every else 1, now, stage)
            state.sync = SyncRow(first, now + lease, finished=every is not None)
            if every is not None:
                state.sync.lease_until = None
                return None
            return first
        if row.lease_until is not None and row.lease_until > now:
            return None
        age, claim = now - row.run.started_at, row.run.claim + 1
        if not row.finished and age <= lasts:
            run = replace(row.run, claim=claim)
        elif every is not None and row.finished and age < every:
            return None
        else:
            run = SyncRun(claim, now, stage)
        state.sync = SyncRow(run, now + lease)
        return run

    async def keep_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Hold a run for another lease."""
        row = _mine(self._state, run)
        if row is not None:
            row.lease_until = self._state.clock.now() + lease
        return row is not None

    async def save_sync(self, run: SyncRun, lease: timedelta) -> bool:
        """Write down how far a run has come, and hold it."""
        row = _mine(self._state, run)
        if row is not None:
            row.run = replace(run, counts=as_json(run.counts))
        return await self.keep_sync(run, lease)

    async def end_sync(self, run: SyncRun, *, finished: bool, drafts: tuple[Draft, ...] = ()) -> bool:
        """Give a run back, or say that it is finished."""
        row = _mine(self._state, run)
        if row is None:
            return False
        row.lease_until, row.finished = None, finished
        if finished:
            row.run = replace(run, counts=as_json(run.counts))
        self._state.post(drafts, self._state.clock.now())
        return True

    async def compare_subscriptions(
        self, listed: Mapping[str, Sequence[Mapping[str, Any]]], *, mark: bool
    ) -> tuple[Compared, ...]:
        """Compare what is kept of some customers with what was listed of them."""
        found = tuple(_compared(self._state, customer, said) for customer, said in listed.items())
        for one in found if mark else ():
            if one.verdict is Verdict.EQUAL:
                self._state.payers[one.customer].verified_at = self._state.clock.now()
        return found

    async def unverified_customers(
        self, before: datetime, after: str | None, limit: int
    ) -> tuple[Compared, ...]:
        """Customers with a plan besides the default that were not verified lately."""
        found = [
            _unverified(self._state, customer, payer)
            for customer, payer in sorted(self._state.payers.items())
            if customer > (after or "")
            and (payer.verified_at is None or payer.verified_at < before)
            and _matters(self._state, payer)
        ]
        return tuple(found[:limit])

    async def verified_customers(
        self, customers: tuple[str, ...], since: datetime
    ) -> Mapping[str, str | None]:
        """Those of some customers that were verified lately, and who is tied to each."""
        payers = {one: self._state.payers[one] for one in customers if one in self._state.payers}
        return {
            one: payer.subject
            for one, payer in payers.items()
            if payer.verified_at is not None and payer.verified_at >= since
        }

    async def unknown_events(self, events: tuple[str, ...]) -> frozenset[str]:
        """Those of some webhooks that were never recorded."""
        return frozenset(events) - self._state.events.keys()

    async def record_events(self, events: Mapping[str, str]) -> None:
        """Remember webhooks that need no fetch."""
        now = self._state.clock.now()
        for event in events:
            self._state.events.setdefault(event, now)


def _essence(standing: Standing) -> tuple[str, datetime | None, bool]:
    return standing.plan, standing.until, standing.paying


def _compared(state: State, customer: str, listed: Sequence[Mapping[str, Any]]) -> Compared:
    if digest(customer) in state.blocked:
        return Compared(customer, None, None, Verdict.FORGOTTEN)
    payer = state.payers.get(customer, Payer())
    said, held = _said(state, payer), _held(state, payer)
    if payer.update is None or said != held:
        return Compared(customer, payer.subject, held[0] if held else None, Verdict.DIFFERS)
    verdict = compare(json.loads(payer.update.subscriptions_json), listed)
    return Compared(customer, payer.subject, held[0] if held else None, verdict)


def _said(state: State, payer: Payer) -> tuple[str, datetime | None, bool] | None:
    """What is kept of the customer itself."""
    update, now = payer.update, state.clock.now()
    return None if update is None else _essence(update.standing.at(now, update.default_plan))


def _held(state: State, payer: Payer) -> tuple[str, datetime | None, bool] | None:
    """What the customer's subject holds; what the customer has, while it is tied to nobody."""
    if payer.subject is None:
        return _said(state, payer)
    standing = state.holders[payer.subject].standing_at(state.clock.now())
    return None if standing is None else _essence(standing)


def _unverified(state: State, customer: str, payer: Payer) -> Compared:
    held = _held(state, payer) if payer.subject is not None else None
    return Compared(customer, payer.subject, held[0] if held else None, Verdict.PARTLY)


def _matters(state: State, payer: Payer) -> bool:
    holder = state.holders.get(payer.subject) if payer.subject is not None else None
    held = holder is not None and holder.standing is not None and holder.standing.plan != holder.default
    return held or (payer.update is not None and payer.update.standing.plan != payer.update.default_plan)


def _mine(state: State, run: SyncRun) -> SyncRow | None:
    row = state.sync
    return row if row is not None and row.run.claim == run.claim and not row.finished else None

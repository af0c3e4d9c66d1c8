"""The verbs that PostgreSQL and SQLite share, on top of one way to run a transaction."""

import json
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from skene.adapters.sql import (
    accounts,
    attempts,
    billed,
    contacts,
    decisions,
    funnels,
    grants,
    history,
    ledger,
    letters,
    merging,
    outbox,
    overrides,
    pruning,
    recording,
    upkeep,
    watching,
)
from skene.adapters.sql import firings as firing_verbs
from skene.adapters.sql import holdings as holding_verb
from skene.adapters.sql.spells import Terms
from skene.adapters.sql.sync_verbs import SqlSyncs
from skene.adapters.sql.transacting import Work
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Credit, Customer, Ticket, Update
from skene.ports.contacts import Suppressed, Suppression
from skene.ports.counters import BilledUse, Draft, Notice, Receipt
from skene.ports.firings import Closing, DecisionRow, Entry, Firing, NewFiring, Recorded, Repeat, Watcher
from skene.ports.firings import Outcome as DecisionOutcome
from skene.ports.grants import Grant, Granted
from skene.ports.history import Change, WhatIf
from skene.ports.holdings import Holding
from skene.ports.ledger import Conversion, FunnelRow, Span, Wall
from skene.ports.merging import Merged
from skene.ports.notifier import Body
from skene.ports.outbox import Attempt, Claimed, MessageRow, MessageState, Outcome, Rules
from skene.ports.overrides import Overridden, Override
from skene.ports.retention import PRUNED_AT_ONCE

__all__ = ["SqlStorage", "Work"]

_NO_RULES = Rules()


class SqlStorage(SqlSyncs):
    """Every verb but the three that count. A subclass says how to run a transaction, and counts."""

    # --- counters ---

    @abstractmethod
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""

    async def meters(self, subject: str) -> tuple[str, ...]:
        """The names of all counters that are kept for a subject."""
        return await self._read(upkeep.meters, subject)

    async def record_notice(self, notice: Notice) -> bool:
        """Record warnings for a running window and their messages, once."""
        return await self._write(upkeep.record_notice, notice)

    async def report_billed(self, use: BilledUse, limit: int) -> int:
        """Put reports of billed use into the outbox, at most `limit`."""
        return await self._write(billed.report_billed, use, limit)

    async def holdings(self, subjects: Sequence[str]) -> tuple[Holding, ...]:
        """What counting must know of some subjects, in their order."""
        return await self._read(holding_verb.holdings, subjects)

    # --- grants ---

    async def grant(self, grant: Grant, drafts: tuple[Draft, ...] = ()) -> bool:
        """Grant units, once for each subject and key."""
        return await self._write(grants.grant, grant, drafts)

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """All grants of a subject, oldest first."""
        return await self._read(grants.grants, subject)

    # --- overrides ---

    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        """Give a subject another limit on a counter."""
        return await self._write(overrides.set_override, override, drafts)

    async def end_override(self, subject: str, meter: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Take an override back."""
        return await self._write(overrides.end_override, subject, meter, drafts)

    async def overrides(self, subject: str) -> tuple[Overridden, ...]:
        """All overrides of a subject, oldest first."""
        return await self._read(overrides.overrides, subject)

    # --- accounts ---

    async def begin_sync(self, customer: str, event: str | None = None) -> Ticket | None:
        """Draw a ticket before fetching a customer's state."""
        return await self._write(accounts.begin_sync, customer, event)

    async def apply_billing(self, update: Update) -> Applied:
        """Apply what a fetch said, unless a later one was applied before."""
        return await self._write(accounts.apply_billing, update, json.loads(update.subscriptions_json))

    async def record_event(self, event: str, event_type: str) -> bool:
        """Remember a webhook that needs no fetch."""
        return await self._write(accounts.record_event, event, event_type)

    async def link(
        self,
        subject: str,
        customer: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        credit: Credit = "last",
    ) -> None:
        """Tie a subject to a customer."""
        terms = Terms(timedelta(0), credit, watchers, hooks)  # how far back is kept with the customer
        await self._write(accounts.link, subject, customer, terms)

    async def set_plan(
        self,
        subject: str,
        standing: Standing,
        *,
        default_plan: str,
        attribution: timedelta,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        credit: Credit = "last",
    ) -> Applied:
        """Set a plan by hand."""
        terms = Terms(attribution, credit, watchers, hooks)
        return await self._write(accounts.set_plan, subject, standing, default_plan, terms)

    async def get_customer(self, subject: str) -> Customer | None:
        """The subject's record."""
        return await self._read(accounts.get_customer, subject)

    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        """Claim the right to ask the billing service about a subject."""
        return await self._write(accounts.claim_lookup, subject, every)

    async def merge(
        self,
        source: str,
        target: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        drafts: tuple[Draft, ...] = (),
    ) -> Merged:
        """Make everything of one subject another one's."""
        return await self._write(merging.merge, source, target, watchers, hooks, drafts)

    # --- ledger ---

    async def open_wall(
        self, wall: Wall, drafts: tuple[Draft, ...], *, within: timedelta | None = None
    ) -> str:
        """Record a wall and its messages, once per subject, step, plan and window."""
        seconds = None if within is None else within.total_seconds()
        return await self._write_within(seconds, ledger.open_wall, wall, drafts)

    async def get_wall(self, wall: str) -> Wall | None:
        """A wall by its id."""
        return await self._read(ledger.get_wall, wall)

    async def mark_clicked(self, wall: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a wall's link was followed."""
        return await self._write(ledger.mark_clicked, wall, drafts)

    async def mark_checkout(self, wall: str, session: str | None, drafts: tuple[Draft, ...] = ()) -> bool:
        """Record that a checkout was opened from a wall."""
        return await self._write(ledger.mark_checkout, wall, session, drafts)

    async def funnel(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        loop: str | None = None,
        by: Span | None = None,
    ) -> tuple[FunnelRow, ...]:
        """One row per loop, then one for conversions that no wall explains; for each period."""
        return await self._report(funnels.funnel, since, until, loop, by)

    async def conversion_rows(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        subject: str | None = None,
        after: int | None = None,
        limit: int = 1000,
    ) -> tuple[Conversion, ...]:
        """Conversions, in the order they were recorded."""
        return await self._read(ledger.conversion_rows, since, until, subject, after, limit)

    async def what_if(self, change: Change, since: datetime) -> WhatIf | None:
        """Hold another limit against the windows that were used."""
        return await self._report(history.what_if, change, since)

    # --- outbox ---

    async def post(self, drafts: tuple[Draft, ...]) -> None:
        """Put messages into the outbox, each key once."""
        if drafts:
            await self._write(outbox.post, drafts)

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take messages that are due, or whose lease has ended, oldest first."""
        return await self._write(outbox.claim, limit, lease)

    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = _NO_RULES) -> Attempt:
        """Record that an attempt begins and freeze the body, unless it may not, or not yet."""
        return await self._write(attempts.begin_attempt, claimed, body, rules)

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Record how it ended."""
        return await self._write(outbox.settle, claimed, outcome)

    async def messages(
        self, subject: str | None = None
    ) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """All messages, oldest first."""
        return await self._read(outbox.messages, subject)

    async def outbox_counts(self) -> Mapping[MessageState, int]:
        """How many messages are in each state."""
        return await self._read(outbox.outbox_counts)

    async def outbox_rows(
        self,
        *,
        states: tuple[MessageState, ...] = (),
        loop: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> tuple[MessageRow, ...]:
        """Messages for people, latest first."""
        return await self._read(letters.outbox_rows, states, loop, subject, limit)

    async def outbox_row(self, message: int) -> tuple[MessageRow, Body | None] | None:
        """One message and its frozen body."""
        return await self._read(letters.outbox_row, message)

    async def retry_message(self, message: int) -> bool:
        """Make a message due at once, afresh."""
        return await self._write(letters.retry_message, message)

    async def discard_message(self, message: int, reason: str) -> bool:
        """Settle a message as cancelled."""
        return await self._write(letters.discard_message, message, reason)

    async def mark_report(self, provider_id: str, kind: str) -> bool:
        """Note what became of a sent message, as its provider reports."""
        return await self._write(letters.mark_report, provider_id, kind)

    # --- firings ---

    async def emit(
        self,
        subject: str,
        firings: tuple[NewFiring, ...],
        goals: Mapping[str, timedelta],
        *,
        hooks: tuple[str, ...] = (),
    ) -> int:
        """Record firings, each key once, and that a subject has reached the goals of loops."""
        return await self._write(firing_verbs.emit, subject, firings, goals, hooks)

    async def last_tick(self, step: str) -> datetime | None:
        """The latest tick that was recorded for a schedule step."""
        return await self._read(firing_verbs.last_tick, step)

    async def open_tick(self, step: str, tick: datetime, firing: NewFiring | None) -> bool:
        """Record a tick of a schedule and its firing, once, and only forward."""
        return await self._write(firing_verbs.open_tick, step, tick, firing)

    async def claim_firings(self, limit: int, lease: timedelta) -> tuple[datetime, tuple[Firing, ...]]:
        """Take firings that are due, or whose lease has ended, those due longest first."""
        return await self._write(firing_verbs.claim_firings, limit, lease)

    async def keep_firing(self, firing: Firing, lease: timedelta) -> bool:
        """Hold a firing for another lease."""
        return await self._write(firing_verbs.keep_firing, firing, lease)

    async def postpone_firing(
        self,
        firing: Firing,
        wait: timedelta,
        *,
        deadline: datetime | None = None,
        failed: bool = False,
        reason: str | None = None,
    ) -> bool:
        """Let go of a firing, to be looked at again."""
        return await self._write(firing_verbs.postpone_firing, firing, wait, deadline, failed, reason)

    async def record(
        self,
        firing: Firing,
        entries: tuple[Entry, ...],
        *,
        repeat: Repeat | None = None,
        closing: Closing | None = None,
        lease: timedelta | None = None,
    ) -> Recorded:
        """Record what follows from a firing, or nothing if the claim was lost."""
        return await self._write(recording.record, firing, entries, repeat, closing, lease)

    async def note_lapses(
        self, watchers: tuple[Watcher, ...], limit: int, *, hooks: tuple[str, ...] = ()
    ) -> int:
        """Write down plans whose end has passed."""
        return await self._write(watching.note_lapses, watchers, limit, hooks)

    async def decisions(
        self,
        *,
        loop: str | None = None,
        subject: str | None = None,
        outcome: DecisionOutcome | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[DecisionRow, ...]:
        """The log, latest first."""
        return await self._read(decisions.decisions, loop, subject, outcome, since, limit)

    async def pending_firings(self) -> int:
        """How many firings are on their way."""
        return await self._read(firing_verbs.pending_firings)

    # --- contacts ---

    async def suppress(
        self, kind: Suppressed, *, subject: str | None = None, address: str | None = None, source: str
    ) -> bool:
        """Remember a reason not to write to a subject or an address, once."""
        return await self._write(contacts.suppress, kind, subject, address, source)

    async def unsuppress(
        self, *, subject: str | None = None, address: str | None = None, kind: Suppressed | None = None
    ) -> int:
        """Forget reasons, of one kind or of all."""
        return await self._write(contacts.unsuppress, subject, address, kind)

    async def suppressions(
        self, *, subject: str | None = None, address: str | None = None, limit: int = 100
    ) -> tuple[Suppression, ...]:
        """What is known of a subject or an address; of everybody without either. Latest first."""
        return await self._read(contacts.suppressions_of, subject, address, limit)

    async def suppression_counts(self) -> Mapping[Suppressed, int]:
        """How many there are of each kind."""
        return await self._read(contacts.suppression_counts)

    # --- upkeep ---

    async def forget(self, subject: str) -> int:
        """Erase a person."""
        return await self._write(upkeep.forget, subject)

    async def prune(self) -> int:
        """Delete what is only needed for a time, a batch in each transaction, so that nobody waits long."""
        pruned = 0
        for some in pruning.ALL:
            left = PRUNED_AT_ONCE
            while left > 0:
                gone = await self._write(some, pruning.BATCH)
                left, pruned = left - gone, pruned + gone
                if gone < pruning.BATCH:
                    break
        return pruned + await self._prune_counters()

    async def _prune_counters(self) -> int:
        """Go on with the look through the counters."""
        begin = place = await self._read(pruning.how_far)
        pruned = 0
        for _ in range(0, PRUNED_AT_ONCE, pruning.BATCH):
            gone, place = await self._write(pruning.look_through_counters, place, pruning.BATCH)
            pruned += gone
            if place == pruning.BEGIN:
                break
        if place != begin:
            await self._write(pruning.note_how_far, place)
        return pruned

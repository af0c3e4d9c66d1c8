"""The verbs that PostgreSQL and SQLite share, on top of one way to run a transaction."""

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Concatenate, ParamSpec, TypeVar

import anyio
import sqlalchemy as sa
from anyio.lowlevel import checkpoint_if_cancelled

from skene.adapters.sql import accounts, grants, ledger, outbox, upkeep
from skene.engine.standing import Standing
from skene.ports.accounts import Applied, Customer, Ticket, Update
from skene.ports.counters import Consume, Counted, Draft, Notice, Receipt
from skene.ports.grants import Grant, Granted
from skene.ports.ledger import FunnelRow, Wall
from skene.ports.notifier import Body
from skene.ports.outbox import Claimed, MessageState, Outcome

__all__ = ["SqlStorage"]

P = ParamSpec("P")
T = TypeVar("T")

Work = Callable[Concatenate[sa.Connection, datetime, P], T]
"""What happens inside one transaction: given the connection, the storage's time, and the verb's arguments."""


class SqlStorage(ABC):
    """Every verb but the three that count. A subclass says how to run a transaction, and counts."""

    @abstractmethod
    async def _read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work that only reads, against one state of the database."""

    @abstractmethod
    async def _write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run work in one transaction: all of it happens, or nothing."""

    # --- counters ---

    @abstractmethod
    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units in the window they were charged in."""

    async def _unless_cancelled(self, call: Consume, counted: Counted) -> None:
        """Give the units back if the caller was cancelled meanwhile, and so never learns of them."""
        try:
            await checkpoint_if_cancelled()
        except BaseException:
            receipts = tuple(tally.receipt for tally in counted.tallies if tally.receipt)
            with anyio.CancelScope(shield=True):
                await self.refund(call.subject, receipts, call.idempotency_key)
            raise

    async def meters(self, subject: str) -> tuple[str, ...]:
        """The names of all counters that are kept for a subject."""
        return await self._read(upkeep.meters, subject)

    async def record_notice(self, notice: Notice) -> bool:
        """Record warnings for a running window and their messages, once."""
        return await self._write(upkeep.record_notice, notice)

    # --- grants ---

    async def grant(self, grant: Grant) -> bool:
        """Grant units, once for each subject and key."""
        return await self._write(grants.grant, grant)

    async def grants(self, subject: str) -> tuple[Granted, ...]:
        """All grants of a subject, oldest first."""
        return await self._read(grants.grants, subject)

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

    async def link(self, subject: str, customer: str) -> None:
        """Tie a subject to a customer."""
        await self._write(accounts.link, subject, customer)

    async def set_plan(
        self, subject: str, standing: Standing, *, default_plan: str, attribution: timedelta
    ) -> Applied:
        """Set a plan by hand."""
        return await self._write(accounts.set_plan, subject, standing, default_plan, attribution)

    async def get_customer(self, subject: str) -> Customer | None:
        """The subject's record."""
        return await self._read(accounts.get_customer, subject)

    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        """Claim the right to ask the billing service about a subject."""
        return await self._write(accounts.claim_lookup, subject, every)

    # --- ledger ---

    async def open_wall(self, wall: Wall, drafts: tuple[Draft, ...]) -> str:
        """Record a wall and its messages, once per subject, step, plan and window."""
        return await self._write(ledger.open_wall, wall, drafts)

    async def get_wall(self, wall: str) -> Wall | None:
        """A wall by its id."""
        return await self._read(ledger.get_wall, wall)

    async def mark_clicked(self, wall: str) -> bool:
        """Record that a wall's link was followed."""
        return await self._write(ledger.mark_clicked, wall)

    async def mark_checkout(self, wall: str, session: str | None) -> bool:
        """Record that a checkout was opened from a wall."""
        return await self._write(ledger.mark_checkout, wall, session)

    async def funnel(
        self, *, since: datetime | None = None, until: datetime | None = None, loop: str | None = None
    ) -> tuple[FunnelRow, ...]:
        """One row per loop, then one for conversions that no wall explains."""
        return await self._read(ledger.funnel, since, until, loop)

    # --- outbox ---

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take messages that are due, or whose lease has ended, oldest first."""
        return await self._write(outbox.claim, limit, lease)

    async def begin_attempt(self, claimed: Claimed, body: Body) -> bool:
        """Record that an attempt begins and freeze the body."""
        return await self._write(outbox.begin_attempt, claimed, body)

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

    # --- upkeep ---

    async def forget(self, subject: str) -> int:
        """Erase a person."""
        return await self._write(upkeep.forget, subject)

    async def prune(self) -> int:
        """Delete what is only needed for a time."""
        return await self._write(upkeep.prune)

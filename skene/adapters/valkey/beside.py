"""What is not counted: the verbs of the storage beside, and those that change what counting must know of."""

from datetime import datetime, timedelta

from skene.adapters.valkey.kept import Kept
from skene.engine.standing import Standing
from skene.errors import StorageUnavailable
from skene.ports.accounts import Applied, Credit, Update
from skene.ports.counters import Draft
from skene.ports.firings import Watcher
from skene.ports.grants import Grant
from skene.ports.history import Change, WhatIf
from skene.ports.overrides import Overridden, Override
from skene.ports.storage import Storage

__all__ = ["Beside"]


class Beside:
    """The verbs of another storage, as they are, and those after which it says something else of a subject.

    Args:
        storage: the other one.
        kept: where what it says is remembered.
    """

    def __init__(self, storage: Storage, kept: Kept) -> None:
        self._storage, self._kept = storage, kept
        # Its own methods: nothing lies between them and their callers.
        self.begin_sync = storage.begin_sync
        self.record_event = storage.record_event
        self.get_customer = storage.get_customer
        self.overrides = storage.overrides
        self.open_wall = storage.open_wall
        self.get_wall = storage.get_wall
        self.mark_clicked = storage.mark_clicked
        self.mark_checkout = storage.mark_checkout
        self.funnel = storage.funnel
        self.conversion_rows = storage.conversion_rows
        self.post = storage.post
        self.claim = storage.claim
        self.begin_attempt = storage.begin_attempt
        self.settle = storage.settle
        self.messages = storage.messages
        self.outbox_counts = storage.outbox_counts
        self.outbox_rows = storage.outbox_rows
        self.outbox_row = storage.outbox_row
        self.retry_message = storage.retry_message
        self.discard_message = storage.discard_message
        self.mark_report = storage.mark_report
        self.emit = storage.emit
        self.last_tick = storage.last_tick
        self.open_tick = storage.open_tick
        self.claim_firings = storage.claim_firings
        self.keep_firing = storage.keep_firing
        self.postpone_firing = storage.postpone_firing
        self.record = storage.record
        self.note_lapses = storage.note_lapses
        self.decisions = storage.decisions
        self.pending_firings = storage.pending_firings
        self.suppress = storage.suppress
        self.unsuppress = storage.unsuppress
        self.suppressions = storage.suppressions
        self.suppression_counts = storage.suppression_counts
        self.claim_sync = storage.claim_sync
        self.keep_sync = storage.keep_sync
        self.save_sync = storage.save_sync
        self.end_sync = storage.end_sync
        self.compare_subscriptions = storage.compare_subscriptions
        self.unverified_customers = storage.unverified_customers
        self.verified_customers = storage.verified_customers
        self.unknown_events = storage.unknown_events
        self.record_events = storage.record_events

    def __getattr__(self, name: str) -> object:
        """What the other storage can do besides: `queries`, `triggers`, `migrate`, `schema_version`."""
        if name in ("queries", "triggers", "migrate", "schema_version"):
            return getattr(self._storage, name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")

    async def what_if(self, change: Change, since: datetime) -> WhatIf | None:
        """Not known: no single reading finds the counters of all subjects, and past windows are gone."""
        return None

    async def _changed(self, *subjects: str) -> None:
        """Have it read anew at once. If Valkey is away it will be soon: nothing is believed for long."""
        try:
            await self._kept.changed(*subjects)
        except StorageUnavailable:
            return

    async def apply_billing(self, update: Update) -> Applied:
        """Apply what a fetch said, unless a later one was applied before."""
        applied = await self._storage.apply_billing(update)
        if applied.subject is not None:
            await self._changed(applied.subject)
        return applied

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
        before = await self._storage.compare_subscriptions({customer: ()}, mark=False)
        await self._storage.link(subject, customer, watchers=watchers, hooks=hooks, credit=credit)
        await self._changed(subject, *(one.subject for one in before if one.subject is not None))

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
        applied = await self._storage.set_plan(
            subject,
            standing,
            default_plan=default_plan,
            attribution=attribution,
            watchers=watchers,
            hooks=hooks,
            credit=credit,
        )
        await self._changed(applied.subject or subject)
        return applied

    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        """Claim the right to ask the billing service about a subject."""
        customer = await self._storage.claim_lookup(subject, every)
        if customer is not None:
            await self._changed(subject)
        return customer

    async def grant(self, grant: Grant, drafts: tuple[Draft, ...] = ()) -> bool:
        """Grant units, once for each subject and key."""
        granted = await self._storage.grant(grant, drafts)
        await self._changed(grant.subject)
        return granted

    async def set_override(self, override: Override, drafts: tuple[Draft, ...] = ()) -> Overridden:
        """Give a subject another limit on a counter."""
        made = await self._storage.set_override(override, drafts)
        await self._changed(override.subject)
        return made

    async def end_override(self, subject: str, meter: str, drafts: tuple[Draft, ...] = ()) -> bool:
        """Take an override back."""
        ended = await self._storage.end_override(subject, meter, drafts)
        await self._changed(subject)
        return ended

"""What billing tells us: webhooks, fetches, the return from a checkout."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta

from skene.engine.standing import Standing, Subscription, entitle
from skene.engine.subject import storable_id
from skene.engine.window import cycle_edges
from skene.ports.accounts import Applied, Ticket, Update
from skene.ports.billing import Account, BillingEvent
from skene.runtime.parts import Parts

__all__ = ["BillingSync"]


class BillingSync:
    """Keeps plans equal to what billing says, by fetching the truth whenever something changed.

    Events are only hints that a customer has changed: what is applied is always a fresh fetch, and a fetch
    begun later wins. So neither order nor number of webhooks matters.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def receive(self, body: bytes, headers: Mapping[str, str]) -> Applied | None:
        """Handle one webhook.

        Returns:
            What changed; None when it was known already or concerns no customer.

        Raises:
            WebhookRejected: not authentic.
            BillingUnavailable, StorageUnavailable: not recorded; the sender must send it again.
        """
        parts = self._parts
        event = parts.billing.parse_webhook(body, headers, parts.clock.now())
        if event.customer is None:
            await parts.storage.record_event(event.id, event.type)
            return None
        return await self._sync(event.customer, event)

    async def checkout_returned(self, session: str, subject: str | None = None) -> bool:
        """Apply a checkout as soon as the browser comes back, without waiting for its webhook.

        Returns:
            Whether the subject's plan is in force now.

        Raises:
            LookupError: there is no such session.
            BillingUnavailable: ask again.
        """
        result = await self._parts.billing.checkout_result(session)
        if result.state != "complete" or result.customer is None:
            return False
        applied = await self._sync(result.customer, None, subject=result.subject)
        return applied is not None and applied.after != self._parts.default_plan

    async def sync(self, customer: str, *, timeout: timedelta | None = None) -> Applied | None:
        """Fetch and apply one customer's state, in `timeout` if one is given.

        Returns:
            What changed; None: nobody can be found there, or somebody who was forgotten.

        Raises:
            BillingUnavailable, StorageUnavailable: nothing was applied.
        """
        return await self._sync(customer, None, timeout=timeout)

    async def _sync(
        self,
        customer: str,
        event: BillingEvent | None,
        *,
        subject: str | None = None,
        timeout: timedelta | None = None,
    ) -> Applied | None:
        parts = self._parts
        ticket = await parts.storage.begin_sync(customer, event.id if event else None)
        if ticket is None:
            return None
        try:
            account = await parts.billing.fetch(
                customer, timeout=timeout, features=parts.program.asks_features
            )
        except LookupError as error:
            parts.log.warning("a customer cannot be found, the last known plan stands: %s", error)
            if event is not None:
                await parts.storage.record_event(event.id, event.type)
            return None
        named = account.subject or (event.subject if event else None) or subject
        trial = await self._trial(account, named)
        return await parts.storage.apply_billing(self._update(ticket, account, named, event, trial))

    async def _trial(self, account: Account, subject: str | None) -> Standing | None:
        """A trial given by hand, which the news of a customer who has never subscribed does not end.

        Such news comes as soon as somebody on trial opens a checkout, whether they then pay or leave.
        """
        parts = self._parts
        if subject is None or account.deleted or account.subscriptions:
            return None
        known = await parts.storage.get_customer(storable_id(subject))
        if known is None or known.plan is None or known.paying or known.until is None:
            return None
        others = known.customer not in (None, account.customer)
        over = known.plan == parts.default_plan or known.until <= parts.clock.now()
        return None if others or over else Standing(known.plan, known.until)

    def _update(
        self,
        ticket: Ticket,
        account: Account,
        subject: str | None,
        event: BillingEvent | None,
        trial: Standing | None,
    ) -> Update:
        parts = self._parts
        billing, now = parts.billing, parts.clock.now()
        standing, warnings = entitle(
            () if account.deleted else account.subscriptions,
            plans=billing.plans,
            default=billing.default,
            grace=billing.grace,
            now=now,
        )
        for warning in warnings:
            parts.log.warning("customer %s: %s", account.customer, warning)
        return Update(
            ticket=ticket,
            subject=storable_id(subject) if subject else None,
            standing=trial or standing,
            default_plan=billing.default,
            attribution=parts.program.attribution,
            subscriptions_json=_as_json(account.subscriptions),
            cycle=_cycle(standing),
            email=account.email,
            event=event.id if event else None,
            event_type=event.type if event else "",
            watchers=parts.watchers,
            features=account.features,
        )


def _cycle(standing: Standing) -> tuple[datetime, ...]:
    held = standing.subscription
    if held is None or held.period_start is None or held.period_end is None:
        return ()
    return cycle_edges(
        held.period_start,
        held.period_end,
        anchor=held.anchor,
        interval=held.interval,
        interval_count=held.interval_count,
    )


def _as_json(subscriptions: tuple[Subscription, ...]) -> str:
    def plain(value: object) -> str:
        return value.isoformat() if isinstance(value, datetime) else str(value)

    return json.dumps([asdict(s) for s in sorted(subscriptions, key=lambda s: s.id)], default=plain)

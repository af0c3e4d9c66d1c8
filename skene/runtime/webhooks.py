"""What billing tells us: webhooks, fetches, the return from a checkout."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import JsonValue

from skene.engine.comparing import as_kept
from skene.engine.standing import Standing, entitle
from skene.engine.subject import storable_id
from skene.engine.window import cycle_edges
from skene.ports.accounts import Applied, Ticket, Update
from skene.ports.billing import Account, BillingEvent
from skene.ports.counters import Draft
from skene.ports.hooks import EventKind
from skene.runtime.parts import Parts
from skene.runtime.returning import Returned, returned

__all__ = ["BillingSync", "Fetched"]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A customer's state, and the right to apply it."""

    ticket: Ticket
    account: Account


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
        customer = event.customer
        if customer is None and event.payment is not None:
            customer = await parts.billing.customer_of(event.payment)
        if customer is None:
            await parts.storage.record_event(event.id, event.type)
            return None
        return await self._sync(customer, replace(event, customer=customer))

    async def checkout_returned(self, session: str) -> Returned:
        """Apply a checkout as soon as the browser comes back, without waiting for its webhook.

        Returns:
            How the checkout stands now.

        Raises:
            LookupError: there is no such session.
            BillingUnavailable, StorageUnavailable: ask again.
        """
        parts = self._parts
        result = await parts.billing.checkout_result(session)
        in_force = False
        if result.state == "complete" and result.customer is not None:
            applied = await self._sync(result.customer, None, subject=result.subject)
            in_force = applied is not None and applied.after != parts.default_plan
        # Only for a wall's checkout, which is certainly skene's own; the link names the wall, and nobody.
        again = None if result.wall is None else parts.links.upgrade(wall=result.wall)
        return returned(result, in_force=in_force, again=again)

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
        try:
            fetched = await self.fetch(customer, event, timeout=timeout)
        except LookupError as error:
            self._parts.log.warning("a customer cannot be found, the last known plan stands: %s", error)
            if event is not None:
                await self._parts.storage.record_event(event.id, event.type)
            return None
        return None if fetched is None else await self.apply(fetched, event, subject=subject)

    async def fetch(
        self, customer: str, event: BillingEvent | None = None, *, timeout: timedelta | None = None
    ) -> Fetched | None:
        """Fetch one customer's state, to be applied. None as for `receive` and `sync`.

        Raises:
            LookupError: the billing service knows no such customer.
        """
        ticket = await self._parts.storage.begin_sync(customer, event.id if event else None)
        if ticket is None:
            return None
        account = await self._parts.billing.fetch(
            customer, timeout=timeout, features=self._parts.program.asks_features
        )
        return Fetched(ticket, account)

    async def apply(
        self, fetched: Fetched, event: BillingEvent | None = None, *, subject: str | None = None
    ) -> Applied:
        """Apply what was fetched. May be called for several events that one fetch answers."""
        account = fetched.account
        named = account.subject or (event.subject if event else None) or subject
        trial = await self._trial(account, named)
        update = self._update(fetched.ticket, account, named, event, trial)
        applied = await self._parts.storage.apply_billing(update)
        if applied.subject is not None:
            async with self._parts.unleased(applied.subject):  # what was leased under the plan before
                return applied
        return applied

    async def standing(self, account: Account, subject: str | None) -> Standing:
        """What a subject would hold if this were applied."""
        return await self._trial(account, subject) or self._entitled(account)[0]

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
        billing = parts.billing
        standing, warnings = self._entitled(account)
        told: list[Draft] = []
        for warning in warnings:
            data: dict[str, JsonValue] = {"customer": account.customer, "warning": warning}
            about = (account.customer, warning)  # so that it is told once, however often they are fetched
            told += parts.tell(
                EventKind.BILLING_WARNED, storable_id(subject) if subject else "", data, *about
            )
        return Update(
            ticket=ticket,
            subject=storable_id(subject) if subject else None,
            standing=trial or standing,
            default_plan=billing.default,
            attribution=parts.program.attribution,
            subscriptions_json=json.dumps(as_kept(account.subscriptions)),
            cycle=_cycle(standing),
            email=account.email,
            event=event.id if event else None,
            event_type=event.type if event else "",
            watchers=parts.watchers,
            features=account.features,
            credit=parts.credit,
            hooks=parts.hook_names,
            refund=event.refund if event else None,
            drafts=tuple(told),
        )

    def _entitled(self, account: Account) -> tuple[Standing, tuple[str, ...]]:
        parts = self._parts
        standing, warnings = entitle(
            () if account.deleted else account.subscriptions,
            parts.billing.policy,
            now=parts.clock.now(),
            disputed=account.disputed,
        )
        for warning in warnings:
            parts.log.warning("customer %s: %s", account.customer, warning)
        return standing, warnings


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

"""Plans: what each subject holds, kept equal to what the billing service says."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol, TypeAlias

from skene.engine.standing import Standing
from skene.ports.billing import Refund
from skene.ports.counters import Draft
from skene.ports.firings import Watcher

__all__ = ["Accounts", "Applied", "Credit", "Customer", "Ticket", "Update"]

Credit: TypeAlias = Literal["last", "first"]
"""Which of several walls a conversion is credited to."""


@dataclass(frozen=True, slots=True)
class Customer:
    """A subject as billing knows it.

    `customer` is None for plans set by hand, `plan` until one is known (just linked). `features` are those
    that the customer is entitled to, whatever the plan.
    """

    subject: str
    customer: str | None
    plan: str | None
    until: datetime | None
    paying: bool
    email: str | None = field(default=None, repr=False)
    features: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """The right to apply one fetch. A fetch begun later has a higher number and wins."""

    customer: str
    number: int


@dataclass(frozen=True, slots=True)
class Update:
    """What a fetch said, ready to be applied.

    Attributes:
        ticket: taken before the fetch began.
        subject: whom the customer is, if the provider's data names one; a tie made earlier stands.
        standing: the plan that follows from the subscriptions.
        subscriptions_json: what the provider said, as JSON, for people who look into the table.
        cycle: billing edges for `billing_cycle()` windows, ascending.
        email: the customer's address.
        event: id of the webhook that caused the fetch, recorded in the same transaction.
        event_type: its type.
        default_plan: the plan that is not paid for.
        attribution: how far back a wall may lie to be credited with a conversion.
        watchers: steps of which a firing is recorded, in the same transaction, when the subject's plan
            changes; its data is `{"from": …, "to": …}`. `from` is the plan that was written down last, even
            if its end has passed since and nobody has noted that: what watchers hear is a chain without gaps.
            A plan whose end has passed when it arrives is written down as the default plan.
        features: as in `Account`.
        credit: which wall within `attribution` a conversion is credited to: the last before it, or the first.
        hooks: names of the hooks that hear of conversions, churn, refunds and changed plans, through the
            outbox.
        refund: what was given back of a payment of the customer's, if that is what the webhook says.
        drafts: further messages, written in the same transaction unless the update is stale; those about
            nobody are about the subject that is tied to the customer.
    """

    ticket: Ticket
    subject: str | None
    standing: Standing
    default_plan: str
    attribution: timedelta
    subscriptions_json: str = "[]"
    cycle: tuple[datetime, ...] = ()
    email: str | None = field(default=None, repr=False)
    event: str | None = None
    event_type: str = ""
    watchers: tuple[Watcher, ...] = ()
    features: tuple[str, ...] = ()
    credit: Credit = "last"
    hooks: tuple[str, ...] = ()
    refund: Refund | None = None
    drafts: tuple[Draft, ...] = ()


@dataclass(frozen=True, slots=True)
class Applied:
    """What an update changed.

    Attributes:
        subject: the subject tied to the customer, or None while nobody is.
        stale: a later fetch had been applied already; only the event was recorded.
        before, after: the plan in force before and now.
        converted: a conversion was recorded.
        wall: the wall it was credited to.
    """

    subject: str | None
    stale: bool
    before: str
    after: str
    converted: bool = False
    wall: str | None = None


class Accounts(Protocol):
    """Keeps who holds which plan."""

    async def begin_sync(self, customer: str, event: str | None = None) -> Ticket | None:
        """Draw a ticket before fetching a customer's state.

        Returns:
            A ticket with a number higher than any drawn for this customer before; None when `event` was
            recorded already, or when the customer belongs to a forgotten subject.
        """
        ...

    async def apply_billing(self, update: Update) -> Applied:
        """Apply what a fetch said, in one transaction, unless a later ticket's fetch was applied before.

        Since a fetch with a higher ticket began later, whatever order fetches end in, the last state of the
        provider
        stands. Ties the customer to the subject if the update names one, nobody is tied to the customer yet,
        and no
        other customer gives the subject more than the default plan now; a customer without a subject keeps
        its state until `link` names one. When the subject was not paying before and is now, exactly one
        conversion is recorded, credited to the last or the first of its walls (see `credit`) that opened
        within `attribution` before it (shadow walls included, as they are evidence too), or to none. It is
        dated when paying began as the provider says, if that lies after the end of whatever the subject had
        paid for before and not in the future; else now. When the subject was paying and is no longer, the
        conversion that stands is ended: when the plan's end passed, if that was known, else now. So a subject
        has at most one that has not ended.

        A refund counts with the subject's conversion that has one of the same payment, else with the latest
        one, stale or not: the most that was ever told of a payment stands, however often it is told. In
        another currency than the conversion's it is not counted. Records the event.
        """
        ...

    async def record_event(self, event: str, event_type: str) -> bool:
        """Remember, for ever, a webhook that needs no fetch. False: it was known already."""
        ...

    async def link(
        self,
        subject: str,
        customer: str,
        *,
        watchers: tuple[Watcher, ...] = (),
        hooks: tuple[str, ...] = (),
        credit: Credit = "last",
    ) -> None:
        """Tie a subject to a customer, replacing earlier ties of either.

        What is known of the customer applies from now on, conversion included; while nothing is, the subject
        keeps what it has. A subject that loses its customer loses the plan, too, and stops paying; watchers
        and hooks hear of both.
        """
        ...

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
        """Set a plan by hand, with the same consequences as an update from billing."""
        ...

    async def get_customer(self, subject: str) -> Customer | None:
        """The subject's record, or None if billing never heard of it."""
        ...

    async def claim_lookup(self, subject: str, every: timedelta) -> str | None:
        """Claim the right to ask the billing service about a subject that is about to be refused.

        Returns:
            The customer's id, at most once per `every` for each subject over all processes; else None.
        """
        ...

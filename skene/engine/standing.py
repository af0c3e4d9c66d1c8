"""What a customer's subscriptions entitle the subject to: the one place that maps a status to a plan."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

__all__ = [
    "GRACE_STATUSES",
    "HOLDING_STATUSES",
    "KNOWN_STATUSES",
    "LIVING_STATUSES",
    "PLAN_STATUSES",
    "Keeping",
    "PlanPolicy",
    "Standing",
    "Subscription",
    "entitle",
]

Keeping: TypeAlias = Literal["keep", "default"]
"""Whether a subscription in some kind of trouble keeps its plan, or gives the default one."""

HOLDING_STATUSES = frozenset({"active", "trialing"})
GRACE_STATUSES = frozenset({"past_due"})
PLAN_STATUSES = HOLDING_STATUSES | GRACE_STATUSES
LIVING_STATUSES = PLAN_STATUSES | {"unpaid", "paused"}
"""A subscription that goes on, whether or not it gives a plan at the moment."""
ENDED_STATUSES = frozenset({"unpaid", "canceled", "incomplete", "incomplete_expired", "paused"})
KNOWN_STATUSES = PLAN_STATUSES | ENDED_STATUSES


@dataclass(frozen=True, slots=True)
class Subscription:
    """One subscription as the billing service describes it.

    Attributes:
        id: the provider's id.
        status: the provider's word, e.g. `active`, `past_due`.
        plan: the plan its price maps to; None when no mapping covers the price.
        period_start, period_end: the item's current billing period, aware UTC.
        ends_at: when it is set to end (cancel at period end), or None.
        anchor: the instant the billing cycle is counted from; keeps day 31.
        interval, interval_count: the price's cycle: `day`, `week`, `month` or `year`, and how many of them.
        amount: what one period costs, in the currency's minor unit; None when unknown.
        currency: ISO 4217, lower case, or None.
        quantity: how many of it, e.g. seats.
        started_at: when paying for it began or begins, a trial before it left out; None when unknown.
        collection_paused: it goes on, but nothing is collected for the time being.
        unpaid_since: when the first payment that is still missing fell due; None when unknown, or none is.
    """

    id: str
    status: str
    plan: str | None
    period_start: datetime | None = None
    period_end: datetime | None = None
    ends_at: datetime | None = None
    anchor: datetime | None = None
    interval: str = "month"
    interval_count: int = 1
    amount: int | None = None
    currency: str | None = None
    quantity: int = 1
    started_at: datetime | None = None
    collection_paused: bool = False
    unpaid_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """What subscriptions are worth: everything besides them that a plan is decided by.

    Attributes:
        plans: least to most valuable; of several held, the one listed last wins.
        default: the plan of those who hold none.
        grace: how long a past-due subscription keeps its plan, from when the missing payment fell due.
        collection_paused: what a subscription gives while nothing is collected for it.
        disputed: what a customer's subscriptions give while a payment of theirs is in dispute, or lost to
            one.
    """

    plans: tuple[str, ...]
    default: str
    grace: timedelta = timedelta(0)
    collection_paused: Keeping = "keep"
    disputed: Keeping = "keep"


@dataclass(frozen=True, slots=True)
class Standing:
    """The plan a subject holds, and until when that is known to be so.

    Attributes:
        plan: a key of the limit tables.
        until: the plan ends at this instant unless the billing service says otherwise; None: no end in sight.
        paying: money is owed or flows for it (a trial is not paying).
        subscription: the subscription that gives the plan, or None on the default plan.
    """

    plan: str
    until: datetime | None = None
    paying: bool = False
    subscription: Subscription | None = None

    def at(self, now: datetime, default: str) -> "Standing":
        """This standing as it is at `now`: past its end it is the default plan."""
        if self.until is not None and now >= self.until:
            return Standing(default)
        return self


def entitle(
    subscriptions: Sequence[Subscription], policy: PlanPolicy, *, now: datetime, disputed: bool = False
) -> tuple[Standing, tuple[str, ...]]:
    """Decide the plan from all of a customer's subscriptions.

    Args:
        subscriptions: in any order; the result does not depend on it.
        policy: what they are worth.
        now: aware UTC.
        disputed: a payment of the customer's is in dispute, or was lost to one.

    Returns:
        The standing, and a warning for every subscription that could not be understood.
    """
    held: list[Standing] = []
    warnings: list[str] = []
    for subscription in sorted(subscriptions, key=lambda s: s.id):
        if subscription.status not in KNOWN_STATUSES:
            warnings.append(
                f"subscription {subscription.id} has the unknown status {subscription.status!r}: default plan"
            )
        elif subscription.status in ENDED_STATUSES or subscription.plan == policy.default:
            continue
        elif subscription.plan is None or subscription.plan not in policy.plans:
            warnings.append(f"subscription {subscription.id} has a price that maps to no plan: default plan")
        elif not (subscription.collection_paused and policy.collection_paused == "default"):
            standing = _held(subscription, subscription.plan, policy.grace)
            if standing.until is None or now < standing.until:
                held.append(standing)
    if not held or (disputed and policy.disputed == "default"):
        return Standing(policy.default), tuple(warnings)
    order = {plan: rank for rank, plan in enumerate(policy.plans)}
    best = max(held, key=lambda s: (order[s.plan], s.paying, s.until is None, s.until or now))
    return best, tuple(warnings)


def _held(subscription: Subscription, plan: str, grace: timedelta) -> Standing:
    until = subscription.ends_at
    if subscription.status in GRACE_STATUSES:
        # Without word of the missing payment: the unpaid period began with its failed renewal.
        since = subscription.unpaid_since or subscription.period_start
        if since is not None:
            until = min(until, since + grace) if until is not None else since + grace
    return Standing(plan, until, subscription.status != "trialing", subscription)

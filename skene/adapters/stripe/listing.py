"""Reads all customers' subscriptions, and what has happened, a page at a time."""

from datetime import datetime

import stripe

from skene.adapters.stripe.fetching import lines
from skene.adapters.stripe.reading import plain, reference, subscription
from skene.adapters.stripe.settings import Settings
from skene.adapters.stripe.webhook import reduce_event
from skene.errors import WebhookRejected
from skene.ports.billing import BillingEvent, EventPage, Subscription, SubscriptionPage

__all__ = ["EVENT_TYPES", "event_page", "subscription_page"]

PAGE = 100
"""Stripe shows no more at once."""

EVENT_TYPES = (
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.dispute.funds_reinstated",
    "charge.dispute.funds_withdrawn",
    "charge.refunded",
    "checkout.session.async_payment_succeeded",
    "checkout.session.completed",
    "customer.updated",
    "entitlements.active_entitlement_summary.updated",
    "refund.created",
    "refund.updated",
)
"""What tells more than a listing of subscriptions: who bought, what came back, whom a customer is said to be.

Those of subscriptions are left out. They are by far the most, and every one of them shows in the listing.
"""


async def subscription_page(
    client: stripe.StripeClient, after: str | None, settings: Settings
) -> SubscriptionPage:
    """Read a page of the subscriptions that are not over, newest first: all that Stripe lists unless asked.

    Raises:
        stripe.StripeError: whatever Stripe answers.
    """
    page = await client.v1.subscriptions.list_async(
        {"limit": PAGE, "starting_after": after} if after else {"limit": PAGE}
    )
    entries: list[tuple[str, Subscription]] = []
    last: str | None = None
    for entry in page.data:
        source = plain(entry)
        last = str(source["id"])
        owner = reference(source.get("customer"))
        if owner is not None:
            items = await lines(client, source)
            entries.append((owner, subscription(source, items, settings.plans, settings.order)))
    return SubscriptionPage(tuple(entries), last if page.has_more else None)


async def event_page(
    client: stripe.StripeClient, since: datetime, after: str | None, livemode: bool | None
) -> EventPage:
    """Read a page of what has happened, latest first.

    Raises:
        stripe.StripeError: whatever Stripe answers.
    """
    wanted: stripe.params.EventListParams = {
        "created": {"gte": int(since.timestamp())},
        "types": list(EVENT_TYPES),
        "limit": PAGE,
    }
    if after:
        wanted["starting_after"] = after
    page = await client.v1.events.list_async(wanted)
    events: list[BillingEvent] = []
    last: str | None = None
    for entry in page.data:
        source = plain(entry)
        last = str(source["id"])
        try:
            event = reduce_event(source, livemode)
        except WebhookRejected:
            continue  # an object of a kind that nothing follows from
        if event.customer is not None or event.payment is not None:
            events.append(event)
    return EventPage(tuple(events), last if page.has_more else None)

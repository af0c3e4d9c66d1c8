"""Reports use to Stripe's billing meters."""

from datetime import timedelta

import stripe

from skene.adapters.stripe.connection import Connection, where
from skene.errors import BillingUnavailable, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.billing import UsageReport

__all__ = ["send_report"]


async def send_report(connection: Connection, within: timedelta, use: UsageReport, identifier: str) -> None:
    """Send a meter event.

    Stripe keeps identifiers for a day at least and refuses one that it knows; no `Idempotency-Key` is sent,
    since under one Stripe would repeat its first answer, a failure included.

    Args:
        connection: the way to Stripe.
        within: for everything together, the SDK's own repeats included.
        use: what to report.
        identifier: the same for the same report, at most 100 characters.

    Raises:
        DeliveryFailed, DeliveryRefused, DeliveryUnknown: see `Billing.report_usage`.
    """
    answered = False

    async def send(client: stripe.StripeClient) -> None:
        nonlocal answered
        try:
            await client.v1.billing.meter_events.create_async(
                {
                    "event_name": use.meter,
                    "payload": {"stripe_customer_id": use.customer, "value": str(use.units)},
                    "identifier": identifier,
                    "timestamp": int(use.at.timestamp()),
                }
            )
        except stripe.StripeError as error:
            answered = error.http_status is not None
            raise

    try:
        await connection.ask(send, within)
    except stripe.InvalidRequestError as error:
        if not _is_known(error, identifier):
            raise DeliveryRefused(_refused(use, error)) from None  # its message may quote personal data
    except BillingUnavailable as error:
        if answered:
            raise DeliveryFailed(str(error), error.retry_after) from error
        raise DeliveryUnknown(str(error)) from error


def _is_known(error: stripe.InvalidRequestError, identifier: str) -> bool:
    """Whether an attempt before this one has arrived.

    Stripe gives this answer no code of its own: its words are all there is, and they name the identifier.
    """
    words = error.user_message or ""
    return error.http_status == 400 and identifier in words and "already exists" in words


def _refused(use: UsageReport, error: stripe.InvalidRequestError) -> str:
    if "timestamp" in f"{error.param} {error.code}":
        return f"use of {use.at:%Y-%m-%d} is not taken: Stripe takes 35 days back, 5 minutes ahead"
    return f"Stripe takes no use for {use.meter!r} ({where(error)}); is there an active meter of this name?"

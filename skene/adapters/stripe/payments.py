"""Reads payments where subscriptions do not tell enough: which are late or disputed, and whose they are."""

from collections.abc import Sequence
from datetime import datetime

import stripe

from skene.adapters.stripe.reading import Json, instant, items, plain, reference, text

__all__ = ["customer_of_payment", "is_disputed", "unpaid_since"]

_NOT_OWED = ("draft", "void")
_OPEN_DISPUTE = ("needs_response", "under_review")


async def unpaid_since(client: stripe.StripeClient, subscription: str) -> datetime | None:
    """When the first invoice of a subscription that is still unpaid was made.

    A subscription that is left past due gets an invoice with every period: the period that runs now says
    nothing of how long nobody has paid.

    Returns:
        None when no such invoice is found, or the key may not read invoices.

    Raises:
        stripe.StripeError: whatever else Stripe answers.
    """
    try:
        page = await client.v1.invoices.list_async({"subscription": subscription, "limit": 100})
    except stripe.PermissionError:
        return None
    found: datetime | None = None
    for invoice in items(plain(page)):  # latest first
        if invoice.get("status") == "paid":
            break
        if invoice.get("status") not in _NOT_OWED:
            found = instant(invoice.get("created")) or found
    return found


async def is_disputed(client: stripe.StripeClient, customer: str) -> bool:
    """Whether a payment of a customer's is in dispute, or was lost to one and nothing was paid since.

    Of the latest hundred payments. An inquiry is no dispute: the money is still there.

    Raises:
        stripe.StripeError: whatever Stripe answers.
    """
    page = await client.v1.charges.list_async({"customer": customer, "limit": 100})
    charges = items(plain(page))
    for charge in charges:
        number = text(charge.get("id"))
        if charge.get("disputed") is not True or number is None:
            continue
        for dispute in items(plain(await client.v1.disputes.list_async({"charge": number, "limit": 100}))):
            if dispute.get("status") in _OPEN_DISPUTE:
                return True
            if dispute.get("status") == "lost" and not _paid_after(charges, dispute.get("created")):
                return True
    return False


async def customer_of_payment(client: stripe.StripeClient, payment: str) -> str | None:
    """Whose a charge or a payment intent is.

    Raises:
        stripe.StripeError: whatever Stripe answers.
    """
    if payment.startswith("pi_"):
        return reference(plain(await client.v1.payment_intents.retrieve_async(payment)).get("customer"))
    return reference(plain(await client.v1.charges.retrieve_async(payment)).get("customer"))


def _paid_after(charges: Sequence[Json], created: object) -> bool:
    since = instant(created)
    return since is not None and any(
        charge.get("paid") is True
        and charge.get("disputed") is not True
        and charge.get("refunded") is not True
        and (at := instant(charge.get("created"))) is not None
        and at > since
        for charge in charges
    )

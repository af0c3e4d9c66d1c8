"""Stripe as the billing service, on the official SDK's asynchronous client."""

from skene.adapters.stripe.billing import StripeBilling

__all__ = ["StripeBilling"]

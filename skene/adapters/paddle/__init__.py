"""Paddle Billing as the billing service, on its HTTP API (version 1)."""

from skene.adapters.paddle.billing import PaddleBilling

__all__ = ["PaddleBilling"]

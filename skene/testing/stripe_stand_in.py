"""Puts a FakeStripe where an app expects Stripe."""

import httpx

from skene.adapters.stripe import StripeBilling
from skene.ports.billing import Billing
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import Deliver, FakeStripe
from skene.wiring import Skene

__all__ = ["stand_in"]

ANY = "*"


def stand_in(skene: Skene, clock: ManualClock, deliver: Deliver) -> tuple[Billing, FakeStripe]:
    """A billing back-end like the app's own, and the local Stripe behind it.

    Args:
        skene: says what each price means, and how its own `StripeBilling` is set up, if it has one.
        clock: the account's time.
        deliver: takes webhooks to the app.
    """
    ours = skene.billing
    prices = skene.prices
    sells = ours.sells if isinstance(ours, StripeBilling) else None
    stock = list(dict.fromkeys([*prices, sells or ANY]))
    if stock == [ANY]:
        stock = ["price_any"]  # any price will do, so there has to be one
    fake = FakeStripe(now=clock.now, prices=stock, deliver=deliver)
    template = (
        ours
        if isinstance(ours, StripeBilling)
        else StripeBilling(fake.api_key, fake.webhook_secret, prices, default=ours.default)
    )
    billing = template.against(
        api_key=fake.api_key,
        webhook_secret=fake.webhook_secret,
        base_url=fake.base_url,
        transport=httpx.ASGITransport(fake.app),
    )
    return billing, fake

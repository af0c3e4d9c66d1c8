"""A local Stripe: enough of its API, its pages and its webhooks to run the freemium loop without it.

The official SDK talks to it unchanged, over loopback (`skene.testing.serve.serving(fake.app)`) or in process
(`StripeBilling(…, transport=httpx.ASGITransport(fake.app))`).
"""

from skene.testing.stripe_server.fake import FakeStripe
from skene.testing.stripe_server.webhooks import Deliver

__all__ = ["Deliver", "FakeStripe"]

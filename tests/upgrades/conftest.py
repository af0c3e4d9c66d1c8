import pytest

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.upgrades.rolling import LIMIT


@pytest.fixture
def stripe():
    return FakeStripe(now=SystemClock().now, prices=["price_pro"])


@pytest.fixture
def resend():
    return FakeResend(now=SystemClock().now)


@pytest.fixture
def environment(postgres_dsn, stripe, resend):
    with serving(stripe.app) as billing, serving(resend.app) as mail:
        yield {
            "APP_DATABASE": postgres_dsn,
            "APP_LIMIT": str(LIMIT),
            "APP_STRIPE": billing,
            "APP_STRIPE_KEY": stripe.api_key,
            "APP_STRIPE_WEBHOOK_SECRET": stripe.webhook_secret,
            "APP_RESEND": mail,
        }

"""The conformance suite over the billing back-ends that come with skene."""

import pytest
import stripe

from skene.adapters.manual import ManualBilling
from skene.errors import CheckoutUnavailable, DeliveryRefused
from skene.ports.billing import Billing, UsageReport
from skene.testing.billing_conformance import BillingBasics, BillingConformance, BillingDriver
from skene.testing.billing_conformance.base import order
from skene.testing.paddle_server.driver import PaddleDriver
from tests.support.billing_drivers import StripeDriver, paddle_billing, stripe_billing
from tests.support.stripe_kit import NOW


class TestPaddleBilling(BillingConformance):
    meters = False
    deletes_customers = False
    modes = False
    email_is_one_customer = True

    @pytest.fixture
    def driver(self) -> BillingDriver:
        return PaddleDriver()

    @pytest.fixture
    def billing(self, driver: BillingDriver) -> Billing:
        assert isinstance(driver, PaddleDriver)
        return paddle_billing(driver.fake)


class TestStripeBilling(BillingConformance):
    @pytest.fixture(autouse=True)
    def impatient_sdk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stripe.HTTPClient, "INITIAL_DELAY", 0.01)

    @pytest.fixture
    def driver(self) -> BillingDriver:
        return StripeDriver()

    @pytest.fixture
    def billing(self, driver: BillingDriver) -> Billing:
        assert isinstance(driver, StripeDriver)
        return stripe_billing(driver)


class TestManualBilling(BillingBasics):
    """Where nothing is bought: no webhook, no customer, no list has anything in it."""

    @pytest.fixture
    def driver(self) -> BillingDriver:
        return PaddleDriver()  # of an account that it has nothing to do with

    @pytest.fixture
    def billing(self, driver: BillingDriver) -> Billing:
        return ManualBilling(["starter", "pro"])

    async def test_it_knows_nobody_and_refuses_what_it_cannot_do(self, billing: Billing) -> None:
        assert (await billing.fetch("ada")).subscriptions == ()
        assert (await billing.subscriptions()).entries == ()
        assert (await billing.events(NOW)).events == ()
        assert await billing.customer_of("payment") is None
        with pytest.raises(LookupError):
            await billing.checkout_result("session")
        with pytest.raises(CheckoutUnavailable):
            await billing.checkout(order(), idempotency_key="key")
        with pytest.raises(CheckoutUnavailable):
            await billing.portal("ada", return_url="https://app.test/")
        with pytest.raises(DeliveryRefused):
            await billing.report_usage(UsageReport("ada", "calls", 1, NOW), idempotency_key="key")

"""Usage that goes on the bill, or is refused where there are no meters."""

import pytest

from skene.errors import DeliveryFailed, DeliveryRefused
from skene.ports.billing import Billing, UsageReport
from skene.testing.billing_conformance.base import BillingDriver, BillingSuite

__all__ = ["BillingUsage"]


class BillingUsage(BillingSuite):
    """`Billing.report_usage`."""

    async def test_usage_is_taken_or_refused_for_good(self, billing: Billing, driver: BillingDriver) -> None:
        """A provider without meters says so, and is not asked again and again."""
        customer = await driver.subscribe("ada", "pro")
        report = UsageReport(customer, self.meter, 5, driver.now())
        if self.meters:
            await billing.report_usage(report, idempotency_key="usage-1")
            await billing.report_usage(report, idempotency_key="usage-1")
        else:
            with pytest.raises(DeliveryRefused):
                await billing.report_usage(report, idempotency_key="usage-1")

    async def test_a_busy_provider_gets_usage_later(self, billing: Billing, driver: BillingDriver) -> None:
        """Turned away for now is worth another try; what will never work is not."""
        customer = await driver.subscribe("ada", "pro")
        driver.fail(429, times=9)
        report = UsageReport(customer, self.meter, 5, driver.now())
        with pytest.raises(DeliveryFailed if self.meters else DeliveryRefused):
            await billing.report_usage(report, idempotency_key="usage-1")

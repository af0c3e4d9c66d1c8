"""What every billing back-end must do, as tests: subclass them in your own suite.

    class TestMine(BillingConformance):
        @pytest.fixture
        def driver(self) -> BillingDriver:
            return MyDriver(…)  # the account at your fake of the provider, empty

        @pytest.fixture
        def billing(self, driver: BillingDriver) -> Billing:
            return MyBilling(…)  # connected to that account

The back-end is set up with the plans `starter` and `pro`, in this order, `free` as the default, and a grace
of 14 days. `BillingConformance` is everything; a back-end where nothing is ever bought takes the parts that
make sense for it. What its provider lacks it says in class attributes; the tests then ask for the refusal
that the port documents. Needs `hypothesis`.
"""

from skene.testing.billing_conformance.base import BillingBasics, BillingDriver
from skene.testing.billing_conformance.faults import BillingFaults
from skene.testing.billing_conformance.listing import BillingListing
from skene.testing.billing_conformance.reading import BillingReading
from skene.testing.billing_conformance.selling import BillingSelling
from skene.testing.billing_conformance.usage import BillingUsage
from skene.testing.billing_conformance.webhooks import BillingWebhooks

__all__ = [
    "BillingBasics",
    "BillingConformance",
    "BillingDriver",
    "BillingFaults",
    "BillingListing",
    "BillingReading",
    "BillingSelling",
    "BillingUsage",
    "BillingWebhooks",
]


class BillingConformance(
    BillingReading,
    BillingWebhooks,
    BillingSelling,
    BillingListing,
    BillingUsage,
    BillingFaults,
    BillingBasics,
):
    """All of it."""

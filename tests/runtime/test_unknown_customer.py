"""A customer that Stripe does not know under this key: a wrong key must never cost a payer their plan."""

import pytest

from skene.engine.standing import PlanPolicy, Standing
from skene.errors import BillingUnavailable
from skene.ports.accounts import Update
from skene.ports.billing import BillingEvent
from tests.fastapi.conftest import House, freemium

DAY = freemium().attribution


class OtherAccount:
    """Billing whose key belongs to another account."""

    plans = ("paid",)
    default = "free"
    offers = ()
    grace = DAY
    policy = PlanPolicy(plans, default, grace)
    link_key = None

    def __init__(self, error: Exception) -> None:
        self.error = error

    def parse_webhook(self, body, headers, now):
        return BillingEvent("evt_1", "customer.subscription.updated", "cus_ada")

    async def fetch(self, customer, *, timeout=None, features=False):
        raise self.error

    async def aclose(self):
        pass


async def paying(house):
    ticket = await house.storage.begin_sync("cus_ada")
    await house.storage.apply_billing(Update(ticket, "ada", Standing("paid", paying=True), "free", DAY))


async def test_the_last_known_plan_stands_and_the_event_is_not_sent_again():
    house = House(freemium(1), billing=OtherAccount(LookupError("no such customer")))
    await paying(house)
    assert await house.skene.billing_sync.receive(b"", {}) is None
    assert (await house.storage.get_customer("ada")).plan == "paid"
    assert await house.storage.begin_sync("cus_ada", "evt_1") is None, "recorded: Stripe need not repeat it"


async def test_while_an_outage_leaves_the_event_unrecorded():
    house = House(freemium(1), billing=OtherAccount(BillingUnavailable("down")))
    await paying(house)
    with pytest.raises(BillingUnavailable):
        await house.skene.billing_sync.receive(b"", {})
    assert await house.storage.begin_sync("cus_ada", "evt_1") is not None

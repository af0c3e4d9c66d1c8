"""Checkouts and the portal: from an order to a payment that says whose it is."""

from urllib.parse import urlsplit

import pytest

from skene.errors import CheckoutUnavailable
from skene.ports.billing import Billing
from skene.testing.billing_conformance.base import BillingDriver, BillingSuite, order, parsed, standing

__all__ = ["BillingSelling"]


class BillingSelling(BillingSuite):
    """`Billing.checkout`, `checkout_result` and `portal`."""

    async def test_a_checkout_from_open_to_complete(self, billing: Billing, driver: BillingDriver) -> None:
        """Subject and wall come back in the result, in an event, and from the customer."""
        session = await billing.checkout(order(), idempotency_key="key-1")
        assert session.id is not None
        assert urlsplit(session.url).scheme in ("http", "https")
        before = await billing.checkout_result(session.id)
        assert (before.state, before.subject, before.wall) == ("open", "ada", "wall-1")
        await driver.complete(session.id)
        after = await billing.checkout_result(session.id)
        assert (after.state, after.paid, after.subject, after.wall) == ("complete", True, "ada", "wall-1")
        assert after.customer is not None
        assert after.customer == (session.customer or after.customer)
        named = [event for event in parsed(billing, driver) if event.customer == after.customer]
        assert session.id in {event.checkout for event in named}
        assert ("ada", "wall-1") in {(event.subject, event.wall) for event in named}
        account = await billing.fetch(after.customer)
        assert account.subject == "ada"
        assert standing(billing, account, driver.now()).plan in billing.plans

    async def test_a_customer_is_there_before_anything_is_paid(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """So a payer can be looked up even if every webhook is lost. One for each subject, however often."""
        first = await billing.checkout(order(), idempotency_key="key-1")
        again = await billing.checkout(order(), idempotency_key="key-2")
        assert first.customer is not None
        assert again.customer == first.customer
        assert again.id != first.id
        account = await billing.fetch(first.customer)
        assert (account.subject, account.subscriptions) == ("ada", ())

    async def test_an_order_goes_to_the_customer_that_is_known(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """And makes no second one."""
        known = await driver.add_customer("ada", "ada@acme.test")
        session = await billing.checkout(order(customer=known), idempotency_key="key-1")
        assert session.id is not None
        assert session.customer == known
        await driver.complete(session.id)
        assert (await billing.checkout_result(session.id)).customer == known

    @pytest.mark.parametrize("email", [None, "", "no address", "ü@", "a@b@c", "x" * 400 + "@acme.test"])
    async def test_an_address_that_is_none_keeps_nobody_from_buying(
        self, billing: Billing, driver: BillingDriver, email: str | None
    ) -> None:
        """The person types it at the checkout."""
        session = await billing.checkout(order(email=email), idempotency_key="key-1")
        assert session.id is not None
        await driver.complete(session.id)
        result = await billing.checkout_result(session.id)
        assert (result.state, result.subject) == ("complete", "ada")

    async def test_a_customer_that_is_gone_keeps_nobody_from_buying(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Deleted, or of another account."""
        known = await driver.add_customer("ada", "ada@acme.test")
        gone = known[:-3] + ("zzz" if known[-3:] != "zzz" else "yyy")
        if self.deletes_customers:
            await driver.delete_customer("ada")
            gone = known
        session = await billing.checkout(order(customer=gone), idempotency_key="key-1")
        assert session.id is not None
        assert session.customer != gone
        await driver.complete(session.id)
        assert (await billing.checkout_result(session.id)).subject == "ada"

    async def test_the_same_address_is_not_the_same_person(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Nobody gets what another pays for by naming an address that nobody has confirmed."""
        paying = await driver.add_customer("ada", "shared@acme.test")
        await driver.subscribe("ada", "pro")
        session = await billing.checkout(order("eve", email="shared@acme.test"), idempotency_key="key-1")
        assert session.customer != paying
        if self.email_is_one_customer:
            assert session.customer is None
        else:
            assert session.customer is not None
            assert (await billing.fetch(session.customer)).subscriptions == ()

    @pytest.mark.parametrize("plan", ["starter", "pro"])
    async def test_the_plan_that_was_ordered_is_sold(
        self, billing: Billing, driver: BillingDriver, plan: str
    ) -> None:
        """Where it is on offer."""
        assert plan in billing.offers
        session = await billing.checkout(order(plan=plan), idempotency_key="key-1")
        assert session.id is not None
        await driver.complete(session.id)
        customer = (await billing.checkout_result(session.id)).customer
        assert customer is not None
        assert standing(billing, await billing.fetch(customer), driver.now()).plan == plan

    @pytest.mark.parametrize("plan", ["free", "gold", ""])
    async def test_a_plan_that_is_not_on_offer_is_not_sold(self, billing: Billing, plan: str) -> None:
        """Rather that than another plan, or for nothing."""
        assert plan not in billing.offers
        with pytest.raises(CheckoutUnavailable):
            await billing.checkout(order(plan=plan), idempotency_key="key-1")

    async def test_a_checkout_that_ended_unpaid_is_expired(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """And has bought nothing."""
        session = await billing.checkout(order(), idempotency_key="key-1")
        assert session.id is not None
        await driver.expire(session.id)
        assert (await billing.checkout_result(session.id)).state == "expired"

    @pytest.mark.parametrize("session", ["", "x", "../customers", "a b", "ü", "x" * 300, "cs_\0", "txn_/"])
    async def test_a_checkout_that_never_was(self, billing: Billing, session: str) -> None:
        """Anybody can write anything into the address of the return page."""
        with pytest.raises(LookupError):
            await billing.checkout_result(session)

    async def test_a_checkout_of_the_right_form_that_never_was(self, billing: Billing) -> None:
        """As another account's would be."""
        session = await billing.checkout(order(), idempotency_key="key-1")
        assert session.id is not None
        with pytest.raises(LookupError):
            await billing.checkout_result(session.id[:-3] + ("zzz" if session.id[-3:] != "zzz" else "yyy"))

    async def test_the_portal_is_an_address(self, billing: Billing, driver: BillingDriver) -> None:
        """Of the customer's own."""
        customer = await driver.subscribe("ada", "pro")
        url = await billing.portal(customer, return_url="https://app.test/")
        assert urlsplit(url).scheme in ("http", "https")
        assert urlsplit(url).hostname

    async def test_nobody_has_no_portal(self, billing: Billing) -> None:
        """Whatever stands in the place of a customer."""
        for customer in ("nobody", "a/b", "ü"):
            with pytest.raises(CheckoutUnavailable):
                await billing.portal(customer, return_url="https://app.test/")

"""Fetching: what a customer's state at the provider comes to."""

from datetime import timedelta

import pytest

from skene.ports.billing import Billing
from skene.testing.billing_conformance.base import (
    DAY,
    BillingDriver,
    BillingSuite,
    in_another_loop,
    only_subscription,
    standing,
)

__all__ = ["BillingReading"]


class BillingReading(BillingSuite):
    """`Billing.fetch`."""

    async def test_a_customer_who_has_bought_nothing(self, billing: Billing, driver: BillingDriver) -> None:
        """Is nobody's subscriber, and known by name and address."""
        customer = await driver.add_customer("ada", "ada@acme.test")
        account = await billing.fetch(customer)
        assert (account.customer, account.subject, account.email) == (customer, "ada", "ada@acme.test")
        assert (account.deleted, account.subscriptions, account.disputed) == (False, (), False)
        assert standing(billing, account, driver.now()).plan == "free"
        assert "ada@acme.test" not in repr(account)

    @pytest.mark.parametrize("plan", ["starter", "pro"])
    async def test_a_subscription_gives_its_plan(
        self, billing: Billing, driver: BillingDriver, plan: str
    ) -> None:
        """With its period and its price."""
        customer = await driver.subscribe("ada", plan)
        account = await billing.fetch(customer)
        assert account.subject == "ada"
        one, now = only_subscription(account), driver.now()
        assert (one.plan, one.amount, one.currency, one.quantity) == (plan, 2000, "usd", 1)
        assert (one.interval, one.interval_count, one.ends_at) == ("month", 1, None)
        assert one.period_start == now
        assert one.period_end is not None
        assert 28 * DAY <= one.period_end - now <= 31 * DAY
        assert one.started_at in (None, now)
        found = standing(billing, account, now + 1000 * DAY)
        assert (found.plan, found.until, found.paying) == (plan, None, True)

    async def test_a_cancelled_one_gives_nothing(self, billing: Billing, driver: BillingDriver) -> None:
        """At once, but the subscription is still told of."""
        customer = await driver.subscribe("ada", "pro")
        await driver.cancel("ada")
        account = await billing.fetch(customer)
        assert only_subscription(account).status == "canceled"
        assert standing(billing, account, driver.now()).plan == "free"

    async def test_one_that_ends_with_its_period_gives_its_plan_until_then(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """To the second; and for good once that is taken back."""
        customer = await driver.subscribe("ada", "pro")
        end = only_subscription(await billing.fetch(customer)).period_end
        assert end is not None
        await driver.cancel("ada", at_period_end=True)
        account = await billing.fetch(customer)
        assert only_subscription(account).ends_at == end
        assert standing(billing, account, end - timedelta(seconds=1)).plan == "pro"
        assert standing(billing, account, end).plan == "free"
        await driver.keep("ada")
        assert only_subscription(await billing.fetch(customer)).ends_at is None

    async def test_one_that_is_past_due_keeps_its_plan_for_the_grace(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Counted from the beginning of the period that is not paid for."""
        customer = await driver.subscribe("ada", "pro")
        await driver.fall_behind("ada")
        account, now = await billing.fetch(customer), driver.now()
        assert only_subscription(account).status == "past_due"
        assert billing.grace == 14 * DAY
        assert standing(billing, account, now + 14 * DAY - timedelta(seconds=1)).plan == "pro"
        assert standing(billing, account, now + 14 * DAY).plan == "free"

    async def test_a_paused_one_gives_nothing_until_it_is_resumed(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Whatever the provider calls it."""
        customer = await driver.subscribe("ada", "pro")
        await driver.pause("ada")
        assert standing(billing, await billing.fetch(customer), driver.now()).plan == "free"
        await driver.resume("ada")
        assert standing(billing, await billing.fetch(customer), driver.now()).plan == "pro"

    async def test_a_trial_gives_its_plan_and_is_no_payment(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """Paying begins when it ends."""
        customer = await driver.subscribe_with_trial("ada", "pro", 14)
        account, now = await billing.fetch(customer), driver.now()
        found = standing(billing, account, now)
        assert (found.plan, found.paying) == ("pro", False)
        one = only_subscription(account)
        assert one.status == "trialing"
        assert one.started_at in (None, now + 14 * DAY)

    async def test_another_price_is_another_plan(self, billing: Billing, driver: BillingDriver) -> None:
        """From the moment of the change."""
        customer = await driver.subscribe("ada", "starter")
        await driver.switch("ada", "pro")
        assert standing(billing, await billing.fetch(customer), driver.now()).plan == "pro"

    async def test_of_several_subscriptions_all_are_told_of(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """The most valuable one counts, in whatever order they were bought; ended ones do not."""
        await driver.subscribe("ada", "pro")
        customer = await driver.subscribe("ada", "starter")
        account = await billing.fetch(customer)
        assert sorted(one.plan or "" for one in account.subscriptions) == ["pro", "starter"]
        assert len({one.id for one in account.subscriptions}) == 2
        assert standing(billing, account, driver.now()).plan == "pro"

    async def test_other_peoples_subscriptions_are_theirs(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """A customer's account holds nothing of another's."""
        await driver.subscribe("bob", "pro")
        customer = await driver.subscribe("ada", "starter")
        account = await billing.fetch(customer)
        assert (account.subject, only_subscription(account).plan) == ("ada", "starter")

    @pytest.mark.parametrize("subject", ["ü/ø 漢字 😀", "a" * 200, 'x"\\{}<>&', "0", "a\tb"])
    async def test_a_subjects_name_comes_back_as_it_was(
        self, billing: Billing, driver: BillingDriver, subject: str
    ) -> None:
        """Ids are opaque."""
        customer = await driver.subscribe(subject, "pro")
        assert (await billing.fetch(customer)).subject == subject

    @pytest.mark.parametrize(
        "customer", ["", "nobody", "../events", "a b", "x" * 300, "ü", "cus_\0", "?limit=1", "cus_1/../.."]
    )
    async def test_a_customer_that_never_was(
        self, billing: Billing, driver: BillingDriver, customer: str
    ) -> None:
        """Is a lookup error, and not somebody who pays for nothing."""
        await driver.subscribe("ada", "pro")
        with pytest.raises(LookupError):
            await billing.fetch(customer)

    async def test_a_customer_of_the_right_form_that_never_was(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """As another account's customer would be."""
        known = await driver.add_customer("ada", "ada@acme.test")
        other = known[:-3] + ("zzz" if known[-3:] != "zzz" else "yyy")
        with pytest.raises(LookupError):
            await billing.fetch(other)

    async def test_a_deleted_customer_says_so(self, billing: Billing, driver: BillingDriver) -> None:
        """Where the provider deletes any; elsewhere none is ever called deleted, cancelled or not."""
        customer = await driver.subscribe("ada", "pro")
        if self.deletes_customers:
            await driver.delete_customer("ada")
        else:
            await driver.cancel("ada")
        account = await billing.fetch(customer)
        assert account.deleted is self.deletes_customers
        assert standing(billing, account, driver.now()).plan == "free"

    async def test_two_event_loops_at_once(
        self, billing: Billing, driver: BillingDriver, anyio_backend: str
    ) -> None:
        """Connections of one are no business of the other."""
        customer = await driver.subscribe("ada", "pro")

        async def once() -> str | None:
            try:
                return only_subscription(await billing.fetch(customer)).plan
            finally:
                await billing.aclose()

        assert await once() == "pro"
        assert await in_another_loop(anyio_backend, once) == "pro"
        assert await once() == "pro"

"""Lists: all living subscriptions, all events, the payer of a payment."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from skene.ports.billing import Billing, BillingEvent, Subscription
from skene.testing.billing_conformance.base import DAY, BillingDriver, BillingSuite, order, parsed

__all__ = ["BillingListing"]


class BillingListing(BillingSuite):
    """`Billing.subscriptions`, `events` and `customer_of`.

    Attributes:
        many: how many customers the lists hold; more than fit on one page of the provider's.
    """

    many = 205

    async def test_an_empty_account_lists_nothing(self, billing: Billing, driver: BillingDriver) -> None:
        """And ends."""
        assert [one async for one in _subscriptions(billing)] == []
        assert [one async for one in _events(billing, driver)] == []

    async def test_all_that_is_not_over_is_listed_once(self, billing: Billing, driver: BillingDriver) -> None:
        """Latest first, over several pages, while more are added; what is over is left out."""
        customers = {await driver.subscribe(f"user{number}", "pro") for number in range(self.many)}
        over = await driver.subscribe("gone", "pro")
        await driver.cancel("gone")
        late = await driver.subscribe("late", "starter")
        await driver.fall_behind("late")
        paused = await driver.subscribe("paused", "starter")
        await driver.pause("paused")
        found: list[tuple[str, Subscription]] = []
        added = False
        async for entry in _subscriptions(billing):
            found.append(entry)
            if not added:
                added = True
                await driver.subscribe("meanwhile", "pro")
        ids = [one.id for _, one in found]
        assert len(ids) == len(set(ids))
        listed = {customer for customer, _ in found}
        assert listed >= customers | {late, paused}
        assert over not in listed
        assert len(listed) <= self.many + 3
        position = [customer for customer, _ in found].index
        assert position(paused) < position(late) < min(map(position, customers))

    async def test_what_is_listed_is_what_is_fetched(self, billing: Billing, driver: BillingDriver) -> None:
        """The same subscription, however it is read."""
        customer = await driver.subscribe("ada", "pro")
        assert [one async for one in _subscriptions(billing)] == [
            (customer, one) for one in (await billing.fetch(customer)).subscriptions
        ]

    async def test_events_tell_who_has_bought_latest_first(
        self, billing: Billing, driver: BillingDriver
    ) -> None:
        """As webhooks did, by the same ids, so that none counts twice. What `fetch` shows may be absent."""
        sold: list[str] = []
        for number in range(12):
            session = await billing.checkout(order(f"user{number}"), idempotency_key=f"key-{number}")
            assert session.id is not None
            await driver.complete(session.id)
            sold.append(session.id)
        told = {event.id: event for event in parsed(billing, driver) if event.customer is not None}
        listed = [event async for event in _events(billing, driver)]
        assert {event.id: event for event in listed}.items() <= told.items()
        assert len({event.id for event in listed}) == len(listed)
        bought = [event for event in listed if event.checkout in sold]
        assert {(event.subject, event.wall) for event in bought} == {
            (f"user{number}", "wall-1") for number in range(12)
        }
        position = [event.checkout for event in bought].index
        assert position(sold[-1]) < position(sold[0])
        assert {event.at for event in bought} == {driver.now()}

    async def test_events_from_before_are_left_out(self, billing: Billing, driver: BillingDriver) -> None:
        """What has happened before `since` is known."""
        await driver.subscribe("ada", "pro")
        after = driver.now() + timedelta(seconds=2)
        assert [one async for one in _events(billing, driver, since=after - driver.now())] == []

    async def test_a_payment_leads_to_its_payer(self, billing: Billing, driver: BillingDriver) -> None:
        """And no other."""
        await driver.subscribe("bob", "pro")
        customer = await driver.subscribe("ada", "pro")
        assert await billing.customer_of(await driver.payment("ada")) == customer

    @pytest.mark.parametrize("payment", ["", "nothing", "../customers", "ü", "x" * 300])
    async def test_no_payment_leads_to_nobody(self, billing: Billing, payment: str) -> None:
        """Quietly: an event may be about anything."""
        assert await billing.customer_of(payment) is None


async def _subscriptions(billing: Billing) -> AsyncIterator[tuple[str, Subscription]]:
    after: str | None = None
    for _ in range(100):
        page = await billing.subscriptions(after)
        for entry in page.entries:
            yield entry
        if page.after is None:
            return
        after = page.after
    raise AssertionError("the list of subscriptions has no end")


async def _events(
    billing: Billing, driver: BillingDriver, since: timedelta = -DAY
) -> AsyncIterator[BillingEvent]:
    after: str | None = None
    for _ in range(100):
        page = await billing.events(driver.now() + since, after)
        for entry in page.events:
            yield entry
        if page.after is None:
            return
        after = page.after
    raise AssertionError("the list of events has no end")

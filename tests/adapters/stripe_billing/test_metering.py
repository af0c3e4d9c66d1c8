"""Use reported to Stripe's meters, and the entitlements that Stripe keeps."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.billing import BillingEvent, UsageReport
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import NOW, Inbox, Time, stripe_billing

KEY = "skene-usage:0123"


@pytest.fixture
async def use(fake: FakeStripe) -> UsageReport:
    fake.add_meter("api_calls")
    await fake.subscribe("ada", "price_pro")
    return UsageReport(str(fake.customer("ada")), "api_calls", 25, NOW)


async def test_use_is_added_up(billing: StripeBilling, fake: FakeStripe, use: UsageReport) -> None:
    await billing.report_usage(use, idempotency_key="a")
    await billing.report_usage(replace(use, units=-5), idempotency_key="b")
    assert fake.metered("ada", "api_calls") == 20
    assert fake.metered("ada", "api_calls", since=NOW + timedelta(seconds=1)) == 0
    assert fake.metered("ada", "api_calls", until=NOW) == 0


async def test_one_that_has_arrived_is_reported_again_and_counts_once(
    billing: StripeBilling, fake: FakeStripe, use: UsageReport, now: Time
) -> None:
    for _ in range(3):
        await billing.report_usage(use, idempotency_key=KEY)
        now.move(timedelta(hours=7))
    assert fake.metered("ada", "api_calls") == 25
    now.move(timedelta(hours=4))  # Stripe remembers for a day; what is left is the outbox's own care
    await billing.report_usage(use, idempotency_key=KEY)
    assert fake.metered("ada", "api_calls") == 50


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"meter": "api_cals"}, "'api_cals'.*meter of this name"),
        ({"at": NOW - timedelta(days=36)}, "use of 2026-10-15 is not taken.*35 days"),
        ({"at": NOW + timedelta(minutes=6)}, "is not taken"),
        ({"customer": ""}, "status 400"),
    ],
)
async def test_what_stripe_will_never_take(
    billing: StripeBilling, fake: FakeStripe, use: UsageReport, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(DeliveryRefused, match=said):
        await billing.report_usage(replace(use, **change), idempotency_key=KEY)
    assert fake.metered("ada", "api_calls") == 0


@pytest.mark.parametrize(("status", "times"), [(429, 1), (500, 3), (503, 3), (401, 1)])
async def test_what_may_be_taken_later(
    billing: StripeBilling, fake: FakeStripe, use: UsageReport, status: int, times: int
) -> None:
    fake.fail(status, times=times, retry_after=timedelta(seconds=1), path="/v1/billing")
    with pytest.raises(DeliveryFailed) as caught:
        await billing.report_usage(use, idempotency_key=KEY)
    assert caught.value.retry_after == (None if status == 401 else timedelta(seconds=1))


async def test_no_answer_leaves_it_open(fake: FakeStripe, use: UsageReport) -> None:
    fake.delay = 0.5
    hasty = stripe_billing(fake, timeout=timedelta(milliseconds=200))
    with pytest.raises(DeliveryUnknown):
        await hasty.report_usage(use, idempotency_key=KEY)
    await hasty.aclose()


async def test_an_answer_that_is_lost_on_the_way(fake: FakeStripe, use: UsageReport) -> None:
    """The SDK repeats it by itself, and hears that there is such an event: that is what was wanted."""

    class Losing(httpx.ASGITransport):
        lost = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await super().handle_async_request(request)
            if not Losing.lost:
                Losing.lost += 1
                raise httpx.ReadError("gone")
            return answer

    billing = stripe_billing(fake, transport=Losing(fake.app))
    await billing.report_usage(use, idempotency_key=KEY)
    assert fake.metered("ada", "api_calls") == 25
    assert len([one for one in fake.requests if one.path == "/v1/billing/meter_events"]) == 2
    await billing.aclose()


# -- entitlements ------------------------------------------------------------------------------------------


async def features(billing: StripeBilling, fake: FakeStripe) -> tuple[str, ...]:
    return (await billing.fetch(str(fake.customer("ada")), features=True)).features


async def test_all_entitlements_of_what_was_bought(billing: StripeBilling, fake: FakeStripe) -> None:
    wanted = sorted(f"feature_{number:03}" for number in range(120))
    for key in wanted:
        fake.add_feature(key, product="prod_pro")
    fake.add_feature("other", product="prod_team")
    await fake.subscribe("ada", "price_pro")
    assert await features(billing, fake) == tuple(wanted)
    assert (await billing.fetch(str(fake.customer("ada")))).features == ()  # nobody asked
    await fake.switch_price("ada", "price_team")
    assert await features(billing, fake) == ("other",)
    await fake.cancel("ada")
    assert await features(billing, fake) == ()
    await fake.delete_customer("ada")
    assert (await billing.fetch(str(fake.customer("ada")), features=True)).deleted
    with pytest.raises(LookupError):
        await billing.fetch("cus_nobody", features=True)


async def test_a_change_of_entitlements_names_the_customer(
    billing: StripeBilling, fake: FakeStripe, now: Time
) -> None:
    inbox = Inbox(billing, now)
    fake.connect(inbox)
    fake.add_feature("priority_support", product="prod_pro")

    def heard() -> list[BillingEvent]:
        return [one for one in inbox.events if one.type == "entitlements.active_entitlement_summary.updated"]

    await fake.subscribe("ada", "price_pro")
    assert [one.customer for one in heard()] == [fake.customer("ada")]
    await fake.pause("ada")
    assert [one.customer for one in heard()] == [fake.customer("ada")] * 2

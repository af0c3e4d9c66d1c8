"""Billed use on its way: caps, reports, and what becomes of a report that fails."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from skene import Reason, Recovery, billed
from skene.adapters.stripe import StripeBilling
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.billing import UsageReport
from skene.ports.outbox import MessageState
from skene.runtime.keeping import LEASE
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.runtime.shop import BACKENDS, Killed, Shop, drain, freemium
from tests.runtime.test_worker_life import running, until


class Counter(Shop):
    """A shop on a local Stripe with a meter, and a paying customer."""

    def __init__(self, *, cap: int | None = 8, included: int = 3, **options: Any) -> None:
        clock = ManualClock()
        self.stripe = FakeStripe(now=clock.now, prices=("price_pro",))
        self.stripe.add_meter("api_calls")
        billing = StripeBilling(
            self.stripe.api_key,
            self.stripe.webhook_secret,
            {"price_pro": "paid"},
            base_url=self.stripe.base_url,
            transport=httpx.ASGITransport(self.stripe.app),
        )
        paid = billed(included=included, meter="api_calls", cap=cap)
        # A prompt is tried once, and no more; a report is another matter.
        options.setdefault("recovery", Recovery(retries=0))
        super().__init__(freemium(2, paid=paid, **options), clock=clock, billing=billing)

    async def subscribe(self, subject: str = "ada") -> None:
        async def deliver(body: bytes, headers: Any) -> int:
            await self.skene.billing_sync.receive(body, headers)
            return 200

        self.stripe.connect(deliver)
        await self.stripe.subscribe(subject, "price_pro")

    @property
    def reported(self) -> int:
        return self.stripe.metered("ada", "api_calls")

    @property
    def reports(self) -> int:
        return len([one for one in self.stripe.requests if one.path == "/v1/billing/meter_events"])


async def opened(**options: Any) -> Counter:
    shop = Counter(**options)
    await shop.subscribe()
    return shop


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_what_is_beyond_the_included_is_reported(anyio_backend: str) -> None:
    shop = await opened()
    await shop.call(times=3)
    await drain(shop)
    assert (shop.reported, shop.reports) == (0, 0)
    assert (await shop.call(times=2)).billed_units == 2
    await drain(shop)
    await drain(shop)
    assert (shop.reported, shop.reports) == (2, 1)
    await shop.call(times=3)
    await drain(shop)
    assert (shop.reported, shop.reports) == (5, 2)


async def test_a_cap_refuses_and_writes_nothing() -> None:
    shop = await opened()
    await shop.call(times=8)
    await shop.skene.consume("ada", "calls")  # the billing service is asked, once
    shop.wire.verbs.clear()
    refused = await shop.call()
    assert (refused.allowed, refused.reason, refused.used) == (False, Reason.CAP_REACHED, 8)
    assert refused.wall is None
    assert refused.upgrade_url is not None
    assert shop.wire.verbs == ["consume"]
    await drain(shop)
    assert (shop.kinds, shop.reported) == (["usage"], 5)
    # Those who are on no bill are still asked to upgrade.
    await shop.refuse("bob")
    assert shop.kinds == ["usage", "upgrade_prompt"]
    # The link leads to where a subscription is changed, not to a second one.
    token = refused.upgrade_url.partition("token=")[2]
    assert (await shop.skene.upgrade.follow(token)).endswith("/skene/portal")


async def test_who_only_watches_bills_nobody_and_opens_no_walls() -> None:
    shop = await opened(enforce=False)
    last = await shop.call(times=20)
    assert (last.allowed, last.reason) == (True, Reason.SHADOW)
    await drain(shop)
    assert (shop.reported, shop.kinds, shop.memory.walls) == (0, [], ())


async def test_what_was_reported_and_given_back_is_taken_back() -> None:
    shop = await opened()
    await shop.call(times=4)
    async with shop.skene.reserve("ada", "calls", 4) as hold:
        await drain(shop)
        assert shop.reported == 5
        hold.used(1)
    await drain(shop)
    assert shop.reported == 2


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (DeliveryRefused("no such meter"), MessageState.DEAD),
        (DeliveryFailed("later"), MessageState.PENDING),
        (DeliveryUnknown("no answer"), MessageState.PENDING),
    ],
)
async def test_a_report_is_tried_again_however_impatient_the_loop_is(
    error: DeliveryError, state: MessageState, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await opened()
    tried: list[UsageReport] = []
    keys: list[str] = []

    async def report_usage(report: UsageReport, *, idempotency_key: str) -> None:
        tried.append(report)
        keys.append(idempotency_key)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(shop.skene.billing, "report_usage", report_usage)
        await shop.call(times=5)
        await drain(shop)
        assert shop.states() == [state]
        assert [(one.meter, one.units) for one in tried] == [("api_calls", 2)]
        for _ in range(20):
            shop.clock.advance(timedelta(minutes=31))
            await drain(shop)
    assert len(tried) == (1 if state is MessageState.DEAD else 21)
    assert len(set(keys)) == 1
    assert len(keys[0]) <= 100  # what Stripe takes for an identifier
    shop.clock.advance(timedelta(minutes=31))
    await drain(shop)
    assert shop.reported == (0 if state is MessageState.DEAD else 2)


async def test_what_may_have_arrived_a_day_ago_is_left_to_a_person(monkeypatch: pytest.MonkeyPatch) -> None:
    shop = await opened()
    report_usage = shop.skene.billing.report_usage

    async def deaf(report: UsageReport, *, idempotency_key: str) -> None:
        await report_usage(report, idempotency_key=idempotency_key)
        raise DeliveryUnknown("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(shop.skene.billing, "report_usage", deaf)
        await shop.call(times=5)
        await drain(shop)
    shop.clock.advance(timedelta(hours=24))
    await drain(shop)
    assert shop.states() == [MessageState.PARKED]
    assert shop.reported == 2


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_running_worker_reports_once_a_minute(anyio_backend: str) -> None:
    shop = await opened()
    async with running(shop):
        await shop.call(times=5)
        shop.skene.worker.wake()
        await until(lambda: shop.wire.count("report_billed") > 0)
        looked = shop.wire.count("report_billed")
        shop.clock.advance(timedelta(seconds=61))
        shop.skene.worker.wake()
        await until(lambda: shop.reported == 2)
        assert looked < shop.wire.count("report_billed") <= looked + 3


async def test_a_worker_without_bills_looks_for_none() -> None:
    shop = Shop()
    await shop.call(times=5)
    async with running(shop):
        await until(lambda: shop.reached != [])
    await drain(shop)
    assert shop.wire.count("report_billed") == 0


VERBS = ("report_billed", "claim", "begin_attempt", "settle")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("moment", ["kill_before", "kill_after"])
async def test_a_worker_that_is_killed_neither_loses_nor_doubles_a_report(verb: str, moment: str) -> None:
    shop = await opened()
    await shop.call(times=7)
    setattr(shop.wire, moment, (verb, 1))
    try:
        await drain(shop)
    except* Killed:
        pass
    assert shop.wire.dead
    heir = shop.twin(billing=shop.skene.billing)
    shop.clock.advance(LEASE)
    await drain(heir)
    assert shop.reported == 4
    await heir.call()
    await drain(heir)
    assert shop.reported == 5

"""`skene.sync`: its pace, its schedule, whom it tells, and odd answers."""

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from skene.adapters.memory.state import as_json
from skene.errors import BillingUnavailable
from skene.ports.billing import BillingEvent, EventPage, SubscriptionPage
from skene.ports.hooks import Event
from skene.runtime import syncing
from skene.runtime.pacing import Pace, Patience
from skene.testing.clock import ManualClock
from tests.runtime.drifting import FAST, calls
from tests.runtime.shop import Shop
from tests.runtime.till import Till

# -- pace --------------------------------------------------------------------------------------------------


async def test_the_pace_is_kept_and_halves_when_the_service_does_not_keep_up() -> None:
    pace = Pace(200)
    began = anyio.current_time()
    times: list[float] = []

    async def one() -> None:
        await pace.turn(2)
        times.extend([anyio.current_time()] * 2)

    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(one)
    assert anyio.current_time() - began >= 40 / 200
    window = 0.05
    assert max(sum(at <= other < at + window for other in times) for at in times) <= 200 * window + 2
    assert pace._rate == 200
    pace.failed()
    assert pace._rate == 100
    for _ in range(100):
        pace.worked()
    assert pace._rate == 200


async def test_a_wait_that_was_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr("skene.runtime.pacing.anyio.sleep", sleep)
    failures = [BillingUnavailable("429", timedelta(seconds=7)), BillingUnavailable("503")]

    async def call() -> str:
        if failures:
            raise failures.pop(0)
        return "answer"

    assert await Patience(Pace(FAST), 60).ask(call, calls=0) == "answer"
    assert slept == [7, 2]

    async def never() -> str:
        raise BillingUnavailable("503")

    slept.clear()
    with pytest.raises(BillingUnavailable):
        await Patience(Pace(FAST), 60).ask(never, calls=0)
    assert slept == [1, 2, 4, 8, 16]  # the next 32 s would be beyond 60


async def test_requests_to_the_service_keep_the_rate() -> None:
    till = Till()
    for n in range(6):
        await till.stripe.subscribe(f"user-{n}", "price_pro")
    began, asked = anyio.current_time(), calls(till)
    await till.skene.sync(rate=40)
    made = calls(till) - asked
    assert made == 6 * 2 + 3
    assert anyio.current_time() - began >= (made - 1) / 40


# -- the schedule ------------------------------------------------------------------------------------------


async def test_workers_sync_once_a_day_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(syncing, "SCHEDULED_RATE", FAST)
    till = Till(sync_every="24h")
    other = till.twin(sync_every="24h")
    await till.stripe.subscribe("ada", "price_pro")

    async def both() -> list[int]:
        return [await one.skene._syncing.run_if_due() for one in (till, other)]

    assert await both() == [0, 0]
    till.clock.advance(timedelta(hours=23, minutes=59))
    assert await both() == [0, 0]
    till.clock.advance(timedelta(minutes=1))
    assert sum(await both()) == 1
    assert till.plan() == "pro"
    asked = calls(till)
    till.clock.advance(timedelta(hours=23))
    assert await both() == [0, 0]
    assert calls(till) == asked


class DeafHook:
    """Hears of everything, and keeps nothing: what is written to the outbox is looked at instead."""

    async def handle(self, event: Event) -> None:
        raise AssertionError("nobody delivers here")

    async def aclose(self) -> None:
        pass


async def test_hooks_hear_of_every_run() -> None:
    till = Till(hooks={"crm": DeafHook()})
    await till.stripe.subscribe("ada", "price_pro")
    await till.skene.sync(dry_run=True, rate=FAST)
    assert till.memory._state.messages == {}
    await till.skene.sync(rate=FAST)
    await till.skene.sync(rate=FAST)
    messages = [row.draft for row in till.memory._state.messages.values()]
    told = [one for one in messages if one.template == "billing.synced"]
    assert [one.channel for one in told] == ["crm"] * 2
    assert [as_json(one.data)["data"]["repaired"] for one in told] == [1, 0]


async def test_what_was_found_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    with caplog.at_level("INFO", "skene"):
        await till.skene.sync(rate=FAST)
    levels = {record.levelname: record.getMessage() for record in caplog.records}
    assert "free → pro" in levels["WARNING"]
    assert "repaired 1" in levels["INFO"]
    assert "ada" not in levels["WARNING"]


# -- odd answers -------------------------------------------------------------------------------------------


async def test_a_page_whose_beginning_is_gone_is_begun_anew() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    asked: list[str | None] = []
    (entry,) = (await till.skene.billing.subscriptions()).entries

    async def subscriptions(after: str | None = None) -> SubscriptionPage:
        asked.append(after)
        if after is not None and len(asked) < 4:
            raise LookupError
        return SubscriptionPage((entry,), "sub_gone" if len(asked) < 3 else None)

    till.skene.billing.subscriptions = subscriptions  # type: ignore[method-assign] # forgets its place
    assert (await till.skene.sync(rate=FAST)).in_order
    assert asked[:3] == [None, "sub_gone", None]


async def test_what_a_payment_of_theirs_tells_is_taken() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    customer = till.stripe.customer("ada") or ""
    disputed = BillingEvent("evt_9", "charge.dispute.created", None, payment="pi_1", at=till.clock.now())
    nobody = replace(disputed, id="evt_8", payment="pi_2")

    async def events(since: object, after: str | None = None) -> EventPage:
        return EventPage((disputed, nobody), None)

    async def customer_of(payment: str) -> str | None:
        return customer if payment == "pi_1" else None

    till.skene.billing.events = events  # type: ignore[method-assign] # Stripe says so
    till.skene.billing.customer_of = customer_of  # type: ignore[attr-defined] # as above
    asked = till.fetches
    assert (await till.skene.sync(rate=FAST)).events == 2
    assert till.fetches == asked + 1
    assert {"evt_8", "evt_9"} <= till.memory._state.events.keys()


@pytest.mark.parametrize("rate", [0, 0.5, -1, float("nan")])
async def test_a_rate_below_one_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="rate"):
        await Till(clock=ManualClock()).skene.sync(rate=rate)


async def test_plans_set_by_hand_are_compared_with_nothing() -> None:
    shop = Shop()
    await shop.skene.storage.link("ada", "cus_from_before")
    await shop.skene.set_plan("ada", "paid")
    shop.clock.advance(timedelta(hours=1))
    assert (await shop.skene.sync(rate=FAST)).in_order
    assert shop.memory.plan_of("ada") == "paid"

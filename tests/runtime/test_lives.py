"""Every way a subscription lives, step by step through signed webhooks, and again with all of them lost."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.runtime.shop import freemium
from tests.runtime.till import LIMITS, Till, billing, fake_stripe

FREE = ("free", False)
TRIAL, STARTER, PRO = ("pro", False), ("starter", True), ("pro", True)
Step = tuple[Callable[[FakeStripe], Awaitable[object]] | str, tuple[str, bool]]
"""What happens at Stripe, or how long passes; then the plan, and whether it is paid for."""


def subscribes(price: str = "price_pro", **more: Any) -> Callable[[FakeStripe], Awaitable[object]]:
    return lambda fake: fake.subscribe("ada", price, **more)


def becomes(status: str) -> Callable[[FakeStripe], Awaitable[object]]:
    return lambda fake: fake.set_status("ada", status)


LIVES: dict[str, list[Step]] = {
    "a trial that is paid for": [(subscribes(trial_days=14), TRIAL), ("13d", TRIAL), ("2d", PRO)],
    "a trial that is cancelled": [
        (subscribes(trial_days=14), TRIAL),
        (lambda fake: fake.cancel("ada", at_period_end=True), TRIAL),
        ("14d", FREE),
    ],
    "an upgrade": [
        (subscribes("price_starter"), STARTER),
        (lambda fake: fake.switch_price("ada", "price_pro"), PRO),
    ],
    "a downgrade now": [
        (subscribes(), PRO),
        (lambda fake: fake.switch_price("ada", "price_starter"), STARTER),
    ],
    "a downgrade at the period's end": [
        (subscribes(), PRO),
        (lambda fake: fake.schedule_price("ada", "price_starter"), PRO),
        ("30d", PRO),
        ("1d", STARTER),
    ],
    "more seats and fewer": [
        (subscribes(quantity=2), PRO),
        (lambda fake: fake.change_quantity("ada", 5), PRO),
        (lambda fake: fake.change_quantity("ada", 1), PRO),
    ],
    "a pause": [
        (subscribes(), PRO),
        (lambda fake: fake.pause("ada"), FREE),
        (lambda fake: fake.resume("ada"), PRO),
    ],
    "a pause of what is collected": [
        (subscribes(), PRO),
        (lambda fake: fake.pause_collection("ada"), PRO),
        ("31d", PRO),
        (lambda fake: fake.resume_collection("ada"), PRO),
    ],
    "a late payment that comes": [(subscribes(), PRO), (becomes("past_due"), PRO), (becomes("active"), PRO)],
    "late payments that never come: unpaid": [
        (subscribes(), PRO),
        (becomes("past_due"), PRO),
        ("13d", PRO),
        (becomes("unpaid"), FREE),
    ],
    "late payments that never come: cancelled": [
        (subscribes(), PRO),
        (becomes("past_due"), PRO),
        (becomes("canceled"), FREE),
    ],
    "late payments that never come: past due for ever": [
        (subscribes(), PRO),
        (becomes("past_due"), PRO),
        ("13d", PRO),
        ("1d", FREE),
        ("18d", FREE),  # the next period begins, and is not paid either
        ("31d", FREE),
    ],
    "past due for ever, until somebody pays": [
        (subscribes(), PRO),
        (becomes("past_due"), PRO),
        ("40d", FREE),
        (becomes("active"), PRO),
        (becomes("past_due"), PRO),  # another payment, another grace
    ],
    "an end at once": [(subscribes(), PRO), (lambda fake: fake.cancel("ada"), FREE)],
    "an end with the period": [
        (subscribes(), PRO),
        (lambda fake: fake.cancel("ada", at_period_end=True), PRO),
        ("30d", PRO),
        ("1d", FREE),
    ],
    "an end that is taken back": [
        (subscribes(), PRO),
        (lambda fake: fake.cancel("ada", at_period_end=True), PRO),
        (lambda fake: fake.keep("ada"), PRO),
        ("31d", PRO),
    ],
    "a refund, in part and whole": [
        (subscribes(), PRO),
        (lambda fake: fake.refund("ada", 500), PRO),
        (lambda fake: fake.refund("ada"), PRO),
    ],
    "a dispute": [
        (subscribes(), PRO),
        (lambda fake: fake.dispute("ada"), PRO),
        (lambda fake: fake.settle_dispute("ada", won=False), PRO),
    ],
    "a deleted customer": [(subscribes(), PRO), (lambda fake: fake.delete_customer("ada"), FREE)],
    "a deleted customer who comes back": [
        (subscribes(), PRO),
        (lambda fake: fake.delete_customer("ada"), FREE),
        (subscribes("price_starter"), STARTER),
    ],
    "two at once": [
        (subscribes("price_starter"), STARTER),
        (subscribes(), PRO),
        (lambda fake: fake.cancel("ada"), STARTER),  # the later one
    ],
    "a price that maps to no plan": [
        (subscribes("price_odd"), FREE),
        (lambda fake: fake.switch_price("ada", "price_starter"), STARTER),
        (lambda fake: fake.switch_price("ada", "price_odd"), FREE),
    ],
    "items of which one maps": [(subscribes(items=[("price_odd", 1), ("price_starter", 3)]), STARTER)],
}
STRICT: dict[str, list[Step]] = {
    "a pause of what is collected": [
        (subscribes(), PRO),
        (lambda fake: fake.pause_collection("ada"), FREE),
        (lambda fake: fake.resume_collection("ada"), PRO),
    ],
    "a dispute that is won": [
        (subscribes(), PRO),
        (lambda fake: fake.dispute("ada"), FREE),
        (lambda fake: fake.settle_dispute("ada", won=True), PRO),
    ],
    "a dispute that is lost, until they pay again": [
        (subscribes(), PRO),
        (lambda fake: fake.dispute("ada"), FREE),
        (lambda fake: fake.settle_dispute("ada", won=False), FREE),
        ("31d", PRO),
    ],
    "a refund is no dispute": [(subscribes(), PRO), (lambda fake: fake.refund("ada"), PRO)],
}
ALL = [(name, life, "keep") for name, life in LIVES.items()]
ALL += [(name, life, "default") for name, life in STRICT.items()]


@pytest.fixture(params=["memory", "sqlite"])
async def storage(
    request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[tuple[ManualClock, MemoryStorage | SqliteStorage]]:
    clock = ManualClock()
    if request.param == "memory":
        yield clock, MemoryStorage(clock=clock)
        return
    kept = SqliteStorage(tmp_path / "skene.db", clock=clock)
    await kept.start()
    yield clock, kept
    await kept.aclose()


def opened(storage: tuple[ManualClock, Any], option: str) -> Till:
    clock, kept = storage
    fake = fake_stripe(clock)
    fake.add_price("price_odd")
    asks = billing(fake, collection_paused=option, disputed=option)
    return Till(freemium(limits=LIMITS), stripe=fake, billing=asks, clock=clock, memory=kept)


async def held(till: Till) -> tuple[str, bool]:
    """The plan that calls are decided by, and whether it is paid for."""
    known = await till.memory.get_customer("ada")
    plan = (await till.skene.check("ada", "calls")).plan
    return plan, known is not None and known.paying and plan != "free"


async def lives(till: Till, step: Step) -> None:
    happens, _ = step
    if isinstance(happens, str):
        till.clock.advance(happens)
        await till.stripe.catch_up()
    else:
        await happens(till.stripe)


@pytest.mark.parametrize(("name", "life", "option"), ALL, ids=[f"{name}-{option}" for name, _, option in ALL])
async def test_the_plan_after_every_step(
    storage: tuple[ManualClock, Any], name: str, life: list[Step], option: str
) -> None:
    till = opened(storage, option).listen()
    for number, step in enumerate(life):
        await lives(till, step)
        assert await held(till) == step[1], f"{name}, step {number}"
    assert not till.stripe.undelivered


@pytest.mark.parametrize(("name", "life", "option"), ALL, ids=[f"{name}-{option}" for name, _, option in ALL])
async def test_the_plan_with_all_webhooks_lost_and_one_sync_at_the_end(
    storage: tuple[ManualClock, Any], name: str, life: list[Step], option: str
) -> None:
    till = opened(storage, option).listen()
    till.stripe.webhooks_dropped = True
    customers: dict[str, None] = {}
    for step in life:
        await lives(till, step)
        customers[str(till.stripe.customer("ada"))] = None
    assert await held(till) == FREE
    for customer in customers:
        await till.skene.billing_sync.sync(customer)
    assert await held(till) == life[-1][1]


async def test_a_grace_that_begins_anew_with_every_period_fails_the_same_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Naive: without the invoices, a subscription that is past due for ever comes back each month."""

    async def unknown(*_: object) -> None:
        return None

    monkeypatch.setattr("skene.adapters.stripe.billing.unpaid_since", unknown)
    clock = ManualClock()
    till = opened((clock, MemoryStorage(clock=clock)), "keep").listen()
    wrong = 0
    for step in LIVES["late payments that never come: past due for ever"]:
        await lives(till, step)
        wrong += await held(till) != step[1]
    assert wrong > 0


async def test_a_price_that_maps_to_no_plan_is_loud_and_keeps_nobody_out(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = ManualClock()
    till = opened((clock, MemoryStorage(clock=clock)), "keep").listen()
    number = await till.stripe.subscribe("ada", "price_odd")
    assert f"subscription {number} has a price that maps to no plan" in caplog.text
    assert (await till.call()).allowed
    assert "ada" not in caplog.text


async def test_a_dispute_whose_customer_cannot_be_asked_for_is_sent_again() -> None:
    clock = ManualClock()
    till = opened((clock, MemoryStorage(clock=clock)), "default").listen()
    await till.stripe.subscribe("ada", "price_pro")
    till.stripe.fail(503, times=9, path="/v1/charges/")
    await till.stripe.dispute("ada")
    assert (till.plan(), len(till.stripe.undelivered)) == ("pro", 1)
    till.stripe._api._faults.clear()
    assert await till.stripe.redeliver()
    assert till.plan() == "free"


async def test_a_dispute_of_nobodys_payment_is_recorded_and_changes_nothing() -> None:
    clock = ManualClock()
    till = opened((clock, MemoryStorage(clock=clock)), "keep").listen()
    await till.stripe.subscribe("ada", "price_pro")
    charge = await till.stripe.dispute("ada")
    event = {**till.stripe.events[-1], "id": "evt_of_a_stranger"}
    event["data"] = {"object": {**event["data"]["object"], "charge": charge + "0", "payment_intent": None}}
    fetched = till.fetches
    assert await till.stripe.send(event)
    assert till.fetches == fetched
    assert await till.memory.begin_sync("cus_any", "evt_of_a_stranger") is None, "recorded"


async def test_a_subscription_begins_to_be_paid_when_its_trial_ends() -> None:
    clock = ManualClock()
    till = opened((clock, MemoryStorage(clock=clock)), "keep")
    await till.stripe.subscribe("ada", "price_pro", trial_days=14, quantity=3)
    (tried,) = (await till.skene.billing.fetch(str(till.stripe.customer("ada")))).subscriptions
    assert (tried.started_at, tried.quantity) == (clock.now() + timedelta(days=14), 3)
    await till.stripe.subscribe("bob", "price_pro")
    (bought,) = (await till.skene.billing.fetch(str(till.stripe.customer("bob")))).subscriptions
    assert (bought.started_at, bought.quantity, bought.collection_paused) == (clock.now(), 1, False)

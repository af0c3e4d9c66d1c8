"""Webhooks: what fails, whom they are about, what they carry, and the way back from a checkout."""

import json
from datetime import timedelta

import anyio
import pytest

from skene import action, billing_cycle, condition, define_loop, step
from skene.adapters.manual import ManualBilling
from skene.engine.standing import Subscription
from skene.errors import BillingUnavailable, StorageUnavailable, WebhookRejected
from skene.ports.billing import Account
from skene.testing.clock import ManualClock
from tests.runtime.till import LIMITS, Till, billing, signed

# -- the later fetch wins ----------------------------------------------------------------------------------


async def test_a_slow_answer_does_not_overwrite_a_later_one() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    event = till.stripe.events[-1]
    fetch, answered, late = till.skene.billing.fetch, anyio.Event(), anyio.Event()

    async def slowly(customer: str, *, timeout: timedelta | None = None, features: bool = False) -> Account:
        account = await fetch(customer)
        answered.set()
        await late.wait()
        return account

    till.skene.billing.fetch = slowly  # type: ignore[method-assign] # the provider's answer takes its time
    applied = []

    async def first() -> None:
        applied.append(await till.skene.billing_sync.receive(*signed(till.stripe, event)))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await answered.wait()
        till.skene.billing.fetch = fetch  # type: ignore[method-assign] # as above
        await till.stripe.cancel("ada")
        assert await till.receive(*signed(till.stripe, till.stripe.events[-1])) == 200
        late.set()
    assert applied[0].stale
    assert till.plan() == "free"


# -- when something fails ----------------------------------------------------------------------------------


@pytest.mark.parametrize("failure", ["429", "500", "hangs", "storage before", "storage after"])
async def test_what_could_not_be_applied_is_not_recorded_and_comes_again(failure: str) -> None:
    till = Till()
    if failure == "hangs":
        till = Till(
            stripe=till.stripe,
            clock=till.clock,
            billing=billing(till.stripe, timeout=timedelta(seconds=0.05)),
        )
        till.stripe.delay = 0.3
    elif failure.startswith("storage"):
        till.wire.cut = {"begin_sync" if failure.endswith("before") else "apply_billing"}
    else:
        till.stripe.fail(int(failure), times=9, path="/v1/customers/")
    till.listen()
    await till.stripe.subscribe("ada", "price_pro")
    assert len(till.stripe.undelivered) == 2  # the customer's and the subscription's
    assert (till.plan(), till.memory._state.events) == ("free", {})
    till.stripe.delay, till.wire.cut = 0, set()
    till.stripe._api._faults.clear()
    assert await till.stripe.redeliver()
    assert till.plan() == "pro"
    assert len(till.memory.conversions) == 1


async def test_the_sender_hears_of_the_failure() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    message = signed(till.stripe, till.stripe.events[-1])
    till.stripe.fail(429)
    with pytest.raises(BillingUnavailable):
        await till.skene.billing_sync.receive(*message)
    till.wire.cut = {"*"}
    with pytest.raises(StorageUnavailable):
        await till.skene.billing_sync.receive(*message)


async def test_what_is_not_authentic_changes_nothing() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    with pytest.raises(WebhookRejected) as caught:
        await till.skene.billing_sync.receive(
            *signed(till.stripe, till.stripe.events[-1], "whsec_" + "x" * 24)
        )
    assert caught.value.status == 401
    assert (till.wire.verbs, till.plan()) == ([], "free")


# -- whom an event is about --------------------------------------------------------------------------------


async def test_an_event_for_a_customer_nobody_is_tied_to_is_recorded_and_changes_no_plan() -> None:
    till = Till().listen()
    await till.stripe.subscribe("somebody", "price_pro", metadata={})
    assert till.stripe.undelivered == []
    assert till.memory._state.holders == {}
    assert till.memory.conversions == ()
    fetched = till.fetches
    assert await till.stripe.send(till.stripe.events[-1])
    assert till.fetches == fetched  # known by its id
    # Once somebody is tied to it, what it pays for applies.
    applied = await till.skene.link("ada", str(till.stripe.customer("somebody")))
    assert applied is not None
    assert till.plan() == "pro"
    assert len(till.memory.conversions) == 1


async def test_an_event_about_no_customer_is_recorded_once_and_fetches_nothing() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    event = {
        **till.stripe.events[-1],
        "id": "evt_product",
        "type": "product.created",
        "data": {"object": {"id": "prod_1", "object": "product"}},
    }
    for _ in range(2):
        assert await till.skene.billing_sync.receive(*signed(till.stripe, event)) is None
    assert till.wire.verbs == ["record_event"] * 2
    assert till.fetches == 0


async def test_a_subject_that_was_forgotten_is_not_revived_by_a_late_webhook() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.call()
    assert till.plan() == "pro"
    till.stripe.webhooks_dropped = True
    await till.stripe.switch_price("ada", "price_starter")
    await till.skene.forget("ada")
    fetched = till.fetches
    for event in till.stripe.events:
        assert await till.stripe.send(event)
    assert till.fetches == fetched
    assert "ada" not in till.memory._state.holders
    assert till.plan() == "free"
    assert await till.skene.billing_sync.sync(str(till.stripe.customer("ada"))) is None
    assert "ada" not in str(till.memory.conversions)


async def test_a_deleted_customer_holds_nothing() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.stripe.delete_customer("ada")
    assert till.plan() == "free"


async def test_what_a_deleted_customer_is_still_said_to_have_does_not_count() -> None:
    class Forgetful(ManualBilling):
        async def fetch(
            self, customer: str, *, timeout: timedelta | None = None, features: bool = False
        ) -> Account:
            return Account(customer, "ada", None, True, (Subscription("sub_1", "active", "paid"),))

    till = Till(billing=Forgetful())
    await till.skene.link("ada", "cus_1")
    assert till.plan() == "free"


async def test_ids_that_no_database_can_keep_come_back_from_stripe() -> None:
    long = "user-" + "x" * 300
    till = Till().listen()
    await till.stripe.subscribe(long, "price_pro")
    assert (await till.call(long)).plan == "pro"


# -- what an update carries --------------------------------------------------------------------------------


async def test_upgrading_in_mid_period_is_unlimited_at_once_and_one_conversion() -> None:
    till = Till().listen()
    await till.refuse()
    (wall,) = till.memory.walls
    await till.stripe.subscribe("ada", "price_pro")
    told = await till.call()
    assert (told.allowed, told.plan, told.limit) == (True, "pro", None)
    for _ in range(10):
        for event in till.stripe.events:
            assert await till.stripe.send(event)
    (conversion,) = till.memory.conversions
    assert (conversion.subject, conversion.wall) == ("ada", wall.id)
    assert (conversion.amount, conversion.currency) == (2000, "usd")
    assert (await till.skene.usage("ada"))[0].used == 1  # of this plan; the free use stays with the free plan


async def test_a_billing_cycle_counts_from_the_subscriptions_own_day() -> None:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit=LIMITS, period=billing_cycle(), meter="calls"),
                action=action.block("Enough."),
            )
        ],
    )
    till = Till(loop, clock=ManualClock()).listen()
    till.clock.advance("9d")
    began = till.clock.now()
    assert (await till.call("bob")).resets_at == began.replace(month=2, day=1, hour=0)
    await till.stripe.subscribe("ada", "price_starter")
    till.clock.advance("3d")
    told = await till.call()
    assert (told.window_start, told.resets_at) == (began, began.replace(month=2))


async def test_an_unknown_status_is_the_default_plan_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro", status="dreaming")
    assert till.plan() == "free"
    assert "unknown status 'dreaming'" in caplog.text
    assert "ada" not in caplog.text


async def test_what_stripe_said_is_kept_for_people_to_read() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    payer = till.memory._state.payers[str(till.stripe.customer("ada"))]
    assert payer.update is not None
    (kept,) = json.loads(payer.update.subscriptions_json)
    assert (kept["status"], kept["plan"], kept["amount"]) == ("active", "pro", 2000)
    assert kept["period_start"] == till.clock.now().isoformat()


# -- back from the checkout --------------------------------------------------------------------------------


async def opened(till: Till) -> str:
    """A checkout session, opened from a wall's link."""
    await till.refuse()
    refused = await till.call()
    assert refused.upgrade_url is not None
    url = await till.skene.upgrade.follow(refused.upgrade_url.partition("token=")[2])
    return url.rpartition("/")[2]


async def test_who_comes_back_from_paying_has_the_plan_before_any_webhook() -> None:
    till = Till().listen()
    till.stripe.webhooks_dropped = True
    session = await opened(till)
    fetched = till.fetches
    assert (await till.skene.billing_sync.checkout_returned(session)).state == "open"
    assert till.fetches == fetched
    assert till.plan() == "free"
    await till.stripe.pay(session, "ada@acme.test")
    assert (await till.skene.billing_sync.checkout_returned(session)).state == "active"
    assert till.plan() == "starter"
    assert (await till.call()).allowed
    # What comes late, twice, or in any order adds nothing.
    till.stripe.webhooks_dropped = False
    assert (await till.skene.billing_sync.checkout_returned(session)).state == "active"
    assert await till.stripe.redeliver()
    assert len(till.memory.conversions) == 1


async def test_an_unknown_checkout_is_said_to_be_so() -> None:
    with pytest.raises(LookupError):
        await Till().skene.billing_sync.checkout_returned("cs_test_nothing")

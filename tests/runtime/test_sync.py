"""`skene.sync`: what webhooks did not tell is found and put right, cheaply, whatever happens meanwhile."""

from dataclasses import replace
from datetime import timedelta
from random import Random  # noqa: TID251 - a seed makes it an argument

import anyio
import pytest

from skene import Drift, SyncReport, SyncRunning
from skene.errors import BillingUnavailable
from skene.ports.billing import BillingEvent, EventPage, SubscriptionPage
from skene.ports.hooks import Event
from skene.runtime import comparison, syncing
from skene.runtime.pacing import Pace, Patience
from skene.testing.clock import ManualClock
from tests.runtime.shop import Killed, Shop
from tests.runtime.till import Till

FAST = 100_000


def calls(till: Till, path: str = "/v1/") -> int:
    return sum(call.path.startswith(path) for call in till.stripe.requests)


async def drifted(till: Till, count: int) -> dict[str, str]:
    """Customers of whom something else is kept than Stripe says, of every kind; and what they should hold."""
    till.listen()
    people = [f"user-{n:04}" for n in range(count)]
    for n, one in enumerate(people):
        if n % 5:
            await till.stripe.subscribe(one, "price_starter")
    till.stripe.webhooks_dropped = True
    till.clock.advance(timedelta(hours=1))
    plans: dict[str, str] = {}
    for n, one in enumerate(people):
        match n % 5:
            case 0:
                await till.stripe.subscribe(one, "price_pro")
            case 1:
                await till.stripe.cancel(one)
            case 2:
                await till.stripe.switch_price(one, "price_pro")
            case 3:
                await till.stripe.delete_customer(one)
            case _:
                till.stripe._state.replace_price(till.stripe._subscription(one), None, "price_starter", 7)
        plans[one] = ("pro", "free", "pro", "free", "starter")[n % 5]
    return plans


def held(till: Till, plans: dict[str, str]) -> dict[str, str]:
    return {one: till.plan(one) for one in plans}


async def test_everybody_who_differs_is_put_right_and_nobody_else_is_fetched() -> None:
    till = Till()
    plans = await drifted(till, 50)
    first = await till.skene.sync(rate=FAST)
    assert held(till, plans) == plans
    assert (first.differed, first.repaired, first.failed, first.stopped) == (50, 50, 0, None)
    assert first.in_order
    assert Drift(till.stripe.customer("user-0001") or "", "user-0001", "starter", "free") in first.drifts
    asked = calls(till)
    second = await till.skene.sync(rate=FAST)
    assert (second.checked, second.differed, second.drifts) == (30, 0, ())
    assert calls(till) - asked == 3  # two looks at the listing, one at what has happened


async def test_a_dry_run_finds_the_same_and_writes_nothing() -> None:
    till = Till()
    plans = await drifted(till, 50)
    before, verbs = held(till, plans), len(till.wire.verbs)
    looked = await till.skene.sync(dry_run=True, rate=FAST)
    assert held(till, plans) == before
    read = {"compare_subscriptions", "unverified_customers", "unknown_events", "get_customer"}
    assert set(till.wire.verbs[verbs:]) <= read
    assert (looked.differed, looked.repaired, looked.in_order) == (50, 0, False)
    done = await till.skene.sync(rate=FAST)
    assert {*looked.drifts} == {*done.drifts}
    assert (await till.skene.sync(dry_run=True, rate=FAST)).in_order


async def test_a_payer_whom_only_metadata_names_is_admitted() -> None:
    till = Till()
    for _ in range(3):
        assert (await till.skene.consume("ada", "calls")).allowed
    assert not (await till.skene.consume("ada", "calls")).allowed
    await till.stripe.subscribe("ada", "price_pro")
    assert not (await till.skene.consume("ada", "calls")).allowed
    await till.skene.sync(rate=FAST)
    assert (await till.skene.consume("ada", "calls")).allowed
    assert len(till.memory.conversions) == 1


async def test_a_customer_whom_nobody_names_is_told_of_until_it_is_linked() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro", metadata={})
    customer = till.stripe.customer("ada") or ""
    assert (await till.skene.sync(rate=FAST)).drifts == (Drift(customer, None, "free", "pro"),)
    again = await till.skene.sync(rate=FAST)
    assert (again.unlinked, again.differed) == (1, 0)
    await till.skene.link("ada", customer)
    assert till.plan() == "pro"
    assert (await till.skene.sync(rate=FAST)).unlinked == 0


async def test_a_checkout_of_which_no_webhook_told_names_its_subject() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro", metadata={})
    customer = till.stripe.customer("ada") or ""
    await till.skene.sync(rate=FAST)
    session = till.stripe._state.tables["checkout.session"]
    session["cs_1"] = {"id": "cs_1", "object": "checkout.session", "customer": customer}
    session["cs_1"] |= {"client_reference_id": "ada", "metadata": {}}
    till.stripe._state.emit("checkout.session.completed", session["cs_1"])
    report = await till.skene.sync(rate=FAST)
    assert (till.plan(), report.events) == ("pro", 1)
    asked = till.fetches
    assert (await till.skene.sync(rate=FAST)).events == 0
    assert till.fetches == asked


async def test_somebody_who_was_forgotten_stays_forgotten() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.skene.forget("ada")
    asked = till.fetches
    report = await till.skene.sync(rate=FAST)
    assert (till.plan(), report.checked, till.fetches) == ("free", 0, asked)


async def test_subscriptions_of_one_customer_on_two_pages_are_compared_together(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skene.adapters.stripe.listing.PAGE", 1)
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.stripe.subscribe("bob", "price_starter")
    await till.stripe.subscribe("ada", "price_pro")
    asked = till.fetches
    report = await till.skene.sync(rate=FAST)
    assert (report.checked, report.differed, till.fetches) == (2, 0, asked)
    till.stripe.webhooks_dropped = True
    till.clock.advance(timedelta(hours=1))
    await till.stripe.cancel("ada")  # the later one: the first is still listed, and equal
    assert (await till.skene.sync(rate=FAST)).differed == 1
    assert till.plan() == "starter"


async def test_a_plan_set_by_hand_gives_way_to_what_is_paid_for() -> None:
    till = Till().listen()
    await till.stripe.subscribe("ada", "price_pro")
    await till.skene.set_plan("ada", "free")
    assert (await till.skene.sync(rate=FAST)).differed == 1
    assert till.plan() == "pro"


# -- meanwhile ---------------------------------------------------------------------------------------------


async def test_a_webhook_that_comes_after_the_fetch_wins() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    cancelled = []

    async def meanwhile() -> None:
        """Between sync's fetch and its writing."""
        if not cancelled:
            cancelled.append(True)
            await till.stripe.cancel("ada")

    real = till.skene.billing_sync.apply

    async def apply(*args: object, **named: object) -> object:
        till.skene.billing_sync.apply = real  # type: ignore[method-assign] # only the first one waits
        till.listen()
        await meanwhile()
        return await real(*args, **named)  # type: ignore[arg-type] # passed through

    till.skene.billing_sync.apply = apply  # type: ignore[method-assign, assignment] # as above
    await till.skene.sync(rate=FAST)
    assert cancelled
    assert till.plan() == "free"
    assert till.memory._state.holders["ada"].standing is not None


async def test_without_tickets_the_same_webhook_is_lost() -> None:
    """The control: whoever writes the listing down as it was read overwrites what has come since."""
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    page = await till.skene.billing.subscriptions()
    till.listen()
    await till.stripe.cancel("ada")
    assert till.plan() == "free"
    for _, one in page.entries:  # the newest listing wins
        await till.skene.set_plan("ada", one.plan or "free")
    assert till.plan() == "pro"  # though nobody pays for it


async def test_one_sync_at_a_time() -> None:
    till = Till()
    await till.stripe.subscribe("ada", "price_pro")
    held_up, go_on = anyio.Event(), anyio.Event()
    reports: list[SyncReport] = []
    real = till.skene.billing.fetch

    async def slowly(*args: object, **named: object) -> object:
        held_up.set()
        await go_on.wait()
        return await real(*args, **named)  # type: ignore[arg-type] # passed through

    till.skene.billing.fetch = slowly  # type: ignore[method-assign, assignment] # the first is at work
    async with anyio.create_task_group() as tasks:

        async def first() -> None:
            reports.append(await till.skene.sync(rate=FAST))

        tasks.start_soon(first)
        await held_up.wait()
        with pytest.raises(SyncRunning):
            await till.twin().skene.sync(rate=FAST)
        go_on.set()
    assert reports[0].repaired == 1
    assert (await till.twin().skene.sync(rate=FAST)).differed == 0


@pytest.mark.parametrize("seed", range(12))
async def test_killed_anywhere_it_is_gone_on_with_and_skips_nobody(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("skene.adapters.stripe.listing.PAGE", 4)
    monkeypatch.setattr(comparison, "PAGE", 4)
    chance = Random(seed)  # noqa: S311 - it chooses where to kill
    till = Till()
    plans = await drifted(till, 30)
    asked, kills, resumed = calls(till), 0, till
    while kills < 40:
        verb = chance.choice(["save_sync", "apply_billing", "begin_sync"])
        when = (verb, resumed.wire.count(verb) + chance.randrange(1, 9))
        setattr(resumed.wire, chance.choice(["kill_before", "kill_after"]), when)
        try:
            report = await resumed.skene.sync(rate=FAST)
        except (Killed, BaseExceptionGroup):
            kills += 1
        else:
            break
        # Another process, when the lease of the killed one has ended.
        till.clock.advance(timedelta(minutes=2))
        resumed = till.twin()
    assert kills
    assert report.in_order
    assert held(till, plans) == plans
    # Every page that was written down is not read again: far from what beginning anew would take.
    assert calls(till, "/v1/subscriptions") - asked < 40 * 30
    assert (await till.twin().skene.sync(rate=FAST)).differed == 0


async def test_a_run_that_was_stopped_keeps_its_beginning_for_a_day(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skene.adapters.stripe.listing.PAGE", 1)
    monkeypatch.setattr(syncing, "PATIENCE", 0.0)
    till = Till()
    for one in ("ada", "bob"):
        await till.stripe.subscribe(one, "price_pro")
    till.stripe.fail(500, times=99, path=f"/v1/customers/{till.stripe.customer('ada')}")
    till.stripe.fail(500, times=99, path="/v1/events")
    stopped = await till.skene.sync(rate=FAST)
    assert stopped.finished_at is None
    assert "500" in (stopped.stopped or "")
    began = stopped.started_at
    till.clock.advance(timedelta(hours=23))
    assert (await till.skene.sync(rate=FAST)).started_at == began
    till.clock.advance(timedelta(hours=2))
    assert (await till.skene.sync(rate=FAST)).started_at == till.clock.now()


async def test_one_customer_that_cannot_be_shown_stops_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("skene.runtime.pacing.FIRST_WAIT", 0.0)
    till = Till()
    for one in ("ada", "bob"):
        await till.stripe.subscribe(one, "price_pro")
    till.stripe.fail(500, times=999, path=f"/v1/customers/{till.stripe.customer('ada')}")
    report = await till.skene.sync(rate=FAST)
    assert (till.plan("ada"), till.plan("bob")) == ("free", "pro")
    assert (report.failed, report.in_order, report.stopped) == (1, False, None)


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


class RecordingHook:
    """Hears of everything, and keeps nothing: what is written to the outbox is looked at instead."""

    async def handle(self, event: Event) -> None:
        raise AssertionError("nobody delivers here")

    async def aclose(self) -> None:
        pass


async def test_hooks_hear_of_every_run() -> None:
    till = Till(hooks={"crm": RecordingHook()})
    await till.stripe.subscribe("ada", "price_pro")
    await till.skene.sync(dry_run=True, rate=FAST)
    assert till.memory._state.messages == {}
    await till.skene.sync(rate=FAST)
    await till.skene.sync(rate=FAST)
    messages = [row.draft for row in till.memory._state.messages.values()]
    told = [one for one in messages if one.template == "billing.synced"]
    assert [one.channel for one in told] == ["crm"] * 2
    assert [one.data["data"]["repaired"] for one in told] == [1, 0]  # type: ignore[index] # JSON


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

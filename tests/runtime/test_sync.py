"""`skene.sync`: what webhooks did not tell is found and put right, cheaply, whatever happens meanwhile."""

from datetime import timedelta
from random import Random  # noqa: TID251 - a seed makes it an argument

import anyio
import pytest

from skene import Drift, SyncReport, SyncRunning
from skene.ports.billing import SubscriptionPage
from skene.runtime import comparison, syncing
from tests.runtime.drifting import FAST, calls, drifted, held
from tests.runtime.shop import Killed
from tests.runtime.till import Till


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
    verified = [payer.verified_at for payer in till.memory._state.payers.values()]
    till.clock.advance(timedelta(hours=1))
    assert (await till.skene.sync(dry_run=True, rate=FAST)).in_order
    assert [payer.verified_at for payer in till.memory._state.payers.values()] == verified


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


async def test_who_subscribes_while_the_listing_is_read_is_not_skipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("skene.adapters.stripe.listing.PAGE", 2)
    till = Till()
    for n in range(6):
        await till.stripe.subscribe(f"user-{n}", "price_starter")
    real, pages = till.skene.billing.subscriptions, 0

    async def subscriptions(after: str | None = None) -> SubscriptionPage:
        nonlocal pages
        page = await real(after)
        pages += 1
        if pages == 1:
            for n in range(5):  # before those of the first page: more than fit on one
                await till.stripe.subscribe(f"late-{n}", "price_pro")
        return page

    till.skene.billing.subscriptions = subscriptions  # type: ignore[method-assign] # time passes
    assert (await till.skene.sync(rate=FAST)).differed == 11
    assert {till.plan(f"late-{n}") for n in range(5)} == {"pro"}


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

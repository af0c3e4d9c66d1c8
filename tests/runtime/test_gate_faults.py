"""The gate where something fails: look-ups, refunds, idempotency keys, outages."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

import skene.runtime.gate as gate
from skene import Reason, Skene
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.engine.standing import Standing, Subscription
from skene.errors import BillingUnavailable, IdempotencyConflict, StorageUnavailable, SubjectInvalid
from skene.ports.billing import Account
from skene.ports.counters import Consume, Counted, Draft
from skene.ports.ledger import Wall
from tests.runtime.shop import BACKENDS, Post, Shop, ask, freemium, profile

# -- the look-up before a refusal --------------------------------------------------------------------------


class Counting(ManualBilling):
    """A billing service that knows one customer and counts who asks."""

    def __init__(self) -> None:
        super().__init__()
        self.fetches = 0
        self.status = "canceled"
        self.error: Exception | None = None

    async def fetch(
        self, customer: str, *, timeout: timedelta | None = None, features: bool = False
    ) -> Account:
        self.fetches += 1
        await anyio.lowlevel.checkpoint()
        if self.error is not None:
            raise self.error
        return Account(customer, subscriptions=(Subscription("sub_1", self.status, "paid"),))


async def at_the_limit(**options: Any) -> tuple[Shop, Counting]:
    billing = Counting()
    shop = Shop(freemium(3), billing=billing, **options)
    await shop.memory.link("ada", "cus_1")
    await shop.call(times=3)
    assert billing.fetches == 0  # nobody asks while there are units left
    return shop, billing


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_at_most_one_look_up_a_minute_over_any_number_of_refusals(anyio_backend: str) -> None:
    shop, billing = await at_the_limit()
    for minute in range(5):
        for _ in range(4):
            async with anyio.create_task_group() as tasks:
                for _ in range(25):
                    tasks.start_soon(shop.call)
            assert billing.fetches == shop.wire.count("claim_lookup") == minute + 1
            shop.clock.advance("15s")


async def test_a_look_up_that_finds_a_payment_admits_the_call_itself() -> None:
    shop, billing = await at_the_limit()
    billing.status = "active"
    told = await shop.call()
    assert (told.allowed, told.plan) == (True, "paid")
    assert (billing.fetches, shop.memory.walls) == (1, ())


async def test_nobody_but_a_customer_is_looked_up() -> None:
    billing = Counting()
    shop = Shop(billing=billing)
    await shop.refuse()
    assert billing.fetches == 0
    assert "claim_lookup" not in shop.wire.verbs


async def test_a_look_up_that_fails_leaves_the_refusal(caplog: pytest.LogCaptureFixture) -> None:
    shop, billing = await at_the_limit()
    billing.error = BillingUnavailable("no answer")
    assert not (await shop.call()).allowed
    assert "last known plan stands" in caplog.text
    shop.clock.advance("59s")
    billing.error, billing.status = None, "active"
    assert not (await shop.call()).allowed
    shop.clock.advance("1s")
    assert (await shop.call()).allowed
    assert billing.fetches == 2


async def test_the_look_up_claimed_by_another_process_is_not_repeated() -> None:
    """Its answer was read before the other process claimed; only the claim itself decides."""
    shop, billing = await at_the_limit()
    claimed = []

    def other_process() -> None:
        holder = shop.memory._state.holders["ada"]
        holder.checked_at = shop.clock.now()
        claimed.append(holder)

    shop.wire.before["claim_lookup"] = other_process
    assert not (await shop.call()).allowed
    assert (len(claimed), billing.fetches) == (1, 0)


# -- plans that nobody knows -------------------------------------------------------------------------------


async def test_a_plan_that_no_limit_table_knows_counts_as_the_default_and_is_said_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(freemium(3))
    await shop.memory.set_plan(
        "ada", Standing("gold", paying=True), default_plan="free", attribution=timedelta(days=30)
    )
    told = await shop.call(times=3)
    assert (told.plan, told.limit, told.allowed) == ("free", 3, True)
    assert not (await shop.call()).allowed
    warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == 1  # one a second
    assert "'gold'" in warnings[0]


# -- giving back -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_refund_finishes_while_its_caller_is_cancelled(anyio_backend: str) -> None:
    shop = Shop()
    admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
    assert await shop.used() == 1
    with anyio.CancelScope() as scope:
        scope.cancel()
        await shop.skene.gatekeeper.release(admission)
    assert await shop.used() == 0


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_a_call_cancelled_between_charge_and_answer_costs_nothing(anyio_backend: str) -> None:
    shop = Shop(freemium(4, notify_at=(0.1,)))
    shop.wire.hold["record_notice"] = anyio.Event()
    ended = []

    async def call(scope: anyio.CancelScope) -> None:
        with scope:
            await shop.call()
            ended.append(scope)

    async def both(first: anyio.CancelScope, second: anyio.CancelScope) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call, first)
            tasks.start_soon(call, second)
            while shop.wire.count("consume") < 2 or "record_notice" not in shop.wire.verbs:
                await anyio.lowlevel.checkpoint()
            for _ in range(10):
                await anyio.lowlevel.checkpoint()
            first.cancel()  # one of the two writes for both, and sees that through;
            second.cancel()  # the other only waits for it
            while "refund" not in shop.wire.verbs:
                await anyio.lowlevel.checkpoint()
            shop.wire.hold["record_notice"].set()

    first, second = anyio.CancelScope(), anyio.CancelScope()
    with anyio.fail_after(5):
        await both(first, second)
    assert len(ended) == 1
    assert await shop.used() == 1
    assert shop.kinds == ["usage_warning"]


async def test_a_refund_while_the_storage_is_away_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop()
    admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
    shop.wire.cut = {"refund"}
    await shop.skene.gatekeeper.release(admission)
    assert "stay charged" in caplog.text
    assert await shop.used() == 1


async def test_a_refund_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(gate, "REFUND_TIMEOUT", 0.01)
    shop = Shop()
    admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
    shop.wire.hold["refund"] = anyio.Event()
    with anyio.fail_after(5):
        await shop.skene.gatekeeper.release(admission)
    assert "may stay charged" in caplog.text


async def test_a_refund_goes_to_the_window_it_was_charged_in() -> None:
    shop = Shop()
    admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
    shop.clock.advance("31d")
    await shop.call()
    await shop.skene.gatekeeper.release(admission)
    assert await shop.used() == 1


async def test_attempts_are_charged_for_good_where_that_was_asked_for() -> None:
    shop = Shop(freemium(3, charge="attempt"))
    admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
    assert admission.receipts == ()
    await shop.skene.gatekeeper.release(admission)
    assert await shop.used() == 1


# -- idempotency keys and subjects -------------------------------------------------------------------------


async def test_a_repeated_key_is_the_first_decision_again() -> None:
    shop = Shop()
    keeper = shop.skene.gatekeeper
    first = await keeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
    again = await keeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
    assert again.decision.reason is Reason.REPLAYED
    assert again.receipts == ()
    assert await shop.used() == 1
    with pytest.raises(IdempotencyConflict):
        await keeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="another")
    # The repetition relies on the charge, so it stays even if the first call fails after all.
    await keeper.release(first)
    assert await shop.used() == 1


async def test_a_key_whose_call_failed_is_free_again() -> None:
    shop = Shop()
    keeper = shop.skene.gatekeeper
    first = await keeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
    await keeper.release(first)
    afresh = await keeper.admit("ada", ask(shop), idempotency_key="k", fingerprint="f")
    assert afresh.decision.reason is Reason.WITHIN_LIMIT
    assert await shop.used() == 1


async def test_a_replay_warns_of_nothing() -> None:
    shop = Shop(freemium(2, notify_at=(0.5,)))
    keeper = shop.skene.gatekeeper
    shop.wire.cut = {"record_notice"}
    await keeper.admit("ada", ask(shop), idempotency_key="k")
    shop.wire.cut = set()
    await keeper.admit("ada", ask(shop), idempotency_key="k")
    assert shop.kinds == []


@pytest.mark.parametrize("subject", ["", None, 7, b"ada", True])
async def test_a_subject_is_text(subject: Any) -> None:
    shop = Shop()
    with pytest.raises(SubjectInvalid, match="a subject is a non-empty string"):
        await shop.call(subject)
    with pytest.raises(SubjectInvalid):
        await shop.skene.check(subject, "calls")
    assert shop.wire.verbs == []


@pytest.mark.parametrize("subject", ["x" * 10_000, "nul\0", "\ud800", "é", "\u202eada"])
async def test_any_text_is_a_subject_and_comes_back_as_it_was_given(subject: str) -> None:
    shop = Shop()
    assert (await shop.call(subject)).subject == subject
    assert (await shop.call(subject)).used == 2
    assert len(shop.memory.counts()[0][0].encode()) <= 200


# -- an outage ---------------------------------------------------------------------------------------------


async def test_an_outage_is_never_shown_as_a_limit() -> None:
    shop = Shop()
    shop.wire.cut = {"*"}
    for verb in (shop.call, lambda: shop.skene.check("ada", "calls"), lambda: shop.skene.usage("ada")):
        with pytest.raises(StorageUnavailable):
            await verb()
    assert (shop.memory.walls, shop.kinds) == ((), [])


async def test_who_prefers_it_lets_calls_through_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    shop = Shop(on_storage_error="allow")
    shop.wire.cut = {"*"}
    for _ in range(50):
        told = await shop.call()
        assert (told.allowed, told.reason, told.used) == (True, Reason.STORAGE_UNAVAILABLE, 0)
    assert len(caplog.records) == 1
    shop.clock.advance("1s")
    await shop.call()
    assert "49 more like this" in caplog.records[-1].getMessage()
    with pytest.raises(StorageUnavailable):  # who only looks is told the truth
        await shop.skene.check("ada", "calls")
    shop.wire.cut = set()
    assert (await shop.call()).used == 1


async def test_letting_through_includes_calls_whose_wall_cannot_be_written() -> None:
    shop = Shop(on_storage_error="allow")
    await shop.call(times=3)
    shop.wire.cut = {"open_wall"}
    assert (await shop.call()).reason is Reason.STORAGE_UNAVAILABLE
    shop.wire.cut = set()
    assert not (await shop.call()).allowed


async def test_an_unlimited_subject_is_counted_and_never_refused() -> None:
    shop = Shop(freemium(1, notify_at=(0.5,)))
    await shop.skene.set_plan("ada", "paid")
    told = await shop.call(times=20)
    assert (told.reason, told.used, told.limit) == (Reason.UNLIMITED, 20, None)
    assert (shop.memory.walls, shop.kinds) == ((), [])


# -- a slow storage ----------------------------------------------------------------------------------------


class Slow(MemoryStorage):
    """Takes its time for the count, and all the time it is given for the record of a refusal."""

    def __init__(self, counting: float) -> None:
        super().__init__()
        self.counting = counting
        self.given: list[float] = []

    async def consume(self, call: Consume) -> Counted:
        counted = await super().consume(call)
        if not counted.admitted:
            await anyio.sleep(self.counting)
        return counted

    async def open_wall(
        self, wall: Wall, drafts: tuple[Draft, ...], *, within: timedelta | None = None
    ) -> str:
        assert within is not None
        self.given.append(within.total_seconds())
        await anyio.sleep(self.given[-1])
        raise StorageUnavailable("no answer in time")


@pytest.mark.parametrize(("counting", "left"), [(0, 2.0), (1.2, 0.8), (2.5, 0.2)])
async def test_a_refusal_is_recorded_in_the_time_that_the_count_has_left(
    counting: float, left: float
) -> None:
    storage = Slow(counting)
    async with Skene(freemium(1), storage=storage, notifiers={"mail": Post()}, profile=profile) as skene:
        assert (await skene.consume("ada", "calls")).allowed
        began = anyio.current_time()
        with pytest.raises(StorageUnavailable):
            await skene.consume("ada", "calls")
        assert anyio.current_time() - began < max(2.0, counting + 0.2) + 0.5
    assert storage.given == [pytest.approx(left, abs=0.3)]


async def test_whoever_waits_for_anothers_record_waits_no_longer_than_for_their_own() -> None:
    storage = Slow(0)
    async with Skene(freemium(1), storage=storage, notifiers={"mail": Post()}, profile=profile) as skene:
        assert (await skene.consume("ada", "calls")).allowed
        took: list[float] = []

        async def one(counting: float) -> None:
            storage.counting = counting
            began = anyio.current_time()
            with pytest.raises(StorageUnavailable):
                await skene.consume("ada", "calls")
            took.append(anyio.current_time() - began)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(one, 1.5)
            await anyio.sleep(0.1)  # it counts
            tasks.start_soon(one, 0.7)  # and this one records, until 2.1 s after the start
    assert max(took) < 2.4
    assert len(storage.given) == 1

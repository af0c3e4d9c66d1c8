"""Many callers at once, through two storages over the same data, by the real clock."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import cycle, islice

import anyio
import anyio.lowlevel

from skene.engine.window import Edges, Rolling
from skene.errors import IdempotencyConflict
from skene.ports.counters import Consume, Counted
from skene.ports.outbox import Begun, Claimed, MessageState, Outcome
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    ConformanceBase,
    StorageFactory,
    call,
    charge,
    conversions,
    draft,
    gather,
    notice,
    update,
    used,
    wall,
)


@dataclass(frozen=True)
class _Pair:
    """Two storages, used in turn."""

    one: Storage
    two: Storage

    @classmethod
    async def open(cls, factory: StorageFactory) -> "_Pair":
        return cls(await factory(), await factory())

    async def consume(self, *calls: Consume) -> list[Counted]:
        return await gather(
            partial(storage.consume, each)
            for storage, each in zip(cycle((self.one, self.two)), calls, strict=False)
        )

    def each(self, times: int) -> list[Storage]:
        return list(islice(cycle((self.one, self.two)), times))


class ConcurrencyConformance(ConformanceBase):
    """L1 and its like, when everybody comes at once."""

    async def test_400_at_once_admit_exactly_100(self, storage_factory: StorageFactory) -> None:
        """L1, decision 3: 400 simultaneous first calls at limit 100 admit exactly 100, each counted once."""
        pair = await _Pair.open(storage_factory)
        results = await pair.consume(*[call()] * 400)
        assert sorted(r.tallies[0].used for r in results if r.admitted) == list(range(1, 101))
        assert await used(pair.one) == await used(pair.two) == 100

    async def test_400_at_once_in_a_rolling_window(self, storage_factory: StorageFactory) -> None:
        """L1: the same for a window that is kept in parts."""
        pair = await _Pair.open(storage_factory)
        results = await pair.consume(*[call(charge(rule=Rolling(timedelta(days=30))))] * 400)
        assert sum(r.admitted for r in results) == 100

    async def test_costs_never_pass_the_limit(self, storage_factory: StorageFactory) -> None:
        """L1: at 3 units a call 33 fit; with mixed costs the units admitted are the units counted."""
        pair = await _Pair.open(storage_factory)
        results = await pair.consume(*[call(charge(100, cost=3))] * 200)
        assert sum(r.admitted for r in results) == 33
        mixed = [charge(100, cost=1 + n % 7, meter="mixed") for n in range(200)]
        results = await pair.consume(*map(call, mixed))
        admitted = sum(r.tallies[0].charge.cost for r in results if r.admitted)
        assert admitted == await used(pair.one, charge(meter="mixed")) <= 100
        assert admitted > 100 - 7

    async def test_unlimited_loses_no_count(self, storage_factory: StorageFactory) -> None:
        """L2, decision 7: every one of 200 simultaneous calls of an unlimited subject is counted."""
        pair = await _Pair.open(storage_factory)
        results = await pair.consume(*[call(charge(None))] * 200)
        assert all(r.admitted for r in results)
        assert await used(pair.one, charge(None)) == 200

    async def test_crossed_counters_neither_deadlock_nor_overrun(
        self, storage_factory: StorageFactory
    ) -> None:
        """L1, decision 6: (A, B) and (B, A) at once; both counters end at the tighter limit."""
        pair = await _Pair.open(storage_factory)
        a = charge(150, meter="a", rule=Edges(()))
        b = charge(100, meter="b", step="freemium.1")
        results = await pair.consume(*[call(a, b), call(a, b), call(b, a), call(b, a)] * 100)
        assert sum(r.admitted for r in results) == 100
        assert (await used(pair.one, a), await used(pair.two, b)) == (100, 100)

    async def test_subjects_do_not_disturb_each_other(self, storage_factory: StorageFactory) -> None:
        """L1: 20 subjects with 20 calls each at limit 10."""
        pair = await _Pair.open(storage_factory)
        calls = [call(charge(10), subject=f"s{n % 20}") for n in range(400)]
        results = await pair.consume(*calls)
        assert sum(r.admitted for r in results) == 200
        assert {await used(pair.one, subject=f"s{n}") for n in range(20)} == {10}

    async def test_50_retries_at_once_are_one_charge(self, storage_factory: StorageFactory) -> None:
        """Decision 9: one key, 50 simultaneous calls: one is charged, 49 are told so."""
        pair = await _Pair.open(storage_factory)
        results = await pair.consume(*[call(charge(1), key="k1")] * 50)
        assert all(r.admitted for r in results)
        assert sum(r.replayed for r in results) == 49
        assert await used(pair.one) == 1

    async def test_two_requests_fight_for_a_key(self, storage_factory: StorageFactory) -> None:
        """Decision 9: of two requests under one key only one is ever charged; the other is a conflict."""
        pair = await _Pair.open(storage_factory)

        async def attempt(storage: Storage, fingerprint: str) -> str:
            try:
                counted = await storage.consume(call(key="k", fingerprint=fingerprint))
            except IdempotencyConflict:
                return "conflict"
            return "replayed" if counted.replayed else "charged"

        tries = [partial(attempt, s, f"POST /{n % 4 // 2}") for n, s in enumerate(pair.each(20))]
        outcomes = await gather(tries)
        assert outcomes.count("conflict") == 10
        assert outcomes.count("replayed") == 9
        assert await used(pair.one) == 1

    async def test_charges_and_refunds_balance(self, storage_factory: StorageFactory) -> None:
        """L2: 100 calls that are charged and given back at once leave nothing."""
        pair = await _Pair.open(storage_factory)

        async def fail(storage: Storage) -> bool:
            counted = await storage.consume(call())
            receipt = counted.tallies[0].receipt
            assert receipt is not None
            await storage.refund("ada", (receipt,))
            return counted.admitted

        assert all(await gather(partial(fail, storage) for storage in pair.each(100)))
        assert await used(pair.one) == 0

    async def test_cancelled_calls_are_charged_wholly_or_not_at_all(
        self, storage_factory: StorageFactory
    ) -> None:
        """L8, contract: cancelling callers in flight splits no call and leaks nothing."""
        storage = await storage_factory()
        a, b = charge(None, meter="a"), charge(None, meter="b", step="freemium.1")
        acknowledged = 0

        async def one() -> None:
            nonlocal acknowledged
            await storage.consume(call(a, b))
            acknowledged += 1

        begun = 0
        for turns in range(60):
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(one)
                    begun += 1
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
        with anyio.fail_after(30):
            counts = await used(storage, a), await used(storage, b)
            assert counts[0] == counts[1]
            assert acknowledged <= counts[0] <= begun
            assert (await storage.consume(call(a, b))).admitted

    async def test_50_walls_at_once_are_one(self, storage_factory: StorageFactory) -> None:
        """L4, decision 18: 50 simultaneous refusals: one wall, one message, all told the same id."""
        pair = await _Pair.open(storage_factory)
        now = (await pair.one.peek(call())).now
        at = ManualClock(now)
        ids = await gather(
            partial(s.open_wall, wall(at, f"w{n}"), (draft(f"upgrade_prompt:{n}", wall=f"w{n}"),))
            for n, s in enumerate(pair.each(50))
        )
        assert len(set(ids)) == 1
        (message,) = await pair.one.messages()
        assert message[0].wall == ids[0]
        assert [row.walls for row in await pair.one.funnel()] == [1]

    async def test_20_warnings_at_once_are_one(self, storage_factory: StorageFactory) -> None:
        """L4, decision 18: one crossing, one warning."""
        pair = await _Pair.open(storage_factory)
        counted = await pair.one.consume(call())
        due = notice(counted, "freemium.0@0.8", drafts=(draft("usage_warning:1"),))
        results = await gather(partial(s.record_notice, due) for s in pair.each(20))
        assert results.count(True) == 1
        assert len(await pair.one.messages()) == 1

    async def test_workers_never_share_a_message(self, storage_factory: StorageFactory) -> None:
        """L4, L10: ten workers empty an outbox of 60; every message is dealt with exactly once."""
        pair = await _Pair.open(storage_factory)
        at = ManualClock((await pair.one.peek(call())).now)
        for n in range(60):
            await pair.one.open_wall(wall(at, f"w{n}", subject=f"s{n}"), (draft(f"k{n}", subject=f"s{n}"),))

        async def work(storage: Storage) -> list[Claimed]:
            mine: list[Claimed] = []
            while claimed := await storage.claim(4, timedelta(minutes=5)):
                assert len(claimed) <= 4
                for message in claimed:
                    assert await storage.begin_attempt(message, {"to": message.draft.subject}) == Begun()
                    assert await storage.settle(message, Outcome(MessageState.SENT))
                mine.extend(claimed)
            return mine

        shares = await gather(partial(work, storage) for storage in pair.each(10))
        taken = [message.id for share in shares for message in share]
        assert len(taken) == len(set(taken)) == 60
        assert dict(await pair.one.outbox_counts()) == {MessageState.SENT: 60}

    async def test_tickets_are_never_drawn_twice(self, storage_factory: StorageFactory) -> None:
        """L5: 20 fetches begun at once have 20 numbers."""
        pair = await _Pair.open(storage_factory)
        tickets = await gather(partial(s.begin_sync, "cus_ada") for s in pair.each(20))
        assert len({ticket.number for ticket in tickets if ticket}) == 20

    async def test_ten_webhooks_at_once_are_one_conversion(self, storage_factory: StorageFactory) -> None:
        """L5, decision 20: duplicates that are applied simultaneously record one conversion."""
        pair = await _Pair.open(storage_factory)
        tickets = [await pair.one.begin_sync("cus_ada", "evt_1") for _ in range(10)]
        changes = await gather(
            partial(s.apply_billing, update(ticket, event="evt_1"))
            for s, ticket in zip(pair.each(10), tickets, strict=True)
        )
        assert sum(change.converted for change in changes) == 1
        assert await conversions(pair.one) == 1

    async def test_two_customers_of_one_subject_at_once(self, storage_factory: StorageFactory) -> None:
        """L5: simultaneous first words of two customers neither deadlock nor convert twice."""
        pair = await _Pair.open(storage_factory)
        names = ["cus_1", "cus_2"] * 5
        tickets = [await pair.one.begin_sync(name) for name in names]
        work: list[Callable[[], Awaitable[object]]] = [
            partial(s.apply_billing, update(t)) for s, t in zip(pair.each(10), tickets, strict=True)
        ]
        await gather(work)
        known = await pair.two.get_customer("ada")
        assert known is not None
        assert known.customer in names
        assert await conversions(pair.one) == 1

    async def test_one_look_up_for_20_refusals(self, storage_factory: StorageFactory) -> None:
        """Decision 14: of 20 simultaneous refusals one may ask the billing service."""
        pair = await _Pair.open(storage_factory)
        await pair.one.link("ada", "cus_ada")
        claims = await gather(partial(s.claim_lookup, "ada", timedelta(hours=1)) for s in pair.each(20))
        assert sorted(claims, key=str) == [None] * 19 + ["cus_ada"]

    async def test_an_event_is_new_to_one(self, storage_factory: StorageFactory) -> None:
        """Decision 16: of 20 deliveries at once one is new."""
        pair = await _Pair.open(storage_factory)
        news = await gather(partial(s.record_event, "evt_1", "ping") for s in pair.each(20))
        assert news.count(True) == 1

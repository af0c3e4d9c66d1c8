"""Billed use: every unit beyond those included is reported once, in the window it was used in."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from skene.engine.window import Edges, WindowRule
from skene.ports.counters import BilledUse, Consume, Counted
from skene.ports.outbox import MessageState
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    StorageFactory,
    apply,
    call,
    charge,
    gather,
)

__all__ = ["BilledConformance", "billed_call", "billing", "reports", "told"]


def billing(included: int = 0, *, meter: str = "calls") -> BilledUse:
    """What is reported of the paid plan."""
    return BilledUse("freemium", "freemium.0", meter, "paid", included, "api_calls")


def billed_call(
    cost: int = 1,
    *,
    cap: int | None = None,
    subject: str = "ada",
    rule: WindowRule | None = None,
    key: str | None = None,
) -> Consume:
    """A call whose use is put on the bill of those who pay."""
    item = charge({"free": 3, "paid": cap}, cost=cost)
    return call(replace(item, billed=("paid",), rule=rule or item.rule), subject=subject, key=key)


async def reports(storage: Storage, subject: str | None = None) -> list[Mapping[str, Any]]:
    """The data of all reports, oldest first."""
    return [one.data for one, _, _ in await storage.messages(subject) if one.kind == "usage"]


async def told(storage: Storage, subject: str | None = None) -> int:
    """Units reported so far."""
    return sum([int(one["units"]) for one in await reports(storage, subject)])


async def report(storage: Storage, included: int = 0) -> int:
    """Report everything; how many units are told now."""
    before = await told(storage)
    while await storage.report_billed(billing(included), 2) == 2:
        pass
    return await told(storage) - before


async def give_back(storage: Storage, counted: Counted, subject: str = "ada") -> None:
    """Give back what a call was charged."""
    receipts = counted.receipts
    assert receipts
    await storage.refund(subject, receipts)


class BilledConformance(ConformanceBase):
    """Marks, reports and corrections."""

    async def test_what_a_report_says(self, storage: Storage, clock: ManualClock) -> None:
        """One message for a counter, for the channel that bills, and nothing that cancels it."""
        await apply(storage)
        await storage.consume(billed_call(5))
        clock.advance("1h")
        assert await storage.report_billed(billing(2), 10) == 1
        ((message, state, _),) = await storage.messages("ada")
        assert state is MessageState.PENDING
        assert (message.kind, message.channel, message.template) == ("usage", "billing", "api_calls")
        assert (message.loop, message.step, message.subject, message.plan) == (
            *("freemium", "freemium.0"),
            *("ada", "paid"),
        )
        assert (message.cancel_on_upgrade, message.marketing, message.wall, message.journey) == (
            *(False, False),
            *(None, None),
        )
        assert message.data == {
            "customer": "cus_ada",
            "meter": "api_calls",
            "units": 3,
            "at": clock.now().isoformat(),
        }

    async def test_every_unit_is_reported_once(self, storage: Storage) -> None:
        """However often it is looked, and whatever is included."""
        await apply(storage)
        assert await report(storage) == 0
        for cost, owed in ((3, 0), (4, 2), (1, 1)):
            await storage.consume(billed_call(cost))
            assert await report(storage, included=5) == owed
            assert await report(storage, included=5) == 0
        assert len({one.key for one, _, _ in await storage.messages("ada")}) == 2

    async def test_only_use_on_a_billed_plan_is_reported(self, storage: Storage) -> None:
        """Use on the default plan before, and use that no charge calls billed, is nobody's bill."""
        await storage.consume(billed_call(3))
        await apply(storage)
        await storage.consume(call(charge(cost=4, meter="other")))
        assert await report(storage) == 0
        await storage.consume(billed_call(2))
        assert await report(storage) == 2

    async def test_a_refused_call_is_on_no_bill(self, storage: Storage) -> None:
        """A cap is a limit as any other."""
        await apply(storage)
        admitted = [(await storage.consume(billed_call(2, cap=5))).admitted for _ in range(4)]
        assert admitted == [True, True, False, False]
        assert await report(storage) == 4

    async def test_what_is_given_back_is_taken_off_the_bill(self, storage: Storage) -> None:
        """Before it was reported it never is; after that, too much was reported, and that is put right."""
        await apply(storage)
        first = await storage.consume(billed_call(4))
        second = await storage.consume(billed_call(3))
        await give_back(storage, first)
        assert await report(storage) == 3
        await give_back(storage, second)
        assert await report(storage) == -3
        assert await report(storage) == 0
        await storage.consume(billed_call(1))
        assert await report(storage) == 1

    async def test_a_window_that_is_over_is_reported_in_it(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Though the next one has begun: each owes what goes beyond its own included units."""
        await apply(storage)
        start = clock.now()
        await storage.consume(billed_call(4))
        assert await report(storage, included=1) == 3
        await storage.consume(billed_call(2))
        clock.advance(MONTH + timedelta(days=1))
        await storage.consume(billed_call(7))
        assert await report(storage, included=1) == 2 + 6
        assert await report(storage, included=1) == 0
        found = [(one["units"], datetime.fromisoformat(one["at"])) for one in await reports(storage)]
        last = start + MONTH - MICROSECOND
        assert sorted(found) == [(2, last), (3, start), (6, clock.now())]

    async def test_a_window_nobody_used_again(self, storage: Storage, clock: ManualClock) -> None:
        """It is reported in full, at its own last instant."""
        await apply(storage)
        last = clock.now() + MONTH - MICROSECOND
        await storage.consume(billed_call(4))
        clock.advance(2 * MONTH)
        assert await report(storage) == 4
        assert [one["at"] for one in await reports(storage)] == [last.isoformat()]

    async def test_a_late_give_back_corrects_its_own_window(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """And not the one that runs now."""
        await apply(storage)
        last = clock.now() + MONTH - MICROSECOND
        first = await storage.consume(billed_call(4))
        assert await report(storage) == 4
        clock.advance(MONTH)
        await storage.consume(billed_call(1))
        assert await report(storage) == 1
        await give_back(storage, first)
        assert await report(storage) == -4
        assert [(one["units"], one["at"]) for one in await reports(storage)][-1] == (-4, last.isoformat())
        assert await report(storage) == 0

    async def test_everything_given_back_before_the_window_ends(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """Nothing was used in it, and something was reported: the next window must not hide that."""
        await apply(storage)
        counted = await storage.consume(billed_call(4))
        assert await report(storage) == 4
        await give_back(storage, counted)
        clock.advance(MONTH)
        await storage.consume(billed_call(1))
        assert await report(storage) == -4 + 1

    async def test_windows_with_edges(self, storage: Storage, clock: ManualClock) -> None:
        """The same where windows follow a calendar, or the customer's billing periods."""
        now = clock.now()
        rule = Edges((now - timedelta(days=1), now + timedelta(days=1)))
        await apply(storage)
        await storage.consume(billed_call(4, rule=rule))
        await storage.consume(billed_call(1, rule=rule))
        clock.advance(timedelta(days=1))
        await storage.consume(billed_call(2, rule=rule))
        assert await report(storage) == 7
        assert sorted(one["units"] for one in await reports(storage)) == [2, 5]

    async def test_a_clock_that_steps_back(self, storage: Storage, clock: ManualClock) -> None:
        """A report names an instant of its window all the same."""
        await apply(storage)
        start = clock.now()
        await storage.consume(billed_call(4))
        clock.advance(timedelta(hours=-1))
        assert await report(storage) == 4
        assert [one["at"] for one in await reports(storage)] == [start.isoformat()]

    async def test_repeated_calls_are_on_the_bill_once(self, storage: Storage) -> None:
        """A replay is not charged, and so not billed."""
        await apply(storage)
        for _ in range(3):
            await storage.consume(billed_call(2, key="k1"))
        assert await report(storage) == 2

    async def test_who_is_no_customer_waits_in_nobodys_way(self, storage: Storage) -> None:
        """A plan set by hand is on no bill, until there is one."""
        for subject in ("ada", "bob", "zoe"):
            await storage.set_plan(subject, PAYING, default_plan="free", attribution=MONTH)
            await storage.consume(billed_call(2, subject=subject))
        await apply(storage, customer="cus_zoe", subject="zoe")
        assert await storage.report_billed(billing(), 2) == 1
        assert (await told(storage), await told(storage, "zoe")) == (2, 2)
        assert await storage.report_billed(billing(), 2) == 0
        await apply(storage, customer="cus_bob", subject="bob")
        assert await storage.report_billed(billing(), 2) == 1
        assert await told(storage, "bob") == 2

    async def test_reports_come_in_portions(self, storage: Storage) -> None:
        """As many as are asked for, until fewer are left."""
        for number in range(5):
            await apply(storage, customer=f"cus_{number}", subject=f"subject {number}")
            await storage.consume(billed_call(subject=f"subject {number}"))
        assert [await storage.report_billed(billing(), 2) for _ in range(4)] == [2, 2, 1, 0]
        assert await told(storage) == 5
        assert await storage.report_billed(billing(meter="other"), 2) == 0

    async def test_a_report_is_of_its_own_plan_and_customer(self, storage: Storage) -> None:
        """Whoever changed plans meanwhile owes what was used before."""
        await apply(storage)
        await storage.consume(billed_call(4))
        await apply(storage, replace(PAYING, plan="gold"))
        assert await report(storage) == 4

    async def test_90_calls_and_reports_at_once(self, storage_factory: StorageFactory) -> None:
        """From two storages, a third of the calls failing: what is told in the end is what was used."""
        one, two = await storage_factory(), await storage_factory()
        await apply(one)

        async def use(number: int) -> None:
            storage = (one, two)[number % 2]
            counted = await storage.consume(billed_call(1 + number % 3))
            if number % 3 == 0:
                await give_back(storage, counted)
            if number % 5 == 0:
                await storage.report_billed(billing(20), 5)

        await gather([partial(use, number) for number in range(90)])
        await one.report_billed(billing(20), 5)
        used = (await one.peek(billed_call())).tallies[0].used
        assert used == sum(1 + number % 3 for number in range(90) if number % 3)
        assert await told(one) == used - 20

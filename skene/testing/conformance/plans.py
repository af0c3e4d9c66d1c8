"""`Accounts`: fetches in any order, events, ties, look-ups. Conversions are in `conversions.py`."""

from dataclasses import replace
from datetime import timedelta
from itertools import permutations

import pytest

from skene.engine.standing import Standing
from skene.ports.accounts import Customer
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    PAYING,
    TRIAL,
    ConformanceBase,
    apply,
    call,
    charge,
    conversions,
    set_plan,
    update,
)

MINUTE = timedelta(minutes=1)
LIMITS = {"free": 1, "pro": 2, "paid": 3}
ORDERS = tuple(permutations(range(3)))


async def plan_of(storage: Storage, subject: str = "ada") -> str:
    """The plan that a call is counted under."""
    return (await storage.peek(call(charge(LIMITS), subject=subject))).plan


class SyncConformance(ConformanceBase):
    """Fetches and the order they end in."""

    async def test_an_update_is_the_subjects_record(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 14: what a fetch said is read back as it was said."""
        assert await storage.get_customer("ada") is None
        until = clock.now() + timedelta(days=14, microseconds=1)
        applied = await apply(storage, Standing("paid", until, paying=True), event="evt_1")
        assert (applied.subject, applied.stale, applied.before, applied.after) == (
            "ada",
            False,
            "free",
            "paid",
        )
        known = await storage.get_customer("ada")
        assert known == Customer("ada", "cus_ada", "paid", until, True, "ada@example.test")
        assert await storage.get_customer("bob") is None
        applied = await apply(storage, FREE, email=None)
        assert (applied.before, applied.after) == ("paid", "free")
        assert await storage.get_customer("ada") == Customer("ada", "cus_ada", "free", None, False, None)

    async def test_numbers_of_tickets_rise(self, storage: Storage) -> None:
        """L5: a fetch begun later has a higher number, whatever was applied in between."""
        numbers: list[int] = []
        for round_ in range(6):
            ticket = await storage.begin_sync("cus_ada")
            assert ticket is not None
            assert ticket.customer == "cus_ada"
            numbers.append(ticket.number)
            await storage.begin_sync("cus_bob")
            if round_ % 2:
                await storage.apply_billing(update(ticket))
        assert numbers == sorted(set(numbers))

    @pytest.mark.parametrize("order", ORDERS)
    async def test_the_fetch_begun_last_stands(self, storage: Storage, order: tuple[int, ...]) -> None:
        """L5, decision 16: in any order of completion, also when the last one lacks an end or a payment."""
        said = (PAYING, Standing("pro", paying=False), FREE)
        tickets = [await storage.begin_sync("cus_ada") for _ in said]
        applied = [
            (index, await storage.apply_billing(update(tickets[index], said[index], event=f"evt_{index}")))
            for index in order
        ]
        highest = -1
        for index, change in applied:
            assert change.stale == (index < highest)
            highest = max(highest, index)
            assert change.after == said[highest].plan
            if change.stale:
                assert change.before == change.after
                assert not change.converted
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.plan, known.paying) == ("free", False)
        assert await plan_of(storage) == "free"
        assert [await storage.begin_sync("cus_ada", f"evt_{n}") for n in range(3)] == [None] * 3

    @pytest.mark.parametrize("order", ORDERS)
    async def test_the_payment_begun_last_stands(self, storage: Storage, order: tuple[int, ...]) -> None:
        """L5: the same, ending in a payment: exactly one conversion, however often it was paying before."""
        said = (FREE, TRIAL, PAYING)
        tickets = [await storage.begin_sync("cus_ada") for _ in said]
        for index in order:
            await storage.apply_billing(update(tickets[index], said[index]))
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.plan, known.paying) == ("paid", True)
        assert await conversions(storage) == 1

    async def test_customers_have_tickets_of_their_own(self, storage: Storage) -> None:
        """L5: many fetches of one customer make no fetch of another stale."""
        early = await storage.begin_sync("cus_bob")
        for _ in range(5):
            await apply(storage)
        assert not (await storage.apply_billing(update(early, subject="bob"))).stale

    async def test_an_event_is_applied_once(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 16: de-duplicated by id, long after the billing service has given up sending it."""
        await apply(storage, event="evt_1")
        clock.advance(timedelta(days=399))
        await storage.prune()
        assert await storage.begin_sync("cus_ada", "evt_1") is None
        assert await storage.begin_sync("cus_bob", "evt_1") is None
        assert await storage.record_event("evt_1", "changed") is False
        assert await storage.begin_sync("cus_ada", "evt_2") is not None

    async def test_a_stale_fetch_still_records_its_event(self, storage: Storage) -> None:
        """Decision 16: Stripe need not send it again."""
        early = await storage.begin_sync("cus_ada", "evt_1")
        await apply(storage, event="evt_2")
        change = await storage.apply_billing(update(early, FREE, event="evt_1"))
        assert (change.stale, change.subject, change.before, change.after) == (True, "ada", "paid", "paid")
        assert await storage.begin_sync("cus_ada", "evt_1") is None

    async def test_a_failed_fetch_does_not_record_its_event(self, storage: Storage) -> None:
        """Decision 16: a ticket alone records nothing, so a repeated delivery is worked on."""
        assert await storage.begin_sync("cus_ada", "evt_1") is not None
        again = await storage.begin_sync("cus_ada", "evt_1")
        assert not (await storage.apply_billing(update(again, event="evt_1"))).stale

    async def test_events_without_a_fetch(self, storage: Storage) -> None:
        """Decision 16: recorded once; known to `begin_sync` too."""
        assert await storage.record_event("evt_1", "ping") is True
        assert await storage.record_event("evt_1", "ping") is False
        assert await storage.begin_sync("cus_ada", "evt_1") is None
        assert await storage.record_event("evt_2", "ping") is True

    async def test_an_end_that_has_passed(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 15: `before` and `after` are the plans in force, not those written down."""
        end = clock.now() + MINUTE
        assert (await apply(storage, Standing("paid", end, paying=True))).after == "paid"
        clock.set(end - MICROSECOND)
        assert await plan_of(storage) == "paid"
        clock.set(end)
        assert await plan_of(storage) == "free"
        change = await apply(storage, Standing("paid", end, paying=True))
        assert (change.before, change.after, change.converted) == ("free", "free", False)
        assert (await apply(storage, PAYING)).before == "free"


class TieConformance(ConformanceBase):
    """Which customer is which subject."""

    async def test_a_customer_without_a_subject_waits(self, storage: Storage) -> None:
        """Decision 17: its state is kept, and applies at once when it is linked."""
        change = await apply(storage, subject=None)
        assert (change.subject, change.stale, change.converted) == (None, False, False)
        assert await conversions(storage) == 0
        await storage.link("ada", "cus_ada")
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.customer, known.plan, known.paying) == ("cus_ada", "paid", True)
        assert known.email == "ada@example.test"
        assert await plan_of(storage) == "paid"
        await apply(storage, subject=None)
        assert await conversions(storage) == 1

    async def test_a_link_before_anything_is_known(self, storage: Storage) -> None:
        """Decision 17: the tie alone gives no plan; the first fetch does, naming nobody."""
        await storage.link("ada", "cus_ada")
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.subject, known.customer, known.plan, known.paying) == ("ada", "cus_ada", None, False)
        counted = await storage.consume(call(charge(LIMITS)))
        assert (counted.plan, counted.held_plan, counted.customer) == ("free", None, "cus_ada")
        change = await apply(storage, subject=None)
        assert (change.subject, change.before, change.after, change.converted) == (
            "ada",
            "free",
            "paid",
            True,
        )
        assert await plan_of(storage) == "paid"

    async def test_a_link_takes_no_plan_away(self, storage: Storage) -> None:
        """Decision 14: the last known plan stands while the customer is not known yet."""
        await set_plan(storage, Standing("pro"))
        await storage.link("ada", "cus_ada")
        assert await plan_of(storage) == "pro"
        await apply(storage, subject=None)
        assert await plan_of(storage) == "paid"

    async def test_linking_again_changes_nothing(self, storage: Storage) -> None:
        """Decision 17: a tie that is there already stays as it is."""
        await apply(storage)
        before = await storage.get_customer("ada")
        await storage.link("ada", "cus_ada")
        assert await storage.get_customer("ada") == before
        assert await conversions(storage) == 1

    async def test_a_tie_made_earlier_stands(self, storage: Storage) -> None:
        """Decision 17: what the provider's data says later does not move a customer."""
        await storage.link("ada", "cus_ada")
        assert (await apply(storage, subject="bob")).subject == "ada"
        assert await plan_of(storage) == "paid"
        assert await plan_of(storage, "bob") == "free"
        assert await storage.get_customer("bob") is None

    async def test_a_link_moves_a_customer(self, storage: Storage) -> None:
        """Decision 17: who loses the customer loses its plan; later fetches are the new subject's."""
        await apply(storage)
        await storage.link("bob", "cus_ada")
        assert (await plan_of(storage), await plan_of(storage, "bob")) == ("free", "paid")
        assert (await storage.peek(call())).customer is None
        assert (await apply(storage, Standing("pro"), subject="ada")).subject == "bob"
        assert (await plan_of(storage), await plan_of(storage, "bob")) == ("free", "pro")

    async def test_a_link_replaces_a_subjects_customer(self, storage: Storage) -> None:
        """Decision 17: the plan is the new customer's, and the old one's fetches are nobody's."""
        await apply(storage, Standing("pro"))
        await apply(storage, customer="cus_new", subject=None)
        await storage.link("ada", "cus_new")
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.customer, known.plan) == ("cus_new", "paid")
        assert (await apply(storage, FREE, subject=None)).subject is None
        assert await plan_of(storage) == "paid"

    async def test_a_second_customer_that_pays(self, storage: Storage) -> None:
        """L5: a subject whose customer gives nothing is given what another one in their name pays for."""
        await apply(storage, FREE)
        change = await apply(storage, PAYING, customer="cus_new")
        assert (change.subject, change.after, change.converted) == ("ada", "paid", True)
        assert await plan_of(storage) == "paid"
        assert (await apply(storage, FREE)).subject is None
        assert await plan_of(storage) == "paid"

    async def test_a_second_customer_takes_nothing(self, storage: Storage) -> None:
        """L5: a paying customer's subject is not taken over by another one that names it."""
        await apply(storage, PAYING)
        assert (await apply(storage, FREE, customer="cus_new")).subject is None
        known = await storage.get_customer("ada")
        assert known is not None
        assert (known.customer, known.plan) == ("cus_ada", "paid")

    async def test_a_plan_set_by_hand(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `set_plan`: as from billing, without a customer; billing's next word replaces it."""
        end = clock.now() + timedelta(days=3)
        change = await set_plan(storage, Standing("pro", end))
        assert (change.subject, change.before, change.after, change.stale) == ("ada", "free", "pro", False)
        assert await storage.get_customer("ada") == Customer("ada", None, "pro", end, False, None)
        assert (await storage.peek(call(charge(LIMITS)))).customer is None
        assert await plan_of(storage) == "pro"
        assert (await set_plan(storage, FREE)).before == "pro"
        await set_plan(storage, Standing("pro"))
        await apply(storage)
        assert await plan_of(storage) == "paid"
        await set_plan(storage, Standing("pro"))
        assert await plan_of(storage) == "pro"
        known = await storage.get_customer("ada")
        assert known is not None
        assert known.customer == "cus_ada"


class LookupConformance(ConformanceBase):
    """Asking billing just before a refusal."""

    async def test_only_customers_are_looked_up(self, storage: Storage) -> None:
        """Decision 14: there is nobody to ask about without a customer."""
        await set_plan(storage, Standing("pro"), subject="bob")
        assert await storage.claim_lookup("ada", MINUTE) is None
        assert await storage.claim_lookup("bob", MINUTE) is None

    async def test_a_look_up_once_per_interval(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 14: at most once a minute each, and it shows in what `consume` says."""
        await storage.link("ada", "cus_ada")
        await apply(storage, FREE, customer="cus_bob", subject="bob")
        assert (await storage.peek(call())).checked_at is None
        assert await storage.claim_lookup("ada", MINUTE) == "cus_ada"
        claimed = clock.now()
        assert await storage.claim_lookup("ada", MINUTE) is None
        assert await storage.claim_lookup("bob", MINUTE) == "cus_bob"
        clock.set(claimed + MINUTE - MICROSECOND)
        assert await storage.claim_lookup("ada", MINUTE) is None
        assert (await storage.consume(call(charge(0)))).checked_at == claimed
        clock.set(claimed + MINUTE)
        assert await storage.claim_lookup("ada", MINUTE) == "cus_ada"
        assert (await storage.peek(call())).checked_at == claimed + MINUTE
        assert await storage.claim_lookup("ada", MINUTE) is None

    async def test_an_update_keeps_the_look_up(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 14: the answer to a look-up is no reason for the next."""
        await storage.link("ada", "cus_ada")
        await storage.claim_lookup("ada", MINUTE)
        await apply(storage, FREE)
        await storage.apply_billing(replace(update(await storage.begin_sync("cus_ada"), FREE), email=None))
        assert await storage.claim_lookup("ada", MINUTE) is None
        assert (await storage.peek(call())).checked_at == clock.now()

"""`Holdings`: what a storage that counts elsewhere is told."""

from dataclasses import replace
from datetime import timedelta

from skene.engine.limits import OwnLimit
from skene.ports.grants import Grant
from skene.ports.holdings import HeldGrant, Holding
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    MONTH,
    PAYING,
    ConformanceBase,
    apply,
    call,
    charge,
    set_plan,
    update,
)

__all__ = ["HoldingConformance"]

DAY = timedelta(days=1)


async def holding(storage: Storage, subject: str = "ada") -> Holding:
    """What holds for one subject."""
    (found,) = await storage.holdings((subject,))
    return found


class HoldingConformance(ConformanceBase):
    """What counting must know of subjects."""

    async def test_nothing_holds_for_nobody(self, storage: Storage) -> None:
        """Of whom nothing is known, and when nobody is asked about."""
        assert await holding(storage) == Holding("ada")
        assert await storage.holdings(()) == ()

    async def test_a_plan_holds_as_it_was_written_down(self, storage: Storage, clock: ManualClock) -> None:
        """With its end, even when that has passed: whoever counts has a clock."""
        until = clock.now() + DAY
        await set_plan(storage, replace(PAYING, until=until))
        assert await holding(storage) == Holding("ada", "paid", until)
        clock.advance(2 * DAY)
        assert await holding(storage) == Holding("ada", "paid", until)

    async def test_what_a_customer_has_holds(self, storage: Storage, clock: ManualClock) -> None:
        """The id, features, the billing cycle's edges, and when billing was asked last."""
        cycle = (clock.now() - DAY, clock.now() + MONTH)
        ticket = await storage.begin_sync("cus_ada")
        said = replace(update(ticket, cycle=cycle), features=("export", "sso"))
        await storage.apply_billing(said)
        known = await holding(storage)
        assert (known.plan, known.customer, known.features) == ("paid", "cus_ada", ("export", "sso"))
        assert (known.cycle, known.checked_at) == (cycle, None)
        assert await storage.claim_lookup("ada", DAY) == "cus_ada"
        assert (await holding(storage)).checked_at == clock.now()

    async def test_a_tie_alone_gives_no_plan(self, storage: Storage) -> None:
        """Nothing was said of the customer yet."""
        await storage.link("ada", "cus_ada")
        assert await holding(storage) == Holding("ada", customer="cus_ada")

    async def test_own_limits_hold(self, storage: Storage, clock: ManualClock) -> None:
        """Until they are over or taken back, each for its counter."""
        await storage.set_override(Override("ada", "calls", 7))
        await storage.set_override(Override("ada", "exports", None, DAY))
        calls, exports = OwnLimit(7), OwnLimit(None, clock.now() + DAY)
        assert (await holding(storage)).limits == {"calls": calls, "exports": exports}
        assert await storage.end_override("ada", "calls")
        assert (await holding(storage)).limits == {"exports": exports}

    async def test_what_is_left_of_grants_holds(self, storage: Storage, clock: ManualClock) -> None:
        """In the order they were made; spent ones are gone."""
        expires = clock.now() + DAY
        await storage.grant(Grant("first", "ada", "calls", 2))
        await storage.grant(Grant("then", "ada", "calls", 5))
        await storage.grant(Grant("soon", "ada", "exports", 9, expires))
        for _ in range(3):
            assert (await storage.consume(call(charge(0)))).admitted
        then, soon = (await holding(storage)).grants
        assert (then.key, then.meter, then.left, then.expires_at) == ("then", "calls", 4, None)
        assert soon == HeldGrant("soon", "exports", soon.number, 9, expires)
        assert then.number < soon.number

    async def test_who_was_merged_holds_what_the_other_does(self, storage: Storage) -> None:
        """Under the other's name, whether something is known of that one or not."""
        await storage.grant(Grant("gift", "guest", "calls", 3))
        await storage.merge("guest", "ada")
        told = await holding(storage, "guest")
        assert (told.subject, [one.left for one in told.grants]) == ("ada", [3])
        await set_plan(storage, PAYING)
        assert (await holding(storage, "guest")).plan == "paid"
        assert await holding(storage, "guest") == await holding(storage)

    async def test_many_are_told_in_their_order(self, storage: Storage) -> None:
        """Each as if it had been asked about alone, however often it is."""
        for subject in ("bob", "eve"):
            await apply(storage, customer=f"cus_{subject}", subject=subject)
            await storage.grant(Grant("gift", subject, "calls", 3))
        await storage.merge("guest", "bob")
        names = ("eve", "nobody", "guest", "bob", "eve")
        assert await storage.holdings(names) == tuple([await holding(storage, name) for name in names])
        crowd = [f"user-{number}" for number in range(999)]
        assert await storage.holdings([*crowd, "eve"]) == (
            *(Holding(name) for name in crowd),
            await holding(storage, "eve"),
        )

    async def test_of_whom_is_forgotten_nothing_holds(self, storage: Storage) -> None:
        """As of nobody."""
        await apply(storage)
        await storage.grant(Grant("gift", "ada", "calls", 3))
        await storage.set_override(Override("ada", "calls", 7))
        await storage.forget("ada")
        assert await holding(storage) == Holding("ada")

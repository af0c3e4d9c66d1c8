"""`Overrides`, and how `Counters` holds them in the plan's place."""

from dataclasses import replace
from datetime import timedelta
from functools import partial

from skene.engine.standing import Standing
from skene.ports.counters import Counted
from skene.ports.grants import Grant
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    MICROSECOND,
    PAYING,
    ConformanceBase,
    StorageFactory,
    apply,
    call,
    charge,
    draft,
    gather,
    set_plan,
)

__all__ = ["OverrideConformance"]

DAY = timedelta(days=1)


async def override(
    storage: Storage, limit: int | None, *, lasts: timedelta | None = None, subject: str = "ada"
) -> None:
    """Give a subject another limit on its calls."""
    await storage.set_override(Override(subject, "calls", limit, lasts, "asked nicely"))


async def limit(storage: Storage, planned: int | None = 3, *, subject: str = "ada") -> int | None:
    """The limit that a call would meet."""
    return (await storage.peek(call(charge(planned), subject=subject))).tallies[0].limit


async def admitted(storage: Storage, planned: int | None, times: int) -> int:
    """How many of so many calls are admitted, one after another."""
    return sum([(await storage.consume(call(charge(planned)))).admitted for _ in range(times)])


class OverrideConformance(ConformanceBase):
    """Other limits for single subjects."""

    async def test_an_override_is_the_limit(self, storage: Storage) -> None:
        """More than the plan's or less, none at all, or nothing; for whom it is and for nobody else."""
        assert await admitted(storage, 3, 5) == 3
        await override(storage, 5)
        assert await admitted(storage, 3, 5) == 2
        assert await limit(storage) == 5
        await override(storage, 2)
        counted = await storage.consume(call(charge(3)))
        assert (counted.admitted, counted.tallies[0].limit, counted.tallies[0].used) == (False, 2, 5)
        await override(storage, None)
        assert await admitted(storage, 3, 5) == 5
        await override(storage, 0)
        assert await admitted(storage, None, 1) == 0
        assert await limit(storage, subject="bob") == 3

    async def test_an_override_outlives_plans(self, storage: Storage) -> None:
        """It holds on every plan that the limits know, and on the default for one that they do not."""
        await override(storage, 7)
        await set_plan(storage, PAYING)
        assert await limit(storage) == 7
        counted = await storage.consume(call(charge(3)))
        assert (counted.plan, counted.tallies[0].receipt and counted.tallies[0].receipt.plan) == (
            "paid",
            "paid",
        )
        await set_plan(storage, Standing("gold"))
        counted = await storage.consume(call(charge(3)))
        assert (counted.plan, counted.held_plan, counted.tallies[0].limit) == ("free", "gold", 7)

    async def test_an_override_is_of_one_counter(self, storage: Storage) -> None:
        """By its exact name; the others of a call keep the plan's limit."""
        await override(storage, 9)

        def limits(counted: Counted) -> list[int | None]:
            return [tally.limit for tally in counted.tallies]

        both = call(charge(3, meter="calls:/a"), charge(3), charge(4, meter="exports"))
        assert limits(await storage.peek(both)) == [3, 9, 4]
        assert limits(await storage.consume(both)) == [3, 9, 4]

    async def test_a_counter_that_only_watches_refuses_nobody(self, storage: Storage) -> None:
        """Not even with an override: a loop in shadow mode sees everything and stops nothing."""
        await override(storage, 1)
        watching = replace(charge(None), watched=True)
        for used in (1, 2, 3):
            counted = await storage.consume(call(watching))
            assert (counted.admitted, counted.tallies[0].used) == (True, used)

    async def test_an_override_ends_by_itself(self, storage: Storage, clock: ManualClock) -> None:
        """At its last instant it holds, at the next the plan's limit does."""
        await override(storage, 5, lasts=DAY)
        clock.advance(DAY - MICROSECOND)
        assert await limit(storage) == 5
        clock.advance(MICROSECOND)
        assert await limit(storage) == 3
        assert not await storage.end_override("ada", "calls")
        (told,) = await storage.overrides("ada")
        assert (told.expires_at, told.ended_at, told.in_force(clock.now())) == (clock.now(), None, False)

    async def test_an_override_until_an_instant(self, storage: Storage, clock: ManualClock) -> None:
        """As one for a time, which ends at that instant."""
        ends = clock.now() + DAY
        made = await storage.set_override(Override("ada", "calls", 5, ends))
        assert made.expires_at == ends
        clock.set(ends - MICROSECOND)
        assert await limit(storage) == 5
        clock.set(ends)
        assert await limit(storage) == 3

    async def test_grants_pay_beyond_an_override(self, storage: Storage) -> None:
        """As they pay beyond a plan's limit."""
        await override(storage, 2)
        await storage.grant(Grant("k", "ada", "calls", 2))
        assert await limit(storage, 100) == 4
        assert await admitted(storage, 100, 9) == 4

    async def test_every_override_is_kept(self, storage: Storage, clock: ManualClock) -> None:
        """One takes the place of another; both are told, the oldest first."""
        first = clock.now()
        made = await storage.set_override(Override("ada", "calls", 2**63 - 1, DAY, "asked ☃ nicely"))
        assert (made.subject, made.meter, made.limit, made.reason) == (
            "ada",
            "calls",
            2**63 - 1,
            "asked ☃ nicely",
        )
        assert (made.set_at, made.expires_at, made.ended_at) == (first, first + DAY, None)
        second = clock.advance("1h")
        other = await storage.set_override(Override("ada", "exports", None))
        again = await storage.set_override(Override("ada", "calls", 0))
        one, two, three = await storage.overrides("ada")
        assert (one.limit, one.expires_at, one.ended_at) == (made.limit, made.expires_at, second)
        assert (two, three) == (other, again)
        assert await storage.end_override("ada", "calls")
        assert not await storage.end_override("ada", "calls")
        assert not await storage.end_override("bob", "calls")
        assert [told.ended_at for told in await storage.overrides("ada")] == [second, None, second]
        assert await storage.overrides("bob") == ()
        assert await limit(storage) == 3
        exports = call(charge(3, meter="exports"))
        assert (await storage.peek(exports)).tallies[0].limit is None

    async def test_an_override_makes_nobody_a_customer(self, storage: Storage) -> None:
        """A subject that billing never heard of holds the default plan, and can become a customer."""
        await override(storage, 5)
        known = await storage.get_customer("ada")
        assert known is None or (known.plan, known.customer, known.paying) == (None, None, False)
        applied = await apply(storage)
        assert (applied.before, applied.after, applied.converted) == ("free", "paid", True)
        assert await limit(storage) == 5

    async def test_who_loses_a_customer_keeps_the_override(self, storage: Storage) -> None:
        """It was not the customer who had it."""
        await apply(storage)
        await override(storage, 5)
        await storage.link("bob", "cus_ada")
        assert await limit(storage) == 5
        counted = await storage.peek(call(charge(3)))
        assert (counted.plan, counted.customer) == ("free", None)
        assert await limit(storage, subject="bob") is None
        assert await storage.end_override("ada", "calls")
        assert await limit(storage) == 3

    async def test_messages_go_with_an_override(self, storage: Storage) -> None:
        """In the same transaction: there is none for what has not changed."""
        await storage.set_override(Override("ada", "calls", 5), (draft("event:set"),))
        assert await storage.end_override("ada", "calls", (draft("event:ended"),))
        assert not await storage.end_override("ada", "calls", (draft("event:ended again"),))
        keys = [message.key for message, _, _ in await storage.messages("ada")]
        assert keys == ["event:set", "event:ended"]

    async def test_overrides_at_once_leave_one_in_force(self, storage_factory: StorageFactory) -> None:
        """Whichever came last; it is the one that counts."""
        one, two = await storage_factory(), await storage_factory()

        async def allow(number: int) -> None:
            await override((one, two)[number % 2], 10 + number)

        await gather([partial(allow, number) for number in range(12)])
        told = await one.overrides("ada")
        (in_force,) = [each for each in told if each.ended_at is None]
        assert (len(told), await limit(two)) == (12, in_force.limit)

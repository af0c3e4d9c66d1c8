"""`Grants`, and how `Counters` spends what was granted."""

from datetime import timedelta

from skene.engine.window import Edges
from skene.ports.counters import Charge, Counted
from skene.ports.grants import Grant
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    MONTH,
    PAYING,
    ConformanceBase,
    call,
    charge,
    set_plan,
)

__all__ = ["DAY", "GrantConformance", "admitted", "give", "spent", "told"]

DAY = timedelta(days=1)


async def give(
    storage: Storage,
    units: int,
    key: str = "invited",
    *,
    lasts: timedelta | None = None,
    meter: str = "calls",
    subject: str = "ada",
) -> bool:
    """Grant units."""
    return await storage.grant(Grant(key, subject, meter, units, lasts))


async def spent(storage: Storage, subject: str = "ada") -> dict[str, int]:
    """What is spent of each grant, oldest first."""
    return {one.key: one.spent for one in await storage.grants(subject)}


async def admitted(storage: Storage, item: Charge, times: int) -> int:
    """How many of so many calls are admitted, one after another."""
    return sum([(await storage.consume(call(item))).admitted for _ in range(times)])


def told(counted: Counted) -> tuple[int | None, int, int]:
    """Limit, use and granted units, as a call's first counter reports them."""
    tally = counted.tallies[0]
    return tally.limit, tally.used, tally.granted


class GrantConformance(ConformanceBase):
    """Making grants, and spending them."""

    async def test_a_grant_until_an_instant(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `Grant.expires`: until then it can be spent, however long that is; at it no more."""
        ends = clock.now() + DAY + MICROSECOND
        await storage.grant(Grant("k", "ada", "calls", 2, ends))
        (made,) = await storage.grants("ada")
        assert made.expires_at == ends
        clock.set(ends - MICROSECOND)
        assert await admitted(storage, charge(0), 1) == 1
        clock.set(ends)
        assert await admitted(storage, charge(0), 1) == 0

    async def test_a_grant_is_kept_as_it_was_made(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `grant`: the storage's clock decides when it expires; the oldest is listed first."""
        now = clock.now()
        whole = Grant("invited:bob", "ada", "calls", 2**63 - 1, DAY, "invited ☃ a friend", "referral")
        assert await storage.grant(whole)
        clock.advance("1h")
        assert await storage.grant(Grant("another", "ada", "tokens", 1))
        one, two = await storage.grants("ada")
        assert (one.key, one.subject, one.meter, one.units, one.spent) == (
            *("invited:bob", "ada", "calls"),
            *(2**63 - 1, 0),
        )
        assert (one.granted_at, one.expires_at, one.reason, one.loop) == (
            *(now, now + DAY),
            *("invited ☃ a friend", "referral"),
        )
        assert (two.key, two.granted_at, two.expires_at, two.reason, two.loop) == (
            *("another", now + timedelta(hours=1)),
            *(None, "", None),
        )
        assert await storage.grants("bob") == ()

    async def test_a_key_grants_once(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `grant`: for ever, for each subject; whatever else it says the second time."""
        assert await give(storage, 5, lasts=DAY)
        assert not await give(storage, 7, meter="tokens")
        assert await give(storage, 3, subject="bob")
        assert await admitted(storage, charge(0), 9) == 5
        clock.advance("400d")
        await storage.prune()
        assert not await give(storage, 5)
        assert [(one.units, one.meter) for one in await storage.grants("ada")] == [(5, "calls")]

    async def test_the_plans_units_go_first(self, storage: Storage) -> None:
        """A grant is touched when the limit leaves no room, and not before."""
        await give(storage, 2)
        for number in range(1, 4):
            assert told(await storage.consume(call(charge(3)))) == (5, number, 2)
        assert await spent(storage) == {"invited": 0}
        assert told(await storage.consume(call(charge(3)))) == (5, 4, 1)
        assert told(await storage.consume(call(charge(3)))) == (5, 5, 0)
        assert await spent(storage) == {"invited": 2}
        refused = await storage.consume(call(charge(3)))
        assert not refused.admitted
        assert told(refused) == (5, 5, 0)

    async def test_a_call_may_be_paid_in_part(self, storage: Storage) -> None:
        """A call of 4 units with room for 3 takes 1 from the grant; one that does not fit takes nothing."""
        await give(storage, 5)
        assert told(await storage.consume(call(charge(3, cost=4)))) == (8, 4, 4)
        refused = await storage.consume(call(charge(3, cost=5)))
        assert not refused.admitted
        assert told(refused) == (8, 4, 4)
        assert await spent(storage) == {"invited": 1}
        assert (await storage.consume(call(charge(3, cost=4)))).admitted

    async def test_granted_units_are_spent_once(self, storage: Storage, clock: ManualClock) -> None:
        """Not once in every window: the next one has the plan's limit again, and what is left."""
        await give(storage, 5)
        assert await admitted(storage, charge(2), 4) == 4
        clock.advance(MONTH)
        assert told(await storage.peek(call(charge(2)))) == (5, 0, 3)
        assert await admitted(storage, charge(2), 9) == 5
        clock.advance(MONTH)
        assert told(await storage.peek(call(charge(2)))) == (2, 0, 0)
        assert await admitted(storage, charge(2), 9) == 2

    async def test_a_new_window_of_a_calendar(self, storage: Storage, clock: ManualClock) -> None:
        """The same where windows lie between edges."""
        start = clock.now()
        item = charge(1, rule=Edges((start, start + DAY, start + 2 * DAY)))
        await give(storage, 3)
        assert await admitted(storage, item, 2) == 2
        clock.advance(DAY)
        assert told(await storage.peek(call(item))) == (3, 0, 2)
        assert await admitted(storage, item, 9) == 3

    async def test_a_plan_without_the_feature(self, storage: Storage) -> None:
        """A limit of 0 is no obstacle to what was granted."""
        assert told(await storage.peek(call(charge(0)))) == (0, 0, 0)
        await give(storage, 2)
        assert told(await storage.peek(call(charge(0)))) == (2, 0, 2)
        assert await admitted(storage, charge(0), 5) == 2

    async def test_no_limit_spends_no_grant(self, storage: Storage) -> None:
        """Whoever is unlimited keeps what was granted, and finds it again after a downgrade."""
        await give(storage, 2)
        await set_plan(storage, PAYING)
        assert told(await storage.consume(call(charge(1, cost=50)))) == (None, 50, 2)
        await set_plan(storage, FREE)
        assert await spent(storage) == {"invited": 0}
        assert await admitted(storage, charge(1), 9) == 3

    async def test_two_plans_spend_the_same_grant(self, storage: Storage) -> None:
        """Use is counted per plan; a grant is the subject's, whatever the plan."""
        item = charge({"free": 1, "paid": 2})
        await give(storage, 5)
        assert await admitted(storage, item, 3) == 3
        await set_plan(storage, PAYING)
        assert told(await storage.peek(call(item))) == (5, 0, 3)
        assert await admitted(storage, item, 9) == 5
        await set_plan(storage, FREE)
        assert told(await storage.peek(call(item))) == (3, 3, 0)

    async def test_a_grant_is_for_one_meter_and_subject(self, storage: Storage) -> None:
        """Names are exact: neither a longer name nor another case is the same counter."""
        await give(storage, 5, meter="calls:/api/x")
        await give(storage, 5, "b", meter="Calls")
        await give(storage, 5, "c", subject="bob")
        assert not (await storage.consume(call(charge(0)))).admitted
        assert (await storage.consume(call(charge(0, meter="calls:/api/x")))).admitted
        assert (await storage.consume(call(charge(0), subject="bob"))).admitted

    async def test_a_grant_ends(self, storage: Storage, clock: ManualClock) -> None:
        """Half open: a microsecond before its end it is good, at its end it is gone, with what is left."""
        await give(storage, 3, lasts=DAY)
        assert await admitted(storage, charge(0), 1) == 1
        clock.advance(DAY - MICROSECOND)
        assert told(await storage.consume(call(charge(0)))) == (3, 2, 1)
        clock.advance(MICROSECOND)
        refused = await storage.consume(call(charge(0)))
        assert not refused.admitted
        assert told(refused) == (2, 2, 0)

    async def test_what_expires_first_is_spent_first(self, storage: Storage, clock: ManualClock) -> None:
        """Then the oldest; one that never expires waits for all others."""
        await give(storage, 2, "for ever")
        await give(storage, 2, "two days", lasts=2 * DAY)
        await give(storage, 2, "a day", lasts=DAY)
        await give(storage, 2, "a day, too", lasts=DAY)
        assert (await storage.consume(call(charge(0, cost=3)))).admitted
        assert await spent(storage) == {"for ever": 0, "two days": 0, "a day": 2, "a day, too": 1}
        clock.advance(DAY)
        assert (await storage.consume(call(charge(0, cost=3)))).admitted
        assert await spent(storage) == {"for ever": 1, "two days": 2, "a day": 2, "a day, too": 1}

    async def test_use_of_a_lower_limit(self, storage: Storage) -> None:
        """A limit that was lowered below the use admits what is granted, and says so."""
        assert await admitted(storage, charge(9), 9) == 9
        await give(storage, 2)
        assert told(await storage.peek(call(charge(5)))) == (11, 9, 2)
        assert await admitted(storage, charge(5), 9) == 2
        assert await spent(storage) == {"invited": 2}

    async def test_a_limit_that_was_raised(self, storage: Storage) -> None:
        """What a grant has paid takes no room of the plan, then or later."""
        await give(storage, 3)
        assert await admitted(storage, charge(2), 4) == 4
        assert told(await storage.peek(call(charge(5)))) == (8, 4, 1)
        assert await admitted(storage, charge(5), 9) == 4
        assert await spent(storage) == {"invited": 3}

    async def test_several_counters(self, storage: Storage) -> None:
        """Decision 6: all admit or none is charged, and no grant spent."""
        a, b = charge(1, meter="a", cost=2), charge(1, meter="b", step="freemium.1", cost=2)
        await give(storage, 5, "a", meter="a")
        assert not (await storage.consume(call(a, b))).admitted
        assert await spent(storage) == {"a": 0}
        await give(storage, 5, "b", meter="b")
        counted = await storage.consume(call(b, a))
        assert [(tally.limit, tally.used) for tally in counted.tallies] == [(6, 2), (6, 2)]
        assert await spent(storage) == {"a": 1, "b": 1}

    async def test_looking_spends_nothing(self, storage: Storage) -> None:
        """Contract of `peek`."""
        await give(storage, 2)
        for cost, fits in ((2, True), (3, False)):
            seen = await storage.peek(call(charge(0, cost=cost)))
            assert seen.admitted == fits
            assert told(seen) == (2, 0, 2)
        assert await spent(storage) == {"invited": 0}

    async def test_a_repetition_spends_nothing(self, storage: Storage) -> None:
        """Decision 9: the same key again is free."""
        await give(storage, 2)
        assert (await storage.consume(call(charge(0), key="k1"))).admitted
        again = await storage.consume(call(charge(0), key="k1"))
        assert again.replayed
        assert told(again) == (2, 1, 1)
        assert await spent(storage) == {"invited": 1}

    async def test_the_greatest_grants(self, storage: Storage) -> None:
        """Contract: units up to 2**63-1 each; what is reported stays within what a column holds."""
        await give(storage, 2**63 - 1, "a")
        await give(storage, 2**63 - 1, "b")
        tally = (await storage.consume(call(charge(1, cost=3)))).tallies[0]
        assert (tally.limit, tally.used) == (2**63 - 1, 3)
        assert 2**63 - 3 <= tally.granted <= 2**63 - 1
        assert await spent(storage) == {"a": 2, "b": 0}

    async def test_the_forgotten_have_no_grants(self, storage: Storage) -> None:
        """Decision 31: who comes back may be granted anew; others keep theirs."""
        await give(storage, 2)
        await give(storage, 2, subject="bob")
        assert await storage.forget("ada") == 1
        assert await storage.grants("ada") == ()
        assert not (await storage.consume(call(charge(0)))).admitted
        assert await give(storage, 2)
        assert [one.units for one in await storage.grants("bob")] == [2]

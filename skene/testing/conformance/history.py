"""`History`: another limit held against what was used."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from skene.engine.standing import Standing
from skene.ports.grants import Grant
from skene.ports.history import Change, WhatIf
from skene.ports.overrides import Override
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
    wall,
)

__all__ = ["HistoryConformance"]

CHANGE = Change("calls", "free", 4, ("freemium.0", "freemium.0@shadow"))


async def use(storage: Storage, *, meter: str = "calls", **units: int) -> None:
    """Count units of subjects, each in one call."""
    for subject, cost in units.items():
        assert (await storage.consume(call(charge(cost=cost, meter=meter), subject=subject))).admitted


async def tried(storage: Storage, since: datetime, change: Change = CHANGE) -> WhatIf:
    """The figures, but for whether past windows are among them."""
    found = await storage.what_if(change, since)
    if found is None:
        pytest.skip("this storage cannot read the counters of all subjects together")
    return replace(found, past=True)


class HistoryConformance(ConformanceBase):
    """What another limit would have stopped."""

    async def test_nothing_was_used(self, storage: Storage, clock: ManualClock) -> None:
        """No subjects, no windows."""
        assert await tried(storage, clock.now()) == WhatIf()

    async def test_units_beyond_a_limit(self, storage: Storage, clock: ManualClock) -> None:
        """Up to the limit nobody is stopped; beyond it each window is one, with the units too many."""
        since = clock.now()
        await use(storage, ada=4, bob=5, cy=10)
        await use(storage, meter="exports", ada=50)
        await set_plan(storage, PAYING, subject="dan")
        await use(storage, dan=70)
        over = WhatIf(subjects=3, windows=3, over_subjects=2, over_windows=2, over_units=7)
        assert await tried(storage, since) == over
        assert await tried(storage, since, replace(CHANGE, limit=10)) == WhatIf(subjects=3, windows=3)
        assert await tried(storage, since, replace(CHANGE, limit=None)) == WhatIf(subjects=3, windows=3)
        nothing = await tried(storage, since, replace(CHANGE, limit=0))
        assert (nothing.over_subjects, nothing.over_units) == (3, 19)
        paid = await tried(storage, since, replace(CHANGE, plan="paid", limit=60))
        assert (paid.subjects, paid.over_units) == (1, 10)

    async def test_windows_that_are_over(self, storage: Storage, clock: ManualClock) -> None:
        """They count while they had not ended by then, where they are kept."""
        since = clock.now()
        await use(storage, ada=5, bob=9)
        clock.advance(MONTH)
        await use(storage, ada=6)
        found = await storage.what_if(CHANGE, since)
        if found is None:
            pytest.skip("this storage cannot read the counters of all subjects together")
        windows, units = (3, 8) if found.past else (2, 7)
        assert (found.subjects, found.windows, found.over_windows, found.over_units) == (
            2,
            windows,
            windows,
            units,
        )
        before = await tried(storage, since + MONTH - MICROSECOND)
        assert (before.subjects, before.windows) == (2, windows)
        after = await tried(storage, since + MONTH)  # at its end a window is over
        assert (after.subjects, after.windows, after.over_units) == (1, 1, 2)

    async def test_who_paid_and_when(self, storage: Storage, clock: ManualClock) -> None:
        """After the window opened in which they would have been stopped; neither before nor others."""
        since = clock.now()
        for subject in ("before", "both"):
            await set_plan(storage, PAYING, subject=subject)
        clock.advance("1h")
        for subject in ("before", "both"):
            await set_plan(storage, FREE, subject=subject)
        clock.advance("1h")
        await use(storage, after=5, before=5, both=5, never=5, little=1)
        clock.advance("1h")
        for subject in ("after", "both", "little"):
            await set_plan(storage, PAYING, subject=subject)
        found = await tried(storage, since)
        assert (found.over_subjects, found.over_paid) == (4, 2)

    async def test_limits_of_their_own_and_grants(self, storage: Storage, clock: ManualClock) -> None:
        """Who had another limit in that time is left out; who was granted units is told apart."""
        since = clock.advance("90d")
        await use(storage, ada=5, bob=5, cy=5, dan=5)
        await storage.set_override(Override("ada", "calls", 3))
        await storage.set_override(Override("bob", "exports", 3))
        await storage.set_override(Override("cy", "calls", 3, timedelta(hours=1)))
        await storage.grant(Grant("k", "dan", "calls", 1))
        await storage.grant(Grant("k", "bob", "exports", 1))
        found = await tried(storage, since)
        assert (found.subjects, found.own_limits) == (2, 2)
        assert (found.over_subjects, found.over_granted, found.over_units) == (2, 1, 2)
        clock.advance("2h")
        assert (await tried(storage, clock.now())).own_limits == 1

    async def test_who_met_a_wall(self, storage: Storage, clock: ManualClock) -> None:
        """Of this limit and plan, shadow walls too, since then; each subject once."""
        await storage.open_wall(wall(clock, "old", subject="early", lasts=timedelta(hours=1)), ())
        since = clock.advance("1h")
        await use(storage, ada=5, bob=1)
        await storage.open_wall(wall(clock, "a", subject="ada", lasts=timedelta(hours=1)), ())
        await storage.open_wall(wall(clock, "b", subject="bob", step="freemium.0@shadow", shadow=True), ())
        await storage.open_wall(wall(clock, "c", subject="cy", plan="team"), ())
        await storage.open_wall(wall(clock, "d", subject="dan", step="other.0"), ())
        clock.advance("2h")
        await storage.open_wall(wall(clock, "again", subject="ada"), ())
        found = await tried(storage, since)
        assert (found.walled, found.walled_over) == (2, 1)

    async def test_counters_of_routes(self, storage: Storage, clock: ManualClock) -> None:
        """Each by itself; a person who is beyond two of them is one person."""
        since = clock.now()
        for meter in ("calls:/a", "calls:/b", "calls:beyond", "calls@ada"):
            await use(storage, meter=meter, ada=5)
        await use(storage, meter="calls:/b", bob=2)
        found = await tried(storage, since, replace(CHANGE, by_route=True))
        assert found == WhatIf(subjects=2, windows=3, over_subjects=1, over_windows=2, over_units=2)

    async def test_whoever_is_forgotten_is_in_no_figure(self, storage: Storage, clock: ManualClock) -> None:
        """Their windows are gone, and their walls have no name."""
        since = clock.now()
        await use(storage, ada=9)
        await storage.open_wall(wall(clock), ())
        await set_plan(storage, Standing("paid", paying=True))
        await storage.forget("ada")
        assert await tried(storage, since) == WhatIf()

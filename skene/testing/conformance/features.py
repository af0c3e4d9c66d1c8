"""Features: what billing entitles to whatever the plan, and how they lift limits."""

from dataclasses import replace

from skene.engine.standing import Standing
from skene.ports.counters import Charge, Consume
from skene.ports.overrides import Override
from skene.ports.storage import Storage
from skene.testing.conformance.base import ATTRIBUTION, FREE, ConformanceBase, call, charge, update

__all__ = ["FeatureConformance"]

EXPORTS = replace(charge(0, meter="exports"), feature="export")


async def entitle(
    storage: Storage,
    *features: str,
    customer: str = "cus_ada",
    subject: str | None = "ada",
    standing: Standing = FREE,
) -> None:
    """A fetch says which features a customer has."""
    ticket = await storage.begin_sync(customer)
    await storage.apply_billing(replace(update(ticket, standing, subject=subject), features=features))


def exporting(*others: Charge, subject: str = "ada") -> Consume:
    """A call that a feature lifts the limit of."""
    return call(EXPORTS, *others, subject=subject)


async def may(storage: Storage, subject: str = "ada") -> bool:
    """Whether the feature is there; `consume` and `peek` agree."""
    seen = await storage.peek(exporting(subject=subject))
    counted = await storage.consume(exporting(subject=subject))
    assert (seen.admitted, seen.tallies[0].limit) == (counted.admitted, counted.tallies[0].limit)
    return counted.admitted


class FeatureConformance(ConformanceBase):
    """Limits that a feature lifts."""

    async def test_a_feature_lifts_the_limit(self, storage: Storage) -> None:
        """On any plan, and only that of the charges which name it."""
        assert not await may(storage)
        await entitle(storage, "import", "export")
        assert await may(storage)
        plain = charge(0, meter="plain")
        assert not (await storage.consume(call(plain))).admitted
        seen = await storage.peek(exporting(plain))
        assert ([tally.fits for tally in seen.tallies], seen.plan) == ([True, False], "free")
        assert [tally.limit for tally in seen.tallies] == [None, 0]
        assert not await may(storage, "bob")

    async def test_a_feature_is_lost_with_the_next_fetch(self, storage: Storage) -> None:
        """That does not name it any more; what was used under it stays counted."""
        await entitle(storage, "export", standing=Standing("paid"))
        await entitle(storage, "export")
        assert await may(storage)
        await entitle(storage, "import")
        assert not await may(storage)
        await entitle(storage)
        seen = await storage.peek(exporting())
        assert (seen.admitted, seen.tallies[0].limit, seen.tallies[0].used) == (False, 0, 1)

    async def test_a_feature_is_told_of_who_is_tied_later(self, storage: Storage) -> None:
        """And whoever loses the customer loses the feature."""
        await entitle(storage, "export", subject=None)
        await storage.link("ada", "cus_ada")
        assert await may(storage)
        await storage.link("bob", "cus_ada")
        assert (await may(storage), await may(storage, "bob")) == (False, True)

    async def test_an_override_comes_before_a_feature(self, storage: Storage) -> None:
        """Until it is taken back."""
        await entitle(storage, "export")
        await storage.set_override(Override("ada", "exports", 1))
        assert [await may(storage), await may(storage)] == [True, False]
        await storage.end_override("ada", "exports")
        assert await may(storage)

    async def test_a_plan_set_by_hand_keeps_features(self, storage: Storage) -> None:
        """It says nothing of them."""
        await entitle(storage, "export")
        await storage.set_plan("ada", Standing("paid"), default_plan="free", attribution=ATTRIBUTION)
        assert await may(storage)

"""Merging subjects as an app does it."""

import logging
from typing import Any

import pytest

from skene.errors import SubjectInvalid
from tests.runtime.shop import Shop
from tests.runtime.till import Till

pytestmark = pytest.mark.anyio


async def test_what_a_visitor_used_counts_after_the_sign_up() -> None:
    shop = Shop()
    await shop.refuse("visitor")
    used = await shop.used("visitor")
    assert used > 0
    merged = await shop.skene.merge("visitor", "ada")
    assert (merged.subject, merged.first, merged.moved > 0) == ("ada", True, True)
    assert await shop.used("ada") == used
    (decision,) = await shop.skene.usage("visitor")
    assert decision.used == used


@pytest.mark.parametrize(("source", "target"), [("", "ada"), ("ada", ""), (None, "ada"), ("ada", 7)])
async def test_both_are_subjects(source: Any, target: Any) -> None:
    shop = Shop()
    with pytest.raises(SubjectInvalid):
        await shop.skene.merge(source, target)
    assert shop.wire.verbs == []


async def test_two_that_are_one_already() -> None:
    shop = Shop()
    with pytest.raises(ValueError, match="got 'ada' twice"):
        await shop.skene.merge("ada", "ada")
    assert shop.wire.verbs == []
    await shop.skene.merge("visitor", "ada")
    with pytest.raises(ValueError, match="'ada' cannot be merged into 'visitor'"):
        await shop.skene.merge("ada", "visitor")


async def test_a_customer_whom_nobody_is_tied_to_is_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    till = Till()
    for subject in ("visitor", "ada"):
        await till.stripe.subscribe(subject, "price_pro")
        await till.skene.link(subject, str(till.stripe.customer(subject)))
    with caplog.at_level(logging.WARNING):
        merged = await till.skene.merge("visitor", "ada")
    assert merged.customer == till.stripe.customer("ada")
    assert merged.untied == till.stripe.customer("visitor")
    assert f"{merged.customer} stays, and {merged.untied}, which may still pay" in caplog.text

"""Plain calls go a shorter way through the gate than others, to the same answers."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from skene import Decision
from skene.engine.standing import Standing
from skene.errors import StorageUnavailable
from skene.ports.counters import Consume, Counted
from skene.runtime.gate import Gatekeeper
from skene.testing.conformance.base import set_plan
from tests.runtime.shop import Shop, Watching, freemium

Script = Callable[[Shop], Awaitable[list[Decision]]]


async def to_the_limit_and_beyond(shop: Shop) -> list[Decision]:
    answers = [await shop.call() for _ in range(5)]
    shop.clock.advance("31d")
    return [*answers, await shop.call(units=2), await shop.call(units=2)]


async def past_warnings(shop: Shop) -> list[Decision]:
    answers = [await shop.call() for _ in range(3)]
    await shop.skene.worker.drain()
    return answers


async def on_other_plans(shop: Shop) -> list[Decision]:
    answers = []
    for plan in ("paid", "gold", "free"):  # the loop knows nothing of gold
        await set_plan(shop.memory, Standing(plan))
        answers += [await shop.call() for _ in range(2)]
    return answers


async def with_a_grant(shop: Shop) -> list[Decision]:
    await shop.skene.grant("ada", "calls", 2, key="gift")
    return [await shop.call() for _ in range(6)]


async def with_a_limit_of_its_own(shop: Shop) -> list[Decision]:
    await shop.skene.override("ada", "calls", 1)
    return [await shop.call() for _ in range(2)]


async def of_one_who_was_merged(shop: Shop) -> list[Decision]:
    answers = [await shop.call("guest")]
    await shop.skene.merge("guest", "ada")
    return [*answers, *[await shop.call(who) for who in ("guest", "ada", "guest")]]


async def by_a_name_that_no_database_keeps(shop: Shop) -> list[Decision]:
    return [await shop.call("a\0b" * 300) for _ in range(4)]


async def without_a_storage(shop: Shop) -> list[Decision]:
    shop.skene._parts.on_storage_error = "allow"

    async def away(call: Consume) -> Counted:
        raise StorageUnavailable("away")

    shop.wire.consume = away
    return [await shop.call()]


SCRIPTS: tuple[Script, ...] = (
    to_the_limit_and_beyond,
    past_warnings,
    on_other_plans,
    with_a_grant,
    with_a_limit_of_its_own,
    of_one_who_was_merged,
    by_a_name_that_no_database_keeps,
    without_a_storage,
)


def without_ids(decision: Decision) -> Decision:
    """What two runs have in common: a wall's id is drawn."""
    return replace(decision, wall=decision.wall and "a wall", upgrade_url=decision.upgrade_url and "a link")


@pytest.mark.parametrize("script", SCRIPTS)
async def test_both_ways_lead_to_the_same(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    short, told = 0, list[Any]()
    spend = Gatekeeper.spend

    async def counted(self: Gatekeeper, *asked: Any) -> Any:
        nonlocal short
        short += 1
        return await spend(self, *asked)

    monkeypatch.setattr(Gatekeeper, "spend", counted)
    for observers in ((), (Watching(),)):
        shop = Shop(freemium(3, notify_at=(0.5,)), observers=observers)
        answers = [without_ids(decision) for decision in await script(shop)]
        told.append((answers, shop.messages(), shop.memory.counts()))
    assert short == len(told[0][0]), "each call of the first shop, and none of the other's"
    assert told[0] == told[1]

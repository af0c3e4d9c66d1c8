"""Granting by hand, and what a grant changes in decisions, walls, warnings and loops that only watch."""

from datetime import timedelta, timezone
from typing import Any

import pytest

from skene import MeterUnknown, Reason, SubjectInvalid
from tests.runtime.shop import Shop, freemium


async def test_a_grant_is_told_in_decisions() -> None:
    shop = Shop(freemium(2))
    assert await shop.skene.grant("ada", "calls", 3, reason="invited bob")
    first = await shop.skene.consume("ada", "calls")
    assert (first.limit, first.used, first.remaining, first.reason) == (5, 1, 4, Reason.WITHIN_LIMIT)
    assert (await shop.call(times=4)).remaining == 0
    refused = await shop.call()
    assert (refused.allowed, refused.reason, refused.limit) == (False, Reason.LIMIT_REACHED, 5)
    (wall,) = shop.memory.walls
    assert (wall.limit, wall.used) == (5, 5)
    (kept,) = await shop.skene.grants("ada")
    assert (kept.units, kept.spent, kept.reason, kept.meter) == (3, 3, "invited bob", "calls")
    (standing,) = await shop.skene.usage("ada")
    assert (standing.limit, standing.used) == (5, 5)


async def test_a_grant_ends_when_it_says() -> None:
    shop = Shop(freemium(0))
    assert await shop.skene.grant("ada", "calls", 3, expires="1d")
    assert await shop.skene.grant("ada", "calls", 1, expires=timedelta(days=2))
    assert (await shop.call()).remaining == 3
    shop.clock.advance("1d")
    assert (await shop.call()).remaining == 0
    assert not (await shop.call()).allowed


async def test_a_grant_and_an_override_end_at_an_instant() -> None:
    shop = Shop(freemium(1))
    ends = shop.clock.now() + timedelta(days=1)
    there = ends.astimezone(timezone(timedelta(hours=5)))  # the same instant by other clocks
    assert await shop.skene.grant("ada", "calls", 3, expires=there)
    made = await shop.skene.override("bob", "calls", 7, expires=there)
    assert made.expires_at == ends
    assert [one.expires_at for one in await shop.skene.grants("ada")] == [ends]
    assert [(await shop.skene.check(who, "calls")).limit for who in ("ada", "bob")] == [4, 7]
    shop.clock.set(ends)
    assert [(await shop.skene.check(who, "calls")).limit for who in ("ada", "bob")] == [1, 1]


async def test_an_end_that_cannot_be_is_told() -> None:
    shop = Shop(freemium(1))
    now = shop.clock.now()
    for expires, said in (
        (now, r"expires: got .*, which has passed; give an instant that lies ahead"),
        (now.replace(tzinfo=None) + timedelta(days=1), r"expires: got .*; give a time with its zone"),
    ):
        with pytest.raises(ValueError, match=said):
            await shop.skene.grant("ada", "calls", 1, expires=expires)
        with pytest.raises(ValueError, match=said):
            await shop.skene.override("ada", "calls", 1, expires=expires)
    assert shop.wire.verbs == []


async def test_a_key_is_the_subjects_own() -> None:
    shop = Shop(freemium(0))
    long = "invite:" + "x" * 500
    for key in ("welcome", long, "\0\ud800"):
        assert await shop.skene.grant("ada", "calls", 1, key=key)
        assert not await shop.skene.grant("ada", "calls", 1, key=key)
        assert await shop.skene.grant("bob", "calls", 1, key=key)
    assert len(await shop.skene.grants("ada")) == 3
    for _ in range(2):
        assert await shop.skene.grant("cy", "calls", 1)  # without a key every call grants
    assert (await shop.call("cy")).limit == 2


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", None, 2**63])
async def test_units_are_whole_numbers(units: Any) -> None:
    shop = Shop()
    with pytest.raises(ValueError, match=r"units: got .*give a whole number from 1 to 2\*\*63-1"):
        await shop.skene.grant("ada", "calls", units)
    assert shop.wire.verbs == []


async def test_what_cannot_be_granted_is_told() -> None:
    shop = Shop(freemium(2, group_by="route", meter="calls"))
    with pytest.raises(MeterUnknown, match=r"no meter is called 'cals'.*did you mean 'calls'"):
        await shop.skene.grant("ada", "cals", 1)
    with pytest.raises(MeterUnknown):
        await shop.skene.grant("ada", "calls:api", 1)
    with pytest.raises(ValueError, match=r"expires: got \"1 month\".*did you mean"):
        await shop.skene.grant("ada", "calls", 1, expires="1 month")
    with pytest.raises(ValueError, match=r'key: got ""'):
        await shop.skene.grant("ada", "calls", 1, key="")
    with pytest.raises(SubjectInvalid):
        await shop.skene.grant("", "calls", 1)
    assert shop.wire.verbs == []
    assert await shop.skene.grant("ada", "calls:/api/x", 1)
    assert [one.meter for one in await shop.skene.grants("ada")] == ["calls:/api/x"]


async def test_a_failed_call_gives_a_grant_its_units_back() -> None:
    shop = Shop(freemium(0))
    await shop.skene.grant("ada", "calls", 5)
    with pytest.raises(RuntimeError, match="boom"):
        async with shop.skene.reserve("ada", "calls", 4):
            raise RuntimeError("boom")
    async with shop.skene.reserve("ada", "calls", 4) as hold:
        hold.used(1)
    assert [one.spent for one in await shop.skene.grants("ada")] == [1]


async def test_a_grant_after_a_wall_lets_through_and_opens_no_other() -> None:
    shop = Shop(freemium(1))
    assert not (await shop.call(times=2)).allowed
    await shop.skene.grant("ada", "calls", 1)
    assert (await shop.call()).allowed
    assert not (await shop.call()).allowed
    assert len(shop.memory.walls) == 1
    assert shop.kinds == ["upgrade_prompt"]


async def test_warnings_count_what_was_granted() -> None:
    shop = Shop(freemium(5, notify_at=(0.8,)))
    await shop.skene.grant("ada", "calls", 5)
    await shop.call(times=7)
    assert shop.kinds == []
    await shop.call()
    assert shop.kinds == ["usage_warning"]


async def test_a_loop_that_only_watches_spends_no_grant() -> None:
    shop = Shop(freemium(2, enforce=False))
    await shop.skene.grant("ada", "calls", 2)
    assert (await shop.call(times=4)).reason is Reason.WITHIN_LIMIT
    assert (await shop.skene.usage("ada"))[0].limit == 4
    over = await shop.call()
    assert (over.reason, over.allowed, over.limit) == (Reason.SHADOW, True, 4)
    assert [one.spent for one in await shop.skene.grants("ada")] == [0]


async def test_a_plan_without_the_feature_stays_so() -> None:
    shop = Shop(freemium(0))
    assert (await shop.call()).reason is Reason.NOT_IN_PLAN
    await shop.skene.grant("ada", "calls", 1)
    assert (await shop.call()).allowed
    assert (await shop.call()).reason is Reason.LIMIT_REACHED  # in this window there was one
    shop.clock.advance("30d")
    assert (await shop.call()).reason is Reason.NOT_IN_PLAN

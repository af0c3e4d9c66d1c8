"""Members of teams: their shares beside the pool, and what a refusal of theirs does not set in motion."""

from typing import Any

import pytest

from skene import UNLIMITED, MeterUnknown, QuotaExceeded, Reason, SubjectInvalid
from tests.runtime.shop import Shop, freemium

LIMITS = {"free": 10, "team": UNLIMITED}


def team(share: Any = 3, **options: Any) -> Shop:
    options.setdefault("limits", LIMITS)
    return Shop(freemium(member_limit={"free": share}, **options))


async def test_a_member_is_held_to_their_share_and_the_others_go_on() -> None:
    shop = team()
    for left in (2, 1, 0):
        decision = await shop.skene.consume("acme", "calls", member="ada")
        assert (decision.allowed, decision.remaining, decision.member) == (True, left, "ada")
    refused = await shop.skene.consume("acme", "calls", member="ada")
    assert (refused.reason, refused.status_code, refused.member) == (Reason.MEMBER_LIMIT_REACHED, 403, "ada")
    assert (refused.upgrade_url, refused.wall, shop.kinds, shop.memory.walls) == (None, None, [], ())
    assert (await shop.skene.consume("acme", "calls", member="bob")).allowed
    assert (await shop.skene.consume("acme", "calls")).allowed  # nobody in particular: the pool alone
    counts = {meter: used for _, meter, _, used in shop.memory.counts()}
    assert counts == {"calls": 5, "calls@ada": 3, "calls@bob": 1}


async def test_the_pool_refuses_with_a_wall_and_charges_no_share() -> None:
    shop = team(share=9)
    assert (await shop.skene.consume("acme", "calls", 8, member="ada")).allowed
    refused = await shop.skene.consume("acme", "calls", 3, member="bob")
    assert (refused.reason, refused.member) == (Reason.LIMIT_REACHED, None)
    assert (shop.kinds, refused.upgrade_url is not None) == (["upgrade_prompt"], True)
    both = await shop.skene.consume("acme", "calls", 3, member="ada")
    assert (both.reason, both.wall) == (Reason.LIMIT_REACHED, refused.wall)
    counts = {meter: used for _, meter, _, used in shop.memory.counts()}
    assert (counts["calls"], counts["calls@ada"], counts.get("calls@bob", 0)) == (8, 8, 0)


async def test_a_plan_without_a_share_counts_members_and_refuses_none() -> None:
    shop = team()
    await shop.skene.set_plan("acme", "team")
    for _ in range(5):
        assert (await shop.skene.consume("acme", "calls", member="ada")).allowed
    _, share = await shop.skene.usage("acme", member="ada")
    assert (share.used, share.limit, share.member) == (5, None, "ada")


async def test_looking_and_reserving_know_members() -> None:
    shop = team()
    assert (await shop.skene.check("acme", "calls", 3, member="ada")).allowed
    assert (await shop.skene.check("acme", "calls", 4, member="ada")).reason is Reason.MEMBER_LIMIT_REACHED
    async with shop.skene.reserve("acme", "calls", 3, member="ada") as hold:
        hold.used(1)
    pool, share = await shop.skene.usage("acme", member="ada")
    assert (pool.used, share.used) == (1, 1)
    with pytest.raises(QuotaExceeded) as caught:
        async with shop.skene.reserve("acme", "calls", 3, member="ada"):
            pass
    assert caught.value.decision.member == "ada"
    with pytest.raises(RuntimeError, match="boom"):
        async with shop.skene.reserve("acme", "calls", 2, member="ada"):
            raise RuntimeError("boom")
    assert [one.used for one in await shop.skene.usage("acme", member="ada")] == [1, 1]
    assert [one.member for one in await shop.skene.usage("acme")] == [None]


async def test_all_members_are_listed() -> None:
    shop = team()
    for name in ("bob", "ada", "eve@acme.test"):
        await shop.skene.consume("acme", "calls", member=name)
    shown = await shop.skene.usage("acme", members=True)
    assert [one.member for one in shown] == [None, "ada", "bob", "eve@acme.test"]
    shown = await shop.skene.usage("acme", member="ada", members=True)
    assert [one.member for one in shown] == [None, "ada", "bob", "eve@acme.test"]


async def test_a_repeated_call_is_free_for_pool_and_member() -> None:
    shop = team()
    for _ in range(3):
        decision = await shop.skene.consume("acme", "calls", member="ada", idempotency_key="once")
        assert decision.allowed
    assert [one.used for one in await shop.skene.usage("acme", member="ada")] == [1, 1]


@pytest.mark.parametrize("name", ["x" * 500, "a\0b", "\ud800", "ünïcode", "a@b/c:d"])
async def test_any_text_is_a_member(name: str) -> None:
    shop = team(share=1)
    assert (await shop.skene.consume("acme", "calls", member=name)).allowed
    assert not (await shop.skene.consume("acme", "calls", member=name)).allowed
    assert await shop.skene.override("acme", f"calls@{name}", 2)
    assert (await shop.skene.consume("acme", "calls", member=name)).allowed
    assert all(len(meter.encode()) <= 300 for _, meter, _, _ in shop.memory.counts())


@pytest.mark.parametrize("name", ["", 5])
async def test_who_has_no_name_is_no_member(name: Any) -> None:
    with pytest.raises(SubjectInvalid):
        await team().skene.consume("acme", "calls", member=name)


async def test_one_member_may_have_more() -> None:
    shop = team(share=1)
    await shop.skene.override("acme", "calls@ada", 3, reason="writes the reports")
    await shop.skene.grant("acme", "calls@bob", 1)
    for name, admitted in (("ada", 3), ("bob", 2), ("eve", 1)):
        answers = [(await shop.skene.consume("acme", "calls", member=name)).allowed for _ in range(4)]
        assert answers.count(True) == admitted
    with pytest.raises(MeterUnknown, match="no meter is called 'cals'"):
        await shop.skene.override("acme", "cals@ada", 3)
    plain = Shop(freemium(3))
    with pytest.raises(MeterUnknown, match="no member_limit"):
        await plain.skene.override("acme", "calls@ada", 3)
    assert (await plain.skene.consume("acme", "calls", member="ada")).member is None


async def test_warnings_are_about_the_pool() -> None:
    shop = team(share=4, limits={"free": 10, "team": UNLIMITED}, notify_at=(0.5,))
    for _ in range(4):
        await shop.skene.consume("acme", "calls", member="ada")
    assert shop.kinds == []
    await shop.skene.consume("acme", "calls", member="bob")
    assert shop.kinds == ["usage_warning"]


async def test_a_loop_that_only_watches_refuses_no_member() -> None:
    shop = team(share=1, enforce=False)
    answers = [await shop.skene.consume("acme", "calls", member="ada") for _ in range(3)]
    assert [one.allowed for one in answers] == [True] * 3
    assert (shop.memory.walls, shop.kinds) == ((), [])

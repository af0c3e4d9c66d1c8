"""Other limits for single subjects, and features instead of plans."""

from datetime import timedelta
from typing import Any

import pytest

from skene import UNLIMITED, Loop, MeterUnknown, Reason, Skene, action, condition, define_loop, step, trigger
from skene.adapters.memory import MemoryStorage
from skene.engine.standing import Standing
from skene.ports.accounts import Update
from tests.runtime.shop import Shop, freemium


async def test_another_limit_holds_whatever_the_plan_and_until_it_ends() -> None:
    shop = Shop(freemium(1))
    made = await shop.skene.override("ada", "calls", 3, expires="1d", reason="pilot")
    assert (made.limit, made.reason, made.expires_at) == (3, "pilot", shop.clock.now() + timedelta(days=1))
    assert (await shop.call(times=3)).allowed
    assert not (await shop.call()).allowed
    assert (await shop.call("bob")).limit == 1
    shop.clock.advance("1d")
    assert (await shop.call()).limit == 1
    assert not (await shop.skene.end_override("ada", "calls"))


async def test_every_one_is_kept_with_its_reason() -> None:
    shop = Shop(freemium(1))
    await shop.skene.override("ada", "calls", 0, reason="abuse")
    assert (await shop.call()).reason is Reason.NOT_IN_PLAN
    await shop.skene.override("ada", "calls", UNLIMITED, reason="sorry")
    assert (await shop.call(times=5)).reason is Reason.UNLIMITED
    assert await shop.skene.end_override("ada", "calls")
    assert not await shop.skene.end_override("ada", "calls")
    kept = await shop.skene.overrides("ada")
    assert [(one.limit, one.reason, one.ended_at is None) for one in kept] == [
        (0, "abuse", False),
        (None, "sorry", False),
    ]
    assert not (await shop.call()).allowed


@pytest.mark.parametrize("limit", [True, 1.5, -1, "5", None, 2**63, float("nan")])
async def test_a_limit_is_a_whole_number_or_none_at_all(limit: Any) -> None:
    shop = Shop()
    with pytest.raises(ValueError, match="limit: got"):
        await shop.skene.override("ada", "calls", limit)
    assert shop.wire.verbs == []


async def test_what_cannot_be_overridden_is_told() -> None:
    shop = Shop(freemium(1))
    with pytest.raises(MeterUnknown, match="did you mean 'calls'"):
        await shop.skene.override("ada", "cals", 1)
    with pytest.raises(MeterUnknown):
        await shop.skene.end_override("ada", "cals")
    with pytest.raises(ValueError, match="expires: got"):
        await shop.skene.override("ada", "calls", 1, expires="a month")
    assert shop.wire.verbs == []
    assert (await shop.skene.override("ada", "calls", "unlimited")).limit is None


async def test_back_ends_are_swapped_under_the_same_name() -> None:
    shop = Shop()
    before = shop.skene.storage
    with shop.skene.override(storage=MemoryStorage()):
        assert shop.skene.storage is not before
    assert shop.skene.storage is before


# -- features ----------------------------------------------------------------------------------------------


def support(**loop: Any) -> Loop:
    block = action.block(
        "Support is an add-on.", upgrade_prompt=action.email("upgrade_prompt", provider="mail")
    )
    return define_loop(
        type="freemium",
        name="support",
        steps=[step(condition=condition.feature("priority_support", meter="tickets"), action=block)],
        **loop,
    )


async def entitle(skene: Skene, subject: str, *features: str, plan: str = "free") -> None:
    ticket = await skene.storage.begin_sync(f"cus_{subject}")
    assert ticket is not None
    update = Update(ticket, subject, Standing(plan), "free", timedelta(days=30), features=features)
    await skene.storage.apply_billing(update)


async def test_a_feature_lets_in_whoever_holds_it() -> None:
    shop = Shop(support(), freemium(1))
    refused = await shop.skene.consume("ada", "tickets")
    assert (refused.reason, refused.status_code) == (Reason.NOT_IN_PLAN, 403)
    assert (shop.kinds, refused.upgrade_url is not None) == (["upgrade_prompt"], True)
    await entitle(shop.skene, "ada", "priority_support", "sso")
    for used in range(1, 4):
        decision = await shop.skene.consume("ada", "tickets")
        assert (decision.allowed, decision.limit, decision.used) == (True, None, used)
    await entitle(shop.skene, "bob", "sso", plan="paid")
    assert (await shop.skene.consume("bob", "tickets")).reason is Reason.NOT_IN_PLAN
    await entitle(shop.skene, "ada")
    assert not (await shop.skene.consume("ada", "tickets")).allowed


async def test_one_subject_gets_a_feature_by_hand() -> None:
    shop = Shop(support())
    await shop.skene.override("ada", "tickets", 1)
    await shop.skene.grant("bob", "tickets", 1)
    for who in ("ada", "bob"):
        assert (await shop.skene.consume(who, "tickets")).allowed
        assert not (await shop.skene.consume(who, "tickets")).allowed


async def test_a_feature_is_watched() -> None:
    shop = Shop(support(enforce=False))
    assert (await shop.skene.consume("ada", "tickets")).reason is Reason.SHADOW
    await entitle(shop.skene, "bob", "priority_support")
    assert (await shop.skene.consume("bob", "tickets")).reason is Reason.UNLIMITED
    assert [wall.subject for wall in shop.memory.walls] == ["ada"]


async def test_a_firing_asks_for_a_feature() -> None:
    hears = define_loop(
        type="activation",
        steps=[
            step(
                trigger=trigger.event("asked"),
                condition=condition.all_of(condition.feature("sso"), condition.not_(condition.plan("paid"))),
                action=action.email("upgrade_prompt", provider="mail"),
            )
        ],
    )
    shop = Shop(hears)
    await entitle(shop.skene, "ada", "sso")
    await entitle(shop.skene, "bob", "other")
    for who in ("ada", "bob", "eve"):
        await shop.skene.emit("asked", who)
    await shop.skene.worker.drain()
    assert [draft.subject for draft, _, _ in shop.memory.posted(None)] == ["ada"]

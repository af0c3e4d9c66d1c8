"""The gate over a storage that can be cut off: walls, prompts, warnings, and nothing twice."""

from datetime import timedelta

import anyio
import pytest

from skene import Reason, rolling
from skene.engine.decide import held_out
from skene.engine.effects import subject_digest
from skene.errors import StorageUnavailable
from skene.runtime.asks import Ask
from tests.runtime.shop import BACKENDS, Killed, Shop, ask, freemium

# -- walls and prompts -------------------------------------------------------------------------------------


async def test_the_limit_passes_and_the_next_call_is_refused() -> None:
    shop = Shop(freemium(3))
    told = [await shop.call() for _ in range(5)]
    assert [d.allowed for d in told] == [True, True, True, False, False]
    assert [d.remaining for d in told] == [2, 1, 0, 0, 0]
    refused = told[-1]
    assert (refused.reason, refused.status_code, refused.message) == (
        Reason.LIMIT_REACHED,
        402,
        "Limit reached.",
    )
    assert await shop.used() == 3


async def test_a_window_has_one_wall_and_one_prompt_and_later_refusals_write_nothing() -> None:
    shop = Shop()
    await shop.refuse()
    shop.wire.verbs.clear()
    walls = {(await shop.call()).wall for _ in range(20)}
    assert shop.wire.verbs == ["consume"] * 20
    (wall,) = shop.memory.walls
    assert walls == {wall.id}
    assert (wall.subject, wall.step, wall.plan, wall.used, wall.limit) == ("ada", "freemium", "free", 3, 3)
    assert shop.kinds == ["upgrade_prompt"]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_first_refusals_at_the_same_time_are_one_wall(anyio_backend: str) -> None:
    shop = Shop()
    await shop.call(times=3)
    twin = shop.twin()
    told = []

    async def one(process: Shop) -> None:
        told.append(await process.call())

    async with anyio.create_task_group() as tasks:
        for _ in range(25):
            tasks.start_soon(one, shop)
            tasks.start_soon(one, twin)
    # They met: two processes tried to write, each once for all of its calls.
    assert (shop.wire.count("open_wall"), twin.wire.count("open_wall")) == (1, 1)
    assert len({d.wall for d in told}) == len(shop.memory.walls) == 1
    assert shop.kinds == ["upgrade_prompt"]


async def test_the_next_window_asks_again() -> None:
    shop = Shop()
    await shop.refuse()
    shop.clock.advance("30d")
    assert (await shop.call()).allowed
    assert len(shop.memory.walls) == 1
    await shop.refuse()
    first, second = shop.memory.walls
    assert second.window_start == first.window_end
    assert shop.kinds == ["upgrade_prompt"] * 2


async def test_a_rolling_windows_wall_stands_for_one_whole_length() -> None:
    shop = Shop(freemium(2, period=rolling("1d")))
    await shop.refuse()
    (wall,) = shop.memory.walls
    assert (wall.window_start, wall.window_end) == (
        shop.clock.now(),
        shop.clock.now() + timedelta(days=1),
    )
    for _ in range(23):
        shop.clock.advance("1h")
        assert not (await shop.call()).allowed
    assert len(shop.memory.walls) == 1
    shop.clock.advance("2h")
    await shop.refuse()
    assert len(shop.memory.walls) == 2
    assert shop.kinds == ["upgrade_prompt"] * 2


async def test_a_refusal_has_a_link_to_its_own_wall() -> None:
    shop = Shop()
    await shop.refuse()
    refused = await shop.call()
    assert refused.upgrade_url is not None
    token = refused.upgrade_url.partition("token=")[2]
    assert shop.skene._parts.links.read(token).wall == refused.wall
    (draft, _, _) = shop.memory.posted("ada")[0]
    link = draft.data["values"]["upgrade_url"]  # type: ignore[index]  # it is JSON
    assert shop.skene._parts.links.read(link.partition("token=")[2]).wall == refused.wall


async def test_an_allowed_decision_has_neither_wall_nor_link() -> None:
    told = await Shop().call()
    assert (told.wall, told.upgrade_url, told.message, told.status_code) == (None, None, None, 200)


async def test_a_plan_without_any_units_is_refused_as_not_included() -> None:
    shop = Shop(freemium(0))
    refused = await shop.call()
    assert (refused.reason, refused.status_code) == (Reason.NOT_IN_PLAN, 403)
    assert shop.kinds == ["upgrade_prompt"]


async def test_a_loop_without_a_prompt_has_walls_and_writes_to_nobody() -> None:
    shop = Shop(freemium(upgrade_prompt=None))
    await shop.refuse()
    assert len(shop.memory.walls) == 1
    assert shop.kinds == []


@pytest.mark.parametrize("point", ["before", "after"])
async def test_killed_at_the_wall_the_next_refusal_finds_or_makes_it(point: str) -> None:
    shop = Shop()
    await shop.call(times=3)
    setattr(shop.wire, f"kill_{point}", ("open_wall", 1))
    with pytest.raises(Killed):
        await shop.call()
    assert not (await shop.twin().call()).allowed
    assert len(shop.memory.walls) == 1
    assert shop.kinds == ["upgrade_prompt"]


async def test_a_wall_that_cannot_be_written_is_an_outage_and_no_limit() -> None:
    shop = Shop()
    await shop.call(times=3)
    shop.wire.cut = {"open_wall"}
    with pytest.raises(StorageUnavailable):
        await shop.call()
    shop.wire.cut = set()
    assert not (await shop.call()).allowed
    assert shop.kinds == ["upgrade_prompt"]


# -- several steps -----------------------------------------------------------------------------------------


async def test_all_steps_admit_or_none_is_charged() -> None:
    shop = Shop(freemium(5), freemium(2, name="strict", meter="strict"))
    keeper = shop.skene.gatekeeper
    for _ in range(2):
        assert (await keeper.admit("ada", ask(shop))).decision.allowed
    refused = await keeper.admit("ada", ask(shop))
    assert not refused.decision.allowed
    assert refused.decision.loop == "strict"
    assert refused.receipts == ()
    assert [d.used for d in await shop.skene.usage("ada")] == [2, 2]
    assert [wall.loop for wall in shop.memory.walls] == ["strict"]


async def test_a_meter_that_two_steps_share_is_charged_once() -> None:
    shop = Shop(freemium(2), freemium(2, name="other"))
    keeper = shop.skene.gatekeeper
    admission = await keeper.admit("ada", ask(shop))
    assert len(admission.receipts) == 1
    assert await shop.used() == 1
    await keeper.admit("ada", ask(shop))
    assert not (await keeper.admit("ada", ask(shop))).decision.allowed


async def test_a_call_on_a_shared_meter_costs_what_its_most_expensive_step_asks() -> None:
    for costs in ((1, 5), (5, 1)):
        shop = Shop(freemium(20), freemium(20, name="other"))
        one, other = shop.skene.program.steps
        both = (Ask(one, costs[0]), Ask(other, costs[1]))
        admission = await shop.skene.gatekeeper.admit("ada", both)
        assert await shop.used() == 5
        await shop.skene.gatekeeper.release(admission)
        assert await shop.used() == 0


# -- warnings ----------------------------------------------------------------------------------------------


async def test_a_warning_is_sent_once_per_crossing() -> None:
    shop = Shop(freemium(10, notify_at=(0.5, 0.8)))
    kinds = []
    for _ in range(10):
        await shop.call()
        kinds.append(len(shop.kinds))
    assert kinds == [0, 0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert shop.kinds == ["usage_warning"] * 2
    shop.clock.advance("30d")
    await shop.call(times=6)
    assert shop.kinds == ["usage_warning"] * 3


async def test_several_thresholds_crossed_at_once_are_one_mail() -> None:
    shop = Shop(freemium(20, notify_at=(0.5, 0.8, 1.0)))
    await shop.call(units=17)
    await shop.call()
    assert shop.kinds == ["usage_warning"]
    draft = shop.memory.posted()[0][0]
    assert draft.data["values"]["used"] == 17  # type: ignore[index]  # it is JSON
    await shop.call(units=2)
    assert shop.kinds == ["usage_warning"] * 2
    assert (await shop.skene.worker.drain()) == 2


async def test_what_is_given_back_and_used_again_warns_only_once() -> None:
    shop = Shop(freemium(10, notify_at=(0.5,)))
    await shop.call(times=4)
    for _ in range(3):
        admission = await shop.skene.gatekeeper.admit("ada", ask(shop))
        await shop.skene.gatekeeper.release(admission)
    assert await shop.used() == 4
    assert shop.kinds == ["usage_warning"]


@pytest.mark.parametrize("point", ["before", "after"])
async def test_killed_between_count_and_warning_the_next_call_repeats_it(point: str) -> None:
    shop = Shop(freemium(10, notify_at=(0.5,)))
    await shop.call(times=4)
    setattr(shop.wire, f"kill_{point}", ("record_notice", 1))
    with pytest.raises(Killed):
        await shop.call()
    assert shop.kinds == ([] if point == "before" else ["usage_warning"])
    await shop.twin().call()
    assert shop.kinds == ["usage_warning"]
    assert await shop.twin().used() == 6  # a killed process gives nothing back


async def test_a_warning_that_cannot_be_written_waits_for_the_next_call(
    caplog: pytest.LogCaptureFixture,
) -> None:
    shop = Shop(freemium(10, notify_at=(0.5,)))
    await shop.call(times=4)
    shop.wire.cut = {"record_notice"}
    assert (await shop.call()).allowed
    assert "waits for the next call" in caplog.text
    assert (shop.kinds, await shop.used()) == ([], 5)
    shop.wire.cut = set()
    await shop.call()
    assert shop.kinds == ["usage_warning"]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_calls_that_cross_at_the_same_time_warn_once(anyio_backend: str) -> None:
    shop = Shop(freemium(100, notify_at=(0.5,)))
    twin = shop.twin()
    async with anyio.create_task_group() as tasks:
        for _ in range(40):
            tasks.start_soon(shop.call)
            tasks.start_soon(twin.call)
    assert (shop.wire.count("record_notice"), twin.wire.count("record_notice")) == (1, 1)
    assert shop.kinds == ["usage_warning"]


async def test_routes_counted_apart_are_warned_of_apart() -> None:
    """Even where their windows begin at the same instant, as those of a calendar do."""
    from skene import calendar
    from skene.engine.program import for_route

    shop = Shop(freemium(2, period=calendar("month"), notify_at=(0.5,), group_by="route"))
    (step,) = shop.skene.program.steps
    for route in ("/a", "/b", "/a"):
        await shop.skene.gatekeeper.admit("ada", (Ask(for_route(step, route), 1),))
    assert shop.kinds == ["usage_warning"] * 2


# -- shadow mode -------------------------------------------------------------------------------------------


async def test_a_loop_that_only_watches_counts_records_once_and_writes_to_nobody() -> None:
    shop = Shop(freemium(3, enforce=False, notify_at=(0.5,)))
    told = [await shop.call() for _ in range(6)]
    assert all(d.allowed for d in told)
    assert [d.reason for d in told] == [Reason.WITHIN_LIMIT] * 3 + [Reason.SHADOW] * 3
    assert await shop.used() == 6
    (wall,) = shop.memory.walls
    assert (wall.shadow, wall.used, wall.limit) == (True, 4, 3)
    assert shop.kinds == []
    assert shop.wire.count("open_wall", "record_notice") == 2
    assert await shop.skene.funnel() == ()


async def test_looking_tells_what_the_next_call_would_meet() -> None:
    shop, watching = Shop(freemium(1)), Shop(freemium(1, enforce=False))
    for one in (shop, watching):
        assert (await one.skene.check("ada", "calls")).reason is Reason.WITHIN_LIMIT
        await one.call()
    refused, watched = [await one.skene.check("ada", "calls") for one in (shop, watching)]
    assert (refused.allowed, refused.reason, refused.wall) == (False, Reason.LIMIT_REACHED, None)
    assert (watched.allowed, watched.reason, watched.used) == (True, Reason.SHADOW, 1)
    assert (shop.memory.walls, watching.memory.walls) == ((), ())
    opened = (await shop.call()).wall
    assert opened is not None
    assert (await shop.skene.check("ada", "calls")).wall == opened


async def test_killed_at_a_shadow_wall_there_is_still_one() -> None:
    shop = Shop(freemium(3, enforce=False))
    await shop.call(times=3)
    shop.wire.kill_after = ("open_wall", 1)
    with pytest.raises(Killed):
        await shop.call()
    twin = shop.twin()
    await twin.call(times=3)
    assert len(shop.memory.walls) == 1
    assert twin.wire.count("open_wall", "record_notice") == 2


async def test_a_loop_that_begins_to_enforce_asks_whoever_it_had_only_watched() -> None:
    watching = Shop(freemium(3, enforce=False))
    await watching.call(times=5)
    enforcing = watching.twin(freemium(3))
    refused = await enforcing.call()
    assert not refused.allowed
    assert enforcing.kinds == ["upgrade_prompt"]
    shadow, wall = enforcing.memory.walls
    assert (shadow.shadow, wall.shadow) == (True, False)
    assert refused.wall == wall.id
    (row,) = await enforcing.skene.funnel()
    assert row.walls == 1


# -- the hold-out ------------------------------------------------------------------------------------------


async def test_who_is_held_out_is_refused_and_not_asked() -> None:
    shop = Shop(freemium(1, holdout=0.5, notify_at=(1.0,)))
    (step,) = shop.skene.program.steps
    people = [f"user-{n}" for n in range(40)]
    out = {who for who in people if held_out(step.holdout, subject_digest("freemium", who))}
    assert 5 < len(out) < 35
    await shop.refuse(*people)
    assert {wall.subject for wall in shop.memory.walls if wall.held_out} == out
    asked = [(draft.kind, draft.subject) for draft, _, _ in shop.memory.posted()]
    assert sorted(asked) == sorted(
        (kind, who) for kind in ("upgrade_prompt", "usage_warning") for who in set(people) - out
    )
    (row,) = await shop.skene.funnel()
    assert (row.walls, row.held_out) == (40, len(out))

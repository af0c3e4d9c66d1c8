"""Gauges: seats that are taken and given back, through changes of plan."""

from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from skene import MeterUnknown, QuotaExceeded, Reason, Skene, action, condition, define_loop, step
from skene.adapters.memory import MemoryStorage
from skene.adapters.sqlite import SqliteStorage
from skene.errors import ConfigurationError
from skene.fastapi import Gate
from skene.ports.storage import Storage
from skene.testing import World, world
from tests.testing.apps import app as app_of

PROMPT = action.email("upgrade_prompt", provider="resend")


def loop(**block: Any) -> Any:
    return define_loop(
        type="freemium",
        name="team",
        steps=[
            step(
                name="seats",
                condition=condition.gauge(limit={"free": 3, "paid": 10}, meter="seats"),
                action=action.block("All seats are taken.", upgrade_prompt=PROMPT, **block),
            ),
            step(
                name="calls",
                condition=condition.usage(limit={"free": 5, "paid": 10}, period="30d", meter="calls"),
                action=action.block("No calls left."),
            ),
        ],
    )


@pytest.fixture
def there() -> Iterator[World]:
    with world(app_of(loop())) as entered:
        yield entered


@pytest.fixture(params=["memory", "sqlite"])
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    """Not through a world: its storage is the one in memory."""
    made: Storage = MemoryStorage() if request.param == "memory" else SqliteStorage(tmp_path / "held.db")
    async with AsyncExitStack() as stack:
        if isinstance(made, SqliteStorage):
            await made.migrate()
        stack.push_async_callback(made.aclose)
        yield made


def seats_only(storage: Storage) -> Skene:
    gauge = condition.gauge(limit={"free": 3, "paid": 10}, meter="seats")
    return Skene(
        define_loop(type="freemium", steps=[step(condition=gauge, action=action.block("All taken."))]),
        storage=storage,
    )


async def test_a_seat_that_is_given_back_is_free_again(there: World) -> None:
    skene = there.skene
    told = [(await skene.consume("acme", "seats")).allowed for _ in range(4)]
    assert told == [True, True, True, False]
    after = await skene.release("acme", "seats")
    assert (after.used, after.limit, after.remaining, after.period) == (2, 3, 1, "held")
    assert (await skene.consume("acme", "seats")).allowed
    there.clock.advance("400d")
    assert not (await skene.consume("acme", "seats")).allowed  # time gives nothing back


async def test_what_is_held_goes_along_when_the_plan_changes(there: World) -> None:
    skene = there.skene
    there.used("acme", 3, "seats")
    there.used("acme", 5, "calls")
    await there.stripe.subscribe("acme", "price_123")
    seats, calls = await skene.usage("acme")
    assert (seats.used, seats.limit, seats.plan) == (3, 10, "paid")
    assert calls.used == 0  # a flow is counted for each plan: the difference that a gauge makes
    for _ in range(7):
        assert (await skene.consume("acme", "seats")).allowed
    assert not (await skene.consume("acme", "seats")).allowed
    await there.stripe.cancel("acme")
    stands = await skene.check("acme", "seats")
    assert (stands.used, stands.limit, stands.remaining, stands.allowed) == (10, 3, 0, False)
    for _ in range(8):
        await skene.release("acme", "seats")
    assert (await skene.consume("acme", "seats")).allowed


async def test_a_refusal_asks_to_upgrade_once_in_a_while(there: World) -> None:
    there.used("acme", 3, "seats")
    for _ in range(3):
        refused = await there.skene.consume("acme", "seats")
        assert (refused.reason, refused.status_code) == (Reason.LIMIT_REACHED, 402)
    await there.drain()
    assert there.sent("acme") == ["upgrade_prompt"]
    (wall,) = there.walls("acme")
    assert (wall.plan, wall.window_end - wall.window_start) == ("free", timedelta(days=30))
    there.clock.advance("30d")
    await there.skene.consume("acme", "seats")
    await there.drain()
    assert there.sent("acme") == ["upgrade_prompt"] * 2
    checkout = await there.follow("acme")
    assert await checkout.pay()
    (conversion,) = there.conversions("acme")
    assert conversion.loop == "team"
    assert (await there.skene.consume("acme", "seats")).used == 4


async def test_warnings_are_sent_once() -> None:
    with world(app_of(loop(notify_at=(0.6,)))) as there:
        for _ in range(3):
            await there.skene.consume("acme", "seats")
            await there.drain()
            await there.skene.release("acme", "seats")
            await there.skene.consume("acme", "seats")
        await there.drain()
        assert there.sent("acme") == ["usage_warning"]
        await there.stripe.subscribe("acme", "price_123")
        for _ in range(2):  # six of ten are worth a warning, too; once
            await there.skene.recount("acme", "seats", 5)
            await there.skene.consume("acme", "seats")
            await there.drain()
            assert there.sent("acme") == ["usage_warning"] * 2


async def test_what_is_taken_in_vain_is_given_back(there: World) -> None:
    skene = there.skene
    with pytest.raises(RuntimeError, match="no such person"):
        async with skene.reserve("acme", "seats", 2):
            raise RuntimeError("no such person")
    assert (await skene.check("acme", "seats")).used == 0
    async with skene.reserve("acme", "seats", 3) as hold:
        hold.used(1)
    assert (await skene.check("acme", "seats")).used == 1
    with pytest.raises(QuotaExceeded):
        async with skene.reserve("acme", "seats", 3):
            pytest.fail("never reached")


async def test_a_key_takes_one_seat_however_often_it_is_told(there: World) -> None:
    told = [await there.skene.consume("acme", "seats", idempotency_key="member:7") for _ in range(3)]
    assert [one.reason for one in told] == [Reason.WITHIN_LIMIT, Reason.REPLAYED, Reason.REPLAYED]
    assert told[-1].used == 1


@pytest.mark.parametrize(("held", "true"), [(3, 0), (0, 7), (2, 2), (1, 40)])
async def test_a_recount_sets_what_is_true(storage: Storage, held: int, true: int) -> None:
    async with seats_only(storage) as skene:
        if held:
            await skene.consume("acme", "seats", held)
        stands = await skene.recount("acme", "seats", true)
        assert stands.used == true
        assert (await skene.consume("acme", "seats")).allowed == (true < 3)


async def test_a_recount_goes_over_a_limit_of_the_subjects_own(there: World) -> None:
    await there.skene.override("acme", "seats", 2, reason="trial")
    assert not (await there.skene.consume("acme", "seats", 3)).allowed
    assert (await there.skene.recount("acme", "seats", 5)).used == 5
    assert (await there.skene.check("acme", "seats")).limit == 2


async def test_grants_add_to_what_may_be_held(there: World) -> None:
    there.used("acme", 3, "seats")
    await there.skene.grant("acme", "seats", 1)
    assert (await there.skene.consume("acme", "seats")).allowed
    assert not (await there.skene.consume("acme", "seats")).allowed


async def test_two_teams_that_become_one_hold_what_both_held(there: World) -> None:
    there.used("acme", 1, "seats")
    there.used("acme-labs", 1, "seats")
    await there.skene.merge("acme-labs", "acme")
    assert (await there.skene.check("acme", "seats")).used == 2
    assert (await there.skene.release("acme-labs", "seats")).used == 1


async def test_a_hundred_who_join_at_once_take_the_seats_there_are(storage: Storage) -> None:
    async with seats_only(storage) as skene:
        told: list[bool] = []

        async def join() -> None:
            told.append((await skene.consume("acme", "seats")).allowed)

        with anyio.fail_after(120):
            async with anyio.create_task_group() as group:
                for _ in range(100):
                    group.start_soon(join)
        assert sum(told) == 3
        assert (await skene.check("acme", "seats")).used == 3


async def test_a_loop_that_only_watches_refuses_nobody() -> None:
    gauge = condition.gauge(limit={"free": 1, "paid": 9}, meter="seats")
    watching = define_loop(
        type="freemium", enforce=False, steps=[step(condition=gauge, action=action.block("No."))]
    )
    async with Skene(watching, storage=MemoryStorage()) as skene:
        told = [await skene.consume("acme", "seats") for _ in range(3)]
        assert [one.reason for one in told] == [Reason.WITHIN_LIMIT, Reason.SHADOW, Reason.SHADOW]
        assert [one.used for one in told] == [1, 2, 3]


async def test_what_is_no_gauge_is_not_released(there: World) -> None:
    for name in ("calls", "seat"):
        with pytest.raises(MeterUnknown, match=f"no condition.gauge.* is called '{name}'; there are: seats"):
            await there.skene.release("acme", name)


@pytest.mark.parametrize("units", [0, -1, True, 1.0, "1", 2**63])
async def test_units_are_whole_numbers(there: World, units: Any) -> None:
    with pytest.raises(ValueError, match=r"units: got .* give a whole number from 1 to"):
        await there.skene.release("acme", "seats", units)
    if type(units) is not int or units != 0:
        with pytest.raises(ValueError, match=r"units: got .* give a whole number from 0 to"):
            await there.skene.recount("acme", "seats", units)


async def test_no_route_is_gated_by_a_gauge(there: World) -> None:
    gate = Gate(there.skene, subject=lambda: "acme")
    with pytest.raises(ConfigurationError, match=r"no loop or step is called 'team.seats'; there are: team"):
        gate.enforce("team.seats")

"""The test kit: what a world does to an app's Skene, and what a test can do in it."""

import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import skene.testing
from skene import (
    action,
    condition,
    define_loop,
    step,
)
from skene.adapters.memory import MemoryStorage
from skene.adapters.resend import ResendNotifier
from skene.testing import World, world
from tests.testing.apps import app, call, freemium

# -- the whole story ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", ["asyncio", "trio"])
async def test_from_the_first_call_to_a_customer_without_a_network(
    anyio_backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **named: object) -> None:
        raise AssertionError("a test reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    skene = app()
    async with world(skene) as inside:
        inside.used("ada", 2)
        assert (await call(skene)).allowed
        assert not (await call(skene, times=3)).allowed
        assert inside.sent("ada") == []
        assert await inside.drain() == 1
        assert inside.sent("ada") == ["upgrade_prompt"]
        (mail,) = inside.mails("ada")
        assert (mail.to, mail.template) == ("ada@acme.test", "upgrade_prompt")
        assert mail.subject
        assert mail.upgrade_link is not None
        assert mail.upgrade_link in mail.text
        assert inside.mails("bob") == []
        checkout = await inside.follow("ada")
        assert checkout.session is not None
        assert await checkout.pay()
        assert inside.plan("ada") == "paid"
        assert (await call(skene, times=10)).allowed
        (wall,) = inside.walls()
        assert (wall.subject, wall.loop, wall.used) == ("ada", "freemium", 3)
        (conversion,) = inside.conversions()
        assert (conversion.subject, conversion.loop, conversion.wall) == ("ada", "freemium", wall.id)
        assert (conversion.amount, conversion.currency, conversion.at) == (2000, "usd", inside.clock.now())
        (row,) = await skene.funnel()
        assert (row.walls, row.prompts, row.clicks, row.checkouts, row.conversions) == (1, 1, 1, 1, 1)


# -- what a test arranges ----------------------------------------------------------------------------------


async def test_used_counts_in_the_running_window(inhabited: World) -> None:
    await call(inhabited.skene)
    opened = inhabited.clock.now()
    inhabited.clock.advance("10d")
    inhabited.used("ada", 3)
    told = await call(inhabited.skene)
    assert not told.allowed
    assert told.resets_at == opened + timedelta(days=30)
    inhabited.used("ada", 1)
    assert (await call(inhabited.skene)).remaining == 1
    assert (await inhabited.skene.check("bob", "calls")).used == 0


async def test_used_counts_for_the_plan_that_is_held(inhabited: World) -> None:
    inhabited.used("ada", 3)
    await inhabited.set_plan("ada", "paid")
    inhabited.used("ada", 1000)
    assert (await inhabited.skene.check("ada", "calls")).used == 1000
    await inhabited.set_plan("ada", "free")
    assert (await inhabited.skene.check("ada", "calls")).used == 3


async def test_used_takes_any_id_that_an_app_may_have(inhabited: World) -> None:
    subject = "ö" * 5000
    inhabited.used(subject, 3)
    assert not (await call(inhabited.skene, subject)).allowed
    assert len(inhabited.walls(subject)) == 1


async def test_used_asks_which_meter_when_there_are_several() -> None:
    two = define_loop(
        type="freemium",
        name="exports",
        steps=[
            step(
                condition=condition.usage(limit={"free": 1, "paid": 5}, period="1d", meter="exports"),
                action=action.block("limit"),
            )
        ],
    )
    async with world(app(freemium(), two)) as inside:
        inside.used("ada", 1, meter="exports")
        assert not (await inside.skene.consume("ada", "exports")).allowed
        assert (await inside.skene.consume("ada", "calls")).allowed
        with pytest.raises(LookupError, match=r"say which meter: calls, exports"):
            inside.used("ada", 1)
        with pytest.raises(LookupError, match=r"no meter is called 'export'; there are: calls, exports"):
            inside.used("ada", 1, meter="export")


async def test_used_knows_counters_of_single_routes() -> None:
    async with world(app(freemium(group_by="route"))) as inside:
        with pytest.raises(LookupError, match="say which meter: calls:/path/of/route"):
            inside.used("ada", 1)
        inside.used("ada", 3, meter="calls:/api/x")
        assert inside.storage.counts() == (("ada", "calls:/api/x", "free", 3),)
        assert "ada: 3 used of 3 (calls:/api/x, plan free)" in inside.describe()


@pytest.mark.parametrize("units", [-1, 1.5, True, "3", None])
async def test_used_refuses_what_is_no_count(inhabited: World, units: Any) -> None:
    with pytest.raises(ValueError, match=r"world\.used\('ada', …\): got .* units; give a whole number"):
        inhabited.used("ada", units)


async def test_a_plan_that_no_limit_knows_is_refused(inhabited: World) -> None:
    with pytest.raises(ValueError, match="plan: got 'gold'; there are: free, paid"):
        await inhabited.set_plan("ada", "gold")


async def test_the_clock_moves_everything(inhabited: World) -> None:
    inhabited.used("ada", 3)
    assert not (await call(inhabited.skene)).allowed
    inhabited.clock.advance("30d")
    assert (await call(inhabited.skene)).used == 1


async def test_a_world_starts_when_it_is_told_to() -> None:
    start = datetime(2028, 2, 29, 23, 59, tzinfo=UTC)
    async with world(app(), start=start) as inside:
        assert inside.clock.now() == start
        assert (await call(inside.skene)).decided_at == start


# -- several worlds ----------------------------------------------------------------------------------------


async def test_every_world_begins_empty() -> None:
    skene = app()
    for _ in range(3):
        async with world(skene) as inside:
            assert inside.describe().endswith("nothing has happened")
            assert (await call(skene, times=4)).used == 3
            await inside.stripe.subscribe("ada")
            await inside.drain()
            inside.clock.advance("1d")


async def test_two_apps_live_side_by_side() -> None:
    async with world(app()) as one, world(app()) as two:
        await call(one.skene, times=4)
        assert (len(one.walls()), len(two.walls())) == (1, 0)


async def test_worlds_are_not_nested() -> None:
    skene = app()
    async with world(skene) as outer:
        with pytest.raises(RuntimeError, match="this Skene is in a world already"):
            async with world(skene):
                pass
        assert skene.storage is outer.storage
    async with world(skene):
        pass


async def test_the_apps_own_back_ends_return_whatever_happens() -> None:
    skene = app()
    before = (skene.storage, skene.billing, dict(skene.notifiers), skene.clock)

    async def fail() -> None:
        async with world(skene):
            assert isinstance(skene.storage, MemoryStorage)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert (skene.storage, skene.billing, dict(skene.notifiers), skene.clock) == before


async def test_a_world_that_has_ended_does_nothing_more() -> None:
    async with world(app()) as inside:
        pass
    for act in (inside.drain(), inside.set_plan("ada", "paid"), inside.follow("ada")):
        with pytest.raises((RuntimeError, AssertionError)):
            await act
    with pytest.raises(RuntimeError, match="this world has ended"):
        inside.used("ada", 1)


async def test_a_lifespan_around_a_world_and_one_inside_it() -> None:
    skene = app(storage=MemoryStorage())
    own = skene.storage
    async with skene.lifespan():
        async with world(skene) as inside:
            await call(skene, times=4)
            await inside.drain()
        assert skene.storage is own
        assert (await skene.check("ada", "calls")).used == 0
    async with world(skene) as inside:
        async with skene.lifespan():
            await call(skene, times=4)
        await inside.drain()  # its fakes survive an app that was shut down
        await inside.stripe.subscribe("ada")
        assert inside.plan("ada") == "paid"


def test_a_world_outlives_the_event_loops_of_a_sync_test() -> None:
    with world(app()) as inside:
        for backend in ("asyncio", "trio", "asyncio"):
            anyio.run(inside.stripe.subscribe, backend, backend=backend)
            anyio.run(call, inside.skene, "ada", 2, backend=backend)
        assert inside.plan("trio") == "paid"
        assert len(inside.walls()) == 1


# -- what it says ------------------------------------------------------------------------------------------


async def test_what_has_happened_is_told(inhabited: World) -> None:
    await call(inhabited.skene, times=4)
    await call(inhabited.skene, "bob")
    await inhabited.stripe.subscribe("ada")
    assert inhabited.describe().splitlines() == [
        "the world at 2026-01-01 12:00:00 UTC:",
        "  ada: 3 used of 3 (calls, plan free)",
        "  bob: 1 used of 3 (calls, plan free)",
        "  ada: stopped by freemium at 3",
        "  ada: mail 'upgrade_prompt' is pending (nothing is delivered until world.drain())",
        "  ada: began to pay (loop freemium)",
    ]
    assert inhabited.describe("bob").splitlines()[1:] == ["  bob: 1 used of 3 (calls, plan free)"]
    assert repr(inhabited) == "<World at 2026-01-01 12:00:00: 0 mails sent>"


async def test_what_is_held_is_told_of_the_plan_that_is_held_now() -> None:
    seats = condition.gauge(limit={"free": 3, "paid": 10}, meter="seats")
    team = define_loop(type="freemium", name="team", steps=[step(condition=seats, action=action.block("no"))])
    async with world(app(team)) as inside:
        inside.used("acme", 2)
        assert inside.describe().splitlines()[1:] == ["  acme: 2 held of 3 (seats, plan free)"]
        await inside.set_plan("acme", "paid")
        assert inside.describe().splitlines()[1] == "  acme: 2 held of 10 (seats, plan paid)"
        assert [(await inside.skene.consume("acme", "seats")).allowed for _ in range(9)] == [True] * 8 + [
            False
        ]


async def test_following_no_mail_says_why_there_is_none(inhabited: World) -> None:
    with pytest.raises(AssertionError, match=r"no mail was sent to 'ada'\n.*\n  nothing has happened"):
        await inhabited.follow("ada")
    await call(inhabited.skene, times=4)
    with pytest.raises(AssertionError, match=r"no mail was sent to 'ada'\n(.*\n)*.*until world\.drain"):
        await inhabited.follow("ada")


async def test_following_a_mail_without_a_link_says_so(tmp_path: Path) -> None:
    (tmp_path / "upgrade_prompt.txt").write_text("{% set subject = 'Ours' %}Write to us.")
    notifier = ResendNotifier(api_key="re_of0the0app", sender="us@acme.test", templates=str(tmp_path))
    async with world(app(notifiers={"resend": notifier})) as inside:
        await call(inside.skene, times=4)
        await inside.drain()
        with pytest.raises(AssertionError, match="no mail to 'ada' has an upgrade link"):
            await inside.follow("ada")


def test_only_a_skene_has_a_world() -> None:
    with pytest.raises(TypeError, match=r"world\(…\): got a value of type str; give the app's Skene"):
        world("skene_config:skene")  # type: ignore[arg-type]  # the point of the test


def test_the_kits_names_are_there() -> None:
    names = skene.testing.__all__
    assert names == sorted(names)
    assert all(getattr(skene.testing, name).__name__ == name for name in names)
    assert set(names) <= set(dir(skene.testing))
    with pytest.raises(AttributeError, match="has no attribute 'wrold'"):
        skene.testing.wrold  # noqa: B018 - reading it is the test

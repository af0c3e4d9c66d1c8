"""The test kit: what a world does to an app's Skene, and what a test can do in it."""

import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

import skene.testing
from skene import (
    UNLIMITED,
    CheckoutUnavailable,
    Decision,
    DeliveryFailed,
    DeliveryUnknown,
    Loop,
    Profile,
    Recovery,
    Skene,
    action,
    condition,
    define_loop,
    step,
    trigger,
)
from skene.adapters.manual import ManualBilling
from skene.adapters.memory import MemoryStorage
from skene.adapters.resend import ResendNotifier
from skene.adapters.stripe import StripeBilling
from skene.testing import World, world

BACKENDS = ["asyncio", "trio"]


class Untouchable:
    """A back-end that no test may reach."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the app's own back-end was asked for {name!r}")


def freemium(**changes: Any) -> Loop:
    usage: dict[str, Any] = {"limit": {"free": 3, "paid": UNLIMITED}, "period": "30d", "meter": "calls"}
    return define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/*", optional=True),
                condition=condition.usage(**usage | changes),
                action=action.block(
                    "limit", upgrade_prompt=action.email("upgrade_prompt", provider="resend")
                ),
            )
        ],
        recovery=Recovery(retries=1),
    )


async def profile(subject: str) -> Profile:
    return Profile(email=f"{subject}@acme.test", name=subject)


def stripe(**changes: Any) -> StripeBilling:
    settings: dict[str, Any] = {
        "api_key": "sk_live_of0the0app0itself",
        "webhook_secret": "whsec_of0the0app0itself",
        "plans": {"price_123": "paid"},
    }
    return StripeBilling(**settings | changes)


def app(*loops: Loop, **changes: Any) -> Skene:
    """A Skene on back-ends that fail when they are touched."""
    parts: dict[str, Any] = {
        "storage": Untouchable(),
        "billing": stripe(),
        "notifiers": {"resend": ResendNotifier(api_key="re_of0the0app", sender="Acme <team@acme.test>")},
        "profile": profile,
    }
    return Skene(*(loops or (freemium(),)), **parts | changes)


async def call(skene: Skene, subject: str = "ada", times: int = 1) -> Decision:
    """What the last of several calls was told."""
    told = [await skene.consume(subject, "calls") for _ in range(times)]
    return told[-1]


@pytest.fixture
async def inhabited() -> AsyncIterator[World]:
    async with world(app()) as entered:
        yield entered


# -- the whole story ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("anyio_backend", BACKENDS)
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


# -- mails -------------------------------------------------------------------------------------------------


async def test_mails_are_made_from_the_apps_own_templates(tmp_path: Path) -> None:
    (tmp_path / "upgrade_prompt.txt").write_text("{% set subject = 'Ours' %}See {{ upgrade_url }}.")
    notifier = ResendNotifier(api_key="re_of0the0app", sender="Us <us@acme.test>", templates=str(tmp_path))
    async with world(app(notifiers={"resend": notifier})) as inside:
        await call(inside.skene, times=4)
        await inside.drain()
        (mail,) = inside.mails("ada")
        assert mail.subject == "Ours"
        assert mail.html == ""
        assert mail.text.strip() == f"See {mail.upgrade_link}."
        assert (await inside.follow("ada")).session


async def test_a_template_hosted_at_the_provider_is_followed_too() -> None:
    hosted = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit={"free": 0, "paid": 5}, period="1d", meter="calls"),
                action=action.block(
                    "limit", upgrade_prompt=action.email("resend:upgrade", provider="resend")
                ),
            )
        ],
    )
    async with world(app(hosted)) as inside:
        await call(inside.skene)
        await inside.drain()
        assert inside.sent("ada") == ["resend:upgrade"]
        assert inside.mails("ada")[0].text == ""
        assert (await inside.follow("ada")).session


async def test_a_mail_that_fails_is_tried_again(inhabited: World) -> None:
    inhabited.fail_mails(DeliveryFailed("busy"))
    await call(inhabited.skene, times=4)
    await inhabited.drain()
    assert inhabited.sent("ada") == []
    assert "mail 'upgrade_prompt' is pending (busy)" in inhabited.describe("ada")
    inhabited.clock.advance("1h")
    await inhabited.drain()
    assert inhabited.sent("ada") == ["upgrade_prompt"]


async def test_a_mail_whose_answer_is_lost_arrives_once(inhabited: World) -> None:
    inhabited.fail_mails(DeliveryUnknown("no answer"), accepted=True)
    await call(inhabited.skene, times=4)
    for _ in range(3):
        await inhabited.drain()
        inhabited.clock.advance("1h")
    assert inhabited.sent("ada") == ["upgrade_prompt"]


async def test_the_background_worker_leaves_the_outbox_alone() -> None:
    skene = app()
    async with world(skene) as inside, skene.lifespan():
        await call(skene, times=4)
        await anyio.wait_all_tasks_blocked()
        assert inside.sent("ada") == []
        await inside.drain()
        assert inside.sent("ada") == ["upgrade_prompt"]


async def test_a_profile_of_the_tests_own() -> None:
    async def nobody(subject: str) -> Profile | None:
        return None

    async with world(app(), profile=nobody) as inside:
        await call(inside.skene, times=4)
        await inside.drain()
        assert inside.sent("ada") == []
        assert "is skipped (no e-mail address" in inside.describe()


# -- Stripe ------------------------------------------------------------------------------------------------


async def test_a_subscription_and_its_end(inhabited: World) -> None:
    await inhabited.stripe.subscribe("ada", "price_123")
    assert inhabited.plan("ada") == "paid"
    await inhabited.stripe.set_status("ada", "past_due")
    assert inhabited.plan("ada") == "paid"
    inhabited.clock.advance("14d")
    assert inhabited.plan("ada") == "free"
    await inhabited.stripe.set_status("ada", "active")
    await inhabited.stripe.cancel("ada")
    assert inhabited.plan("ada") == "free"
    assert [c.loop for c in inhabited.conversions("ada")] == [None, None]
    assert inhabited.conversions("bob") == []
    assert inhabited.stripe.undelivered == []


async def test_stripe_is_set_up_as_in_the_app() -> None:
    billing = stripe(
        plans={"price_1": "paid", "prod_2": "team"},
        checkout_price="price_3",
        default="basic",
        grace=timedelta(days=2),
    )
    loop = freemium(limit={"basic": 1, "paid": 2, "team": 3})
    async with world(app(loop, billing=billing)) as inside:
        await call(inside.skene, times=2)
        await inside.drain()
        checkout = await inside.follow("ada")
        with pytest.raises(AssertionError, match=r"nothing to pay|plan"):
            assert await checkout.pay(), "price_3 is for no plan"
        assert inside.stripe.requests[-1].method == "GET"
        await inside.stripe.subscribe("bob", "prod_2")
        assert inside.plan("bob") == "team"
        await inside.stripe.set_status("bob", "past_due")
        inside.clock.advance("2d")
        assert inside.plan("bob") == "basic"


async def test_an_unknown_price_names_those_there_are(inhabited: World) -> None:
    with pytest.raises(LookupError, match=r"no price 'price_132', only price_123; did you mean 'price_123'"):
        await inhabited.stripe.subscribe("ada", "price_132")


async def test_webhooks_are_signed_and_verified(inhabited: World) -> None:
    inhabited.clock.advance("10m")
    event = None
    await inhabited.stripe.subscribe("ada")
    event = inhabited.stripe.events[-1]
    assert await inhabited.stripe.send(event), "a repetition is no fault"
    refused = await deliver_forged(inhabited)
    assert refused == 401


async def deliver_forged(inside: World) -> int:
    """Deliver a webhook that somebody else has signed; the status it is answered with."""
    from skene.testing.stripe_server import FakeStripe

    stranger = FakeStripe(
        now=inside.clock.now, prices=["price_123"], webhook_secret="whsec_of0somebody0else0"
    )
    seen: list[int] = []
    ours = inside.stripe._webhooks.deliver  # noqa: SLF001 - how this world takes webhooks to the app
    assert ours is not None

    async def deliver(body: bytes, headers: Any) -> int:
        seen.append(await ours(body, headers))
        return seen[-1]

    stranger.connect(deliver)
    await stranger.subscribe("ada")
    assert inside.plan("ada") == "paid"
    assert len(set(seen)) == 1
    return seen[0]


async def test_a_webhook_is_sent_again_when_stripe_was_away(inhabited: World) -> None:
    inhabited.stripe.down = True
    await inhabited.stripe.subscribe("ada")
    assert inhabited.plan("ada") == "free"
    assert "webhooks not delivered: customer.created, customer.subscription.created" in inhabited.describe()
    inhabited.stripe.down = False
    assert await inhabited.stripe.redeliver()
    assert inhabited.plan("ada") == "paid"


async def test_who_pays_before_the_mail_is_not_asked_to(inhabited: World) -> None:
    await call(inhabited.skene, times=4)
    await inhabited.stripe.subscribe("ada")
    await inhabited.drain()
    assert inhabited.sent("ada") == []
    assert "is cancelled (the subject holds the plan paid)" in inhabited.describe("ada")


async def test_a_link_leads_who_pays_already_to_the_portal(inhabited: World) -> None:
    await call(inhabited.skene, times=4)
    await inhabited.drain()
    await inhabited.stripe.subscribe("ada")
    page = await inhabited.follow("ada")
    assert page.session is None
    with pytest.raises(AssertionError, match="there is nothing to pay at http"):
        await page.pay()


async def test_who_closes_the_browser_is_known_by_webhook(inhabited: World) -> None:
    await call(inhabited.skene, times=4)
    await inhabited.drain()
    assert not await (await inhabited.follow("ada")).pay(comes_back=False)
    assert inhabited.plan("ada") == "paid"


@pytest.mark.parametrize("keys", [True, False])
async def test_an_app_from_the_environment_behaves_alike_with_and_without_keys(
    keys: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    env = {
        "STRIPE_API_KEY": "rk_live_of0the0app0itself",
        "STRIPE_WEBHOOK_SECRET": "whsec_of0the0app0itself",
        "RESEND_API_KEY": "re_of0the0app",
        "SKENE_SENDER": "team@acme.test",
    }
    skene = Skene.from_env(freemium(), plans={"price_123": "paid"}, profile=profile, env=env if keys else {})
    async with world(skene) as inside:
        await call(skene, times=4)
        await inside.drain()
        assert await (await inside.follow("ada")).pay()
        assert inside.plan("ada") == "paid"
    assert list(tmp_path.iterdir()) == []


async def test_where_any_price_will_do_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    async with world(Skene.from_env(freemium(), env={})) as inside:
        await inside.stripe.subscribe("ada")
        assert inside.plan("ada") == "paid"


# -- without Stripe ----------------------------------------------------------------------------------------


async def test_plans_set_by_hand() -> None:
    billing = ManualBilling(["paid"], upgrade_url="https://acme.test/pricing")
    async with world(app(billing=billing)) as inside:
        await call(inside.skene, times=4)
        await inside.drain()
        page = await inside.follow("ada")
        assert (page.url, page.session) == ("https://acme.test/pricing", None)
        await inside.set_plan("ada", "paid")
        assert (await call(inside.skene)).allowed
        with pytest.raises(AssertionError, match=r"plans come from ManualBilling.*world\.set_plan"):
            await inside.stripe.subscribe("ada")


async def test_somebodys_own_billing_is_not_touched() -> None:
    class Own(Untouchable):
        plans = ("paid",)
        default = "free"
        prices: dict[str, str] = {}
        link_key = None

    async with world(app(billing=Own())) as inside:
        await inside.set_plan("ada", "paid")
        assert inside.plan("ada") == "paid"
        with pytest.raises(CheckoutUnavailable):
            await inside.skene.upgrade.follow(link_token(inside))


def link_token(inside: World) -> str:
    return inside.skene._parts.links.upgrade(subject="ada").partition("token=")[2]  # noqa: SLF001 - a link without a mail


async def test_a_billing_back_end_of_the_tests_own() -> None:
    ours = ManualBilling(["paid"], upgrade_url="https://acme.test/here")
    async with world(app(), billing=ours) as inside:
        assert inside.skene.billing is ours


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
    with pytest.raises(ZeroDivisionError):
        async with world(skene):
            assert isinstance(skene.storage, MemoryStorage)
            raise ZeroDivisionError
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


async def test_following_no_mail_says_why_there_is_none(inhabited: World) -> None:
    with pytest.raises(AssertionError, match="no mail was sent to 'ada'\n.*\n  nothing has happened"):
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

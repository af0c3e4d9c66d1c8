"""The test kit: Stripe, mails and plans in a world."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from skene import (
    CheckoutUnavailable,
    DeliveryFailed,
    DeliveryUnknown,
    Profile,
    Skene,
    action,
    condition,
    define_loop,
    step,
)
from skene.adapters.manual import ManualBilling
from skene.adapters.resend import ResendNotifier
from skene.testing import World, world
from tests.testing.apps import Untouchable, app, call, freemium, profile, stripe

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
    ours = inside.stripe._webhooks.deliver
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
        prices: Mapping[str, str] = MappingProxyType({})
        link_key = None

    async with world(app(billing=Own())) as inside:
        await inside.set_plan("ada", "paid")
        assert inside.plan("ada") == "paid"
        with pytest.raises(CheckoutUnavailable):
            await inside.skene.upgrade.follow(link_token(inside))


def link_token(inside: World) -> str:
    return inside.skene._parts.links.upgrade(subject="ada").partition("token=")[2]


async def test_a_billing_back_end_of_the_tests_own() -> None:
    ours = ManualBilling(["paid"], upgrade_url="https://acme.test/here")
    async with world(app(), billing=ours) as inside:
        assert inside.skene.billing is ours

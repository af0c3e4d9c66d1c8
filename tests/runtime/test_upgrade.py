"""From a link to the page where one pays: whose it is, what is recorded, and where payers go instead."""

from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from skene import Profile
from skene.adapters.manual import ManualBilling
from skene.errors import BillingUnavailable, CheckoutUnavailable, LinkInvalid
from skene.ports.notifier import ProfileResolver
from tests.runtime.shop import Shop, freemium
from tests.runtime.till import LIMITS, Till


async def refused(till: Till | Shop, subject: str = "ada") -> str:
    """The token of a refusal's link."""
    await till.refuse(subject)
    url = (await till.call(subject)).upgrade_url
    assert url is not None
    assert urlsplit(url).path == "/skene/upgrade"
    return parse_qs(urlsplit(url).query)["token"][0]


def shop() -> Till:
    return Till(freemium(limits=LIMITS))


async def test_a_link_opens_a_checkout_with_the_walls_id_and_ties_the_customer_before_payment() -> None:
    till = shop()
    token = await refused(till)
    url = await till.skene.upgrade.follow(token)
    (wall,) = till.memory.walls
    session = till.stripe.get(url.rpartition("/")[2])
    assert session["metadata"] == {"skene_subject": "ada", "skene_wall": wall.id}
    assert session["client_reference_id"] == "ada"
    assert session["status"] == "open"
    assert (
        session["success_url"]
        == "http://localhost:8000/skene/checkout/return?session_id={CHECKOUT_SESSION_ID}"
    )
    assert session["cancel_url"] == "http://localhost:8000"
    known = await till.memory.get_customer("ada")
    assert known is not None
    assert (known.customer, known.plan, known.paying) == (session["customer"], None, False)
    assert till.stripe.get(session["customer"])["email"] == "ada@acme.test"
    (row,) = await till.skene.funnel()
    assert (row.walls, row.clicks, row.checkouts, row.conversions) == (1, 1, 1, 0)


async def test_clicks_and_checkouts_are_counted_once_and_every_click_gets_a_fresh_session() -> None:
    till = shop()
    token = await refused(till)
    first = await till.skene.upgrade.follow(token)
    till.clock.advance("1h")
    second = await till.skene.upgrade.follow(token)
    assert first != second
    (row,) = await till.skene.funnel()
    assert (row.clicks, row.checkouts) == (1, 1)
    marked = till.memory._state.walls[till.memory.walls[0].id]
    assert marked.session == first.rpartition("/")[2]
    assert len(till.stripe._state.tables["customer"]) == 1  # the second one is for the same customer


async def test_a_click_counts_even_if_stripe_is_away() -> None:
    till = shop()
    token = await refused(till)
    till.stripe.fail(429, times=99)
    with pytest.raises(BillingUnavailable):
        await till.skene.upgrade.follow(token)
    (row,) = await till.skene.funnel()
    assert (row.clicks, row.checkouts) == (1, 0)


async def test_a_customer_who_is_known_is_used_again() -> None:
    till = shop().listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.stripe.cancel("ada")
    url = await till.skene.upgrade.follow(await refused(till))
    session = till.stripe.get(url.rpartition("/")[2])
    assert session["customer"] == till.stripe.customer("ada")


async def test_a_customer_who_was_deleted_is_replaced_and_the_new_one_tied() -> None:
    till = shop().listen()
    await till.stripe.subscribe("ada", "price_starter")
    old = till.stripe.customer("ada")
    till.stripe.webhooks_dropped = True
    await till.stripe.delete_customer("ada")
    await till.memory.link("ada", str(old))
    await till.skene.billing_sync.sync(str(old))
    url = await till.skene.upgrade.follow(await refused(till))
    session = till.stripe.get(url.rpartition("/")[2])
    assert session["customer"] != old
    known = await till.memory.get_customer("ada")
    assert known is not None
    assert known.customer == session["customer"]
    # So that a payment is found even if every webhook is lost.
    till.clock.advance("60s")
    await till.stripe.pay(session["id"])
    assert (await till.call()).plan == "starter"


@pytest.mark.parametrize("trial", [0, 14])
async def test_who_has_a_subscription_is_sent_to_sign_in_and_never_let_in_by_a_link(trial: int) -> None:
    till = shop().listen()
    token = await refused(till)
    await till.stripe.subscribe(
        "ada", "price_starter", trial_days=trial, status="trialing" if trial else "active"
    )
    url = await till.skene.upgrade.follow(token)
    assert url == "http://localhost:8000/skene/portal"
    assert till.stripe._state.tables["billing_portal.session"] == {}
    assert till.stripe._state.tables["checkout.session"] == {}
    (row,) = await till.skene.funnel()
    assert (row.clicks, row.checkouts) == (1, 0)


@pytest.mark.parametrize("status", ["past_due", "unpaid", "paused"])
async def test_what_is_not_paid_for_is_to_be_paid_and_not_bought_again(status: str) -> None:
    """A second subscription beside the first would cost twice as soon as the card works again."""
    till = shop().listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.stripe.set_status("ada", status)
    till.clock.advance("30d")  # beyond any grace
    assert till.plan() == "free"
    url = await till.skene.upgrade.follow(await refused(till))
    assert url == "http://localhost:8000/skene/portal"


async def test_whose_plan_has_ended_unheard_is_sold_a_new_one() -> None:
    """Cancelled to the end of the period, which is over: no webhook has said so yet."""
    till = shop().listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.stripe.cancel("ada", at_period_end=True)
    till.stripe.webhooks_dropped = True
    till.clock.advance("40d")
    assert till.plan() == "free"
    url = await till.skene.upgrade.follow(await refused(till))
    assert "cs_" in url


async def test_a_link_without_a_wall_opens_a_checkout_for_its_subject() -> None:
    till = shop()
    link = till.skene._parts.links.upgrade(subject="ada")
    url = await till.skene.upgrade.follow(parse_qs(urlsplit(link).query)["token"][0])
    session = till.stripe.get(url.rpartition("/")[2])
    assert session["metadata"] == {"skene_subject": "ada"}


async def test_the_address_is_the_customers_or_the_profiles_or_none() -> None:
    async def nobody(subject: str) -> None:
        return None

    for profile in (None, nobody):
        till = Till(freemium(limits=LIMITS), profile=profile)
        url = await till.skene.upgrade.follow(await refused(till))
        session = till.stripe.get(url.rpartition("/")[2])
        assert till.stripe.get(session["customer"])["email"] is None


# -- links that do not work --------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", ["", "x", "a.b.c", "é", "%00", "." * 5000])
async def test_a_forged_link_is_refused_and_touches_nothing(broken: str) -> None:
    till = shop()
    await refused(till)
    till.wire.verbs.clear()
    with pytest.raises(LinkInvalid, match="not one of ours"):
        await till.skene.upgrade.follow(broken)
    assert (till.wire.verbs, till.stripe.requests) == ([], [])


async def test_a_link_cannot_be_turned_into_somebody_elses() -> None:
    till = shop()
    ada, bob = await refused(till, "ada"), await refused(till, "bob")
    payload, stamp, signature = ada.split(".")
    others, other_stamp, other_signature = bob.split(".")
    for token in (
        f"{others}.{stamp}.{signature}",
        f"{payload}.{stamp}.{other_signature}",
        f"{payload}.{other_stamp}x.{signature}",
    ):
        with pytest.raises(LinkInvalid):
            await till.skene.upgrade.follow(token)
    stranger = Till(freemium(limits=LIMITS), secret="another secret altogether")
    with pytest.raises(LinkInvalid):
        await stranger.skene.upgrade.follow(ada)


async def test_a_link_ends_after_thirty_days() -> None:
    till = shop()
    token = await refused(till)
    till.clock.advance("30d")
    await till.skene.upgrade.follow(token)
    till.clock.advance("1s")
    with pytest.raises(LinkInvalid, match="expired"):
        await till.skene.upgrade.follow(token)


async def test_a_link_of_somebody_who_was_forgotten_leads_nowhere() -> None:
    till = shop()
    token = await refused(till)
    await till.skene.forget("ada")
    with pytest.raises(CheckoutUnavailable):
        await till.skene.upgrade.follow(token)
    assert till.stripe.requests == []
    unknown = till.skene._parts.links.upgrade(wall="wall-of-nobody").partition("token=")[2]
    with pytest.raises(CheckoutUnavailable):
        await till.skene.upgrade.follow(unknown)
    assert (await till.skene.funnel())[0].clicks == 0


# -- the portal, and nothing to sell -----------------------------------------------------------------------


async def test_the_portal_is_for_customers() -> None:
    till = shop().listen()
    with pytest.raises(CheckoutUnavailable, match="no subscription to manage"):
        await till.skene.upgrade.portal("ada")
    await till.skene.set_plan("bob", "pro")
    with pytest.raises(CheckoutUnavailable):
        await till.skene.upgrade.portal("bob")
    await till.stripe.subscribe("ada", "price_pro")
    assert (await till.skene.upgrade.portal("ada")).startswith(till.stripe.base_url)
    long = "user-" + "x" * 300
    await till.stripe.subscribe(long, "price_pro")
    assert await till.skene.upgrade.portal(long)


async def test_plans_set_by_hand_lead_to_a_pricing_page_or_nowhere() -> None:
    nothing = Shop()
    with pytest.raises(CheckoutUnavailable):
        await nothing.skene.upgrade.follow(await refused(nothing))
    selling = Shop(billing=ManualBilling(upgrade_url="https://acme.test/pricing"))
    assert await selling.skene.upgrade.follow(await refused(selling)) == "https://acme.test/pricing"
    (row,) = await selling.skene.funnel()
    assert (row.clicks, row.checkouts) == (1, 1)


async def _broken(subject: str) -> Profile | None:
    raise LookupError(f"no row for {subject}")


async def _hanging(subject: str) -> Profile | None:
    await anyio.sleep_forever()
    return None


@pytest.mark.parametrize("profile", [_broken, _hanging])
async def test_an_address_that_cannot_be_found_keeps_nobody_from_paying(
    profile: ProfileResolver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("skene.runtime.upgrade.PROFILE_TIMEOUT", 0.01)
    till = shop()
    token = await refused(till)
    with till.skene.override(profile=profile):
        url = await till.skene.upgrade.follow(token)
    session = till.stripe.get(url.rpartition("/")[2])
    assert session["status"] == "open"
    assert not till.stripe.get(session["customer"]).get("email")
    assert "ada" not in caplog.text

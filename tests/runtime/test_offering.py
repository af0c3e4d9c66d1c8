"""Which plan an upgrade link sells: the next that allows more, what the app chooses, what the link names."""

from typing import Any
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest

from skene import UNLIMITED
from skene.adapters.manual import ManualBilling
from skene.engine.program import compile_loops
from skene.errors import CheckoutUnavailable, ConfigurationError, SubjectInvalid
from skene.runtime.links import LinkTarget
from skene.runtime.offering import address, better_plan
from tests.runtime.shop import Shop, freemium
from tests.runtime.till import LIMITS, Till, billing

PRICES = {"price_starter": "starter", "price_pro": "pro"}


def token(url: str | None) -> str:
    return parse_qs(urlsplit(str(url)).query)["token"][0]


async def follow(till: Till, url: str | None) -> str:
    """The plan that a link sells."""
    session = (await till.skene.upgrade.follow(token(url))).rpartition("/")[2]
    return PRICES[till.stripe._state.sold[session].lines[0][0]]


async def wall(till: Till) -> str | None:
    await till.refuse()
    return (await till.call()).upgrade_url


async def test_a_wall_sells_the_next_plan_that_allows_more_there() -> None:
    till = Till(freemium(limits=LIMITS))
    assert await follow(till, await wall(till)) == "starter"
    same = Till(freemium(limits={"free": 3, "starter": 3, "pro": UNLIMITED}))
    assert await follow(same, await wall(same)) == "pro"
    by_route = Till(freemium(limits={"free": 3, "starter": 3, "pro": 4}, group_by="route"))
    assert await follow(by_route, await wall(by_route)) == "pro"


async def test_a_single_price_stays_what_is_sold() -> None:
    till = Till(freemium(limits=LIMITS))
    for more in ({"checkout_price": "price_pro"}, {"checkout_prices": {"pro": "price_pro"}}):
        with till.skene.override(billing=billing(till.stripe, **more)):
            assert await follow(till, await wall(till)) == "pro"


async def test_where_no_plan_allows_more_what_billing_sells_by_itself_is_sold() -> None:
    till = Till(freemium(limits={"free": 3, "starter": 3, "pro": 3}))
    assert await follow(till, await wall(till)) == "starter"


@pytest.mark.parametrize(
    ("held", "step", "sold", "found"),
    [
        ("free", "freemium", ("starter", "pro"), "starter"),
        ("free", "freemium", ("pro",), "pro"),
        ("starter", "freemium", ("starter", "pro"), "pro"),
        ("pro", "freemium", ("starter", "pro"), None),
        ("starter", None, ("starter", "pro"), "pro"),
        ("pro", None, ("starter", "pro"), None),
        ("gold", None, ("starter", "pro"), "starter"),
        ("free", "a.step.of.old", ("starter",), "starter"),
        ("free", "freemium", (), None),
    ],
)
def test_the_next_better_plan(held: str, step: str | None, sold: tuple[str, ...], found: str | None) -> None:
    program, _ = compile_loops([freemium(limits=LIMITS)])
    assert better_plan(program, ("starter", "pro"), sold, held, step) == found


def test_who_has_no_limit_there_is_offered_nothing_above_it() -> None:
    program, _ = compile_loops([freemium(limits={"free": 3, "starter": UNLIMITED, "pro": UNLIMITED})])
    assert better_plan(program, ("starter", "pro"), ("starter", "pro"), "starter", "freemium") is None


# -- the app's own choice ----------------------------------------------------------------------------------


@pytest.mark.parametrize("is_async", [False, True])
async def test_the_app_can_choose(is_async: bool) -> None:
    asked: list[object] = []

    def offer(subject: str, held: str, step: str | None) -> str | None:
        asked.append((subject, held, step))
        return "pro" if step else None

    async def later(subject: str, held: str, step: str | None) -> str | None:
        return offer(subject, held, step)

    till = Till(freemium(limits=LIMITS), offer=later if is_async else offer)
    assert await follow(till, await wall(till)) == "pro"
    assert await follow(till, till.skene.upgrade_link("bob")) == "starter", "None leaves it to skene"
    assert asked == [("ada", "free", "freemium"), ("bob", "free", None)]


def _raises(*_: object) -> str:
    raise LookupError("no row for ada")


async def _hangs(*_: object) -> str:
    await anyio.sleep_forever()
    return ""


def _answers_oddly(*_: object) -> Any:
    return 7


@pytest.mark.parametrize("offer", [_raises, _hangs, _answers_oddly])
async def test_a_choice_that_fails_keeps_nobody_from_paying(
    offer: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("skene.runtime.upgrade.OFFER_TIMEOUT", 0.01)
    till = Till(freemium(limits=LIMITS), offer=offer)
    assert await follow(till, await wall(till)) == "starter"
    assert "the next better plan is sold instead" in caplog.text
    assert "ada" not in caplog.text


async def test_a_choice_of_a_plan_that_is_not_sold_is_not_something_else() -> None:
    till = Till(freemium(limits=LIMITS), offer=lambda *_: "platinum")
    with pytest.raises(CheckoutUnavailable, match="'platinum' is not sold; these are: starter, pro"):
        await till.skene.upgrade.follow(token(await wall(till)))


def test_what_cannot_choose_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"Skene\(offer=…\)"):
        Till(freemium(limits=LIMITS), offer="pro")


# -- links of the app's own --------------------------------------------------------------------------------


async def test_a_link_of_a_pricing_page_sells_the_plan_it_names() -> None:
    till = Till(freemium(limits=LIMITS), offer=lambda *_: "starter")
    link = till.skene.upgrade_link("ada", "pro")
    assert link.startswith("http://localhost:8000/skene/upgrade?token=")
    assert await follow(till, link) == "pro"
    known = await till.memory.get_customer("ada")
    assert known is not None
    assert known.customer == till.stripe.customer("ada")


async def test_a_link_names_what_was_sold_when_it_is_followed() -> None:
    till = Till(freemium(limits=LIMITS))
    link = till.skene.upgrade_link("ada", "pro")
    only = billing(till.stripe, checkout_prices={"starter": "price_starter"})
    with till.skene.override(billing=only):
        with pytest.raises(CheckoutUnavailable):
            await till.skene.upgrade.follow(token(link))
        with pytest.raises(ValueError, match="plan: got 'pro'; sold are: starter"):
            till.skene.upgrade_link("ada", "pro")
    with pytest.raises(SubjectInvalid):
        till.skene.upgrade_link("")


def test_links_from_before_plans_were_named_still_work() -> None:
    links = Till().skene.links
    for payload, target in (
        ({"w": "wall-1"}, LinkTarget("wall-1", None)),
        ({"s": "ada"}, LinkTarget(None, "ada")),
        ({"s": "ada", "p": "pro"}, LinkTarget(None, "ada", "pro")),
        ({"w": "wall-1", "p": "pro"}, LinkTarget("wall-1", None, "pro")),
    ):
        assert links.read(str(links._serializer.dumps(payload))) == target
    assert links.read(token(links.upgrade(wall="wall-1"))) == LinkTarget("wall-1", None)
    assert links.read(token(links.upgrade(wall="wall-1", plan="pro"))) == LinkTarget("wall-1", None, "pro")


async def test_plans_by_hand_have_one_page_for_all() -> None:
    shop = Shop(
        freemium(limits={"free": 1, "paid": 2}), billing=ManualBilling(upgrade_url="https://acme.test/")
    )
    link = shop.skene.upgrade_link("ada", "paid")
    assert await shop.skene.upgrade.follow(token(link)) == "https://acme.test/"


# -- where a browser may be sent ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://checkout.stripe.com/c/pay/cs_test_1#fid",
        "http://stripe.localhost/c/pay/cs_1",
        "https://pay.acme.test:8443/x?y=z",
    ],
)
def test_addresses_of_pages(url: str) -> None:
    assert address(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//evil.test/x",
        "/relative",
        "javascript:alert(1)",
        "data:text/html,hi",
        "ftp://evil.test/",
        "https:///nowhere",
        "https://",
        "https://ok.test@evil.test/",
        "https://ok.test\\@evil.test/",
        "https://ok.test/\r\nSet-Cookie: a=b",
        "https://ok.test/\tx",
        " https://ok.test/",
        "https://ok.test/ü",
        "https://[::1",
    ],
)
def test_what_is_no_address_for_a_browser(url: str) -> None:
    with pytest.raises(CheckoutUnavailable):
        address(url)

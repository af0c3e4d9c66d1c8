"""To the checkout and back, over HTTP: what people are told, and what hostile requests get."""

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import httpx
import pytest

from skene.adapters.stripe import StripeBilling
from skene.fastapi.returning import PAUSES
from skene.ports.billing import CheckoutSession
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.fastapi.conftest import House, freemium

BACK = "/skene/checkout/return"
UPGRADE = "/skene/upgrade"
EVIL = (
    "//evil.test",
    "https://evil.test/",
    "\r\nLocation: https://evil.test",
    "javascript:alert(1)",
    "/\\evil.test",
)


class Till(House):
    """A house that sells through the local Stripe."""

    def __init__(self, **options: Any) -> None:
        clock = ManualClock()
        self.stripe = FakeStripe(now=clock.now, prices=["price_paid"])
        transport = httpx.ASGITransport(self.stripe.app)
        selling = StripeBilling(
            self.stripe.api_key, self.stripe.webhook_secret, {"price_paid": "paid"},
            base_url=self.stripe.base_url, transport=transport,
        )  # fmt: skip
        super().__init__(freemium(1, optional=True), billing=options.pop("billing", selling), **options)
        self.skene._use_clock(clock)
        self.gate.install(self.app)

    async def link(self, subject: str = "ada") -> str:
        """The token of a refusal's link."""
        for _ in range(2):
            refused = await self.skene.consume(subject, "freemium")
        return parse_qs(urlsplit(str(refused.upgrade_url)).query)["token"][0]


@pytest.fixture
def till() -> Till:
    return Till()


@pytest.fixture
async def browser(till: Till) -> AsyncIterator[httpx.AsyncClient]:
    async with till.client() as made:
        yield made


async def opened(till: Till, browser: httpx.AsyncClient, subject: str = "ada") -> str:
    """The id of a checkout session, opened from a wall's link."""
    answer = await browser.get(UPGRADE, params={"token": await till.link(subject)})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{till.stripe.base_url}/c/pay/cs_")
    return str(answer.headers["location"]).rpartition("/")[2]


async def came_back(browser: httpx.AsyncClient, session: str, **more: str) -> httpx.Response:
    return await browser.get(BACK, params={"session_id": session, **more})


def links(answer: httpx.Response) -> dict[str, str]:
    found = re.findall(r'<a href="(.*?)">(.*?)</a>', answer.text)
    return {label: unescape(url) for url, label in found}


# -- what people are told ----------------------------------------------------------------------------------


async def test_who_has_paid_is_told_so_and_has_the_plan(till: Till, browser: httpx.AsyncClient) -> None:
    session = await opened(till, browser)
    await till.stripe.pay(session)
    answer = await came_back(browser, session)
    assert (answer.status_code, "Your new plan is active." in answer.text) == (200, True)
    assert "http-equiv" not in answer.text
    assert till.storage.plan_of("ada") == "paid"


async def test_who_has_not_finished_can_go_on(till: Till, browser: httpx.AsyncClient) -> None:
    session = await opened(till, browser)
    answer = await came_back(browser, session)
    assert (answer.status_code, "nothing was paid" in answer.text) == (200, True)
    assert links(answer)["Go on with the checkout"] == f"{till.stripe.base_url}/c/pay/{session}"
    assert till.storage.plan_of("ada") is None


async def test_who_is_too_late_can_start_again(till: Till, browser: httpx.AsyncClient) -> None:
    session = await opened(till, browser)
    await till.stripe.expire(session)
    answer = await came_back(browser, session)
    assert answer.status_code == 410
    again = await browser.get(links(answer)["Start again"].replace("http://localhost:8000", ""))
    assert again.status_code == 303
    new = str(again.headers["location"]).rpartition("/")[2]
    assert new != session
    assert till.stripe.get(new)["metadata"] == till.stripe.get(session)["metadata"]


async def test_a_bank_that_takes_days_is_waited_for_ever_less_often_and_then_no_more(
    till: Till, browser: httpx.AsyncClient
) -> None:
    session = await opened(till, browser)
    await till.stripe.pay(session, settled=False)
    url, pauses = f"{BACK}?session_id={session}", []
    for _ in PAUSES:
        answer = await browser.get(url)
        assert (answer.status_code, "is being confirmed" in answer.text) == (202, True)
        (content,) = re.findall(r'http-equiv="refresh" content="(.*?)"', answer.text)
        after, _, query = unescape(content).partition(";url=")
        pauses.append(int(after))
        assert answer.headers["retry-after"] == after
        url = BACK + query
    assert pauses == sorted(set(pauses)) == list(PAUSES)
    last = await browser.get(url)
    assert (last.status_code, "http-equiv" in last.text) == (202, False)
    assert "begins by itself as soon as the payment is confirmed" in last.text

    await till.stripe.settle(session)
    assert "Your new plan is active." in (await browser.get(url)).text


async def test_money_that_is_there_with_a_plan_that_is_not_is_no_thank_you(
    till: Till, browser: httpx.AsyncClient
) -> None:
    session = await opened(till, browser)
    await till.stripe.pay(session)
    await till.stripe.cancel("ada")
    assert (await came_back(browser, session)).status_code == 202


async def test_stripe_away_on_the_way_back_is_waited_for(till: Till, browser: httpx.AsyncClient) -> None:
    session = await opened(till, browser)
    await till.stripe.pay(session)
    till.stripe.fail(429, times=1)
    assert (await came_back(browser, session)).status_code == 202
    assert (await came_back(browser, session)).status_code == 200


async def test_a_checkout_that_is_not_skenes_own_offers_no_link_to_anybodys(
    till: Till, browser: httpx.AsyncClient
) -> None:
    session = await opened(till, browser)
    source = till.stripe.get(session)
    source.update(metadata={}, client_reference_id="victim")
    await till.stripe.expire(session)
    assert set(links(await came_back(browser, session))) == {"Continue"}


@pytest.mark.parametrize("tries", ["-1", "7x", "9999999", "²", "٣", "", "\r\n"])
async def test_odd_tries_are_none(till: Till, browser: httpx.AsyncClient, tries: str) -> None:
    session = await opened(till, browser)
    await till.stripe.pay(session, settled=False)
    answer = await came_back(browser, session, tries=tries)
    assert f'content="{PAUSES[0]};' in answer.text


# -- hostile requests --------------------------------------------------------------------------------------


async def test_a_link_cannot_be_used_for_anybody_else(till: Till, browser: httpx.AsyncClient) -> None:
    token, other = await till.link("ada"), await till.link("bob")
    made = till.skene.links
    pricing = made.upgrade(subject="ada", plan="paid").partition("token=")[2]
    payload, stamp, signature = pricing.split(".")
    swapped = made.upgrade(subject="bob").partition("token=")[2].split(".")[0]
    stranger = Till(secret="another secret altogether").skene.links
    forged = [
        f"{other.split('.')[0]}.{'.'.join(token.split('.')[1:])}",
        f"{swapped}.{stamp}.{signature}",
        f"{payload}.{stamp}.{signature[:-2]}AA",
        made.unsubscribe("ada").partition("token=")[2],
        stranger.upgrade(subject="ada").partition("token=")[2],
        str(made._serializer.dumps({"s": "ada"}, salt="skene.unsubscribe")),
        str(made._serializer.dumps({"x": "ada"})),
        token + token,
        "",
        "\0",
        "../../portal",
    ]
    asked = len(till.stripe.requests)
    for one in forged:
        answer = await browser.get(UPGRADE, params={"token": one})
        assert (answer.status_code, "location" in answer.headers) == (400, False), one
    assert len(till.stripe.requests) == asked
    assert till.stripe.customer("ada") is till.stripe.customer("bob") is None


async def test_a_link_of_ada_followed_by_bob_pays_for_ada(till: Till, browser: httpx.AsyncClient) -> None:
    token = await till.link("ada")
    answer = await browser.get(UPGRADE, params={"token": token}, headers={"x-user": "bob"})
    session = till.stripe.get(str(answer.headers["location"]).rpartition("/")[2])
    assert session["metadata"]["skene_subject"] == "ada"
    assert till.stripe.customer("bob") is None


async def test_somebody_elses_session_ties_nothing_to_me(till: Till, browser: httpx.AsyncClient) -> None:
    session = await opened(till, browser, "ada")
    await till.stripe.pay(session)
    answer = await browser.get(BACK, params={"session_id": session}, headers={"x-user": "mallory"})
    assert answer.status_code == 200
    assert till.storage.plan_of("ada") == "paid"
    assert till.storage.plan_of("mallory") is None
    assert await till.storage.get_customer("mallory") is None
    assert (await browser.get("/skene/portal", headers={"x-user": "mallory"})).status_code == 404


async def test_a_customer_who_is_somebodys_is_not_tied_to_another_by_a_session(
    till: Till, browser: httpx.AsyncClient
) -> None:
    session = await opened(till, browser, "ada")
    await till.stripe.pay(session)
    await came_back(browser, session)
    till.stripe.get(session).update(metadata={"skene_subject": "mallory"})
    await came_back(browser, session)
    assert till.storage.plan_of("mallory") is None
    assert till.storage.plan_of("ada") == "paid"


@pytest.mark.parametrize("evil", EVIL)
async def test_no_parameter_and_no_header_says_where_the_browser_goes(
    till: Till, browser: httpx.AsyncClient, evil: str
) -> None:
    token = await till.link()
    session = await opened(till, browser, "bob")
    await till.stripe.pay(session, settled=False)
    named = ("next", "url", "return_url", "redirect", "success_url", "cancel_url", "plan", "back")
    extra = "&".join(f"{name}={quote(evil)}" for name in named)
    plain = evil.replace("\r\n", "")
    headers = {"x-forwarded-host": plain, "forwarded": f"host={plain}", "referer": plain, "origin": plain}
    for host in ("app.test", "evil.test"):
        for url in (
            f"{UPGRADE}?token={token}&{extra}",
            f"{UPGRADE}?token={quote(evil)}",
            f"{BACK}?session_id={session}&{extra}",
            f"{BACK}?session_id={quote(evil)}&{extra}",
            f"{BACK}?session_id={session}&tries={quote(evil)}",
        ):
            answer = await browser.get(url, headers={**headers, "host": host})
            where = answer.headers.get("location", till.stripe.base_url)
            assert where.startswith(till.stripe.base_url), url
            assert "evil" not in answer.text, url
            assert "evil" not in str(answer.headers), url
    made = till.stripe._state.tables["checkout.session"].values()
    for one in made:
        assert one["success_url"] == f"http://localhost:8000{BACK}?session_id={{CHECKOUT_SESSION_ID}}"
        assert one["cancel_url"] == "http://localhost:8000"


class Misled:
    """Billing whose provider answers with an address of somebody else's choosing."""

    def __init__(self, inner: StripeBilling, url: str) -> None:
        self._inner, self._url = inner, url

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def checkout(self, order: Any, *, idempotency_key: str) -> CheckoutSession:
        return CheckoutSession("cs_1", self._url, order.customer)

    async def portal(self, customer: str, *, return_url: str) -> str:
        return self._url


@pytest.mark.parametrize("url", [*EVIL[2:], "//evil.test", "https://ok.test\\.evil.test/", "", "https://"])
async def test_an_address_that_is_none_is_not_passed_on(
    till: Till, browser: httpx.AsyncClient, url: str
) -> None:
    token = await till.link()
    await till.storage.link("ada", "cus_ada")
    with till.skene.override(billing=Misled(till.skene.billing, url)):  # type: ignore[arg-type] # it answers all
        for path in (f"{UPGRADE}?token={token}", "/skene/portal"):
            answer = await browser.get(path)
            assert (answer.status_code, "location" in answer.headers) == (404, False)
            assert "evil" not in answer.text

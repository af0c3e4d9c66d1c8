"""Anything at all, sent to the webhook: a documented answer, and the plan stays what Stripe says."""

import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI, Header
from hypothesis import given
from hypothesis import strategies as st

from skene import Skene
from skene.adapters.memory import MemoryStorage
from skene.fastapi import Gate
from skene.testing.clock import ManualClock
from skene.testing.stripe_server import FakeStripe
from tests.runtime.shop import Post, freemium, profile
from tests.runtime.till import LIMITS, PLANS, billing
from tests.support.extent import extent, seeded

PATH = "/skene/webhooks/stripe"
ANSWERS = {200, 400, 401, 413}
KINDS = {
    "charge.dispute.closed",
    "charge.dispute.created",
    "charge.refunded",
    "checkout.session.completed",
    "customer.created",
    "customer.subscription.created",
    "customer.subscription.deleted",
    "customer.subscription.paused",
    "customer.subscription.resumed",
    "customer.subscription.updated",
}


async def caller(x_user: Annotated[str | None, Header()] = None) -> str | None:
    return x_user


class Shop:
    """An app that sells; ada is on a plan, and bob's whole life at Stripe is over."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.stripe = FakeStripe(now=self.clock.now, prices=PLANS)
        skene = Skene(
            freemium(limits=LIMITS),
            storage=MemoryStorage(clock=self.clock),
            billing=billing(self.stripe),
            notifiers={"mail": Post()},
            profile=profile,
            clock=self.clock,
            worker=False,
        )
        self.app = FastAPI()
        Gate(skene, subject=caller).install(self.app)
        self.corpus: list[bytes] = []
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(self.app), base_url="http://app.test")

    async def open(self) -> None:
        stripe = self.stripe
        await stripe.subscribe("bob", "price_pro")
        await stripe.switch_price("bob", "price_starter")
        await stripe.set_status("bob", "past_due")
        await stripe.set_status("bob", "active")
        await stripe.pause("bob")
        await stripe.resume("bob")
        await stripe.cancel("bob", at_period_end=True)
        await stripe.keep("bob")
        await stripe.refund("bob", 100)
        await stripe.dispute("bob")
        await stripe.settle_dispute("bob", won=True)
        await stripe.cancel("bob")
        await stripe.subscribe("ada", "price_starter")
        await self.check_out("cyd")
        for event in stripe.events:
            assert (await self.send(json.dumps(event).encode())).status_code == 200
        seen: dict[str, dict[str, Any]] = {event["type"]: event for event in stripe.events}
        self.corpus = [json.dumps(event).encode() for event in seen.values()]
        assert set(seen) >= KINDS, KINDS - set(seen)

    async def check_out(self, subject: str) -> None:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(self.stripe.app), base_url=self.stripe.base_url
        ) as client:
            made = await client.post(
                "/v1/checkout/sessions",
                headers={"authorization": f"Bearer {self.stripe.api_key}"},
                data={
                    "mode": "subscription",
                    "client_reference_id": subject,
                    "success_url": "http://app.test/?session_id={CHECKOUT_SESSION_ID}",
                    "cancel_url": "http://app.test/",
                    "line_items[0][price]": "price_pro",
                    "line_items[0][quantity]": "1",
                    "subscription_data[metadata][skene_subject]": subject,
                    "metadata[skene_subject]": subject,
                },
            )
        await self.stripe.pay(made.json()["id"], f"{subject}@acme.test")

    def signed(self, body: bytes, secret: str | None = None, late: int = 0) -> dict[str, str]:
        at = int(self.clock.now().timestamp()) + late
        mac = hmac.new((secret or self.stripe.webhook_secret).encode(), b"%d." % at + body, hashlib.sha256)
        return {"stripe-signature": f"t={at},v1={mac.hexdigest()}"}

    async def send(self, body: bytes, headers: Mapping[str, str] | None = None) -> httpx.Response:
        return await self.client.post(
            PATH, content=body, headers=self.signed(body) if headers is None else headers
        )

    async def plans(self) -> list[str]:
        found = []
        for who in ("ada", "bob", "cyd", "eve"):
            answer = await self.client.get("/skene/usage", headers={"x-user": who})
            found.append(answer.json()["usage"][0]["plan"])
        return found


PLANS_HELD = ["starter", "free", "pro", "free"]


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def shop(portal: BlockingPortal) -> Iterator[Shop]:
    made = Shop()
    portal.call(made.open)
    assert portal.call(made.plans) == PLANS_HELD
    yield made
    portal.call(made.client.aclose)


# -- what is sent ------------------------------------------------------------------------------------------

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30)
parts = st.recursive(
    scalars | st.sampled_from(("eve", "customer", "subscription", "cus_", "../..", "\x00", "evt_1")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(("id", "object", "customer", "metadata", "skene_subject", "data", "type")),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)


def places(value: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if here:
        yield here
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inside:
        yield from places(part, (*here, key))


def mangled(corpus: list[bytes], draw: st.DrawFn | Any) -> bytes:
    """A known event with something wrong in it: a value, the text, or the bytes."""
    body: bytes = draw(st.sampled_from(corpus))
    how = draw(st.sampled_from(("value", "value", "value", "bytes", "cut", "twice", "deep", "any")))
    if how == "any":
        return draw(st.binary(max_size=300))
    if how == "cut":
        return body[: draw(st.integers(0, len(body)))]
    if how == "twice":
        return body + body
    if how == "deep":
        return b"[" * draw(st.integers(1, 5000)) + body
    if how == "bytes":
        at = draw(st.integers(0, len(body) - 1))
        return body[:at] + draw(st.binary(max_size=4)) + body[at + 1 :]
    event = json.loads(body)
    for _ in range(draw(st.integers(1, 3))):
        *way, last = draw(st.sampled_from(list(places(event)) or [("id",)]))
        holder = event
        for key in way:
            holder = holder[key]
        holder[last] = draw(parts)
    return json.dumps(event).encode("utf-8", "surrogatepass")


signatures = st.sampled_from(("ours", "ours", "another's", "old", "none", "of another body", "ours and more"))


@seeded
@extent(400, 10_000)
@given(data=st.data(), by=signatures)
def test_any_body_gets_a_documented_answer_and_changes_nothing(
    shop: Shop, portal: BlockingPortal, data: st.DataObject, by: str
) -> None:
    body = mangled(shop.corpus, data.draw)
    headers = {
        "ours": shop.signed(body),
        "another's": shop.signed(body, "whsec_another0secret0entirely"),
        "old": shop.signed(body, late=-4000),
        "none": {},
        "of another body": shop.signed(body + b" "),
        "ours and more": {"stripe-signature": shop.signed(body)["stripe-signature"] + ",v1=0,v0=x,t"},
    }[by]
    answer = portal.call(shop.send, body, headers)
    assert answer.status_code in ANSWERS
    if by not in ("ours", "ours and more"):
        assert answer.status_code in (400, 401)
    kind = "application/json" if answer.status_code == 200 else "application/problem+json"
    assert answer.headers["content-type"] == kind
    assert shop.stripe.webhook_secret not in answer.text
    assert portal.call(shop.plans) == PLANS_HELD


@seeded
@extent(100, 2000)
@given(header=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200), data=st.data())
def test_any_signature_is_refused(
    shop: Shop, portal: BlockingPortal, header: str, data: st.DataObject
) -> None:
    body = data.draw(st.sampled_from(shop.corpus))
    answer = portal.call(shop.send, body, {"stripe-signature": header})
    assert answer.status_code in (400, 401)


def test_a_receiver_that_believes_what_it_is_told_is_seen(
    shop: Shop, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: signatures are not looked at."""
    monkeypatch.setattr("skene.adapters.stripe.billing.verify", lambda *about: None)
    with pytest.raises(AssertionError):
        test_any_body_gets_a_documented_answer_and_changes_nothing(shop=shop, portal=portal)

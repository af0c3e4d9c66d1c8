"""The local Stripe itself, through the SDK: does it behave as Stripe says it does: webhooks."""

from datetime import datetime
from itertools import permutations
from typing import Any

from skene.adapters.stripe import StripeBilling
from skene.engine.standing import entitle
from skene.testing.serve import serving
from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import (
    NOW,
    Inbox,
    Time,
    fake_stripe,
)


async def plan_of(billing: StripeBilling, customer: str | None, at: datetime) -> str:
    subscriptions = (await billing.fetch(str(customer))).subscriptions
    standing, warnings = entitle(subscriptions, billing.policy, now=at)
    assert not warnings
    return standing.plan


async def test_every_change_is_told_in_order(fake: FakeStripe, inbox: Inbox) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.cancel("ada", at_period_end=True)
    await fake.keep("ada")
    await fake.switch_price("ada", "price_team")
    await fake.set_status("ada", "past_due")
    await fake.set_status("ada", "active")
    await fake.pause("ada")
    await fake.resume("ada")
    await fake.cancel("ada")
    await fake.subscribe("ada", "price_pro")
    await fake.set_status("ada", "canceled")
    await fake.subscribe("ada", "price_pro")
    await fake.delete_customer("ada")
    changes = [event.type.removeprefix("customer.") for event in inbox.events]
    assert changes == [
        "created", "subscription.created",
        *["subscription.updated"] * 6,  # end set, end taken back, price, late, its period, paid
        "subscription.paused", "subscription.updated", "subscription.resumed", "subscription.updated",
        "subscription.deleted", "subscription.created", "subscription.deleted",
        "subscription.created", "subscription.deleted", "deleted",
    ]  # fmt: skip
    assert {event.customer for event in inbox.events} == {fake.customer("ada")}
    assert len({event.id for event in inbox.events}) == len(inbox.events)
    assert fake.events[2]["data"]["previous_attributes"]["cancel_at_period_end"] is False


async def test_lost_webhooks_can_be_sent_again(fake: FakeStripe, inbox: Inbox) -> None:
    fake.webhooks_dropped = True
    await fake.subscribe("ada", "price_pro")
    assert inbox.events == []
    assert fake.undelivered == fake.events
    assert not await fake.redeliver()

    fake.webhooks_dropped = False
    inbox.status = 500
    assert not await fake.redeliver()
    assert fake.undelivered == fake.events
    inbox.status = 200
    assert await fake.redeliver()
    assert (fake.undelivered, len(inbox.events)) == ([], 4)
    assert await fake.send(fake.events[0])


async def test_an_application_that_is_not_there_gets_its_webhooks_later(
    fake: FakeStripe, inbox: Inbox
) -> None:
    fake.connect("http://127.0.0.1:1/webhooks")
    await fake.subscribe("ada", "price_pro")
    assert len(fake.undelivered) == 2
    fake.connect(inbox)
    assert await fake.redeliver()
    assert len(inbox.events) == 2


async def test_without_an_endpoint_webhooks_are_only_recorded(now: Time) -> None:
    fake = fake_stripe(now)
    await fake.subscribe("ada", "price_pro")
    assert (len(fake.events), fake.undelivered) == (2, [])
    assert not await fake.send(fake.events[0])


async def test_webhooks_travel_over_the_network(billing: StripeBilling, now: Time) -> None:
    got: list[tuple[bytes, dict[str, str]]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            headers = {name.decode(): value.decode() for name, value in scope["headers"]}
            got.append(((await receive())["body"], headers))
            await send({"type": "http.response.start", "status": 204, "headers": []})
            await send({"type": "http.response.body"})

    with serving(app) as url:
        fake = fake_stripe(now, webhook_url=f"{url}/skene/webhooks/stripe")
        await fake.subscribe("ada", "price_pro")
    assert fake.undelivered == []
    events = [billing.parse_webhook(body, headers, now()) for body, headers in got]
    assert [event.subject for event in events] == ["ada", "ada"]


async def test_after_any_order_of_events_the_truth_is_read(
    billing: StripeBilling, fake: FakeStripe, now: Time
) -> None:
    await fake.subscribe("ada", "price_pro")
    await fake.switch_price("ada", "price_team")
    await fake.cancel("ada", at_period_end=True)
    await fake.cancel("ada")
    truth = await plan_of(billing, fake.customer("ada"), NOW)
    seen: list[str] = []

    async def apply(body: bytes, headers: Any) -> int:
        event = billing.parse_webhook(body, headers, now())
        seen.append(await plan_of(billing, event.customer, NOW))
        return 200

    fake.connect(apply)
    orders = list(permutations(fake.events[1:]))
    assert len(orders) == 24
    for events in orders:
        for event in (*events, events[0]):
            assert await fake.send(event)
    assert set(seen) == {truth} == {"free"}

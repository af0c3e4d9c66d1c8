"""The local Paddle is as strict as the real one."""

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from skene.testing.paddle_server import FakePaddle
from skene.testing.paddle_server.objects import add_cycle
from tests.support.stripe_kit import NOW, Time


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def fake(now: Time) -> FakePaddle:
    return FakePaddle(now=now, prices=["pri_pro"])


@pytest.fixture
async def client(fake: FakePaddle) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"authorization": f"Bearer {fake.api_key}", "paddle-version": "1"}
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(fake.app), base_url=fake.base_url, headers=headers
    ) as made:
        yield made


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "/customers", {"email": "ada@acme.test"}, 201),
        ("POST", "/customers", {}, 400),
        ("POST", "/customers", {"email": "nobody"}, 400),
        ("POST", "/customers", {"email": "a@b.test", "metadata": {"x": "y"}}, 400),
        ("POST", "/customers", {"email": "a@b.test", "custom_data": {}}, 400),
        ("POST", "/customers", {"email": "taken@acme.test"}, 409),
        ("POST", "/transactions", {"items": [{"price_id": "pri_pro", "quantity": 1}]}, 201),
        ("POST", "/transactions", {"items": []}, 400),
        ("POST", "/transactions", {"items": [{"price": "pri_pro", "quantity": 1}]}, 400),
        ("POST", "/transactions", {"items": [{"price_id": "pri_none", "quantity": 1}]}, 404),
        (
            "POST",
            "/transactions",
            {"items": [{"price_id": "pri_pro", "quantity": 1}], "success_url": "x"},
            400,
        ),
        (
            "POST",
            "/transactions",
            {"items": [{"price_id": "pri_pro", "quantity": 1}], "customer_id": "c"},
            404,
        ),
        ("GET", "/subscriptions?limit=3", None, 400),
        ("GET", "/subscriptions?order_by=name", None, 400),
        ("GET", "/events?per_page=x", None, 400),
        ("GET", "/customers/ctm_none", None, 404),
    ],
)
async def test_what_is_asked_must_be_right(
    fake: FakePaddle, client: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    await fake.add_customer("taken", "taken@acme.test")
    answer = await client.request(method, path, json=body)
    assert answer.status_code == status
    if status >= 400:
        assert set(answer.json()["error"]) == {"type", "code", "detail", "documentation_url"}
    assert answer.json()["meta"]["request_id"]


async def test_key_and_version_must_be_right(fake: FakePaddle) -> None:
    for headers in ({}, {"authorization": "Bearer x"}, {"authorization": f"Bearer {fake.api_key}"}):
        transport = httpx.ASGITransport(fake.app)
        async with httpx.AsyncClient(transport=transport, base_url=fake.base_url) as stranger:
            assert (await stranger.get("/events", headers=headers)).status_code in (400, 403)


async def test_a_life_happens_when_its_time_has_come(fake: FakePaddle, now: Time) -> None:
    await fake.subscribe("ada", "pri_pro")
    number = fake.subscription("ada")
    ends = [fake.get(number)["current_billing_period"]["ends_at"]]
    now.move(timedelta(days=31))
    await fake.catch_up()
    ends.append(fake.get(number)["current_billing_period"]["ends_at"])
    assert [end[:10] for end in ends] == ["2026-12-20", "2027-01-20"]
    await fake.cancel("ada", at_period_end=True)
    now.move(timedelta(days=29))
    await fake.catch_up()
    assert fake.get(number)["status"] == "active"
    now.move(timedelta(days=3))
    await fake.catch_up()
    assert fake.get(number)["status"] == "canceled"
    assert fake.get(number)["current_billing_period"] is None
    assert [event["event_type"] for event in fake.events][-2:] == [
        "subscription.updated",
        "subscription.canceled",
    ]


@pytest.mark.parametrize(
    ("start", "interval", "count", "end"),
    [
        ("2026-01-31", "month", 1, "2026-02-28"),
        ("2026-12-31", "month", 2, "2027-02-28"),
        ("2024-02-29", "year", 1, "2025-02-28"),
        ("2026-01-31", "week", 2, "2026-02-14"),
        ("2026-11-15", "month", 1, "2026-12-15"),
    ],
)
def test_periods(start: str, interval: str, count: int, end: str) -> None:
    begun = datetime.fromisoformat(start).replace(tzinfo=UTC)
    assert add_cycle(begun, {"interval": interval, "frequency": count}).date().isoformat() == end


async def test_webhooks_that_are_lost_or_refused_wait(fake: FakePaddle) -> None:
    status, seen = 500, list[bytes]()

    async def deliver(body: bytes, headers: Mapping[str, str]) -> int:
        assert headers["paddle-signature"].startswith(f"ts={int(NOW.timestamp())};h1=")
        seen.append(body)
        return status

    fake.connect(deliver)
    fake.webhooks_dropped = True
    await fake.add_customer("ada")
    assert not seen
    fake.webhooks_dropped = False
    assert not await fake.redeliver()
    status = 200
    assert await fake.redeliver()
    assert not fake.undelivered
    assert len(seen) == 2

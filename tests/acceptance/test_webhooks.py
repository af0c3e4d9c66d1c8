"""A signed event comes in over HTTP, a loop answers it with a signed event that goes out."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from standardwebhooks import Webhook

from skene import Recovery, Skene, action, define_loop, step, trigger
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.adapters.webhook import StandardWebhookSource, WebhookNotifier
from skene.fastapi import Gate
from skene.ports.outbox import MessageState
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from tests.support.sql_stores import PATIENT

IN, OUT = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDxyz0AAAA"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WON = {"type": "deal.won", "data": {"user_id": "ada", "amount": 7}}

loop = define_loop(
    type="activation",
    steps=[
        step(
            trigger=trigger.webhook("crm", event="deal.won", subject="data.user_id"),
            action=action.webhook("warehouse", "user.won", payload={"amount": "{{ event.data.amount }} €"}),
        )
    ],
    recovery=Recovery(retries=5, backoff="fixed", base="1s"),
)


class Warehouse:
    """A receiver that is busy at first, and then loses an answer."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if len(self.requests) == 1:
            return httpx.Response(503, headers={"retry-after": "30"})
        if len(self.requests) == 2:
            raise httpx.ReadError("gone", request=request)
        return httpx.Response(204)


@pytest.fixture(params=["sqlite", "postgres"])
def make_storage(request: Any, tmp_path: Path) -> Callable[[ManualClock], Storage]:
    if request.param == "sqlite":
        return lambda clock: SqliteStorage(tmp_path / "app.db", clock=clock)
    dsn = request.getfixturevalue("postgres_dsn")
    return lambda clock: PostgresStorage(dsn, clock=clock, migrate=True, timeout=PATIENT)


def signed(body: bytes, secret: str = IN, number: str = "msg_1") -> dict[str, str]:
    signature = Webhook(secret).sign(number, NOW, body.decode())
    stamp = str(int(NOW.timestamp()))
    return {"webhook-id": number, "webhook-timestamp": stamp, "webhook-signature": signature}


async def test_an_event_goes_through(make_storage: Callable[[ManualClock], Storage]) -> None:
    clock, warehouse = ManualClock(NOW), Warehouse()
    skene = Skene(
        loop,
        storage=make_storage(clock),
        sources={"crm": StandardWebhookSource(IN)},
        notifiers={
            "warehouse": WebhookNotifier(
                "https://warehouse.acme.test/in", OUT, transport=httpx.MockTransport(warehouse), clock=clock
            )
        },
        clock=clock,
        worker=False,
    )
    app = FastAPI()
    Gate(skene, subject=lambda: "nobody").install(app)
    async with (
        skene,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app.test") as client,
    ):
        body, path = json.dumps(WON).encode(), "/skene/webhooks/in/crm"
        assert (await client.post(path, content=body, headers=signed(body, OUT))).status_code == 401
        assert (await client.post(path, content=body + b" ", headers=signed(body))).status_code == 401
        other = json.dumps({**WON, "type": "deal.lost"}).encode()
        assert (await client.post(path, content=other, headers=signed(other, number="msg_2"))).is_success
        for _ in range(3):  # senders repeat
            assert (await client.post(path, content=body, headers=signed(body))).is_success
        for _ in range(4):
            await skene.worker.drain()
            clock.advance(timedelta(seconds=31))
        assert dict(await skene.storage.outbox_counts()) == {MessageState.SENT: 1}

    source = StandardWebhookSource(OUT, tolerance=timedelta(hours=1))
    events = [source.parse(one.content, one.headers, NOW) for one in warehouse.requests]
    assert len(events) == 3
    assert len({event.id for event in events}) == len({one.content for one in warehouse.requests}) == 1
    assert events[0].type == "user.won"
    assert events[0].payload["data"] == {
        "subject": "ada",
        "loop": "activation",
        "event": WON,
        "row": {},
        "amount": "7 €",
    }

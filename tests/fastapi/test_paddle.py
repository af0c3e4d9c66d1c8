"""The freemium loop with Paddle in Stripe's place: wall, link, checkout, payment, webhook, admitted."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI

from skene import Skene
from skene.adapters.memory import MemoryStorage
from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.paddle import PaddleBilling
from skene.adapters.sqlite import SqliteStorage
from skene.fastapi import Gate
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.paddle_server import FakePaddle
from tests.fastapi.conftest import freemium, header_user, profile

CALL = "/api/features/summarise"


class Shop:
    """An app whose customers pay at the local Paddle."""

    def __init__(self, storage: Storage, clock: ManualClock) -> None:
        self.clock = clock
        self.paddle = FakePaddle(now=clock.now, prices=["pri_paid"], deliver=self.deliver)
        self.answers: list[int] = []
        billing = PaddleBilling(
            self.paddle.api_key,
            self.paddle.webhook_secret,
            {"pri_paid": "paid"},
            base_url=self.paddle.base_url,
            transport=httpx.ASGITransport(self.paddle.app),
        )
        self.skene = Skene(
            freemium(2),
            storage=storage,
            billing=billing,
            notifiers={"mail": MemoryNotifier()},
            profile=profile,
            clock=clock,
            public_url="http://app.test",
            worker=False,
        )
        self.app = FastAPI(lifespan=self.skene.lifespan)
        self.app.post(CALL)(self.summarise)
        Gate(self.skene, subject=header_user).install(self.app)

    async def summarise(self) -> None:
        """The feature that is sold."""

    def client(self) -> httpx.AsyncClient:
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://app.test", headers={"x-user": "ada"})

    async def deliver(self, body: bytes, headers: Mapping[str, str]) -> int:
        async with self.client() as paddle:
            answer = await paddle.post("/skene/webhooks/paddle", content=body, headers=dict(headers))
        self.answers.append(answer.status_code)
        return answer.status_code

    @asynccontextmanager
    async def open(self) -> AsyncIterator[httpx.AsyncClient]:
        async with self.app.router.lifespan_context(self.app), self.client() as client:
            yield client


@pytest.fixture(params=["memory", "sqlite"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    clock = ManualClock()
    stores = {
        "memory": lambda: MemoryStorage(clock=clock),
        "sqlite": lambda: SqliteStorage(tmp_path / "app.db", clock=clock),
    }
    return Shop(stores[request.param](), clock)


async def to_the_checkout(client: httpx.AsyncClient) -> str:
    """Run into the wall and follow the link there; the id of the transaction that is waiting to be paid."""
    assert [(await client.post(CALL)).status_code for _ in range(3)] == [200, 200, 402]
    link = (await client.post(CALL)).json()["upgrade_url"]
    page = await client.get(link.removeprefix("http://app.test"))
    assert page.status_code == 303
    assert page.headers["location"].startswith("http://app.test/pay?_ptxn=txn_01")
    return parse_qs(urlsplit(page.headers["location"]).query)["_ptxn"][0]


async def test_from_the_wall_to_the_payment(shop: Shop) -> None:
    async with shop.open() as client:
        sale = await to_the_checkout(client)
        assert (await client.post(CALL)).status_code == 402
        await shop.paddle.pay(sale)
        assert set(shop.answers) == {200}
        assert [(await client.post(CALL)).status_code for _ in range(5)] == [200] * 5
        assert (await client.get(f"/skene/checkout/return?session_id={sale}")).status_code == 200
        (row,) = await shop.skene.funnel()
        assert (row.walls, row.clicks, row.checkouts, row.conversions) == (1, 1, 1, 1)
        assert row.revenue == (("usd", 2000),)
        portal = await client.get("/skene/portal")
        assert portal.headers["location"].startswith(f"{shop.paddle.base_url}/portal/ctm_01")
        await shop.paddle.cancel("ada")
        assert (await client.post(CALL)).status_code == 402


async def test_a_payer_is_found_even_if_every_webhook_is_lost(shop: Shop) -> None:
    async with shop.open() as client:
        sale = await to_the_checkout(client)
        shop.paddle.webhooks_dropped = True
        await shop.paddle.pay(sale)
        shop.clock.advance("61s")
        assert (await client.post(CALL)).status_code == 200
        assert shop.paddle.undelivered
        shop.paddle.webhooks_dropped = False
        assert await shop.paddle.redeliver()
        assert (await shop.skene.funnel())[0].conversions == 1


async def test_the_return_page_puts_the_plan_in_force(shop: Shop) -> None:
    async with shop.open() as client:
        sale = await to_the_checkout(client)
        shop.paddle.webhooks_dropped = True
        assert "plan is active" not in (await client.get(f"/skene/checkout/return?session_id={sale}")).text
        await shop.paddle.pay(sale)
        assert "plan is active" in (await client.get(f"/skene/checkout/return?session_id={sale}")).text
        assert (await client.post(CALL)).status_code == 200


@pytest.mark.parametrize("shop", ["memory"], indirect=True)
async def test_what_is_not_paddles_is_refused(shop: Shop) -> None:
    async with shop.open() as client:
        body = b'{"event_id":"evt_1","event_type":"subscription.created","data":{}}'
        signed = dict(shop.paddle.headers(body))
        assert (await client.post("/skene/webhooks/paddle", content=body)).status_code == 400
        forged = {**signed, "paddle-signature": signed["paddle-signature"][:-1] + "x"}
        assert (await client.post("/skene/webhooks/paddle", content=body, headers=forged)).status_code == 401
        large = b"x" * 1_048_577
        assert (await client.post("/skene/webhooks/paddle", content=large)).status_code == 413
        assert (await client.post("/skene/webhooks/padle", content=body, headers=signed)).status_code == 404
        shop.paddle.down = True
        about = b'{"event_id":"evt_2","event_type":"subscription.updated","data":{"customer_id":"ctm_%s"}}'
        about %= b"0" * 26
        again = await client.post(
            "/skene/webhooks/paddle", content=about, headers=dict(shop.paddle.headers(about))
        )
        assert again.status_code == 503, "Paddle sends it again"

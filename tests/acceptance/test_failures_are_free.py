"""A handler that raises, one that answers 500, a request that gets 422: hundreds of each are free."""

import anyio
import httpx

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.support.extent import amount
from tests.support.processes import uvicorn_processes

TRIES = amount(300, full=1_000)
AT_ONCE = 20


async def hammer(client: httpx.AsyncClient, query: str, expected: int) -> None:
    left = iter(range(TRIES))

    async def one_after_another() -> None:
        for _ in left:
            answer = await client.post(f"/api/features/work?fail={query}")
            assert answer.status_code == expected

    async with anyio.create_task_group() as tasks:
        for _ in range(AT_ONCE):
            tasks.start_soon(one_after_another)


async def test_over_http_on_a_real_database(database):
    environment = {"APP_DATABASE": database, "APP_LIMIT": "30"}
    with serving(FakeResend(now=SystemClock().now).app) as mail:
        environment["APP_RESEND"] = mail
        with uvicorn_processes("tests.support.served_app:app", 1, environment) as (address,):
            # The server drops a connection whose request broke it: each call has its own.
            limits = httpx.Limits(max_keepalive_connections=0)
            async with httpx.AsyncClient(
                base_url=address, headers={"x-user": "ada"}, timeout=30, limits=limits
            ) as client:
                await hammer(client, "1", 500)
                await hammer(client, "500", 500)
                await hammer(client, "nonsense", 422)
                usage = (await client.get("/skene/usage")).json()["usage"]
                assert [one["used"] for one in usage] == [0]
                assert (await client.post("/api/features/work")).status_code == 200

"""500 simultaneous requests of one subject at limit 100, over two server processes: laws L1 and L4."""

from collections import Counter

import anyio
import httpx

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from tests.support.processes import uvicorn_processes

CALLS = 500
LIMIT = 100
APP = "tests.support.served_app:app"


async def storm(addresses: list[str], subject: str) -> Counter[int]:
    """All calls at once, divided among the processes."""
    answers: Counter[int] = Counter()

    async def call(number: int) -> None:
        address = addresses[number % len(addresses)]
        answer = await client.post(f"{address}/api/features/work", headers={"x-user": subject})
        answers[answer.status_code] += 1

    limits = httpx.Limits(max_connections=CALLS)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client, anyio.create_task_group() as tasks:
        for number in range(CALLS):
            tasks.start_soon(call, number)
    return answers


async def test_exactly_the_limit_is_admitted_and_one_mail_is_sent(database):
    resend = FakeResend(now=SystemClock().now)
    with (
        serving(resend.app) as mail,
        uvicorn_processes(APP, 2, {"APP_DATABASE": database, "APP_RESEND": mail}) as addresses,
    ):
        assert await storm(addresses, "ada") == {200: LIMIT, 402: CALLS - LIMIT}
        with anyio.fail_after(30):
            while not resend.emails:
                await anyio.sleep(0.1)
        assert await storm(addresses, "ada") == {402: CALLS}
        await anyio.sleep(3)  # a second mail would come within the worker's next look
    assert len(resend.emails) == 1


async def test_the_naive_control_lets_too_many_through(database):
    with (
        serving(FakeResend(now=SystemClock().now).app) as mail,
        uvicorn_processes(
            APP, 2, {"APP_DATABASE": database, "APP_RESEND": mail, "APP_NAIVE": "1"}
        ) as addresses,
    ):
        answers = await storm(addresses, "ada")
    assert answers[200] > LIMIT

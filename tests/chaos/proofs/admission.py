"""Never one more than the limit, however many ask at once."""

from collections import Counter
from collections.abc import Mapping, Sequence

import anyio
import httpx

from skene.adapters.system import SystemClock
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving
from skene.wiring import storage_from
from tests.chaos.proof import Finding, Proof, Trial, exactly
from tests.support.postgres import PostgresServer
from tests.support.processes import uvicorn_processes

__all__ = ["PROOFS"]

APP = "tests.support.served_app:app"
LIMIT = 100


async def exact(trial: Trial, env: Mapping[str, str]) -> Sequence[Finding]:
    """Rounds of calls of one subject each, over several processes."""
    calls, connections = trial.take(1_000, 10_000), trial.take(50, 100)
    processes, rounds = trial.take(2, 4), trial.take(2, 20)
    admitted: list[int] = []
    refused: list[int] = []
    resend = FakeResend(now=SystemClock().now)
    with PostgresServer(durable=True) as server, serving(resend.app) as mail:
        dsn = server.create_database("exact")
        storage = storage_from(dsn)
        await storage.migrate()
        await storage.aclose()
        told = {"APP_DATABASE": dsn, "APP_RESEND": mail, **env}
        with uvicorn_processes(APP, processes, told) as addresses:
            for number in range(rounds):
                answers = await _storm(addresses, f"subject-{number}", calls, connections)
                admitted.append(answers[200])
                refused.append(answers[402])
    return [
        exactly("rounds in which 100 were admitted", admitted.count(LIMIT), rounds),
        exactly("most admitted in a round", max(admitted), LIMIT),
        exactly("refusals", sum(refused), rounds * (calls - LIMIT)),
    ]


async def _storm(addresses: list[str], subject: str, calls: int, connections: int) -> Counter[int]:
    answers: Counter[int] = Counter()
    numbers = iter(range(calls))

    async def caller(client: httpx.AsyncClient) -> None:
        for number in numbers:
            address = addresses[number % len(addresses)]
            answer = await client.post(f"{address}/api/features/work", headers={"x-user": subject})
            answers[answer.status_code] += 1

    limits = httpx.Limits(max_connections=connections)
    async with httpx.AsyncClient(limits=limits, timeout=60) as client, anyio.create_task_group() as tasks:
        for _ in range(connections):
            tasks.start_soon(caller, client)
    return answers


PROOFS = (
    Proof(
        key="exact",
        claim="Of any number of simultaneous calls, exactly the limit is admitted.",
        faults=("many-at-once",),
        numbers="10,000 calls on 100 connections to 4 processes, 20 rounds",
        try_ours=lambda trial: exact(trial, {}),
        control="counts what is there, then inserts",
        try_control=lambda trial: exact(trial, {"APP_NAIVE": "1"}),
    ),
)

"""A database and server processes for a trial, and a client that goes to another process when one is gone."""

import itertools
import sys
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import TaskStatus

from tests.chaos.frame.stand import durable_server, template
from tests.support.processes import free_port
from tests.support.workers import Workers

__all__ = ["Fleet", "fleet", "fresh_database"]

APP = "tests.support.app_on_trial:app"
PATIENCE = 600.0
"""Seconds that a trial may take with its processes: far more than it does."""
READY = b"Uvicorn running on"
_numbers = itertools.count(1)


@asynccontextmanager
async def fresh_database() -> AsyncGenerator[str]:
    """A database with skene's tables, on the server that all trials share."""
    server, name = durable_server(), f"fleet_{next(_numbers)}"
    yield server.create_database(name, await template(server))
    server.start().drop_database(name)


class Fleet:
    """Processes of the app on trial.

    Attributes:
        workers: the processes.
        addresses: theirs, in the same order.
        unanswered: how many requests have got no answer.
    """

    def __init__(self, workers: Workers, addresses: Sequence[str], client: httpx.AsyncClient) -> None:
        self.workers, self.addresses = workers, addresses
        self.unanswered = 0
        self._client = client
        self._turns = itertools.cycle(range(len(addresses)))

    async def ask(
        self, number: int, subject: str, *, body: Any = None, **headers: str
    ) -> httpx.Response | None:
        """Ask one process, once; `headers` with underscores. None: no answer."""
        named = {"x-user": subject, **{name.replace("_", "-"): value for name, value in headers.items()}}
        try:
            url = f"{self.addresses[number]}/api/features/work"
            return await self._client.post(url, headers=named, json=body)
        except httpx.HTTPError:
            self.unanswered += 1
            return None

    async def insist(self, subject: str, *, body: Any = None, **headers: str) -> httpx.Response:
        """Ask one after another until there is an answer, as people do."""
        while True:
            answer = await self.ask(next(self._turns), subject, body=body, **headers)
            if answer is not None and answer.status_code != 503:
                return answer
            await anyio.sleep(0.05)

    async def hold(
        self,
        number: int,
        subject: str,
        sign: Path,
        *,
        task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED,
        **more: Any,
    ) -> None:
        """Ask one process, whose handler puts up a sign and works until the sign is taken away.

        It has started when the sign is up, or when there is an answer without one.
        """
        answered = anyio.Event()

        async def call() -> None:
            await self.ask(number, subject, x_while=str(sign), **more)
            answered.set()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            while not sign.exists() and not answered.is_set():
                await anyio.sleep(0.02)
            task_status.started()

    async def used(self, subject: str) -> int:
        """How much of the window is used, as the app says."""
        while True:
            address = f"{self.addresses[next(self._turns)]}/skene/usage"
            try:
                answer = await self._client.get(address, headers={"x-user": subject})
                (usage,) = answer.raise_for_status().json()["usage"]
                used: int = usage["used"]
                return used
            except httpx.HTTPError:
                await anyio.sleep(0.05)


@asynccontextmanager
async def fleet(envs: Sequence[Mapping[str, str]]) -> AsyncGenerator[Fleet]:
    """Serve the app from a process for each environment. Yields them when all are at work."""
    ports = [free_port() for _ in envs]
    told: list[Mapping[str, str]] = [
        {**env, "UVICORN_PORT": str(port)} for env, port in zip(envs, ports, strict=True)
    ]
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=0)  # nobody trusts a dead connection
    with Workers([sys.executable, "-m", "uvicorn", APP], told, ready=READY) as workers:
        await workers.all_at_work()
        with anyio.fail_after(PATIENCE):
            async with httpx.AsyncClient(limits=limits, timeout=60) as client:
                yield Fleet(workers, [f"http://127.0.0.1:{port}" for port in ports], client)

"""An app in several processes on a database that loses nothing, to be ill-treated."""

import atexit
import json
import sys
from collections.abc import AsyncGenerator, Iterable, Mapping
from contextlib import asynccontextmanager
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from skene.adapters.postgres import PostgresStorage
from tests.chaos.apps.tables import TABLES
from tests.chaos.frame.load import Line
from tests.chaos.proof import Trial
from tests.support.postgres import PostgresServer
from tests.support.processes import free_port
from tests.support.workers import Workers

__all__ = ["OURS", "Stand", "by_hand", "durable_server", "stand", "template"]

OURS: Mapping[str, str] = {}
TEMPLATE = "chaos_tables"
READY = b"Uvicorn running"

_numbers = count(1)


def by_hand(gate: str) -> Mapping[str, str]:
    """The environment of the careless app with one of its gates."""
    return {"APP_CARELESS": gate}


@cache
def _server() -> PostgresServer:
    server = PostgresServer(durable=True, tcp=True)
    atexit.register(server.close)
    return server


async def template(server: PostgresServer) -> str:
    """A database that has our tables; made for the first trial."""
    if not server.execute(f"SELECT datname FROM pg_database WHERE datname = '{TEMPLATE}'"):
        storage = PostgresStorage(server.create_database(TEMPLATE))
        await storage.migrate()
        await storage.aclose()
    return TEMPLATE


def durable_server() -> PostgresServer:
    """The server of all proofs of this process that leave it whole, or start it again."""
    return _server().start()


class Stand:
    """What a trial is made at.

    Attributes:
        server: the database server.
        database: the name of the trial's own database.
        addresses: of the processes.
        processes: these themselves, to be killed.
        mails: the folder that they write mails to.
    """

    def __init__(
        self, server: PostgresServer, database: str, ports: list[int], processes: Workers, mails: Path
    ) -> None:
        self.server = server
        self.database = database
        self.addresses = [f"http://127.0.0.1:{port}" for port in ports]
        self.processes = processes
        self.mails = mails

    async def ask(self, path: str, subject: str = "nobody", process: int = 0) -> Any:
        """What a process answers to a GET, decoded.

        Raises:
            RuntimeError: it does not answer, or not with 200.
        """
        line = Line(self.addresses[process])
        try:
            status, body = await line.ask(f"GET {path}", subject)
        finally:
            await line.aclose()
        if status != 200:
            raise RuntimeError(f"GET {path} was answered with {status}: {body!r}")
        return json.loads(body)

    async def counted(self, subjects: Iterable[str]) -> dict[str, int]:
        """The usage that the system reports, by subject."""
        found: dict[str, int] = {}
        for subject in subjects:
            usage = (await self.ask("/skene/usage", subject))["usage"]
            found[subject] = sum(one["used"] for one in usage)
        return found

    def mails_in_all(self) -> int:
        """How many mails were written or wait for it."""
        kept = self.server.execute("SELECT to_regclass('skene_outbox')", self.database)
        waiting = self.server.execute("SELECT count(*) FROM skene_outbox", self.database) if kept else 0
        return max(int(waiting), len([*self.mails.glob("*.eml")]))

    async def runs(self) -> int:
        """How often the processes have done the work."""
        told = [await self.ask("/runs", process=number) for number in range(len(self.addresses))]
        return sum(one["runs"] for one in told)


@asynccontextmanager
async def stand(
    trial: Trial, processes: int, env: Mapping[str, str] = OURS, *, dsn: str = "", **told: object
) -> AsyncGenerator[Stand]:
    """An app's processes, all at work, with a database of their own.

    Args:
        trial: whose folder takes the mails.
        processes: how many.
        env: `OURS`, or `by_hand(…)`.
        dsn: where they find the database, with `{database}` in it; the server's own socket if left out.
        told: more for their environment: `limit=5` is `APP_LIMIT`.
    """
    server = durable_server()
    database = f"chaos_{next(_numbers)}"
    if env == OURS:
        server.create_database(database, await template(server))
        app = "tests.chaos.apps.gated:app"
    else:
        server.create_database(database)
        server.execute(TABLES, database)
        app = "tests.chaos.apps.careless:app"
    ports = [free_port() for _ in range(processes)]
    mails = trial.folder / database
    shared = {
        "APP_DATABASE": dsn.format(database=database) or server.dsn(database),
        "APP_FOLDER": str(mails),
        **{f"APP_{name.upper()}": str(value) for name, value in told.items()},
        **env,
    }
    envs: list[Mapping[str, str]] = [{**shared, "UVICORN_PORT": str(port)} for port in ports]
    command = [sys.executable, "-m", "uvicorn", app, "--log-level", "info", "--no-access-log"]
    try:
        with Workers(command, envs, ready=READY) as workers:
            await workers.all_at_work()
            yield Stand(server, database, ports, workers, mails)
    finally:
        server.start().drop_database(database)

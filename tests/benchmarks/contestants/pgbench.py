"""pgbench, PostgreSQL's own: what the server can do when nothing of Python's stands in front of it."""

import math
import re
import tempfile
from pathlib import Path

import anyio

from tests.benchmarks.contestants.by_hand import upsert
from tests.benchmarks.contestants.gate import LIMIT
from tests.benchmarks.frame.measuring import Figures, Turn
from tests.support.postgres import PostgresServer

__all__ = ["Pgbench"]

THREADS = 2
CONNECTED_IN_A_SECOND = 200


class Pgbench:
    """The conditional upsert, one call per statement, prepared.

    Attributes:
        admitted: how many calls it has made.
    """

    name = "pgbench"

    def __init__(self, binary: str, server: PostgresServer, database: str, table: str) -> None:
        self._binary = binary
        self._server = server
        self._database = database
        self._table = table
        self.admitted = 0

    def turn(self, clients: int, seconds: float, subjects: int, limit: int = LIMIT) -> Turn:
        """A turn of so many clients on that many subjects, uniformly random; one subject is a hot one.

        It runs for whole seconds, rounded up, and for as long as it may take to connect.
        """
        chosen = "'user-1'" if subjects == 1 else "('user-' || :n::text)"
        draw = "" if subjects == 1 else f"\\set n random(1, {subjects})\n"
        script = f"{draw}{upsert(self._table, chosen, str(limit))};\n"

        async def turn() -> Figures:
            # Its time begins before it is connected, which its rate leaves out.
            told = await self._run(script, clients, math.ceil(seconds + clients / CONNECTED_IN_A_SECOND))
            self.admitted += int(_number(r"actually processed: (\d+)", told))
            failed = re.search(r"number of failed transactions: (\d+)", told)
            assert failed is None or failed[1] == "0", told
            return {
                "rate": _number(r"tps = ([\d.]+)", told),
                "mean": _number(r"latency average = ([\d.]+) ms", told),
            }

        return turn

    def counted(self) -> int:
        """What its table says."""
        return int(self._server.execute(f"SELECT sum(used) FROM {self._table}", self._database))

    async def _run(self, script: str, clients: int, seconds: int) -> str:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "script.sql"
            file.write_text(script)
            words = [self._binary, "-n", "-M", "prepared", "-f", str(file), "-T", str(seconds)]
            words += ["-c", str(clients), "-j", str(min(clients, THREADS))]
            words += ["-h", str(self._server.socket_dir), "-p", str(self._server.port), "-U", "postgres"]
            done = await anyio.run_process([*words, self._database])
            return done.stdout.decode()


def _number(pattern: str, told: str) -> float:
    found = re.search(pattern, told)
    assert found is not None, told
    return float(found[1])

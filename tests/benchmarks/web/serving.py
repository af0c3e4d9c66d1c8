"""Servers of the apps, and turns of requests to them."""

import contextlib
import json
import os
import sys
import urllib.request
from collections import Counter
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field

import anyio
import psutil

from tests.benchmarks.contestants.gate import Miscounted
from tests.benchmarks.frame.machine import ROOT
from tests.benchmarks.frame.measuring import Figures, Turn
from tests.support.processes import uvicorn_processes

__all__ = ["APP", "OPTIONS", "Served", "cores", "serve"]

APP = "tests.benchmarks.web.apps:app"
OPTIONS = ("--factory", "--no-access-log", "--loop", "uvloop", "--http", "httptools")


def cores() -> tuple[int, int] | None:
    """A core for the server and one for what sends the requests.

    None where there is no choice, or with `SKENE_BENCH_PIN=0`.
    """
    if not hasattr(os, "sched_getaffinity") or os.environ.get("SKENE_BENCH_PIN") == "0":
        return None
    allowed = sorted(os.sched_getaffinity(0))
    return (allowed[0], allowed[1]) if len(allowed) > 1 else None


@dataclass(slots=True)
class Served:
    """A server that is running.

    Attributes:
        name: as tables call it.
        port: on loopback.
        process: uvicorn's, with all its work in it.
        gated: whether it counts.
        admitted: the requests it has answered with 200 so far.
        before: what had been counted before.
    """

    name: str
    port: int
    process: psutil.Process
    gated: bool
    admitted: int = 0
    before: int = 0
    told: Counter[str] = field(default_factory=Counter[str])

    def turn(self, seconds: float, connections: int = 32, users: int = 10_000) -> Turn:
        """A turn of requests over so many connections."""

        async def turn() -> Figures:
            pinned = cores()
            words = [sys.executable, "-m", "tests.benchmarks.web.generator", str(self.port), str(connections)]
            words += [str(seconds), str(users), *([str(pinned[1])] if pinned else [])]
            before = sum(self.process.cpu_times()[:2])
            done = await anyio.run_process(words, cwd=ROOT, stderr=None)
            worked = sum(self.process.cpu_times()[:2]) - before
            figures = json.loads(done.stdout)
            told = Counter[str](figures.pop("told"))
            self.told += told
            self.admitted += told["200"]
            if set(told) - {"200"}:
                raise Miscounted(f"{self.name} answered {dict(told)}")
            return {**figures, "cpu": worked / told["200"] * 1e6}

        return turn

    def counted(self) -> int:
        """What it says that it has counted in all."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/counted", timeout=60) as answer:
            return int(answer.read())

    def check(self) -> None:
        """Raises Miscounted if it has counted something else than it has admitted."""
        counted = self.counted() - self.before if self.gated else self.admitted
        if counted != self.admitted:
            raise Miscounted(f"{self.name} admitted {self.admitted} and counted {counted}")


@contextlib.contextmanager
def serve(name: str, app: str, env: Mapping[str, str], *, gated: bool = True) -> Generator[Served]:
    """Serve an app from one worker process, on a core of its own where there are several."""
    with uvicorn_processes(APP, 1, {**env, "BENCH_APP": app}, OPTIONS) as (address,):
        port = int(address.rpartition(":")[2])
        process = _listener(port)
        pinned = cores()
        if pinned:
            for thread in process.threads():
                os.sched_setaffinity(thread.id, {pinned[0]})
        served = Served(name, port, process, gated)
        served.before = served.counted() if gated else 0
        yield served


def _listener(port: int) -> psutil.Process:
    """The child of ours that listens on a port."""
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if any(one.laddr.port == port for one in child.net_connections() if one.status == "LISTEN"):
                return child
    raise LookupError(f"nobody listens on {port}")

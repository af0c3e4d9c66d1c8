"""Sends requests over connections that stay open: the next one when the last is answered.

A process by itself, and as little of a client as there can be, so that the server is what is measured:
`python -m tests.benchmarks.web.generator PORT CONNECTIONS SECONDS USERS [CORE]`.
"""

import asyncio
import json
import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import cast

import psutil
import uvloop

from tests.benchmarks.frame.measuring import percentile

__all__ = ["request"]

END = b"\r\n\r\n"
LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
PREPARED = 20_011
PATIENCE = 60.0


def request(user: str) -> bytes:
    """The request of a user."""
    return (
        f"POST /api/features/work HTTP/1.1\r\nhost: bench.test\r\nx-user: {user}\r\ncontent-length: 0\r\n\r\n"
    ).encode()


class Connection(asyncio.Protocol):
    """One connection in a closed loop until the end is reached."""

    def __init__(self, requests: Iterator[bytes], end: float, took: list[float], told: Counter[str]) -> None:
        self._requests, self._end, self._took, self._told = requests, end, took, told
        self._answer, self._closing = b"", False
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by its class
        self._send()

    def data_received(self, data: bytes) -> None:
        self._answer += data
        head = self._answer.find(END)
        if head < 0:
            return
        length = LENGTH.search(self._answer, 0, head)
        if length is None:
            self.done.set_exception(RuntimeError(f"an answer without a length: {self._answer!r}"))
            return
        if len(self._answer) < head + 4 + int(length[1]):
            return
        now = time.perf_counter()
        self._took.append(now - self._begun)
        self._told[self._answer[9:12].decode()] += 1
        self._answer = b""
        if now < self._end:
            self._send()
        else:
            self._closing = True
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_result(None)
            if self._answer or error or not self._closing:
                self._told["lost"] += 1

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self._transport.write(next(self._requests))


async def generate(port: int, connections: int, seconds: float, users: int) -> dict[str, object]:
    """Keep a server busy for a while. Tells the rate, percentiles in ms, and the answers by status."""
    drawn = random.SystemRandom().choices(range(1, users + 1), k=PREPARED)
    rendered = [request(f"user-{number}") for number in drawn]

    def requests() -> Iterator[bytes]:
        while True:
            yield from rendered

    took: list[float] = []
    told: Counter[str] = Counter()
    shared, loop = requests(), asyncio.get_running_loop()
    me, start = psutil.Process(), time.perf_counter()
    worked = sum(me.cpu_times()[:2])
    protocols: list[Connection] = []
    for _ in range(connections):
        _, protocol = await loop.create_connection(
            lambda: Connection(shared, start + seconds, took, told), "127.0.0.1", port
        )
        protocols.append(protocol)
    await asyncio.wait_for(asyncio.gather(*(one.done for one in protocols)), seconds + PATIENCE)
    lasted = time.perf_counter() - start
    return {
        "rate": len(took) / lasted,
        "p50": percentile(took, 0.5) * 1000,
        "p99": percentile(took, 0.99) * 1000,
        "busy": (sum(me.cpu_times()[:2]) - worked) / lasted,
        "told": told,
    }


if __name__ == "__main__":
    if len(sys.argv) > 5:
        os.sched_setaffinity(0, {int(sys.argv[5])})
    answer = uvloop.run(generate(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])))
    print(json.dumps(answer))

"""How many of 500 calls at once are admitted at a limit of 100, when two processes serve them."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Mapping, Sequence

from tests.benchmarks.frame.measuring import Figures, Heat, Turn, run_heat
from tests.benchmarks.frame.options import Options, Outcome
from tests.benchmarks.frame.page import number
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.groups.http import NAIVE, PACKAGES, POSTGRES, SERVERS, VALKEY, places
from tests.benchmarks.web.generator import END, request
from tests.benchmarks.web.serving import APP, OPTIONS
from tests.support.processes import uvicorn_processes

__all__ = ["PACKAGES", "run"]

CALLS, LIMIT, PROCESSES = 500, 100, 2
PATIENCE = 60.0
NAMES = (
    POSTGRES,
    "skene, SQLite",
    VALKEY,
    "asyncpg upsert, by hand",
    NAIVE,
    "slowapi, memory",
    "slowapi, Valkey",
    "fastapi-limiter, Valkey",
    "`limits.aio`, Valkey",
)
ADMITTED, REFUSED = {"200"}, {"402", "429"}
_users = (f"burst-{n}" for n in itertools.count(1))


async def run(options: Options) -> Outcome:
    """Everybody gets a user of their own in each round, all of whose calls arrive at once."""
    heats: dict[str, Heat] = {}
    with places(options) as (_, env, facts):
        for name in [name for name in NAMES if name in SERVERS]:
            environment = {**env, "BENCH_APP": SERVERS[name], "BENCH_LIMIT": str(LIMIT)}
            with uvicorn_processes(APP, PROCESSES, environment, OPTIONS) as addresses:
                ports = [int(address.rpartition(":")[2]) for address in addresses]
                await burst(ports, next(_users), 10)  # connected, started
                heats |= {name: await run_heat({name: _turn(ports)}, options.rounds, options.tell)}
    text = (
        f"{CALLS} requests of one user are sent at the same moment, half of them to each of {PROCESSES}"
        f" processes, in each of {options.rounds} rounds. 100 is right. Anything else than an admission (200)"
        " or a refusal (402, 429) is an error, which nobody has been told to expect."
    )
    rows = [[name, *(_range(heat, name, one) for one in ("admitted", "refused", "errors"))] for name, heat in
            heats.items()]  # fmt: skip
    table = Table(f"{CALLS} calls at once, limit {LIMIT}", text, ["", "admitted", "refused", "errors"], rows)
    return Outcome([Result("overshoot", heats[POSTGRES].figure(POSTGRES, "admitted"))], [table], facts)


def _turn(ports: Sequence[int]) -> Turn:
    async def turn() -> Figures:
        told = await burst(ports, next(_users), CALLS)
        admitted = sum(told[one] for one in ADMITTED)
        refused = sum(told[one] for one in REFUSED)
        others = {status: count for status, count in told.items() if status not in ADMITTED | REFUSED}
        return {"admitted": admitted, "refused": refused, "errors": sum(others.values()), **others}

    return turn


async def burst(ports: Sequence[int], user: str, calls: int) -> Mapping[str, int]:
    """Open connections, send one request over each of them at once, and tell the answers by status."""
    opened = await asyncio.gather(
        *(asyncio.open_connection("127.0.0.1", ports[n % len(ports)]) for n in range(calls))
    )

    async def call(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str:
        writer.write(request(user))
        try:
            return (await asyncio.wait_for(reader.readuntil(END), PATIENCE))[9:12].decode()
        except (TimeoutError, asyncio.IncompleteReadError):
            return "none"
        finally:
            writer.close()

    return Counter(await asyncio.gather(*(call(*pair) for pair in opened)))


def _range(heat: Heat, name: str, figure: str) -> str:
    spread = heat.figure(name, figure)
    assert spread is not None
    low, high = number(spread.low), number(spread.high)
    return low if low == high else f"{low}–{high}"

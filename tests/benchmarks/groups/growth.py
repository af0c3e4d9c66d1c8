"""Whether counting slows down as subjects become many."""

import shutil
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack

from skene.adapters.postgres import PostgresStorage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.by_hand import usage_table
from tests.benchmarks.contestants.gate import Gate, Miscounted, check, turn_of
from tests.benchmarks.contestants.pgbench import Pgbench
from tests.benchmarks.frame.callers import uniform
from tests.benchmarks.frame.machine import settle
from tests.benchmarks.frame.measuring import Heat, Turn, run_heat
from tests.benchmarks.frame.options import Options, Outcome
from tests.benchmarks.frame.page import number, shown
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.groups.postgres import STORAGE, Postgres
from tests.benchmarks.servers import durable_postgres, find_pgbench
from tests.support.postgres import PostgresServer

__all__ = ["PACKAGES", "run"]

PACKAGES = ("asyncpg", "uvloop")
FEW, SOME, MANY = 100_000, 1_000_000, 10_000_000
CALLERS = (8, 32)
NEEDED = 12 * 10**9
"""Bytes: two tables of so many rows with their indexes, and the log of filling them."""


async def run(options: Options) -> Outcome:
    """The same calls on databases of different sizes, in turn."""
    sizes = [options.scaled(FEW, 500), options.scaled(SOME, 1_000)]
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if options.full and free >= NEEDED:
        sizes.append(options.scaled(MANY, 2_000))
    with durable_postgres() as server:
        binary = find_pgbench(server)
        heats: dict[int, Heat] = {}
        async with AsyncExitStack() as stack:
            gates: dict[int, Gate] = {}
            for size in sizes:
                options.tell(f"filling {size:,} subjects")
                gates[size] = await _filled(stack, server, size)
            settle()
            bare = {size: Pgbench(binary, server, f"of_{size}", "ceiling") for size in sizes if binary}
            for callers in CALLERS:
                heats[callers] = await _heat(callers, gates, bare, options)
            await check(list(gates.values()))
        for one in bare.values():
            if one.counted() != one.admitted:
                raise Miscounted(f"pgbench made {one.admitted} calls and counted {one.counted()}")
        facts = {"PostgreSQL": server.execute("SHOW server_version")}
    reason = "only with FULL=1" if not options.full else f"not run: only {free / 1e9:.0f} GB of disk are free"
    if len(sizes) < 3:
        result = Result("growth", None, reason)
    else:
        result = Result("growth", heats[32].ratio(_name(STORAGE, sizes[2]), _name(STORAGE, sizes[0]), "rate"))
    return Outcome([result], [_table(callers, sizes, heat) for callers, heat in heats.items()], facts)


async def _filled(stack: AsyncExitStack, server: PostgresServer, size: int) -> Gate:
    """A database with so many subjects, ours and in a table by hand."""
    name = f"of_{size}"
    place = Postgres(server, name, server.create_database(name), size)
    storage = PostgresStorage(place.dsn, migrate=True)
    await storage.start()
    stack.push_async_callback(storage.aclose)
    server.execute(ours.fill(size, ours.BARE), name)
    server.execute(usage_table("ceiling", size), name)
    place.tidy()
    return ours.through_storage(_name(STORAGE, size), storage, place.counted)


async def _heat(
    callers: int, gates: Mapping[int, Gate], bare: Mapping[int, Pgbench], options: Options
) -> Heat:
    turns: dict[str, Turn] = {}
    for size, gate in gates.items():
        names = uniform(size)
        await turn_of(gate, callers, min(0.5, options.seconds), names)()
        turns[gate.name] = turn_of(gate, callers, options.seconds, names)
    for size, pgbench in bare.items():
        turns[_name(Pgbench.name, size)] = pgbench.turn(callers, options.seconds, size)
    options.tell(f"{callers} callers")
    return await run_heat(turns, options.rounds, options.tell)


def _table(callers: int, sizes: list[int], heat: Heat) -> Table:
    rows: list[list[str]] = []
    for who in (STORAGE, Pgbench.name):
        for size in sizes:
            rate = heat.figure(_name(who, size), "rate")
            ratio = heat.ratio(_name(who, size), _name(who, sizes[0]), "rate")
            if rate is not None:
                rows.append([who, f"{size:,}", number(rate.median), shown(ratio)])
    head = ["", "subjects", "calls/s", f"÷ {sizes[0]:,} subjects (lowest–highest)"]
    return Table(f"{callers} callers, uniformly random subjects", "", head, rows)


def _name(who: str, size: int) -> str:
    return f"{who}, {size:,}"

"""Refusing a subject who is at the limit: how fast, and what it writes."""

from contextlib import AsyncExitStack

from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.by_hand import asyncpg_upsert, usage_table
from tests.benchmarks.contestants.gate import Gate, check, turn_of
from tests.benchmarks.contestants.pgbench import Pgbench
from tests.benchmarks.frame.callers import call_for, hot
from tests.benchmarks.frame.machine import settle
from tests.benchmarks.frame.measuring import Figures, Turn, run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.page import shown
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.groups.postgres import ASYNCPG, NO_PGBENCH, SKENE, STORAGE, Postgres
from tests.benchmarks.servers import durable_postgres, find_pgbench

__all__ = ["PACKAGES", "run"]

PACKAGES = ("asyncpg", "SQLAlchemy", "uvloop")
LIMIT, CALLERS = 10, 32
REFUSALS = 10_000
FIGURES = {"rate": "refusals/s", "p50": "p50 ms", "p99": "p99 ms", "mean": "mean ms"}


async def run(options: Options) -> Outcome:
    """One subject has used up ten units; everybody goes on asking for it."""
    with durable_postgres() as server:
        place = Postgres(server, "bench", server.create_database("bench"), 1)
        binary = find_pgbench(server)
        async with AsyncExitStack() as stack:
            gates = await _gates(stack, place)
            for gate in gates:
                await turn_of(gate, CALLERS, min(0.5, options.seconds), hot())()  # used up
            settle()
            turns: dict[str, Turn] = {}
            pgbench = Pgbench(binary, server, "bench", "ceiling") if binary else None
            if pgbench:
                turns[pgbench.name] = pgbench.turn(CALLERS, options.seconds, 1, LIMIT)
                await turns[pgbench.name]()
            turns |= {gate.name: turn_of(gate, CALLERS, options.seconds, hot()) for gate in gates}
            heat = await run_heat(turns, options.rounds, options.tell)
            refusals = options.scaled(REFUSALS, 500)
            written = await run_heat(
                {gate.name: _writing(place, gate, refusals) for gate in gates}, options.rounds, options.tell
            )
            await check(gates)
            if pgbench:
                assert pgbench.counted() == LIMIT, pgbench.counted()
            assert all(gate.admitted == LIMIT for gate in gates), [gate.admitted for gate in gates]
        facts = {"PostgreSQL": server.execute("SHOW server_version")}
    base = Pgbench.name if binary else ASYNCPG
    ratio = heat.ratio(STORAGE, Pgbench.name, "rate")
    return Outcome(
        [
            Result("refusals", ratio, "" if ratio else NO_PGBENCH),
            Result("refusal-wal", written.figure(STORAGE, "kB")),
        ],
        [
            compared(f"{CALLERS} callers of one subject at its limit", "", heat, base=base, figures=FIGURES,
                     ratio="rate"),
            Table(f"WAL of {refusals:,} refusals", "", ["", "kB (lowest–highest)"],
                  [[name, shown(written.figure(name, "kB"))] for name in written.turns]),
        ],
        facts,
    )  # fmt: skip


async def _gates(stack: AsyncExitStack, place: Postgres) -> list[Gate]:
    storage = place.storage()
    await storage.start()
    stack.push_async_callback(storage.aclose)
    for table in ("ceiling", "by_asyncpg"):
        place.server.execute(usage_table(table, 1), place.database)
    place.tidy()
    return [
        ours.through_storage(STORAGE, storage, place.counted, LIMIT),
        await stack.enter_async_context(ours.through_skene(SKENE, place.storage(), place.counted, LIMIT)),
        await stack.enter_async_context(asyncpg_upsert(ASYNCPG, place.dsn, "by_asyncpg", LIMIT)),
    ]


def _writing(place: Postgres, gate: Gate, refusals: int) -> Turn:
    """A turn that tells how much WAL so many refusals write."""

    async def turn() -> Figures:
        before = _position(place)
        calls = await call_for(600, CALLERS, gate.call, hot(), at_most=refusals)
        assert calls.admitted == 0, f"{gate.name} has admitted a subject at its limit"
        return {"kB": (_position(place) - before) / 1000}

    return turn


def _position(place: Postgres) -> int:
    """How many bytes of WAL there have ever been."""
    return int(place.server.execute("SELECT pg_current_wal_insert_lsn() - '0/0'", place.database))

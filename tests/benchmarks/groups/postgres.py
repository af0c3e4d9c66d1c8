"""Counting in PostgreSQL: ours, pgbench, gates written by hand, and Valkey beside them."""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass

from skene.adapters.postgres import PostgresStorage
from skene.ports.storage import Storage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.by_hand import (
    POOL,
    asyncpg_upsert,
    events_table,
    naive_count,
    sqlalchemy_upsert,
    usage_table,
)
from tests.benchmarks.contestants.gate import Gate, Miscounted, check, turn_of
from tests.benchmarks.contestants.in_valkey import limits_in_valkey, redis_lua
from tests.benchmarks.contestants.pgbench import Pgbench
from tests.benchmarks.frame.callers import hot, uniform
from tests.benchmarks.frame.machine import settle
from tests.benchmarks.frame.measuring import Heat, Spread, Turn, run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.servers import Valkey, durable_postgres, find_pgbench, valkey
from tests.support.postgres import PostgresServer

__all__ = ["PACKAGES", "Postgres", "run"]

PACKAGES = ("asyncpg", "SQLAlchemy", "redis", "limits", "uvloop")
SUBJECTS = 100_000
STORAGE, SKENE = "`storage.consume`", "`skene.consume`"
ASYNCPG, SQLALCHEMY, NAIVE = "asyncpg pool, by hand", "SQLAlchemy `begin()`, by hand", "SELECT count, INSERT"
OURS_IN_VALKEY, LUA, LIMITS = (
    "Valkey, `storage.consume`",
    "Valkey, Lua through redis-py",
    "Valkey, `limits.aio`",
)
NO_PGBENCH = "not run: there is no pgbench"

HEATS = {
    ("many", 1): (STORAGE, SKENE, ASYNCPG, SQLALCHEMY, NAIVE),
    ("many", 8): (STORAGE, ASYNCPG, SQLALCHEMY),
    ("many", 32): (STORAGE, SKENE, ASYNCPG, SQLALCHEMY, NAIVE, OURS_IN_VALKEY, LUA, LIMITS),
    ("many", 256): (STORAGE, SKENE, ASYNCPG),
    ("hot", 1): (STORAGE, ASYNCPG),
    ("hot", 8): (STORAGE, ASYNCPG),
    ("hot", 32): (STORAGE, SKENE, ASYNCPG, SQLALCHEMY),
    ("hot", 256): (STORAGE,),
}
"""Who runs in which heat, behind pgbench: on how many subjects, and from how many callers. Whoever is not
there, such as ours in Valkey where skene has none, is left out."""
FIGURES = {"rate": "calls/s", "p50": "p50 ms", "p99": "p99 ms", "mean": "mean ms"}


@dataclass(frozen=True, slots=True)
class Postgres:
    """A database with everybody's tables, and how many subjects are in them."""

    server: PostgresServer
    database: str
    dsn: str
    subjects: int

    def units(self, meter: str) -> int:
        """What skene has counted on a meter."""
        asked = f"SELECT coalesce(sum(used), 0) FROM skene_usage WHERE meter = '{meter}'"
        return int(self.server.execute(asked, self.database))

    async def counted(self, meter: str) -> int:
        """The same, for gates."""
        return self.units(meter)

    def storage(self) -> PostgresStorage:
        """A storage of ours with its own connections."""
        return PostgresStorage(self.dsn, migrate=True)

    def tidy(self) -> None:
        """Let nobody pay for what filling the tables has left to do."""
        self.server.execute("VACUUM ANALYZE", self.database)
        self.server.execute("CHECKPOINT", self.database)


async def run(options: Options) -> Outcome:
    """All heats, one after the other."""
    with durable_postgres() as server, valkey() as cache:
        dsn = server.create_database("bench")
        place = Postgres(server, "bench", dsn, options.scaled(SUBJECTS, 1_000))
        binary = find_pgbench(server)
        pgbench = Pgbench(binary, server, "bench", "ceiling") if binary else None
        async with AsyncExitStack() as stack:
            gates = await _gates(stack, place, cache, options)
            settle()
            heats = {
                (kind, callers): await _heat(kind, callers, gates, pgbench, place, options)
                for kind, callers in HEATS
            }
            await check(list(gates.values()))
        if pgbench and pgbench.counted() != pgbench.admitted:
            raise Miscounted(f"pgbench made {pgbench.admitted} calls and counted {pgbench.counted()}")
        facts = {"PostgreSQL": server.execute("SHOW server_version"), "Valkey": cache.version}
    return Outcome(
        _results(heats), [_table(kind, callers, heat) for (kind, callers), heat in heats.items()], facts
    )


async def _gates(stack: AsyncExitStack, place: Postgres, cache: Valkey, options: Options) -> dict[str, Gate]:
    execute, subjects, dsn = place.server.execute, place.subjects, place.dsn
    bare = place.storage()
    await bare.start()
    stack.push_async_callback(bare.aclose)
    for meter in (ours.METER, ours.BARE):
        execute(ours.fill(subjects, meter), place.database)
    for table in ("ceiling", "by_asyncpg", "by_sqlalchemy"):
        execute(usage_table(table, subjects), place.database)
    execute(events_table("events", subjects, options.scaled(1_000_000, 10_000)), place.database)
    place.tidy()
    enter = stack.enter_async_context
    made = (
        ours.through_storage(STORAGE, bare, place.counted),
        await enter(ours.through_skene(SKENE, place.storage(), place.counted)),
        await enter(asyncpg_upsert(ASYNCPG, dsn, "by_asyncpg")),
        await enter(sqlalchemy_upsert(SQLALCHEMY, dsn, "by_sqlalchemy")),
        await enter(naive_count(NAIVE, dsn, "events")),
        await enter(redis_lua(LUA, cache.socket, db=0)),
        await enter(limits_in_valkey(LIMITS, cache.socket, db=1)),
    )
    gates = {gate.name: gate for gate in made}
    in_valkey = ours.in_valkey(cache.socket, 2, place.storage())
    if in_valkey is not None:
        await in_valkey.start()
        stack.push_async_callback(in_valkey.aclose)
        gates[OURS_IN_VALKEY] = _asked(in_valkey)
    return gates


def _asked(storage: Storage) -> Gate:
    """Ours in Valkey. What it has counted it tells of those who called: no SQL sums it up."""
    called: set[str] = set()
    gate = ours.through_storage(
        OURS_IN_VALKEY, storage, lambda meter: ours.units_by_asking(storage, meter, called)
    )
    consume = gate.call

    async def call(subject: str) -> bool:
        called.add(subject)
        return await consume(subject)

    gate.call = call
    return gate


async def _heat(
    kind: str,
    callers: int,
    gates: Mapping[str, Gate],
    pgbench: Pgbench | None,
    place: Postgres,
    options: Options,
) -> Heat:
    subjects = place.subjects if kind == "many" else 1
    turns: dict[str, Turn] = {}
    if pgbench:
        turns[pgbench.name] = pgbench.turn(callers, options.seconds, subjects)
    for name in [name for name in HEATS[kind, callers] if name in gates]:
        names = uniform(subjects) if kind == "many" else hot()
        await turn_of(
            gates[name], callers, min(0.5, options.seconds), names
        )()  # connections, prepared statements
        turns[name] = turn_of(gates[name], callers, options.seconds, names)
    options.tell(f"{kind}, {callers} callers")
    return await run_heat(turns, options.rounds, options.tell)


def _results(heats: Mapping[tuple[str, int], Heat]) -> list[Result]:
    def against_pgbench(key: str, kind: str, callers: int) -> Result:
        return _result(key, heats[kind, callers].ratio(STORAGE, Pgbench.name, "rate"), NO_PGBENCH)

    return [
        against_pgbench("many-8", "many", 8),
        against_pgbench("many-32", "many", 32),
        against_pgbench("many-256", "many", 256),
        against_pgbench("hot-8", "hot", 8),
        against_pgbench("hot-32", "hot", 32),
        _result("lone", heats["many", 1].ratio(STORAGE, ASYNCPG, "p50")),
        _result("valkey", heats["many", 32].ratio(STORAGE, LUA, "rate")),
    ]


def _result(key: str, spread: Spread | None, reason: str = "") -> Result:
    return Result(key, spread, "" if spread else reason)


def _table(kind: str, callers: int, heat: Heat) -> Table:
    who = "1 caller" if callers == 1 else f"{callers} callers"
    title = f"{'100,000 subjects' if kind == 'many' else 'One hot subject'}, {who}"
    text = ""
    if callers == 1:
        text = f"Gates by hand have a pool of {POOL} connections, ours has its own 5."
    elif OURS_IN_VALKEY in heat.turns:
        text = "Ours in Valkey has heard of none of the subjects, so SQL is asked about each of them first."
    base = Pgbench.name if Pgbench.name in heat.turns else ASYNCPG
    return compared(title, text, heat, base=base, figures=FIGURES, ratio="rate")

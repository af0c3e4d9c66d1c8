"""Gates behind HTTP: real servers, one worker each, 32 connections that stay open."""

import importlib.util
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.by_hand import events_table, usage_table
from tests.benchmarks.frame.measuring import run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.results import Result
from tests.benchmarks.servers import durable_postgres, valkey
from tests.benchmarks.web.serving import cores, serve
from tests.support.postgres import PostgresServer

__all__ = ["PACKAGES", "places", "run"]

PACKAGES = (
    "fastapi", "uvicorn", "uvloop", "httptools", "asyncpg", "SQLAlchemy", "slowapi", "limits",
    "fastapi-limiter", "pyrate-limiter", "redis",
)  # fmt: skip
CONNECTIONS = 32
USERS, EVENTS = 10_000, 1_000_000
UNGATED, MEMORY, POSTGRES, VALKEY = "ungated", "skene, memory", "skene, PostgreSQL", "skene, Valkey"
NAIVE = "SELECT count, INSERT, indexed"
SERVERS = {
    UNGATED: "ungated",
    "ungated, and not asking who calls": "bare",
    MEMORY: "skene_memory",
    POSTGRES: "skene_postgres",
    "skene, SQLite": "skene_sqlite",
    VALKEY: "skene_valkey",
    "asyncpg upsert, by hand": "asyncpg_by_hand",
    NAIVE: "naive",
    "slowapi, memory": "slowapi_memory",
    "slowapi, Valkey": "slowapi_redis",
    "fastapi-limiter, Valkey": "fastapi_limiter_redis",
    "`limits.aio`, Valkey": "limits_redis",
}
if importlib.util.find_spec("skene.adapters.valkey") is None:
    del SERVERS[VALKEY]
FIGURES = {
    "rate": "requests/s",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "cpu": "server CPU µs",
    "busy": "generator's core in use",
}


async def run(options: Options) -> Outcome:
    """Everybody is served all the time, and asked in turn."""
    with ExitStack() as stack:
        _, env, facts = stack.enter_context(places(options))
        served = {
            name: stack.enter_context(serve(name, app, env, gated=not name.startswith(UNGATED)))
            for name, app in SERVERS.items()
        }
        for one in served.values():
            await one.turn(min(1, options.seconds), CONNECTIONS, USERS)()
        turns = {name: one.turn(options.seconds, CONNECTIONS, USERS) for name, one in served.items()}
        heat = await run_heat(turns, options.rounds, options.tell)
        for one in served.values():
            one.check()
    return Outcome(
        [
            Result("http-cpu", heat.ratio(MEMORY, UNGATED, "cpu")),
            Result("http-rate", heat.ratio(POSTGRES, UNGATED, "rate")),
            Result("http-naive", heat.ratio(POSTGRES, NAIVE, "rate")),
            Result("http-p99", heat.ratio(POSTGRES, UNGATED, "p99")),
        ],
        [
            compared("Requests", _text(), heat, base=UNGATED, figures=FIGURES, ratio="rate"),
            compared(
                "The server's work", "", heat, base=UNGATED, figures={"cpu": "server CPU µs"}, ratio="cpu"
            ),
        ],
        facts,
    )


def _text() -> str:
    pinned = cores()
    where = "Nothing is tied to a core."
    if pinned:
        where = (
            f"The servers' processes run on core {pinned[0]}, what sends the requests on core {pinned[1]},"
            " databases where the system puts them."
        )
    return (
        f"uvicorn with one worker, {CONNECTIONS} connections, {USERS:,} users. {where} Where the generator's"
        " core is in use nearly whole, the generator is what was measured. Who calls comes from a dependency"
        " in every app but one, gated or not."
    )


@contextmanager
def places(options: Options) -> Generator[tuple[PostgresServer, Mapping[str, str], Mapping[str, str]]]:
    """Where the apps count: the server, the apps' environment, and versions."""
    import anyio.from_thread

    with durable_postgres() as server, valkey() as cache, TemporaryDirectory(prefix="skene-bench-") as folder:
        dsn = server.create_database("http")
        file = Path(folder) / "http.db"
        with anyio.from_thread.start_blocking_portal() as portal:
            for storage in (PostgresStorage(dsn), SqliteStorage(file)):
                portal.call(storage.migrate)
                portal.call(storage.aclose)
        server.execute(ours.fill(USERS, ours.METER), "http")
        server.execute(usage_table("http_asyncpg", USERS), "http")
        server.execute(events_table("http_events", USERS, options.scaled(EVENTS, USERS)), "http")
        server.execute("VACUUM ANALYZE", "http")
        server.execute("CHECKPOINT", "http")
        env = {"BENCH_DSN": dsn, "BENCH_SOCKET": str(cache.socket), "BENCH_FILE": str(file)}
        yield server, env, {"PostgreSQL": server.execute("SHOW server_version"), "Valkey": cache.version}

"""Every row that the page must show, measured or not, met or not."""

from tests.benchmarks.frame.results import Bar

__all__ = ["BARS", "GROUPS"]

PG = "skene on durable PostgreSQL"
CEILING = "pgbench with one conditional upsert per call, as durable"

BARS = (
    Bar("many-8", "postgres", f"{PG} ÷ {CEILING}: rate, 100,000 subjects, 8 callers", "at least", 1.25),
    Bar("many-32", "postgres", f"{PG} ÷ {CEILING}: rate, 100,000 subjects, 32 callers", "at least", 2.3),
    Bar("many-256", "postgres", f"{PG} ÷ {CEILING}: rate, 100,000 subjects, 256 callers", "at least", 4),
    Bar("hot-8", "postgres", f"{PG} ÷ {CEILING}: rate, one hot subject, 8 callers", "at least", 5),
    Bar("hot-32", "postgres", f"{PG} ÷ {CEILING}: rate, one hot subject, 32 callers", "at least", 30),
    Bar(
        "lone",
        "postgres",
        f"{PG} ÷ an upsert by hand through asyncpg's pool, as durable: p50 of one caller",
        "at most",
        1.1,
    ),
    Bar(
        "valkey",
        "postgres",
        f"{PG} ÷ a Lua script through redis-py, Valkey as it comes (a snapshot now and then):"
        " rate, 32 callers",
        "at least",
        2,
    ),
    Bar(
        "refusals",
        "refusals",
        f"{PG}: refusals on a hot subject ÷ a refused upsert of pgbench's: rate, 32 callers",
        "at least",
        5,
    ),
    Bar("refusal-wal", "refusals", f"{PG}: WAL that 10,000 refusals write", "at most", 100, "kB"),
    Bar(
        "sqlite",
        "sqlite",
        "skene on SQLite ÷ an upsert by hand through aiosqlite, both synchronous=FULL: rate, 32 callers",
        "at least",
        3,
    ),
    Bar(
        "memory",
        "memory",
        "skene in memory, match to `Decision` ÷ `limits.aio` fixed window in memory: time",
        "at most",
        0.4,
    ),
    Bar(
        "memory-bytes", "memory", "`MemoryStorage`: memory per subject, of 1,000,000", "at most", 200, "bytes"
    ),
    Bar(
        "memory-worst",
        "memory",
        "`MemoryStorage`: the slowest single decision at 1,000,000 subjects",
        "at most",
        0.1,
        "ms",
    ),
    Bar(
        "http-cpu",
        "http",
        "HTTP, skene in memory installed by pattern ÷ ungated: the server's CPU per request",
        "at most",
        1.10,
    ),
    Bar("http-rate", "http", f"HTTP, {PG} ÷ ungated: requests per second", "at least", 0.65),
    Bar(
        "http-naive",
        "http",
        f"HTTP, {PG} ÷ SELECT count, then INSERT, indexed, as durable: requests per second",
        "at least",
        10,
    ),
    Bar("http-p99", "http", f"HTTP, {PG} ÷ ungated: p99 of a request", "at most", 1.5),
    Bar(
        "overshoot",
        "overshoot",
        f"{PG}: admitted of 500 calls at once at a limit of 100, over two processes",
        "exactly",
        100,
        "calls",
    ),
    Bar(
        "growth",
        "growth",
        f"{PG}: rate at 10,000,000 subjects ÷ rate at 100,000, 32 callers",
        "at least",
        0.8,
    ),
    Bar("import", "start_up", "`import skene` beyond `import pydantic`", "at most", 150, "ms"),
    Bar(
        "import-all",
        "start_up",
        "the same with all that a configuration imports from it, which is loaded when it is asked for",
        "at most",
        150,
        "ms",
    ),
)

GROUPS = {
    "postgres": "Counting in PostgreSQL",
    "refusals": "Refusals",
    "sqlite": "Counting in SQLite",
    "memory": "Counting in memory",
    "http": "Behind HTTP",
    "overshoot": "Overshoot",
    "growth": "Growth",
    "start_up": "Starting",
}
"""In the order of the page, with their headings there."""

"""A query of a million rows, streamed: what it costs in memory, seen from a process of its own."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

GROWTH = """
import resource, sys
from datetime import timedelta
import anyio, psutil
from skene.adapters.postgres.queries import PostgresQueries
from skene.adapters.sqlite.queries import SqliteQueries
from skene.definitions.sql import read_select

def peak():
    # Of this program alone: what getrusage tells of begins with the size of whoever started it.
    status = open("/proc/self/status") if sys.platform == "linux" else ()
    own = next((line for line in status if line.startswith("VmHWM")), None)
    return int(own.split()[1]) * 1024 if own else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

async def main(kind, where, text):
    queries = (PostgresQueries if kind == "postgres" else SqliteQueries)(where)
    select, long, seen = read_select(text), timedelta(minutes=5), 0
    await queries.fetch(select, {}, timeout=long, limit=5)
    before = psutil.Process().memory_info().rss
    async with queries.stream(select, {}, timeout=long, batch=500) as batches:
        async for rows in batches:
            seen += len(rows)
    await queries.aclose()
    print(seen, (peak() - before) // 2**20)

anyio.run(main, *sys.argv[1:])
"""
MILLION = {
    "postgres": "SELECT n AS id, md5(n::text) AS email, now() AS at FROM generate_series(1, 1000000) AS n",
    "sqlite": "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 1000000)"
    " SELECT n AS id, hex(n) AS email, datetime('now') AS at FROM t",
}

LONG = {
    "postgres": "SELECT n AS id, repeat(md5(n::text), 31250) AS avatar FROM generate_series(1, 600) AS n",
    "sqlite": "WITH RECURSIVE t (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t WHERE n < 600)"
    " SELECT n AS id, hex(randomblob(500000)) AS avatar FROM t",
}


def growth(kind: str, postgres_dsn: str, tmp_path: Path, query: str) -> tuple[int, int]:
    """How many rows were read, and by how many MiB the memory grew meanwhile."""
    where = postgres_dsn if kind == "postgres" else str(tmp_path / "app.db")
    (tmp_path / "app.db").touch()
    command = [sys.executable, "-c", textwrap.dedent(GROWTH), kind, where, query]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seen, grown = map(int, done.stdout.split())
    return seen, grown


@pytest.mark.parametrize("kind", LONG)
def test_long_rows_need_none_either(kind: str, postgres_dsn: str, tmp_path: Path) -> None:
    """F40: 600 rows of a megabyte, as SELECT * finds them in a table that has pictures in it."""
    seen, grown = growth(kind, postgres_dsn, tmp_path, LONG[kind])
    assert seen == 600
    assert grown < 50


@pytest.mark.parametrize("kind", MILLION)
def test_a_million_rows_need_no_memory(kind: str, postgres_dsn: str, tmp_path: Path) -> None:
    seen, grown = growth(kind, postgres_dsn, tmp_path, MILLION[kind])
    assert seen == 1_000_000
    assert grown < 50

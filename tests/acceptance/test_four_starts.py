"""Four processes that start at once on a new database: one makes the tables, and all of them run."""

import subprocess
import sys

import pytest

from skene.adapters.sql.migrate import KNOWN
from tests.support.extent import amount
from tests.support.processes import ROOT

PROCESSES = 4
ALL = str(len(KNOWN))
START = """
import sys, anyio
from skene.wiring import storage_from

async def main():
    storage = storage_from(sys.argv[1])
    applied = await storage.migrate()
    await storage.start()
    assert await storage.meters("nobody") == ()
    await storage.aclose()
    print(len(applied))

anyio.run(main)
"""


def start_together(address: str) -> list[str]:
    command = [sys.executable, "-c", START, address]
    started = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(PROCESSES)
    ]
    ended = [process.communicate(timeout=60) for process in started]
    assert [process.returncode for process in started] == [0] * PROCESSES, [error for _, error in ended]
    return [output.strip() for output, _ in ended]


@pytest.mark.parametrize("round_", range(amount(1, full=4)))
def test_on_a_new_file(tmp_path, round_):
    assert sorted(start_together(f"sqlite:///{tmp_path / 'new.db'}")) == ["0", "0", "0", ALL]


def test_on_a_new_postgresql_database(postgres_dsn):
    assert sorted(start_together(postgres_dsn)) == ["0", "0", "0", ALL]
    assert start_together(postgres_dsn) == ["0"] * PROCESSES

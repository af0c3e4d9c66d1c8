"""Counting in SQLite: ours and an upsert by hand, both in WAL mode with synchronous=FULL."""

import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from skene.adapters.sqlite import SqliteStorage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.by_hand import aiosqlite_upsert
from tests.benchmarks.contestants.gate import check, turn_of
from tests.benchmarks.frame.callers import hot, uniform
from tests.benchmarks.frame.machine import settle
from tests.benchmarks.frame.measuring import Heat, run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.groups.postgres import FIGURES, SKENE, STORAGE, SUBJECTS

__all__ = ["PACKAGES", "run"]

PACKAGES = ("aiosqlite", "uvloop")
AIOSQLITE = "aiosqlite, by hand"
HEATS = (("many", 1), ("many", 32), ("hot", 32))


async def run(options: Options) -> Outcome:
    """One file for each, in one folder: on the same disk."""
    subjects = options.scaled(SUBJECTS, 1_000)
    with TemporaryDirectory(prefix="skene-bench-") as folder:
        async with AsyncExitStack() as stack:
            bare = SqliteStorage(Path(folder) / "bare.db")
            await bare.start()
            stack.push_async_callback(bare.aclose)
            through = SqliteStorage(Path(folder) / "through.db")
            by_hand = await stack.enter_async_context(
                aiosqlite_upsert(AIOSQLITE, Path(folder) / "by_hand.db")
            )
            gates = [
                ours.through_storage(STORAGE, bare, lambda meter: _units(Path(folder) / "bare.db", meter)),
                await stack.enter_async_context(
                    ours.through_skene(
                        SKENE, through, lambda meter: _units(Path(folder) / "through.db", meter)
                    )
                ),
                by_hand,
            ]
            for gate in gates:
                await turn_of(gate, 1, min(0.1, options.seconds), hot())()
            for path, table in (
                ("bare.db", "skene_usage"),
                ("through.db", "skene_usage"),
                ("by_hand.db", "usage"),
            ):
                _fill(Path(folder) / path, table, subjects)
            settle()
            heats: dict[tuple[str, int], Heat] = {}
            for kind, callers in HEATS:
                names = uniform(subjects) if kind == "many" else hot()
                turns = {gate.name: turn_of(gate, callers, options.seconds, names) for gate in gates}
                options.tell(f"{kind}, {callers} callers")
                heats[kind, callers] = await run_heat(turns, options.rounds, options.tell)
            await check(gates)
    return Outcome(
        [Result("sqlite", heats["many", 32].ratio(STORAGE, AIOSQLITE, "rate"))],
        [_table(kind, callers, heat) for (kind, callers), heat in heats.items()],
        {"SQLite": sqlite3.sqlite_version},
    )


def _fill(path: Path, table: str, subjects: int) -> None:
    """Give everybody a counter like that of the first subject, with nothing used in it."""
    db = sqlite3.connect(path)
    try:
        names = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
        values = ["'user-' || n" if one == "subject" else "0" if one == "used" else one for one in names]
        db.execute(
            "WITH RECURSIVE numbers (n) AS"
            f" (SELECT 2 UNION ALL SELECT n + 1 FROM numbers WHERE n < {subjects})"
            f" INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(values)} FROM {table}, numbers"
            " WHERE subject = 'user-1'"
        )
        db.commit()
    finally:
        db.close()


async def _units(path: Path, meter: str) -> int:
    db = sqlite3.connect(path)
    try:
        asked = "SELECT coalesce(sum(used), 0) FROM skene_usage WHERE meter = ?"
        return int(db.execute(asked, (meter,)).fetchone()[0])
    finally:
        db.close()


def _table(kind: str, callers: int, heat: Heat) -> Table:
    figures = {name: heading for name, heading in FIGURES.items() if name != "mean"}
    who = "100,000 subjects" if kind == "many" else "One hot subject"
    title = f"{who}, {callers} caller{'s' * (callers > 1)}"
    return compared(title, "", heat, base=AIOSQLITE, figures=figures, ratio="rate")

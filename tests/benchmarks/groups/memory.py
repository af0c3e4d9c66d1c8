"""Counting in memory: what a decision takes, and what a subject takes."""

import json
import sys
import time
from contextlib import AsyncExitStack

import anyio

from skene.adapters.memory import MemoryStorage
from tests.benchmarks.contestants import ours
from tests.benchmarks.contestants.gate import Gate, check
from tests.benchmarks.contestants.in_memory import counted_in, limits_gate, storage_gate
from tests.benchmarks.frame.callers import uniform
from tests.benchmarks.frame.machine import ROOT, settle
from tests.benchmarks.frame.measuring import Figures, Turn, run_heat
from tests.benchmarks.frame.options import Options, Outcome, compared
from tests.benchmarks.frame.page import shown
from tests.benchmarks.frame.results import Result, Table
from tests.benchmarks.groups.filling import GATES
from tests.benchmarks.groups.postgres import SKENE, STORAGE

__all__ = ["PACKAGES", "run"]

PACKAGES = ("limits", "uvloop")
LIMITS = "`limits.aio`, fixed window"
SUBJECTS, MANY = 10_000, 1_000_000
AT_A_TIME = 1_000
_TEXT = (
    "One after the other on 10,000 subjects, with nothing in between: `limits` looks through all of its keys"
    " whenever the event loop comes round, and that is not in here."
)
NAMES = {"storage": "`MemoryStorage`", "limits": LIMITS}


async def run(options: Options) -> Outcome:
    """Decisions one after the other on 10,000 subjects; then 1,000,000 of them, in new processes."""
    async with AsyncExitStack() as stack:
        storage = MemoryStorage()
        gates = [
            await stack.enter_async_context(ours.through_skene(SKENE, storage, counted_in(storage))),
            storage_gate(STORAGE),
            limits_gate(LIMITS),
        ]
        for gate in gates:
            await _turn(gate, 0.3)()
        settle()
        turns = {gate.name: _turn(gate, options.seconds) for gate in gates}
        heat = await run_heat(turns, options.rounds, options.tell)
        await check(gates)
    subjects = options.scaled(MANY, 20_000)
    full = await run_heat(
        {NAMES[name]: _fill(name, subjects) for name in GATES}, options.rounds, options.tell
    )
    ours_full = NAMES["storage"]
    rows = [[name, *(shown(full.figure(name, one)) for one in ("bytes", "worst"))] for name in full.turns]
    return Outcome(
        [
            Result("memory", heat.ratio(SKENE, LIMITS, "µs")),
            Result("memory-bytes", full.figure(ours_full, "bytes")),
            Result("memory-worst", full.figure(ours_full, "worst")),
        ],
        [
            compared("A decision", _TEXT, heat, base=LIMITS,
                     figures={"µs": "µs"}, ratio="µs"),
            Table(
                f"{subjects:,} subjects",
                "Memory is what the process has grown by, names of subjects included; the slowest decision"
                " is that of 200,000 more, or as many as fit into 20 s, half of them by new subjects, in time"
                " of the processor, with what the store does in the background.",
                ["", "bytes per subject", "slowest decision, ms"],
                rows,
            ),
        ],
    )  # fmt: skip


def _turn(gate: Gate, seconds: float) -> Turn:
    names = uniform(SUBJECTS)

    async def turn() -> Figures:
        call, calls, start = gate.call, 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            for _ in range(AT_A_TIME):
                gate.admitted += await call(next(names))
            calls += AT_A_TIME
        return {"µs": (time.perf_counter() - start) / calls * 1e6}

    return turn


def _fill(name: str, subjects: int) -> Turn:
    async def turn() -> Figures:
        words = [sys.executable, "-m", "tests.benchmarks.groups.filling", name, str(subjects)]
        done = await anyio.run_process(words, cwd=ROOT, stderr=None)
        figures: dict[str, float] = json.loads(done.stdout)
        return figures

    return turn

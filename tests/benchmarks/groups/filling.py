"""Fills a store in memory with subjects, and tells what each of them takes, and the slowest decision then.

A process by itself, so that it holds nothing else:

    python -m tests.benchmarks.groups.filling storage 1000000
"""

import gc
import json
import sys
import time

import anyio
import anyio.lowlevel
import psutil

from tests.benchmarks.contestants.gate import Gate
from tests.benchmarks.contestants.in_memory import limits_gate, storage_gate

__all__ = ["GATES"]

GATES = {"storage": storage_gate, "limits": limits_gate}
DECISIONS, SECONDS = 200_000, 20.0


async def fill(gate: Gate, subjects: int) -> dict[str, float]:
    """Count one call of each subject, and then more of them and of new ones, with a clock beside each."""
    me = psutil.Process()
    await gate.call("somebody")
    gc.collect()
    before = me.memory_info().rss
    for number in range(subjects):
        assert await gate.call(f"user-{number}")
    gc.collect()
    taken = me.memory_info().rss - before
    assert await gate.counted() == subjects + 1
    gc.freeze()
    # The thread's own time: nobody is slow because the machine has let somebody else run.
    clock, worst = time.thread_time_ns, 0
    end = time.monotonic() + SECONDS
    for number in range(min(DECISIONS, subjects)):
        if time.monotonic() > end:
            break  # one that sweeps over all subjects after each of them would take for ever
        # Every second one is new: tables grow. What a store does in the background comes in between.
        name = f"user-{number}" if number % 2 else f"new-{number}"
        begun = clock()
        await gate.call(name)
        await anyio.lowlevel.checkpoint()
        worst = max(worst, clock() - begun)
    return {"bytes": taken / subjects, "worst": worst / 1e6}


if __name__ == "__main__":
    print(json.dumps(anyio.run(fill, GATES[sys.argv[1]](sys.argv[1]), int(sys.argv[2]))))

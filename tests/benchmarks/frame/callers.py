"""Callers in a closed loop: each makes its next call when the last one is answered."""

import itertools
import random
import time
from array import array
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import anyio

from tests.benchmarks.frame.measuring import Figures, percentile

__all__ = ["Calls", "call_for", "hot", "uniform"]

_FEW, _DRAWS, _MORE_DRAWS = 100_000, 200_003, 3_000_017
"""So many draws are made beforehand, and then used again: drawing is not what is measured. Of many subjects
there are more of them than a run has calls, or it would only ever meet the same ones."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What some callers did.

    Attributes:
        took: how long each call took, in seconds.
        admitted: how many were admitted.
        seconds: from the first call to the last answer.
    """

    took: list[float]
    admitted: int
    seconds: float

    def figures(self) -> Figures:
        """Calls a second, and percentiles in milliseconds."""
        return {
            "rate": len(self.took) / self.seconds,
            "p50": percentile(self.took, 0.5) * 1000,
            "p99": percentile(self.took, 0.99) * 1000,
        }


def uniform(subjects: int, seed: int = 1) -> Iterator[str]:
    """Names of so many subjects, each as likely as the others, without end."""
    few = subjects <= _FEW
    chance = random.Random(seed)  # noqa: S311 - nothing secret
    drawn = chance.choices(range(1, subjects + 1), k=_DRAWS if few else _MORE_DRAWS)
    if few:
        return itertools.cycle([f"user-{number}" for number in drawn])
    return map("user-{}".format, itertools.cycle(array("L", drawn)))


def hot() -> Iterator[str]:
    """One subject for everybody."""
    return itertools.repeat("user-1")


async def call_for(
    seconds: float,
    callers: int,
    call: Callable[[str], Awaitable[bool]],
    names: Iterator[str],
    *,
    at_most: float = float("inf"),
) -> Calls:
    """Let callers call for a while, or until so many calls were made.

    Args:
        seconds: how long calls are begun.
        callers: how many call at the same time.
        call: counts one call of a subject, and says whether it is admitted.
        names: who calls.
        at_most: how many calls are made.
    """
    took: list[float] = []
    admitted = begun_in_all = 0
    clock = time.perf_counter
    start = clock()
    end = start + seconds

    async def caller() -> None:
        nonlocal admitted, begun_in_all
        begun = clock()
        while begun < end and begun_in_all < at_most:
            begun_in_all += 1
            if await call(next(names)):
                admitted += 1
            ended = clock()
            took.append(ended - begun)
            begun = ended

    async with anyio.create_task_group() as tasks:
        for _ in range(callers):
            tasks.start_soon(caller)
    return Calls(took, admitted, clock() - start)

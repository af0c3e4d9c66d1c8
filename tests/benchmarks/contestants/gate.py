"""What takes part in a heat: a gate that is called, and that must have counted what it admitted."""

from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

from tests.benchmarks.frame.callers import call_for
from tests.benchmarks.frame.measuring import Figures, Turn

__all__ = ["Gate", "Miscounted", "check", "turn_of"]

LIMIT = 1_000_000_000
"""Never reached: what is measured is counting, unless somebody measures refusals."""


class Miscounted(Exception):
    """A contestant has counted something else than it has admitted: its figures are worth nothing."""


@dataclass(slots=True)
class Gate:
    """A way to count one call of a subject.

    Attributes:
        name: as tables call it.
        call: counts one call, and says whether it is admitted.
        counted: how much it has counted in all.
        admitted: how much it has admitted so far, kept by `turn_of`.
        before: what it had counted before the first call.
    """

    name: str
    call: Callable[[str], Awaitable[bool]]
    counted: Callable[[], Awaitable[int]]
    admitted: int = 0
    before: int = field(default=0)


def turn_of(gate: Gate, callers: int, seconds: float, names: Iterator[str]) -> Turn:
    """A turn in which so many callers call a gate for so long."""

    async def turn() -> Figures:
        calls = await call_for(seconds, callers, gate.call, names)
        gate.admitted += calls.admitted
        return calls.figures()

    return turn


async def check(gates: list[Gate]) -> None:
    """Raises Miscounted if one of them has counted something else than it has admitted."""
    wrong = [
        f"{gate.name} admitted {gate.admitted} and counted {counted}"
        for gate in gates
        if (counted := await gate.counted() - gate.before) != gate.admitted
    ]
    if wrong:
        raise Miscounted("; ".join(wrong))

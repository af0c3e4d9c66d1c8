"""A call that was counted and admitted without further ado, in numbers: most calls are."""

from datetime import datetime, timedelta
from typing import TypeAlias

from skene.engine.decide import decide
from skene.engine.decision import Decision
from skene.engine.program import CompiledStep
from skene.engine.window import EPOCH

__all__ = ["MASK", "UNITS", "WIDTH", "Spent", "decide_spent", "instant", "nanos", "span_of"]

WIDTH = 70
UNITS = 2 * WIDTH
MASK = (1 << WIDTH) - 1
"""An instant takes 70 bits: nanoseconds since 1970, for tens of thousands of years."""
_MICROSECOND = timedelta(microseconds=1)
_NANOS = 1000

Spent: TypeAlias = tuple[str, int | None, int, int]
"""The plan that was applied; its limit, None is unlimited; the counter, the call's own units included; and
when it was counted, in nanoseconds since 1970.

The counter is one number: `used << UNITS | start << WIDTH | end`, the window's instants in nanoseconds."""


def nanos(span: timedelta) -> int:
    """A span of time in nanoseconds: of an instant, take what has passed since `EPOCH`."""
    return span // _MICROSECOND * _NANOS


def span_of(number: int) -> timedelta:
    """The span of so many nanoseconds, in whole microseconds."""
    return timedelta(0, 0, number // _NANOS)


def instant(number: int) -> datetime:
    """The instant so many nanoseconds after `EPOCH`, to the microsecond."""
    return EPOCH + span_of(number)


def decide_spent(step: CompiledStep, subject: str, cost: int, spent: Spent) -> Decision:
    """The decision about a call that was admitted.

    Args:
        step: one that enforces its limit.
        subject: who was counted.
        cost: units that were taken.
        spent: how the counter stands.
    """
    plan, limit, counter, now = spent
    return decide(
        step,
        subject=subject,
        plan=plan,
        limit=limit,
        used=counter >> UNITS,
        cost=cost,
        start=instant(counter >> WIDTH & MASK),
        end=instant(counter & MASK),
        fits=True,
        admitted=True,
        replayed=False,
        now=instant(now),
    )

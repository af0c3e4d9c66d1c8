"""Counters at rest: a plain one is a single integer."""

from skene.engine.counter import Counter
from skene.engine.spent import MASK, UNITS, WIDTH, instant, nanos
from skene.engine.window import EPOCH

__all__ = ["Packed", "pack", "unpack"]

Packed = int | Counter
"""A counter at rest. A plain window is one integer, a fifth of the object's size; see `engine.spent`."""


def pack(counter: Counter) -> Packed:
    """Fold a counter; one with parts, notices or grants, of which there are few, stays as it is."""
    if counter.parts or counter.notices or counter.extra or counter.start < EPOCH:
        return counter
    return counter.used << UNITS | nanos(counter.start - EPOCH) << WIDTH | nanos(counter.end - EPOCH)


def unpack(packed: Packed | None) -> Counter | None:
    """The counter that was packed."""
    if not isinstance(packed, int):
        return packed
    return Counter(instant(packed >> WIDTH & MASK), instant(packed & MASK), packed >> UNITS)

"""How much more often people did something who were asked than people who were left alone."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist

__all__ = ["Lift", "lift"]

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Lift:
    """The difference between two shares, and how sure one can be of it.

    Attributes:
        rate, base: the share of those who were asked, and of those who were left alone; 0 to 1.
        difference: `rate - base`.
        low, high: an interval that covers the true difference in 95 of 100 such comparisons.
    """

    rate: float
    base: float
    difference: float
    low: float
    high: float

    @property
    def certain(self) -> bool:
        """Whether the interval leaves no doubt that there is a difference."""
        return self.low > 0 or self.high < 0


def lift(converted: int, asked: int, converted_alone: int, alone: int) -> Lift | None:
    """Compare two groups of people.

    The interval is Newcombe's hybrid of two Wilson score intervals. Unlike the usual one it is honest for
    small groups and for shares of 0 and 1, and never leaves -1 to 1.

    Args:
        converted: how many of those who were asked did it.
        asked: how many were asked.
        converted_alone, alone: the same of those who were left alone.

    Returns:
        None if one of the groups is empty: there is nothing to compare.

    Raises:
        ValueError: more did it than there are, or a negative number.
    """
    if not (0 <= converted <= asked and 0 <= converted_alone <= alone):
        raise ValueError(f"{converted} of {asked} and {converted_alone} of {alone}: no such groups")
    if not asked or not alone:
        return None
    rate, base = converted / asked, converted_alone / alone
    rate_low, rate_high = _wilson(rate, asked)
    base_low, base_high = _wilson(base, alone)
    difference = rate - base
    return Lift(
        rate,
        base,
        difference,
        difference - sqrt((rate - rate_low) ** 2 + (base_high - base) ** 2),
        difference + sqrt((rate_high - rate) ** 2 + (base - base_low) ** 2),
    )


def _wilson(share: float, size: int) -> tuple[float, float]:
    """The score interval of one share."""
    square = _Z * _Z
    middle = share + square / (2 * size)
    spread = _Z * sqrt(share * (1 - share) / size + square / (4 * size * size))
    whole = 1 + square / size
    # Rounding must not put the share outside of its own interval.
    return min(share, (middle - spread) / whole), max(share, (middle + spread) / whole)

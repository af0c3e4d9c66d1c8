"""How many rows to fetch at once, so that long ones do not fill the memory."""

from collections.abc import Iterable
from typing import Any

__all__ = ["Portions"]

FIRST = 10
"""Rows, before anybody knows how long they are."""
BUDGET = 4 * 1024 * 1024
"""Characters or bytes that are in memory at once, about."""


class Portions:
    """Keeps the rows that are fetched at once few where they are long.

    Attributes:
        size: how many to fetch next.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.size = min(FIRST, most)

    def weigh(self, rows: Iterable[Iterable[Any]]) -> None:
        """Learn from the values of the rows that were fetched."""
        weights = [sum(_weight(value) for value in row) for row in rows]
        if weights:
            fitting = BUDGET * len(weights) // max(1, sum(weights))
            self.size = min(self._most, max(1, fitting))


def _weight(value: Any) -> int:
    return len(value) if isinstance(value, str | bytes) else 8

"""Granted units of one counter: in which order they are spent, and how they come back."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from skene.engine.window import EPOCH, FOREVER

__all__ = ["Pot", "draw", "put_back", "unspent"]


@dataclass(frozen=True, slots=True)
class Pot:
    """What one grant holds.

    Attributes:
        number: its place among all grants, in the order they were made.
        units: how many were granted.
        spent: how many of them are spent.
        expires_at: from this instant on nothing can be spent; None: never.
        spent_at: when something was spent last.
    """

    number: int
    units: int
    spent: int = 0
    expires_at: datetime | None = None
    spent_at: datetime | None = None

    def active(self, now: datetime) -> bool:
        """Whether something is left that can be spent."""
        return self.spent < self.units and (self.expires_at is None or now < self.expires_at)


def unspent(pots: Iterable[Pot], now: datetime) -> int:
    """How many units can be spent."""
    return sum(pot.units - pot.spent for pot in pots if pot.active(now))


def draw(pots: Sequence[Pot], units: int, now: datetime) -> tuple[Pot, ...]:
    """Spend units, those that expire first before the others, and of equals the oldest.

    Returns:
        The pots that changed. Together they hold the units, or `unspent` was not asked first.
    """
    changed: list[Pot] = []
    for pot in sorted((pot for pot in pots if pot.active(now)), key=_turn):
        if units == 0:
            break
        taken = min(units, pot.units - pot.spent)
        changed.append(replace(pot, spent=pot.spent + taken, spent_at=now))
        units -= taken
    return tuple(changed)


def put_back(pots: Sequence[Pot], units: int) -> tuple[Pot, ...]:
    """Return units, to the pot that was spent from last before the others.

    One that has expired meanwhile takes its own back, too: they cannot be spent any more.

    Returns:
        The pots that changed.
    """
    changed: list[Pot] = []
    spent = (pot for pot in pots if pot.spent > 0)
    for pot in sorted(spent, key=lambda pot: (pot.spent_at or EPOCH, *_turn(pot)), reverse=True):
        if units == 0:
            break
        back = min(units, pot.spent)
        changed.append(replace(pot, spent=pot.spent - back))
        units -= back
    return tuple(changed)


def _turn(pot: Pot) -> tuple[datetime, int]:
    return pot.expires_at or FOREVER, pot.number

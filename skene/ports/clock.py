"""Time, ids and chance as arguments, so that everything above can be tested at any hour."""

from datetime import datetime
from typing import Protocol

__all__ = ["Clock"]


class Clock(Protocol):
    """Where time, ids and randomness come from. `skene.adapters.system.SystemClock` is the real one."""

    def now(self) -> datetime:
        """The present, aware UTC."""
        ...

    def new_id(self) -> str:
        """A new identifier: unique, unguessable, 1–64 characters of `[0-9a-z_-]`."""
        ...

    def chance(self) -> float:
        """A random number in [0, 1)."""
        ...

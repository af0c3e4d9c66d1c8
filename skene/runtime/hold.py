"""Units held for work whose size is known only afterwards."""

from dataclasses import dataclass

from skene.engine.decision import Decision

__all__ = ["Hold"]


@dataclass(slots=True)
class Hold:
    """Units held for work whose size is known only afterwards.

    Attributes:
        decision: the decision that held them.
        units: how many are held.
    """

    decision: Decision
    units: int
    settled: int | None = None

    def used(self, units: int) -> None:
        """Say what was really used; the rest is given back at the end of the `async with`.

        Raises:
            ValueError: more than was held, or negative: units beyond the hold were never checked against the
                limit.
        """
        if type(units) is not int or not 0 <= units <= self.units:
            raise ValueError(f"used: got {units}; give a number from 0 to {self.units}, the units held")
        self.settled = units

"""The calls of a flight that are on one counter, and what each of them is told."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from skene.adapters.postgres.counting import MOST, Shape
from skene.adapters.together import Waiting
from skene.ports.counters import Consume, Counted, Receipt, Tally

__all__ = ["CallsOnCounter"]

_Waiting: TypeAlias = Waiting[Consume, Counted | None]


class CallsOnCounter:
    """Calls of one charge each, in the order they came in.

    Attributes:
        shape: what they have in common.
        subject: whose counter it is.
        waiting: the calls; those that `add` has not taken are decided otherwise.
        alike: all of them take the same units.
        cost: units of the first.
        total: units of all.
    """

    __slots__ = ("alike", "closed", "cost", "shape", "subject", "total", "waiting")

    def __init__(self, shape: Shape, first: _Waiting) -> None:
        self.shape = shape
        self.subject = first.item.subject
        self.cost = self.total = first.item.charges[0].cost
        self.waiting = [first]
        self.alike = True
        self.closed = False

    def add(self, shape: Shape, waiting: _Waiting) -> None:
        """One more call. One that is asked in another way is left out, with all after it: they go later."""
        cost = waiting.item.charges[0].cost
        if self.closed or shape is not self.shape or self.total + cost > MOST:
            self.closed = True
            return
        self.alike = self.alike and cost == self.cost
        self.total += cost
        self.waiting.append(waiting)

    def settle(self, row: Sequence[Any]) -> None:
        """Tell them what a row of `Queries.plain` says; of two, the first."""
        if self.waiting[0].settled:
            return
        _, charged, now, plan, customer, checked_at, limit, granted, used, start, end, notices, wall = row
        charge, named = self.waiting[0].item.charges[0], tuple(notices) if notices else ()
        receipt = Receipt(charge.meter, plan, start, self.total) if charged else None
        tally = Tally(charge, limit, used, charged, start, end, named, wall, receipt, granted)
        about = (charged, False, now, plan, None, customer, checked_at, (tally,), self.subject)
        self._tell(Counted(*about))

    def settle_as_one(self, whole: Counted) -> None:
        """Tell them what became of one call that takes what all of them take.

        Args:
            whole: the answer to it. If it was refused, those that may fit by themselves are left unsettled.
        """
        (tally,) = whole.tallies
        fitting = tally.limit is None or not self.alike or self.cost <= tally.limit - tally.used
        if whole.admitted or not fitting:
            self._tell(whole)

    def _tell(self, whole: Counted) -> None:
        """Tell each its part of what became of all: admitted, each is told the count as it was after it."""
        if len(self.waiting) == 1:
            self.waiting[0].settle(whole)
            return
        (tally,), receipt = whole.tallies, None
        used = tally.used - self.total if tally.receipt else tally.used
        for waiting in self.waiting:
            charge = waiting.item.charges[0]
            if tally.receipt:
                used += charge.cost
                receipt = Receipt(charge.meter, tally.receipt.plan, tally.receipt.at, charge.cost)
            told = Tally(
                *(charge, tally.limit, used, tally.fits, tally.start, tally.end),
                *(tally.notices, tally.wall, receipt, tally.granted),
            )
            waiting.settle(
                Counted(
                    *(whole.admitted, False, whole.now, whole.plan, whole.held_plan, whole.customer),
                    *(whole.checked_at, (told,), whole.subject),
                )
            )

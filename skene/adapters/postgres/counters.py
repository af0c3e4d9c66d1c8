"""The calls of a flight that are on one counter, and what each of them is told."""

from collections.abc import Sequence
from typing import Any, TypeAlias

from skene.adapters.postgres.counting import MOST, Shape
from skene.adapters.postgres.together import Waiting
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
        named = tuple(notices) if notices else ()
        after = used - self.total if charged else used
        for waiting in self.waiting:
            charge = waiting.item.charges[0]
            receipt = None
            if charged:
                after += charge.cost
                receipt = Receipt(charge.meter, plan, start, charge.cost)
            tally = Tally(charge, limit, after, charged, start, end, named, wall, receipt, granted)
            waiting.settle(
                Counted(charged, False, now, plan, None, customer, checked_at, (tally,), self.subject)
            )

    def settle_as_one(self, whole: Counted) -> None:
        """Tell them what became of one call that takes what all of them take.

        Args:
            whole: the answer to it. If it was refused, those that may fit by themselves are left unsettled.
        """
        tally = whole.tallies[0]
        receipt, limit, after = tally.receipt, tally.limit, tally.used
        if receipt is None and (limit is None or not self.alike or self.cost <= limit - tally.used):
            return
        after -= self.total if receipt else 0
        for waiting in self.waiting:
            charge = waiting.item.charges[0]
            mine = Receipt(receipt.meter, receipt.plan, receipt.at, charge.cost) if receipt else None
            after += charge.cost if receipt else 0
            told = Tally(
                charge,
                limit,
                after,
                tally.fits,
                tally.start,
                tally.end,
                tally.notices,
                tally.wall,
                mine,
                tally.granted,
            )
            waiting.settle(
                Counted(
                    whole.admitted,
                    False,
                    whole.now,
                    whole.plan,
                    whole.held_plan,
                    whole.customer,
                    whole.checked_at,
                    (told,),
                    whole.subject,
                )
            )

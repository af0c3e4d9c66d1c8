"""One lease: units of one counter that this process has taken and not used yet."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

import anyio

from skene.engine.leasing import lasts
from skene.engine.limits import applied_plan
from skene.ports.counters import Consume, Counted, Receipt, Tally
from skene.ports.storage import Storage

__all__ = ["Flight", "Lease", "Moment"]

_NEVER = timedelta(0)


class Moment(NamedTuple):
    """An instant of this process.

    Attributes:
        now: by the clock, which a test, or an administrator, may move.
        ticks: in seconds that nobody moves, but that stand still while the machine sleeps.
    """

    now: datetime
    ticks: float


class Flight:
    """A taking or a return that is under way.

    Attributes:
        promised: units it will bring that nobody has asked for yet.
        landed: set when it is over.
        error: what it failed with, for all who waited for it.
    """

    __slots__ = ("error", "landed", "promised")

    def __init__(self, promised: int = 0) -> None:
        self.promised = promised
        self.landed = anyio.Event()
        self.error: Exception | None = None


class Lease:
    """What the storage has said last of a counter, and the units taken from it that are not used yet.

    Attributes:
        call: one like those that spend it.
        storage: where the units were taken, and are given back.
        counted: what the storage said, and `receipt` what it charged: the plan and window of all units here.
        used: units charged in the window, those that are left here included.
        left: units not used yet, at most `size`.
        size: units of a block; 0 while none is held.
        flight: the taking or return under way. Nobody begins another one meanwhile.
        exact: no more blocks are taken: units had to be returned so that a call was not refused.
        returned: the place, among all returns of this process, of the one that ended last.
    """

    __slots__ = (
        "_length",
        "_notices",
        "_since",
        "call",
        "counted",
        "exact",
        "flight",
        "left",
        "receipt",
        "returned",
        "size",
        "storage",
        "used",
    )

    def __init__(
        self, call: Consume, storage: Storage, counted: Counted, receipt: Receipt, asked: Moment
    ) -> None:
        self.call = call
        self.storage = storage
        self.left = self.size = self.returned = 0
        self.flight: Flight | None = None
        self.exact = False
        self.renew(counted, receipt, asked)

    def renew(self, counted: Counted, receipt: Receipt, asked: Moment) -> None:
        """Begin a new life with what the storage has said, and charged.

        Args:
            counted, receipt: the answer.
            asked: before the storage was asked. It has decided later, so the window ends no earlier than this
                process takes it to end, whatever the two clocks show.
        """
        tally = counted.tallies[0]
        self.counted, self.receipt = counted, receipt
        self.used, self._notices = tally.used, tally.notices
        self._since = asked
        self._length = lasts(tally.charge.rule, receipt.at, tally.end, counted.now)

    def end(self) -> None:
        """Let nothing more be spent. What is left has to be returned."""
        self._length = _NEVER

    def age(self, at: Moment) -> timedelta | None:
        """For how long it has lived; None: it is over, or a clock was set back."""
        age = at.now - self._since.now
        alive = _NEVER <= age < self._length and at.ticks - self._since.ticks < self._length.total_seconds()
        return age if alive else None

    def covers(self, plan: str, at: datetime) -> bool:
        """Whether units that were charged to this plan, and in this window, are like those that are left."""
        return self.receipt.plan == plan and self.receipt.at == at

    def notice(self, names: tuple[str, ...]) -> None:
        """Remember warnings that were recorded since."""
        self._notices += tuple(name for name in names if name not in self._notices)

    def spend(self, call: Consume, at: Moment) -> Counted | None:
        """Charge a call to the units that are left; None: they do not suffice, or it is over."""
        charge, age = call.charges[0], self.age(at)
        if age is None or charge.cost > self.left:
            return None
        self.left -= charge.cost
        said, told, taken = self.counted, self.counted.tallies[0], self.receipt
        tally = Tally(
            charge,
            told.limit,
            self.used - self.left,
            True,
            told.start,
            told.end,
            self._notices,
            None,
            Receipt(taken.meter, taken.plan, taken.at, charge.cost),
            told.granted,
        )
        return Counted(
            True, False, said.now + age, said.plan, None, said.customer, None, (tally,), said.subject
        )

    def seen_from_here(self, tally: Tally, counted: Counted, call: Consume) -> Tally:
        """A counter as this process sees it: what is left here is not used."""
        plan = applied_plan(tally.charge.limits, counted.plan, call.default_plan)
        if not self.left or plan != self.receipt.plan:
            return tally
        return replace(tally, used=max(0, tally.used - self.left))

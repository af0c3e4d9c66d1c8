"""Plain calls, which most are: charged by what was prepared at the start, at once where the storage can."""

from collections.abc import Sequence
from typing import cast

from skene.definitions import FixedPeriod
from skene.engine.decide import crossed
from skene.engine.program import CompiledStep
from skene.engine.spent import MASK, UNITS, WIDTH, Spent, instant, nanos, span_of
from skene.engine.window import EPOCH, Anchored
from skene.ports.counters import Charge, Consume, Counted, PlainLimit, Receipt, Spend, Spender, Tally
from skene.runtime.parts import Parts

__all__ = ["Plain", "PlainSteps"]


class Plain:
    """A step whose calls may be plain.

    Attributes:
        step: it.
        warns: it warns of its limit.
        spend: charges a call at once, see `ports.counters.Spend`; where that is all one has, it never does.
        short: calls that are not charged at once may go the short way, `Gatekeeper.spend`.
    """

    __slots__ = ("_charges", "_default", "_limit", "short", "spend", "step", "warns")

    def __init__(self, step: CompiledStep, limit: PlainLimit) -> None:
        self.step, self.warns, self._limit = step, bool(step.warnings), limit
        self.spend: Spend = _never
        self.short = False
        self._default = ""
        self._charges = self._charge(1)

    def prepare(self, parts: Parts) -> None:
        """Look at the back-ends; again when others have taken their place."""
        self._default = default = parts.default_plan
        # Who wants to see every call sees them go the longer way.
        self.short = default in self._limit.limits and not parts.observers
        # Asked of the class: what stands around a storage and passes everything on must not be got round.
        able = self.short and hasattr(type(parts.storage), "spender")
        spender = cast(Spender, parts.storage).spender if able else None
        self.spend = (spender and spender(default, self._limit)) or _never

    def call(self, subject: str, cost: int) -> Consume:
        """A call as the storage is asked."""
        charges = self._charges
        return Consume(subject, self._default, charges if charges[0].cost == cost else self._charge(cost))

    def spent(self, subject: str, counted: Counted) -> Spent | None:
        """How the counter stands after a call that the storage has answered.

        None: more is to be said of it than that it was admitted.
        """
        tally = counted.tallies[0]
        receipt = tally.receipt
        if receipt is None or not counted.admitted or counted.held_plan is not None:
            return None
        if tally.notices or counted.subject != subject or receipt.at != tally.start:
            return None
        start, end = nanos(tally.start - EPOCH), nanos(tally.end - EPOCH)
        counter = tally.used << UNITS | start << WIDTH | end
        spent = receipt.plan, tally.limit, counter, nanos(counted.now - EPOCH)
        return None if self.warns and self.due(spent) else spent

    def due(self, spent: Spent) -> bool:
        """Whether a call has made a warning due. None was recorded before, or it would be no plain call."""
        return bool(crossed(self.step, spent[0], spent[1], spent[2] >> UNITS, ()))

    def counted(self, subject: str, cost: int, spent: Spent) -> Counted:
        """A call as `Storage.consume` would have answered it."""
        plan, limit, counter, now = spent
        (charge,) = self._charge(cost)
        start, end = instant(counter >> WIDTH & MASK), instant(counter & MASK)
        receipt = Receipt(charge.meter, plan, start, cost)
        tally = Tally(charge, limit, counter >> UNITS, True, start, end, receipt=receipt)
        return Counted(True, False, instant(now), plan, None, None, None, (tally,), subject)

    def receipts(self, cost: int, spent: Spent) -> tuple[Receipt, ...]:
        """What gives a call's units back; nothing where it pays for the attempt."""
        if self.step.charge == "attempt":
            return ()
        return (Receipt(self.step.meter, spent[0], instant(spent[2] >> WIDTH & MASK), cost),)

    def _charge(self, cost: int) -> tuple[Charge]:
        step, rule = self.step, Anchored(span_of(self._limit.length))
        return (Charge(step.key, step.meter, cost, step.counted_limits, rule),)


def _never(subject: str, cost: int) -> None:
    """What a storage does that can charge nothing at once."""


class PlainSteps:
    """What is prepared for the steps of a program, and for those that routes have made of them."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._made: dict[CompiledStep, Plain | None] = {}

    def of(self, step: CompiledStep) -> Plain | None:
        """What is prepared for a step that stays; None where every one of its calls needs a closer look."""
        if step not in self._made:
            made = self._made[step] = _plain_of(step)
            if made is not None:
                made.prepare(self._parts)
        return self._made[step]

    def by_meter(self, steps: Sequence[CompiledStep]) -> dict[str, Plain]:
        """What is prepared for calls that name a meter. Of steps that share one, the first answers."""
        first = {step.meter: step for step in reversed(steps)}
        return {meter: plain for meter, step in first.items() if (plain := self.of(step))}

    def prepare(self) -> None:
        """Look at the back-ends again: others have taken their place."""
        for plain in self._made.values():
            if plain is not None:
                plain.prepare(self._parts)


def _plain_of(step: CompiledStep) -> Plain | None:
    window = step.window
    if not isinstance(window, FixedPeriod) or not step.enforce or step.feature is not None:
        return None
    if step.billed or step.member is not None or step.lease is not None:
        return None
    limit = PlainLimit(step.meter, dict(step.counted_limits), nanos(window.length))
    return Plain(step, limit)

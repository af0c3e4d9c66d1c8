"""Plain calls, which most are: admitted at once where the storage can, by what was prepared at the start."""

from collections.abc import Sequence
from typing import cast

from skene.definitions import FixedPeriod
from skene.engine.decide import crossed
from skene.engine.program import CompiledStep
from skene.engine.spent import MASK, UNITS, WIDTH, Spent, instant, nanos, span_of
from skene.engine.window import Anchored
from skene.ports.counters import Charge, Counted, PlainLimit, Receipt, Spend, Spender, Tally
from skene.runtime.parts import Parts

__all__ = ["Plain", "PlainSteps"]


class Plain:
    """A step whose calls may be plain.

    Attributes:
        step: it.
        warns: it warns of its limit.
        spend: charges a call, see `ports.counters.Spend`; where that is all one has, it never does.
    """

    __slots__ = ("_limit", "spend", "step", "warns")

    def __init__(self, step: CompiledStep, limit: PlainLimit) -> None:
        self.step, self.warns, self._limit = step, bool(step.warnings), limit
        self.spend: Spend = _never

    def prepare(self, parts: Parts) -> None:
        """Look at the back-ends; again when others have taken their place."""
        default = parts.default_plan
        # Asked of the class: what stands around a storage and passes everything on must not be got round.
        able = hasattr(type(parts.storage), "spender") and default in self._limit.limits
        able = able and not parts.observers  # who wants to see every call sees them go the longer way
        spender = cast(Spender, parts.storage).spender if able else None
        self.spend = (spender and spender(default, self._limit)) or _never

    def due(self, spent: Spent) -> bool:
        """Whether a call has made a warning due. None was recorded before, or it would be no plain call."""
        return bool(crossed(self.step, spent[0], spent[1], spent[2] >> UNITS, ()))

    def counted(self, subject: str, cost: int, spent: Spent) -> Counted:
        """A call as `Storage.consume` would have answered it."""
        plan, limit, counter, now = spent
        step = self.step
        rule = Anchored(span_of(self._limit.length))
        charge = Charge(step.key, step.meter, cost, step.counted_limits, rule)
        start, end = instant(counter >> WIDTH & MASK), instant(counter & MASK)
        receipt = Receipt(step.meter, plan, start, cost)
        tally = Tally(charge, limit, counter >> UNITS, True, start, end, receipt=receipt)
        return Counted(True, False, instant(now), plan, None, None, None, (tally,), subject)

    def receipts(self, cost: int, spent: Spent) -> tuple[Receipt, ...]:
        """What gives a call's units back; nothing where it pays for the attempt."""
        if self.step.charge == "attempt":
            return ()
        return (Receipt(self.step.meter, spent[0], instant(spent[2] >> WIDTH & MASK), cost),)


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

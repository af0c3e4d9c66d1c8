"""What a call asks: which steps, for how many units, and for whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from skene.definitions.faults import describe
from skene.definitions.units import LARGEST
from skene.engine.light import light
from skene.engine.program import CompiledStep, for_member
from skene.engine.subject import storable_id
from skene.errors import SubjectInvalid
from skene.ports.counters import Charge, Consume
from skene.runtime.parts import Parts

__all__ = ["Ask", "asks_of", "call_of", "stored"]


@light
@dataclass(frozen=True, slots=True)
class Ask:
    """A step that is asked, and the units it is asked for."""

    step: CompiledStep
    cost: int


def asks_of(step: CompiledStep, cost: int, member: str | None) -> tuple[Ask, ...]:
    """What a call is asked for: the step's own counter, and a team's counter for its member.

    Args:
        step: the step.
        cost: units.
        member: who of the team calls, as the app names them; None for nobody in particular.

    Raises:
        SubjectInvalid: the member's id is empty or not a string.
    """
    if member is None or not step.member_limits:
        return (Ask(step, cost),)
    return Ask(step, cost), Ask(for_member(step, stored(member)), cost)


def stored(subject: object) -> str:
    """The id to store; no empty one, since walls of the forgotten have an empty name.

    Raises:
        SubjectInvalid: it is empty or not a string.
    """
    if not isinstance(subject, str) or not subject:
        raise SubjectInvalid(f"a subject is a non-empty string; got {describe(subject)}")
    return storable_id(subject)


def call_of(parts: Parts, subject: object, asks: Sequence[Ask], key: str | None, fingerprint: str) -> Consume:
    """A call as the storage is asked.

    Raises:
        SubjectInvalid: as `stored`.
    """
    who = stored(subject)
    now = parts.clock.now()
    by_meter: dict[str, Charge] = {}
    for ask in asks:
        step = ask.step
        first = by_meter.get(step.meter)
        if first is None:
            by_meter[step.meter] = Charge(
                step.key,
                step.meter,
                ask.cost,
                _limits(parts, step),
                step.rule(now),
                step.feature,
                step.reported,
                not step.enforce,
            )
        elif ask.cost > first.cost:  # one call, counted once: at what its most expensive step asks
            by_meter[step.meter] = replace(first, cost=ask.cost)
    return Consume(who, parts.default_plan, tuple(by_meter.values()), key, fingerprint)


def _limits(parts: Parts, step: CompiledStep) -> Mapping[str, int | None]:
    """What the storage holds against the count."""
    if step.feature is None:
        return step.counted_limits
    # Nothing for anybody but those who hold the feature. Where it only watches, the storage refuses nobody,
    # and tells by the limit who does.
    return dict.fromkeys(parts.plans, 0 if step.enforce else LARGEST)

"""What a call asks: which steps, for how many units, and for whom."""

from dataclasses import dataclass

from skene.definitions.faults import describe
from skene.engine.light import light
from skene.engine.program import CompiledStep, for_member
from skene.engine.subject import storable_id
from skene.errors import SubjectInvalid

__all__ = ["Ask", "asks_of", "stored"]


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

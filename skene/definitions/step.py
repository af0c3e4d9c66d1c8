"""One rule of a loop: `step`, and `wait` between two of them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import BeforeValidator, Field

from skene.definitions.action import Action, BlockAction, EmailAction, FiringAction, StepAction
from skene.definitions.base import Definition, part
from skene.definitions.checks import Duration, Name, choice
from skene.definitions.condition import Condition, StepCondition, UsageCondition
from skene.definitions.conditions import FeatureCondition
from skene.definitions.faults import refuse
from skene.definitions.trigger import AnyTrigger, Trigger

__all__ = ["Step", "Wait", "step", "wait"]


class Wait(Definition, frozen=True):
    """A pause before the next step of a chain, kept in the database.

    Attributes:
        length: How long.
    """

    example: ClassVar[str] = 'wait("2d")'
    shorthand: ClassVar[str | None] = "length"

    type: Annotated[Literal["wait"], choice("wait")] = "wait"
    length: Duration = Field(description='a duration such as "2d"')


def _max_fires(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
        raise refuse(value, "a whole number from 1 to 1,000,000")
    return int(value)


class Step(Definition, frozen=True):
    """One rule of a loop: when the trigger fires and the condition holds, the action follows.

    Attributes:
        name: A name no other step of the loop has; None for a step known by its place.
        trigger: What starts it; None for a step that only code calls, or that goes on with the one before.
        condition: What must hold; for a limit, what is counted and up to where. None: always.
        action: What happens then; for a limit, beyond it.
        then: The pause before the next step; None when this is the end of its chain.
        cooldown: How long a subject is left alone once the step has acted upon it.
        max_fires: How often the step acts upon one subject, ever; None for any number of times.
    """

    example: ClassVar[str] = "step(condition=…, action=…)"

    name: Name | None = None
    trigger: AnyTrigger | None = None
    condition: StepCondition | None = None
    action: StepAction = Field(description=f"an action: {BlockAction.example}, {EmailAction.example}, …")
    then: Wait | None = None
    cooldown: Duration | None = None
    max_fires: Annotated[int, BeforeValidator(_max_fires)] | None = None

    @property
    def actions(self) -> tuple[Action, ...]:
        """What happens, as a list also where it is one thing."""
        return self.action if isinstance(self.action, tuple) else (self.action,)

    @property
    def limit(self) -> tuple[UsageCondition | FeatureCondition, BlockAction] | None:
        """The count, or feature, and the refusal of a step in front of calls; None for any other step."""
        if isinstance(self.condition, UsageCondition | FeatureCondition) and isinstance(
            self.action, BlockAction
        ):
            return self.condition, self.action
        return None


def wait(length: str | timedelta) -> Wait:
    """Pauses before the next step: `step(…, then=wait("2d"))`.

    Args:
        length: Such as `"2d"` or `"12h"`.
    """
    return part(Wait, type="wait", length=length)


def step(
    *,
    trigger: Trigger | None = None,
    condition: Condition | None = None,
    action: Action | Sequence[FiringAction],
    then: Wait | str | timedelta | None = None,
    cooldown: str | timedelta | None = None,
    max_fires: int | None = None,
    name: str | None = None,
) -> Step:
    """Makes one rule of a loop.

    Args:
        trigger: What starts it. Left out for a limit, only code does: `skene.consume(…)`,
            `@gate.enforce(…)`; left out after a step with `then`, it goes on with that one's subject.
        condition: What must hold. Left out: nothing.
        action: What happens then, or a list of several things.
        then: The pause before the next step of the list, such as `wait("2d")`, or `"2d"` for short.
        cooldown: How long to leave a subject alone after acting upon it, such as `"7d"`. A schedule without
            one acts once, until the subject has left the query's result.
        max_fires: How often to act upon one subject at most.
        name: A name no other step of the loop has.
    """
    return part(
        Step,
        name=name,
        trigger=trigger,
        condition=condition,
        action=action,
        then=then,
        cooldown=cooldown,
        max_fires=max_fires,
    )

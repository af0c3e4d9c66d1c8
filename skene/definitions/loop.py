"""The whole of what a user defines: the loop that steps make, and the ways in and out."""

import json
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, cast, get_args

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from skene.definitions.base import Definition, Faulty, without_defaults
from skene.definitions.checks import Duration, Flag, Name, choice, one_of, text
from skene.definitions.combining import goal_faults, step_faults
from skene.definitions.condition import UsageCondition
from skene.definitions.conditions import QueryCondition
from skene.definitions.cron import cron_warning
from skene.definitions.faults import DefinitionError, Fault, SkeneWarning, describe, refuse, under
from skene.definitions.period import Period, read_period
from skene.definitions.recovery import Recovery
from skene.definitions.step import Step
from skene.definitions.triggers import EventTrigger, ScheduleTrigger
from skene.definitions.units import UNLIMITED
from skene.definitions.values import as_list, as_mapping

LoopType = Literal["freemium", "activation", "retention"]
Goal = EventTrigger | QueryCondition

_AT_LEAST_ONE = "a list with at least one step"


def _steps(value: object) -> tuple[Step, ...]:
    given = as_list(value)
    if not given:
        raise refuse(value, _AT_LEAST_ONE)
    steps: list[Step | None] = []
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            steps.append(Step.read(one))
        except DefinitionError as error:
            steps.append(None)
            faults += under(f"[{place}]", error.faults)
    faults += [*_names_given_twice(given), *_meters_at_odds(given), *step_faults(steps)]
    if faults:
        raise DefinitionError(sorted(faults, key=_place))
    return tuple(one for one in steps if one is not None)


def _place(fault: Fault) -> int:
    """The step that a fault is of; within it, what is wrong in itself comes before what does not fit."""
    return int(fault.path[1 : fault.path.index("]")])


def _names_given_twice(steps: Sequence[object]) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, int] = {}
    for place, one in enumerate(steps):
        name = _peek(one, "name")
        if isinstance(name, str) and first.setdefault(name, place) != place:
            given = f"{describe(name)}, which is the name of steps[{first[name]}]"
            faults.append(Fault(f"[{place}].name", given, "a name that no other step has"))
    return faults


def _meters_at_odds(steps: Sequence[object]) -> list[Fault]:
    faults: list[Fault] = []
    first: dict[str, tuple[int, Period]] = {}
    for place, one in enumerate(steps):
        meter = _peek(one, "condition", "meter")
        if _peek(one, "condition", "period") is None:
            continue  # reported where it stands, or no limit at all
        try:
            period = read_period(_peek(one, "condition", "period"))
        except DefinitionError:
            continue  # reported where it stands
        if isinstance(meter, str) and first.setdefault(meter, (place, period))[1] != period:
            given = f"another period than steps[{first[meter][0]}] has for the meter {describe(meter)}"
            faults.append(Fault(f"[{place}].condition.period", given, "the same period, or another meter"))
    return faults


def _peek(value: object, *keys: str) -> object:
    """Looks into a part of a loop that may be faulty, so that all that is wrong is reported together."""
    for key in keys:
        if isinstance(value, Faulty):
            value = value.values.get(key)
        elif (mapping := as_mapping(value)) is not None:
            value = mapping.get(key)
        else:
            value = getattr(value, key, None) if isinstance(value, Definition) else None
    return value


def _holdout(value: object) -> float:
    allowed = "a share from 0 up to, but not, 1"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(value, allowed)
    if not 0 <= value < 1:
        raise refuse(value, allowed, f"{value / 100:g}" if 1 <= value < 100 else None)
    return float(value)


class Loop(Definition, frozen=True):
    """A growth loop, as it was written.

    Attributes:
        type: The kind of loop.
        name: A name for it, where there are several of one kind.
        opinion: What it is for, in a sentence.
        steps: Its rules, at least one.
        recovery: What happens when an action fails.
        enforce: False for shadow mode: all is counted, nobody is refused or written to.
        holdout: The share of subjects, from 0 up to but not 1, who are never asked or written to.
        goal: What the loop wants its subjects to reach, an event or a query; None for a limit, which wants
            payments.
        attribution: How long after a refusal a payment still counts as its conversion, and how long after
            the beginning of a journey its goal.
    """

    example: ClassVar[str] = 'an object such as {"type": "freemium", "steps": […]}'

    type: Annotated[LoopType, choice(*get_args(LoopType))] = Field(
        description='"freemium", "activation" or "retention"'
    )
    name: Name | None = None
    opinion: Annotated[str, text("text of up to 2,000 characters", 2000, shortest=0, lines=True)] = ""
    steps: Annotated[tuple[Step, ...], PlainValidator(_steps)] = Field(description=_AT_LEAST_ONE)
    recovery: Recovery = Field(default_factory=Recovery)  # made when a loop is, not when skene is imported
    enforce: Flag = True
    holdout: Annotated[float, BeforeValidator(_holdout)] = 0.0
    goal: Annotated[Goal, PlainValidator(one_of(EventTrigger, QueryCondition))] | None = None
    attribution: Duration = timedelta(days=30)

    @model_validator(mode="after")
    def _goal_can_be_reached(self) -> Self:
        if faults := goal_faults(self.goal, self.steps):
            raise DefinitionError(faults)
        return self

    @property
    def key(self) -> str:
        """What the loop is called wherever it is stored or shown: its name, or else its type."""
        return self.name or self.type

    def to_json(self, *, indent: int | None = None) -> str:
        """Returns the loop as JSON text: what `dump_loop` returns.

        Args:
            indent: Spaces per level; None for a single line.

        Raises:
            DefinitionError: If something is a function.
        """
        return json.dumps(dump_loop(self), ensure_ascii=False, indent=indent, allow_nan=False)


def define_loop(
    *,
    type: LoopType,  # noqa: A002  # the key of the configuration that this mirrors
    steps: Sequence[Step],
    opinion: str = "",
    name: str | None = None,
    recovery: Recovery | None = None,
    enforce: bool = True,
    holdout: float = 0.0,
    goal: Goal | None = None,
    attribution: str | timedelta = "30d",
) -> Loop:
    """Defines a loop.

    Args:
        type: The kind of loop.
        steps: Its rules, at least one.
        opinion: What it is for, in a sentence.
        name: A name for it, where there are several of one kind.
        recovery: What happens when an action fails; `Recovery()` when left out.
        enforce: False for shadow mode: all is counted, nobody is refused or written to.
        holdout: The share of subjects, from 0 up to but not 1, who are never asked or written to.
        goal: What a loop besides freemium wants its subjects to reach: `trigger.event(…)` or
            `condition.query(…)`.
        attribution: How long after a refusal a payment still counts as its conversion, and after the
            beginning of a journey its goal, such as `"30d"`.

    Raises:
        DefinitionError: With every fault of the loop and all its parts.
    """
    given = without_defaults(
        Loop,
        type=type,
        name=name,
        opinion=opinion,
        steps=steps,
        recovery=Recovery() if recovery is None else recovery,
        enforce=enforce,
        holdout=holdout,
        goal=goal,
        attribution=attribution,
    )
    try:
        loop = Loop(**given)
    except DefinitionError as error:
        raise DefinitionError(error.faults, "the loop") from None
    warn_of(loop)
    return loop


def dump_loop(loop: Loop) -> dict[str, Any]:
    """Returns a loop as plain JSON values: the keys that were written, in their order, in camelCase.

    Raises:
        DefinitionError: If something is a function, which JSON cannot hold.
    """
    return cast(dict[str, Any], loop.dump())


def warn_of(loop: Loop) -> None:
    """Points out, at the line of whoever defined the loop, what is allowed and probably not meant."""
    for place, one in enumerate(loop.steps):
        usage = one.limit[0] if one.limit is not None else None
        if isinstance(usage, UsageCondition) and usage.limit.get("free") is UNLIMITED:
            where = f"steps[{place}].condition.limit.free"
            what = "the free plan is unlimited, so nobody is ever asked to upgrade"
            warnings.warn(f"{where}: {what}", SkeneWarning, stacklevel=3)
        if isinstance(one.trigger, ScheduleTrigger) and (said := cron_warning(one.trigger.cron)):
            warnings.warn(f"steps[{place}].trigger.cron: {said}", SkeneWarning, stacklevel=3)

"""The whole of what a user defines: steps, the loop they make, and the ways in and out."""

import json
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import BeforeValidator, Field, PlainValidator

from skene.definitions.action import AnyAction, BlockAction
from skene.definitions.base import Definition, Faulty, part, without_defaults
from skene.definitions.checks import Duration, Flag, Name, choice, text
from skene.definitions.condition import AnyCondition, UsageCondition
from skene.definitions.faults import DefinitionError, Fault, SkeneWarning, describe, refuse, under
from skene.definitions.period import Period, read_period
from skene.definitions.recovery import Recovery
from skene.definitions.trigger import AnyTrigger, ApiTrigger
from skene.definitions.units import UNLIMITED
from skene.definitions.values import as_list, as_mapping

_AT_LEAST_ONE = "a list with at least one step"


class Step(Definition, frozen=True):
    """One rule of a loop: when the trigger fires and the condition holds, the action follows.

    Attributes:
        name: A name no other step of the loop has; None for a step known by its place.
        trigger: What starts it; None for a step that only code calls.
        condition: What is counted, and up to where.
        action: What happens beyond that.
    """

    example: ClassVar[str] = "step(condition=…, action=…)"

    name: Name | None = None
    trigger: AnyTrigger | None = None
    condition: AnyCondition = Field(description=UsageCondition.example)
    action: AnyAction = Field(description=BlockAction.example)


def _steps(value: object) -> tuple[Step, ...]:
    given = as_list(value)
    if not given:
        raise refuse(value, _AT_LEAST_ONE)
    steps: list[Step] = []
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            steps.append(Step.read(one))
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    faults += [*_names_given_twice(given), *_meters_at_odds(given)]
    if faults:
        raise DefinitionError(faults)
    return tuple(steps)


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
        holdout: The share of subjects, from 0 up to but not 1, who are never asked to upgrade.
        attribution: How long after a refusal a payment still counts as its conversion.
    """

    example: ClassVar[str] = 'an object such as {"type": "freemium", "steps": […]}'

    type: Annotated[Literal["freemium"], choice("freemium")] = Field(description='"freemium"')
    name: Name | None = None
    opinion: Annotated[str, text("text of up to 2,000 characters", 2000, shortest=0, lines=True)] = ""
    steps: Annotated[tuple[Step, ...], PlainValidator(_steps)] = Field(description=_AT_LEAST_ONE)
    recovery: Recovery = Recovery()
    enforce: Flag = True
    holdout: Annotated[float, BeforeValidator(_holdout)] = 0.0
    attribution: Duration = timedelta(days=30)

    @property
    def key(self) -> str:
        """What the loop is called wherever it is stored or shown: its name, or else its type."""
        return self.name or self.type

    def to_json(self, *, indent: int | None = None) -> str:
        """Returns the loop as JSON text: what `dump_loop` returns.

        Args:
            indent: Spaces per level; None for a single line.

        Raises:
            DefinitionError: If a `cost` is a function.
        """
        return json.dumps(dump_loop(self), ensure_ascii=False, indent=indent, allow_nan=False)


def step(
    *,
    trigger: ApiTrigger | None = None,
    condition: UsageCondition,
    action: BlockAction,
    name: str | None = None,
) -> Step:
    """Makes one rule of a loop.

    Args:
        trigger: What starts it. Left out, only code does: `skene.consume(…)`, `@gate.enforce(…)`.
        condition: What is counted, and up to where.
        action: What happens beyond that.
        name: A name no other step of the loop has.
    """
    return part(Step, name=name, trigger=trigger, condition=condition, action=action)


def define_loop(
    *,
    type: Literal["freemium"],  # noqa: A002  # the key of the configuration that this mirrors
    steps: Sequence[Step],
    opinion: str = "",
    name: str | None = None,
    recovery: Recovery | None = None,
    enforce: bool = True,
    holdout: float = 0.0,
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
        holdout: The share of subjects, from 0 up to but not 1, who are never asked to upgrade.
        attribution: How long after a refusal a payment still counts as its conversion, such as `"30d"`.

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
        DefinitionError: If a `cost` is a function, which JSON cannot hold.
    """
    return cast(dict[str, Any], loop.dump())


def warn_of(loop: Loop) -> None:
    """Points out, at the line of whoever defined the loop, what is allowed and probably not meant."""
    for place, one in enumerate(loop.steps):
        if one.condition.limit.get("free") is UNLIMITED:
            where = f"steps[{place}].condition.limit.free"
            what = "the free plan is unlimited, so nobody is ever asked to upgrade"
            warnings.warn(f"{where}: {what}", SkeneWarning, stacklevel=3)

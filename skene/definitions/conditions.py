"""The conditions that are asked of a firing, one class for each."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, cast

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from skene.definitions.base import Definition
from skene.definitions.checks import Duration, choice, one_of, printable, text
from skene.definitions.faults import DefinitionError, Fault, refuse, under
from skene.definitions.sql import read_select
from skene.definitions.units import LARGEST
from skene.definitions.values import as_list

__all__ = [
    "FIRING_CONDITIONS",
    "METER",
    "AllCondition",
    "AnyCondition",
    "FeatureCondition",
    "FiringCondition",
    "FunctionCondition",
    "MeterName",
    "NotCondition",
    "PlanCondition",
    "PlanName",
    "QueryCondition",
    "UsageLevelCondition",
    "check_plan",
    "takes_one_argument",
]

METER = "a name of 1 to 100 of the characters a-z 0-9 _ . : -"
_PLAN = "a plan's name of 1 to 100 characters, without control characters"
_PLANS = 'plans, such as ["free", "team"]'
_LEVEL = "a share of the limit above 0 and up to 1.0, with a point, or a whole number of units from 1"
_COUNTS = "it to a condition with limit and period, which counts; at and under only ask"
_SUBJECT = 'the column of the result that names the subject, such as "user_id"'
_CONDITIONS = "a list of two conditions or more"
_FUNCTION = "a function of one argument, the occasion, that returns True or False; it may be async"
_FEATURE = 'the lookup key of a feature such as "priority_support", 1 to 80 characters without spaces'
_DEEPEST = 20

MeterName = Annotated[str, text(METER, 100, pattern=r"[a-z0-9_.:-]+")]

Asked = Callable[[Any], bool | Awaitable[bool]]


def check_plan(value: object, path: str = "") -> str:
    """Reads the name of a plan."""
    if not isinstance(value, str) or not value.strip() or len(value) > 100 or not printable(value):
        raise refuse(value, _PLAN, path=path)
    return value


PlanName = Annotated[str, BeforeValidator(check_plan)]


def _plans(value: object) -> tuple[str, ...]:
    given = as_list(value)
    if given is None:
        return (check_plan(value),)
    if not given:
        raise refuse(value, _PLANS)
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            check_plan(one)
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    if faults:
        raise DefinitionError(faults)
    return tuple(str(one) for one in given)


Plans = Annotated[tuple[str, ...], BeforeValidator(_plans)]


def _query(value: object) -> str:
    return read_select(value).text


def _level(value: object) -> float | int:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise refuse(value, _LEVEL)
    if isinstance(value, int):
        if not 1 <= value <= LARGEST:
            raise refuse(value, _LEVEL)
        return value
    if not 0 < value <= 1:
        raise refuse(value, _LEVEL, _nearest_level(value))
    return value


def _nearest_level(value: float) -> str | None:
    """Per cent were meant, or units; the whole limit is `1.0`, for `1` is one unit."""
    share = [repr(value / 100)] if 1 < value <= 100 else []
    units = [f"{value:.0f}"] if 1 < value <= LARGEST and value.is_integer() else []
    return " or ".join((*share, *units)) or None


def _max_rows(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100_000_000:
        raise refuse(value, "a whole number from 1 to 100,000,000")
    return int(value)


def takes_one_argument(value: object, allowed: str) -> Callable[[Any], Any]:
    """Reads a function that can be called with one argument."""
    if not callable(value):
        raise refuse(value, allowed)
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        raise refuse(value, allowed, given="a function that does not take one argument") from None
    except ValueError:  # written in C, with no signature to look at
        pass
    return cast("Callable[[Any], Any]", value)


def _function(value: object) -> Asked:
    return takes_one_argument(value, _FUNCTION)


class QueryCondition(Definition, frozen=True):
    """A SELECT on your own tables: it holds when there is a row.

    Attributes:
        query: The statement. `$1` is the subject, `:name` a value of the trigger's row or payload.
        timeout: After an event, how long to wait for a row; None looks once. On a schedule, how long the
            whole reading may take.
        subject: On a schedule, the column that names the subject; None for the first of `subject`, `user_id`
            and `id` that there is.
        max_rows: On a schedule, how many rows are acted upon at most.
    """

    example: ClassVar[str] = 'condition.query("SELECT … WHERE user_id = $1")'

    type: Annotated[Literal["query"], choice("query")] = "query"
    query: Annotated[str, BeforeValidator(_query)] = Field(description="one SELECT statement")
    timeout: Duration | None = None
    subject: Annotated[str, text(_SUBJECT, 63)] | None = None
    max_rows: Annotated[int, BeforeValidator(_max_rows)] = 1_000_000


class UsageLevelCondition(Definition, frozen=True):
    """How much of a meter the subject has used.

    Attributes:
        meter: The meter; None for the only one.
        at: At least so much is used: a float such as 0.8 is a share of the limit, an int is units. So 1.0 is
            the whole limit, and 1 is one unit.
        under: Less than so much is used, written alike.
    """

    example: ClassVar[str] = "condition.usage(at=0.8)"
    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("limit", "period", "group_by", "cost", "charge", "lease"), _COUNTS
    )

    type: Annotated[Literal["usage"], choice("usage")] = "usage"
    meter: MeterName | None = None
    at: Annotated[float | int, PlainValidator(_level)] | None = None
    under: Annotated[float | int, PlainValidator(_level)] | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.at is None and self.under is None:
            raise refuse(None, "at or under, or a limit and a period", path="at", given="nothing")
        return self


class PlanCondition(Definition, frozen=True):
    """The plan that the subject holds, or the change that set the step off.

    Attributes:
        plans: The subject holds one of these now; empty for any.
        changed_from: With `trigger.event("plan.changed")`: the plan before was one of these; empty for any.
        changed_to: The same for the plan after.
    """

    example: ClassVar[str] = 'condition.plan("free")'

    type: Annotated[Literal["plan"], choice("plan")] = "plan"
    plans: Plans = ()
    changed_from: Plans = ()
    changed_to: Plans = ()

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.plans or self.changed):
            raise refuse(None, "a plan, changed_from or changed_to", path="plans", given="nothing")
        return self

    @property
    def changed(self) -> bool:
        """Whether it asks for a change."""
        return bool(self.changed_from or self.changed_to)


class FeatureCondition(Definition, frozen=True):
    """The billing service entitles the subject to a feature, whatever the plan.

    In front of calls it refuses those who are not. Elsewhere it is asked of the subject.

    Attributes:
        feature: The feature's lookup key at the billing service.
        meter: In front of calls, the name of the counter of its uses; None for one of the step's own.
    """

    example: ClassVar[str] = 'condition.feature("priority_support")'

    type: Annotated[Literal["feature"], choice("feature")] = "feature"
    feature: Annotated[str, text(_FEATURE, 80, pattern=r"\S+")] = Field(description=_FEATURE)
    meter: MeterName | None = None


class FunctionCondition(Definition, frozen=True):
    """A function of yours.

    Attributes:
        function: Called with the `Occasion`; it may be async.
        timeout: How long to wait for it to become true, asking again and again; None asks once.
    """

    example: ClassVar[str] = "condition.function(is_ready)"

    type: Annotated[Literal["function"], choice("function")] = "function"
    function: Annotated[Asked, PlainValidator(_function)] = Field(description=_FUNCTION)
    timeout: Duration | None = None


def _one(value: object) -> "FiringCondition":
    read = read_firing_condition(value)
    if _depth(read) >= _DEEPEST:
        raise refuse(value, f"conditions nested at most {_DEEPEST} deep", given="a deeper one")
    return read


def _depth(condition: "FiringCondition") -> int:
    match condition:
        case AllCondition() | AnyCondition():
            return 1 + max(map(_depth, condition.conditions))
        case NotCondition():
            return 1 + _depth(condition.condition)
        case _:
            return 1


def _several(value: object) -> "tuple[FiringCondition, ...]":
    given = as_list(value)
    if given is None or len(given) < 2:
        raise refuse(value, _CONDITIONS)
    read: list[FiringCondition] = []
    faults: list[Fault] = []
    for place, one in enumerate(given):
        try:
            read.append(_one(one))
        except DefinitionError as error:
            faults += under(f"[{place}]", error.faults)
    if faults:
        raise DefinitionError(faults)
    return tuple(read)


class AllCondition(Definition, frozen=True):
    """All of several conditions hold."""

    example: ClassVar[str] = "condition.all_of(…, …)"

    type: Annotated[Literal["all_of"], choice("all_of")] = "all_of"
    conditions: Annotated["tuple[FiringCondition, ...]", PlainValidator(_several)] = Field(
        description=_CONDITIONS
    )


class AnyCondition(Definition, frozen=True):
    """At least one of several conditions holds."""

    example: ClassVar[str] = "condition.any_of(…, …)"

    type: Annotated[Literal["any_of"], choice("any_of")] = "any_of"
    conditions: Annotated["tuple[FiringCondition, ...]", PlainValidator(_several)] = Field(
        description=_CONDITIONS
    )


class NotCondition(Definition, frozen=True):
    """A condition does not hold."""

    example: ClassVar[str] = "condition.not_(…)"

    type: Annotated[Literal["not"], choice("not")] = "not"
    condition: Annotated["FiringCondition", PlainValidator(_one)] = Field(description="a condition")


FiringCondition = (
    QueryCondition
    | UsageLevelCondition
    | PlanCondition
    | FeatureCondition
    | FunctionCondition
    | AllCondition
    | AnyCondition
    | NotCondition
)
FIRING_CONDITIONS: tuple[type[FiringCondition], ...] = (
    QueryCondition,
    UsageLevelCondition,
    PlanCondition,
    FeatureCondition,
    FunctionCondition,
    AllCondition,
    AnyCondition,
    NotCondition,
)
read_firing_condition: Callable[[object], FiringCondition] = one_of(*FIRING_CONDITIONS)
"""Reads any condition that can be asked of a firing."""


def waiting_time(condition: FiringCondition | None) -> timedelta | None:
    """The longest that any part of a condition waits; None when it is asked once."""
    match condition:
        case QueryCondition() | FunctionCondition():
            return condition.timeout
        case AllCondition() | AnyCondition():
            times = [time for one in condition.conditions if (time := waiting_time(one)) is not None]
            return max(times, default=None)
        case NotCondition():
            return waiting_time(condition.condition)
        case _:
            return None

"""When a step acts: the `condition` namespace."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, Self, overload

from pydantic import BeforeValidator, Field, PlainValidator, model_validator

from skene.definitions.base import Definition, made_of, part, without_defaults
from skene.definitions.billed import Billed, PlanLimit, read_limit
from skene.definitions.checks import choice, one_of
from skene.definitions.conditions import (
    FIRING_CONDITIONS,
    AllCondition,
    AnyCondition,
    FeatureCondition,
    FiringCondition,
    FunctionCondition,
    MeterName,
    NotCondition,
    PlanCondition,
    QueryCondition,
    UsageLevelCondition,
    check_plan,
    takes_one_argument,
)
from skene.definitions.faults import DefinitionError, Fault, join, key_path, nearest, refuse
from skene.definitions.gauging import gauge_faults
from skene.definitions.leasing import lease_faults, read_lease
from skene.definitions.period import AnyPeriod, HeldPeriod, Period, RollingPeriod
from skene.definitions.units import LARGEST, Unlimited, parse_limit
from skene.definitions.values import FrozenDict, as_mapping, repeated_keys

__all__ = [
    "UsageCondition",
    "all_of",
    "any_of",
    "feature",
    "function",
    "gauge",
    "not_",
    "plan",
    "query",
    "usage",
]

Cost = int | Callable[[Any], int | Awaitable[int]]

_MEMBER_LIMIT = 'a limit of each member for some plans, such as {"team": 200}'
_LIMIT = 'a limit for each plan, such as {"free": 100, "paid": "unlimited"}'


def _limits(value: object) -> FrozenDict[str, PlanLimit]:
    given = as_mapping(value)
    if not given:
        raise refuse(value, _LIMIT)
    faults = repeated_keys(given)
    limits: dict[str, PlanLimit] = {}
    for plan, limit in given.items():
        try:
            limits[check_plan(plan, key_path(plan))] = read_limit(limit, key_path(plan))
        except DefinitionError as error:
            faults += error.faults
    if faults:
        raise DefinitionError(faults)
    return FrozenDict(limits)


def _member_limits(value: object) -> FrozenDict[str, int | Unlimited]:
    given = as_mapping(value)
    if not given:
        raise refuse(value, _MEMBER_LIMIT)
    faults = repeated_keys(given)
    limits: dict[str, int | Unlimited] = {}
    for plan, limit in given.items():
        try:
            limits[check_plan(plan, key_path(plan))] = parse_limit(limit, key_path(plan))
        except DefinitionError as error:
            faults += error.faults
    if faults:
        raise DefinitionError(faults)
    return FrozenDict(limits)


def _cost(value: object) -> Cost:
    allowed = "a whole number from 1 to 2**63-1, or a function of the request that returns one"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST:
        return int(value)
    return takes_one_argument(value, allowed)


class UsageCondition(Definition, frozen=True):
    """A count of what each subject uses, against the limit of their plan.

    Attributes:
        limit: Units per window for each plan, or `UNLIMITED`, or `billed(…)`.
        period: When the count starts again.
        meter: The counter's name, where steps and code are to share it; None for one of the step's own.
        group_by: `"route"` gives each route a counter of its own.
        cost: Units that one call takes, or a function of the request that says so.
        charge: `"success"` gives back what a failed call took; `"attempt"` does not.
        member_limit: Where a subject is a team: units per window that each of its members may use of them.
        lease: Units that a process takes at a time and then spends by itself; None for one call at a time.
    """

    elsewhere: ClassVar[Mapping[str, str]] = dict.fromkeys(
        ("at", "under"), "it to a condition without limit and period: this one counts, at and under only ask"
    )

    example: ClassVar[str] = 'condition.usage(limit={"free": 100}, period="30d")'

    type: Annotated[Literal["usage"], choice("usage")] = "usage"
    limit: Annotated[Mapping[str, PlanLimit], PlainValidator(_limits)] = Field(description=_LIMIT)
    period: AnyPeriod = Field(description='a period such as "30d" or calendar("month")')
    meter: MeterName | None = None
    group_by: Annotated[Literal["route"], choice("route")] | None = None
    cost: Annotated[Cost, PlainValidator(_cost)] = 1
    charge: Annotated[Literal["success", "attempt"], choice("success", "attempt")] = "success"
    member_limit: Annotated[Mapping[str, int | Unlimited] | None, PlainValidator(_member_limits)] = None
    lease: Annotated[int | None, BeforeValidator(read_lease)] = None

    @model_validator(mode="after")
    def _members_share_the_limit(self) -> Self:
        faults: list[Fault] = []
        for plan in self.member_limit or {}:
            if plan not in self.limit:
                where = join("member_limit", key_path(plan))
                faults.append(
                    Fault(
                        where,
                        "a plan without a limit",
                        f"one of {', '.join(self.limit)}",
                        nearest(plan, self.limit),
                    )
                )
        if self.member_limit and self.group_by is not None:
            allowed = "one counter for all routes: leave group_by out"
            faults.append(Fault("member_limit", "a limit of members for a counter of every route", allowed))
        if faults:
            raise DefinitionError(faults)
        return self

    @property
    def billed(self) -> Mapping[str, Billed]:
        """The plans whose use goes on a bill, and how."""
        return {plan: limit for plan, limit in self.limit.items() if isinstance(limit, Billed)}

    @model_validator(mode="after")
    def _bills_can_be_written(self) -> Self:
        faults: list[Fault] = []
        for plan in self.billed:
            where = join("limit", key_path(plan))
            if isinstance(self.period, RollingPeriod):
                allowed = 'a period whose windows end, such as calendar("month") or billing_cycle()'
                faults.append(Fault(where, "a bill for a rolling window, which has no end", allowed))
            if self.group_by is not None:
                allowed = "one counter for all routes: leave group_by out"
                faults.append(Fault(where, "a bill for a counter of every route", allowed))
        if faults:
            raise DefinitionError(faults)
        return self

    @model_validator(mode="after")
    def _can_be_leased(self) -> Self:
        if self.lease is not None:
            members = self.member_limit is not None
            faults = lease_faults(self.lease, self.limit, self.period, self.cost, members=members)
            if faults:
                raise DefinitionError(faults)
        return self

    @model_validator(mode="after")
    def _can_be_held(self) -> Self:
        faults = gauge_faults(vars(self)) if isinstance(self.period, HeldPeriod) else []
        if faults:
            raise DefinitionError(faults)
        return self


Condition = UsageCondition | FiringCondition

# The last of a type is the one that faults are of: a usage without at and under lacks limit and period.
_read: Callable[[object], Condition] = one_of(*FIRING_CONDITIONS, UsageCondition)


def read_condition(value: object) -> Condition:
    """Reads any condition; `usage` is a level where `at` or `under` is given, and no limit."""
    given = as_mapping(value)
    level = given is not None and given.get("type") == "usage" and "limit" not in given
    if level and given is not None and given.keys() & {"at", "under"}:
        return UsageLevelCondition.read(value)
    return _read(value)


StepCondition = Annotated[Condition, PlainValidator(read_condition)]
"""A condition as the field of a step."""


@overload
def usage(
    *,
    limit: Mapping[str, PlanLimit],
    period: str | timedelta | Period,
    meter: str | None = None,
    group_by: Literal["route"] | None = None,
    cost: Cost = 1,
    charge: Literal["success", "attempt"] = "success",
    member_limit: Mapping[str, int | Unlimited] | None = None,
    lease: int | None = None,
) -> UsageCondition: ...
@overload
def usage(
    *, at: float | None = None, under: float | None = None, meter: str | None = None
) -> UsageLevelCondition: ...
def usage(
    *,
    limit: Mapping[str, PlanLimit] | None = None,
    period: str | timedelta | Period | None = None,
    meter: str | None = None,
    group_by: Literal["route"] | None = None,
    cost: Cost = 1,
    charge: Literal["success", "attempt"] = "success",
    member_limit: Mapping[str, int | Unlimited] | None = None,
    lease: int | None = None,
    at: float | None = None,
    under: float | None = None,
) -> UsageCondition | UsageLevelCondition:
    """Counts what each subject uses and holds when the limit of their plan is reached.

    With `at` or `under` instead of a limit it counts nothing: it asks how much of a meter is used.

    Args:
        limit: Units per window for each plan: whole numbers from 0 (blocks the plan), `UNLIMITED`, or
            `billed(…)`, where use goes on the customer's bill.
        period: When the count starts again. `"30d"` is a window that opens with the first use; see `rolling`,
            `calendar`, `billing_cycle` and `lifetime` for others.
        meter: A name for the counter, so that steps and code can share it.
        group_by: `"route"` counts each route on its own.
        cost: Units that one call takes, from 1; or a function of the request that returns them.
        charge: `"success"` charges calls that succeed, `"attempt"` all that reach the handler.
        member_limit: Where a subject is a team: how many of its units each member may use, for each plan
            where that is limited.
        lease: For large limits and many calls: each process takes this many units at a time, at most a tenth
            of the limit, and spends them without asking the database. What it has taken and not spent yet
            counts as used elsewhere, for some seconds.
        at: Holds from this much use on: a float such as 0.8 is a share of the limit, an int is units. So
            `1.0` is the whole limit, and `1` is one unit.
        under: Holds below this much use, written alike: `1` is for those who have used nothing, `1.0` for
            those who have something left.
    """
    counting: dict[str, Any] = {
        "limit": limit,
        "period": period,
        "meter": meter,
        "group_by": group_by,
        "cost": cost,
        "charge": charge,
        "member_limit": member_limit,
        "lease": lease,
    }
    asking = without_defaults(UsageLevelCondition, at=at, under=under)
    kept = without_defaults(UsageCondition, type="usage", **counting) | asking
    given = {key: value for key, value in kept.items() if value is not None}
    # What belongs to the other one of the two is refused by name.
    if asking and limit is None:
        return made_of(UsageLevelCondition, given)
    return made_of(UsageCondition, given)


def gauge(*, limit: Mapping[str, int | Unlimited], meter: str) -> UsageCondition:
    """Counts what each subject holds at a time, such as seats or projects: a stock, and no flow.

    `skene.consume(…)` takes units and `skene.release(…)` gives them back; no window does. They are counted
    whatever the plan: who changes it goes on with what is held, over the new limit if need be.

    Args:
        limit: Units at a time for each plan: whole numbers from 0, or `UNLIMITED`.
        meter: The gauge's name.
    """
    held = part(HeldPeriod, type="held")
    return part(UsageCondition, type="usage", limit=limit, period=held, meter=meter)


def query(
    sql: str,
    *,
    timeout: str | timedelta | None = None,
    subject: str | None = None,
    max_rows: int = 1_000_000,
) -> QueryCondition:
    """Holds when a SELECT on your own tables finds a row. It can read and nothing else.

    After an event it is asked about one subject, `$1`; on a schedule its rows say who is acted upon, once
    for each row.

    Args:
        sql: One SELECT. `$1` is the subject, `:name` a value of the trigger's row or payload. Of columns that
            it does not name, as with `SELECT *`, those whose names sound secret and values over 10,000
            characters are not kept for templates.
        timeout: After an event, how long to wait for a row, such as `"5m"`; left out, it is asked once. On a
            schedule, how long the whole reading may take; left out, 10 minutes.
        subject: On a schedule, the column that names the subject. Left out: `subject`, `user_id` or `id`.
        max_rows: On a schedule, how many rows are acted upon at most.
    """
    return part(QueryCondition, type="query", query=sql, timeout=timeout, subject=subject, max_rows=max_rows)


def plan(
    *plans: str,
    changed_from: str | Sequence[str] | None = None,
    changed_to: str | Sequence[str] | None = None,
) -> PlanCondition:
    """Holds when the subject is on one of some plans, or has just changed between some.

    Args:
        plans: The subject holds one of these now.
        changed_from: With `trigger.event("plan.changed")`: the plan before was one of these.
        changed_to: The same for the plan after.
    """
    return part(
        PlanCondition,
        type="plan",
        plans=plans,
        changed_from=() if changed_from is None else changed_from,
        changed_to=() if changed_to is None else changed_to,
    )


def feature(name: str, *, meter: str | None = None) -> FeatureCondition:
    """Holds for those whom the billing service entitles to a feature, whatever their plan.

    With `action.block(…)` it stands in front of calls, and refuses everybody else.

    Args:
        name: The feature's lookup key at the billing service, such as `"priority_support"`.
        meter: In front of calls, a name for the counter of its uses.
    """
    return part(FeatureCondition, type="feature", feature=name, meter=meter)


def all_of(*conditions: FiringCondition) -> AllCondition:
    """Holds when all of some conditions do."""
    return part(AllCondition, type="all_of", conditions=conditions)


def any_of(*conditions: FiringCondition) -> AnyCondition:
    """Holds when at least one of some conditions does."""
    return part(AnyCondition, type="any_of", conditions=conditions)


def not_(condition: FiringCondition) -> NotCondition:
    """Holds when a condition does not."""
    return part(NotCondition, type="not", condition=condition)


def function(
    ask: Callable[[Any], bool | Awaitable[bool]], *, timeout: str | timedelta | None = None
) -> FunctionCondition:
    """Holds when a function of yours says so.

    Args:
        ask: Called with the `Occasion`: who, why, and the rows there are. It may be async, else it runs in a
            thread.
        timeout: How long to wait for it to become true. Left out, it is asked once.
    """
    return part(FunctionCondition, type="function", function=ask, timeout=timeout)

"""When a step acts: the `condition` namespace."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, ClassVar, Literal, cast

from pydantic import Field, PlainValidator

from skene.definitions.base import Definition, part
from skene.definitions.checks import choice, one_of, printable, text
from skene.definitions.faults import DefinitionError, key_path, refuse
from skene.definitions.period import AnyPeriod, Period
from skene.definitions.units import LARGEST, Unlimited, parse_limit
from skene.definitions.values import FrozenDict, as_mapping, repeated_keys

__all__ = ["UsageCondition", "usage"]

Cost = int | Callable[[Any], int | Awaitable[int]]

_LIMIT = 'a limit for each plan, such as {"free": 100, "paid": "unlimited"}'
_PLAN = "a plan's name of 1 to 100 characters, without control characters"
_METER = "a name of 1 to 100 of the characters a-z 0-9 _ . : -"


def _limits(value: object) -> FrozenDict[str, int | Unlimited]:
    given = as_mapping(value)
    if not given:
        raise refuse(value, _LIMIT)
    faults = repeated_keys(given)
    limits: dict[str, int | Unlimited] = {}
    for plan, limit in given.items():
        if not isinstance(plan, str) or not plan.strip() or len(plan) > 100 or not printable(plan):
            faults.append(refuse(plan, _PLAN, path=key_path(plan)).faults[0])
            continue
        try:
            limits[plan] = parse_limit(limit, key_path(plan))
        except DefinitionError as error:
            faults += error.faults
    if faults:
        raise DefinitionError(faults)
    return FrozenDict(limits)


def _cost(value: object) -> Cost:
    allowed = "a whole number from 1 to 2**63-1, or a function of the request that returns one"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= LARGEST:
        return int(value)
    if not callable(value):
        raise refuse(value, allowed)
    try:
        inspect.signature(value).bind(None)
    except TypeError:
        raise refuse(value, allowed, given="a function that does not take one argument") from None
    except ValueError:  # written in C, with no signature to look at
        pass
    return cast(Cost, value)


class UsageCondition(Definition, frozen=True):
    """A count of what each subject uses, against the limit of their plan.

    Attributes:
        limit: Units per window for each plan, or `UNLIMITED`.
        period: When the count starts again.
        meter: The counter's name, where steps and code are to share it; None for one of the step's own.
        group_by: `"route"` gives each route a counter of its own.
        cost: Units that one call takes, or a function of the request that says so.
        charge: `"success"` gives back what a failed call took; `"attempt"` does not.
    """

    example: ClassVar[str] = 'condition.usage(limit={"free": 100}, period="30d")'

    type: Annotated[Literal["usage"], choice("usage")] = "usage"
    limit: Annotated[Mapping[str, int | Unlimited], PlainValidator(_limits)] = Field(description=_LIMIT)
    period: AnyPeriod = Field(description='a period such as "30d" or calendar("month")')
    meter: Annotated[str, text(_METER, 100, pattern=r"[a-z0-9_.:-]+")] | None = None
    group_by: Annotated[Literal["route"], choice("route")] | None = None
    cost: Annotated[Cost, PlainValidator(_cost)] = 1
    charge: Annotated[Literal["success", "attempt"], choice("success", "attempt")] = "success"


AnyCondition = Annotated[UsageCondition, PlainValidator(one_of(UsageCondition))]
"""A condition as the field of a definition."""


def usage(
    *,
    limit: Mapping[str, int | Unlimited],
    period: str | timedelta | Period,
    meter: str | None = None,
    group_by: Literal["route"] | None = None,
    cost: Cost = 1,
    charge: Literal["success", "attempt"] = "success",
) -> UsageCondition:
    """Counts what each subject uses and holds when the limit of their plan is reached.

    Args:
        limit: Units per window for each plan: whole numbers from 0 (blocks the plan) or `UNLIMITED`.
        period: When the count starts again. `"30d"` is a window that opens with the first use; see `rolling`,
            `calendar`, `billing_cycle` and `lifetime` for others.
        meter: A name for the counter, so that steps and code can share it.
        group_by: `"route"` counts each route on its own.
        cost: Units that one call takes, from 1; or a function of the request that returns them.
        charge: `"success"` charges calls that succeed, `"attempt"` all that reach the handler.
    """
    return part(
        UsageCondition,
        type="usage",
        limit=limit,
        period=period,
        meter=meter,
        group_by=group_by,
        cost=cost,
        charge=charge,
    )

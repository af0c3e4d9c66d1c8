"""Asking the conditions of a firing."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import anyio

from skene.definitions import (
    AllCondition,
    AnyCondition,
    FeatureCondition,
    FiringCondition,
    FunctionCondition,
    NotCondition,
    PlanCondition,
    QueryCondition,
    UsageLevelCondition,
)
from skene.definitions.sql import read_select
from skene.engine.decision import Decision
from skene.engine.occasion import Occasion
from skene.engine.program import CompiledStep
from skene.engine.secrets import copied
from skene.engine.subject import storable_id
from skene.errors import ConditionFailed, QueryRefused
from skene.ports.queries import Row
from skene.runtime.asks import Ask
from skene.runtime.calling import call
from skene.runtime.gate import Gatekeeper
from skene.runtime.parts import Parts

__all__ = ["Asking", "Held"]

LOOK_SECONDS = 10.0
"""How long one look at a condition may take; what a query waits for is looked at again and again."""


@dataclass(frozen=True, slots=True)
class Held:
    """Whether a condition holds, and what is kept of the row that a query found."""

    met: bool
    row: Mapping[str, Any] | None = None


class Asking:
    """Asks whether conditions hold for an occasion."""

    def __init__(self, parts: Parts, gatekeeper: Gatekeeper) -> None:
        self._parts = parts
        self._gatekeeper = gatekeeper

    async def holds(self, condition: FiringCondition | None, occasion: Occasion) -> Held:
        """Whether a condition holds now.

        Raises:
            QueryRefused: a query that can never be run.
            QueryTimeout: a query that took too long.
            ConditionFailed: a function of the app's that raised, or took too long.
            StorageUnavailable: nothing is known.
        """
        match condition:
            case None:
                return Held(True)
            case QueryCondition():
                return await self._query(condition, occasion)
            case UsageLevelCondition():
                return Held(await self._level(condition, occasion.subject))
            case PlanCondition():
                return Held(_plan(condition, occasion))
            case FeatureCondition():
                known = await self._parts.storage.get_customer(storable_id(occasion.subject))
                return Held(known is not None and condition.feature in known.features)
            case FunctionCondition():
                return Held(await self._function(condition, occasion))
            case NotCondition():
                return Held(not (await self.holds(condition.condition, occasion)).met)
            case AllCondition():
                return await self._all(condition, occasion)
            case AnyCondition():
                return await self._any(condition, occasion)

    async def _all(self, condition: AllCondition, occasion: Occasion) -> Held:
        row: Mapping[str, Any] | None = None
        for one in condition.conditions:
            held = await self.holds(one, occasion)
            if not held.met:
                return Held(False)
            row = held.row if row is None else row
        return Held(True, row)

    async def _any(self, condition: AnyCondition, occasion: Occasion) -> Held:
        for one in condition.conditions:
            held = await self.holds(one, occasion)
            if held.met:
                return held
        return Held(False)

    async def _query(self, condition: QueryCondition, occasion: Occasion) -> Held:
        select = read_select(condition.query)
        values = {**occasion.event, "subject": occasion.subject}
        missing = [name for name in select.names if name not in values]
        if missing:
            known = ", ".join(sorted(values))
            raise QueryRefused(f":{missing[0]} is no value of the trigger's row; there are: {known}")
        rows: list[Row] = await self._parts.queries().fetch(
            select,
            {name: values[name] for name in select.names},
            timeout=timedelta(seconds=LOOK_SECONDS),
            limit=1,
        )
        return Held(True, copied(rows[0], condition.query)) if rows else Held(False)

    async def _level(self, condition: UsageLevelCondition, subject: str) -> bool:
        step = self._step(condition.meter)
        (decision,) = await self._gatekeeper.look(subject, (Ask(step, 1),))
        at, under = condition.at, condition.under
        return (at is None or _reached(decision, at)) and (under is None or not _reached(decision, under))

    def _step(self, meter: str | None) -> CompiledStep:
        steps = self._parts.program.steps
        return self._parts.program.metered(meter)[0] if meter is not None else steps[0]

    async def _function(self, condition: FunctionCondition, occasion: Occasion) -> bool:
        try:
            with anyio.fail_after(LOOK_SECONDS):
                answer: Any = await call(condition.function, occasion)
        except TimeoutError:
            raise ConditionFailed("the function took too long") from None
        except Exception as error:
            raise ConditionFailed(f"the function raised {type(error).__name__}") from error
        if not isinstance(answer, bool):
            raise ConditionFailed(f"the function returned a value of type {type(answer).__name__}, no bool")
        return answer


def _reached(decision: Decision, level: float) -> bool:
    """Whether so much is used: units for a whole number, a share of the limit for a fraction."""
    if isinstance(level, int):
        return decision.used >= level
    if decision.limit is None:
        return False
    # Divided, not multiplied, as for warnings: 7 of 100 is 0.07 exactly as it is written.
    return decision.limit == 0 or decision.used / decision.limit >= level


def _plan(condition: PlanCondition, occasion: Occasion) -> bool:
    event = occasion.event
    return (
        (not condition.plans or occasion.plan in condition.plans)
        and (not condition.changed_from or event.get("from") in condition.changed_from)
        and (not condition.changed_to or event.get("to") in condition.changed_to)
    )

"""Other limits held against what was used: what they would have stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from skene.definitions import RollingPeriod, parse_duration, parse_limit
from skene.definitions.faults import DefinitionError, did_you_mean
from skene.definitions.units import Unlimited
from skene.engine.decide import shadow_name
from skene.engine.program import CompiledStep
from skene.ports.history import Change, WhatIf
from skene.runtime.aware import check_aware
from skene.runtime.parts import Parts

__all__ = ["Simulated", "SimulationVerbs"]


@dataclass(frozen=True, slots=True)
class Simulated:
    """What another limit would have done.

    Attributes:
        step: key of the step.
        meter, plan, period: of which counter, on which plan, in which windows.
        before: the limit as it is configured; None is unlimited.
        after: the one that was tried.
        enforced: the step refuses calls; else it only watches, and use beyond the limit was counted.
        since: windows that had ended before are left out.
        found: the figures.
    """

    step: str
    meter: str
    plan: str
    period: str
    before: int | None
    after: int | None
    enforced: bool
    since: datetime
    found: WhatIf


class SimulationVerbs:
    """`simulate`."""

    _parts: Parts

    async def simulate(
        self, step: str, limits: Mapping[str, Any], *, since: timedelta | str | datetime = "90d"
    ) -> tuple[Simulated, ...] | None:
        """Hold other limits of a step against what was used, each by itself. Nothing is changed.

        Known is how many units each window had, not when each call came; of calls that were refused only the
        first in a window.

        Args:
            step: its key, or its loop's name where that has one limit only.
            limits: by plan: units per window from 0, or `UNLIMITED`.
            since: how far to look back, such as `"90d"`, or from when on, an aware datetime.

        Returns:
            One for each plan, in their order; None where the storage cannot look at all counters together.

        Raises:
            ValueError: no such step or plan, no limit, a step whose windows roll or that has no limits, or
                an instant without a time zone.
            StorageUnavailable: the storage is away.
        """
        compiled = self._limited(step)
        tried = {plan: _read(compiled, plan, limit) for plan, limit in limits.items()}
        start = self._start(since)
        made: list[Simulated] = []
        for plan, limit in tried.items():
            steps = (compiled.key, shadow_name(compiled))
            change = Change(compiled.meter, plan, limit, steps, compiled.by_route)
            found = await self._parts.storage.what_if(change, start)
            if found is None:
                return None
            before = compiled.limits[plan]
            counter = (compiled.key, compiled.meter, plan, compiled.period)
            made.append(Simulated(*counter, before, limit, compiled.enforce, start, found))
        return tuple(made)

    def _limited(self, name: str) -> CompiledStep:
        try:
            step, *others = self._parts.program.named(name)
        except LookupError as error:
            raise ValueError(str(error)) from None
        if others:
            several = ", ".join(one.key for one in (step, *others))
            raise ValueError(f"{name} has several limits; name one of {several}")
        if step.feature is not None:
            raise ValueError(f"{step.key} asks for a feature and has no limit that could be another")
        if isinstance(step.window, RollingPeriod):
            raise ValueError(
                f"{step.key} counts in {step.period}: such windows roll on with every call, and past ones are"
                " not kept"
            )
        return step

    def _start(self, since: timedelta | str | datetime) -> datetime:
        if isinstance(since, datetime):
            check_aware(since=since)
            return since
        return self._parts.clock.now() - parse_duration(since)


def _read(step: CompiledStep, plan: str, limit: Any) -> int | None:
    """A limit to try. Of a plan that is billed it is the cap."""
    if plan not in step.limits:
        there = f"{', '.join(step.limits)}{did_you_mean(plan, step.limits)}"
        raise ValueError(f"{step.key} has no limit for the plan {plan!r}; there are: {there}")
    try:
        read = parse_limit(limit, f"{step.key}.limit.{plan}")
    except DefinitionError as error:
        raise DefinitionError(error.faults, "the limit") from None
    return None if isinstance(read, Unlimited) else read

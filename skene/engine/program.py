"""Loops, compiled once: what a request needs, looked up and not worked out."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from skene.definitions import (
    ApiTrigger,
    Billed,
    BlockAction,
    EmailAction,
    Fault,
    FeatureCondition,
    HeldPeriod,
    LifetimePeriod,
    Loop,
    Period,
    PlanLimit,
    Recovery,
    Step,
    Unlimited,
    UsageCondition,
)
from skene.engine.periods import period_text, window_rule
from skene.engine.reactions import Reaction, Reactions, compile_reactions, level_faults, parts_of
from skene.engine.window import WindowRule

__all__ = [
    "ALL_PLANS",
    "CompiledStep",
    "Cost",
    "Program",
    "compile_loops",
    "counters_of",
    "for_member",
    "for_route",
    "member_of",
    "members_of",
]

Cost = int | Callable[[Any], int | Awaitable[int]]
ALL_PLANS = "*"
"""The plan that a gauge's counters are kept under: what is held is held on any plan."""


@dataclass(frozen=True, slots=True, eq=False)
class CompiledStep:
    """One step of a loop, ready to be asked. Compared by identity: a program has each step once.

    Attributes:
        key: `loop` for the only step, else `loop.step`; unique in a program.
        loop: the loop's key.
        path: where the step is written, e.g. `freemium.steps[0]`, for error messages.
        meter: name of its counter.
        limits: by plan; None is unlimited. Where use is billed, the cap.
        counted_limits: what the storage holds against the count: all None where the loop only watches.
        period: as written.
        cost: units a call takes, or a function of the request.
        charge: `success` gives units back when the call fails, `attempt` keeps them.
        by_route: every route has a counter of its own.
        message, status_code: how a refusal is worded and answered; None: 402, or 403 where the plan has no
        unit at all. prompt: the mail that a wall asks with.
        warnings: fraction of the limit → the mail that warns of it.
        billed: the plans whose use goes on a bill, and how; see `reported`.
        feature: where a feature is asked for and not units of a plan, its lookup key; `limits` is then empty.
        member_limits: the same as `limits` for each member of a team; empty where members have none.
        member: of a step as it counts for one member, see `for_member`: who that is.
        lease: units that a process takes at a time; None: one call at a time.
    """

    key: str
    loop: str
    path: str
    meter: str
    limits: Mapping[str, int | None]
    counted_limits: Mapping[str, int | None]
    period: str
    window: Period
    cost: Cost
    charge: str
    by_route: bool
    message: str
    status_code: int | None
    prompt: EmailAction | None
    warnings: tuple[tuple[float, EmailAction], ...]
    enforce: bool
    holdout: float
    trigger: ApiTrigger | None
    billed: Mapping[str, Billed] = field(default_factory=dict[str, Billed])
    feature: str | None = None
    member_limits: Mapping[str, int | None] = field(default_factory=dict[str, "int | None"])
    member: str | None = None
    lease: int | None = None

    @property
    def reported(self) -> tuple[str, ...]:
        """The plans whose use is reported to the billing service: none where the loop only watches."""
        return tuple(self.billed) if self.enforce else ()

    @property
    def held(self) -> bool:
        """Whether it is a gauge: units are held until they are released."""
        return isinstance(self.window, HeldPeriod)

    def counted_as(self, plan: str) -> str:
        """The plan that a counter is kept under for those who hold `plan`; a gauge has one for all."""
        return ALL_PLANS if self.held else plan

    def rule(self, now: datetime) -> WindowRule:
        """How this step's windows lie around `now`; a few minutes' error in `now` does not matter."""
        return window_rule(self.window, now)


@dataclass(frozen=True, slots=True)
class Program:
    """All loops of an app, compiled.

    Attributes:
        steps: those that hold a limit in front of calls, in the order they were written.
        reactions: those that firings set off.
        recoveries: by loop.
        attribution: how far back a wall may be credited with a conversion: the longest of all loops.
    """

    steps: tuple[CompiledStep, ...]
    recoveries: Mapping[str, Recovery]
    attribution: timedelta
    reactions: Reactions = field(default_factory=Reactions)

    @property
    def flows(self) -> tuple[CompiledStep, ...]:
        """The steps that can stand in front of routes: all but gauges, which only code takes from."""
        return tuple(step for step in self.steps if not step.held)

    @property
    def meters(self) -> tuple[str, ...]:
        """The meters that limits count on, in the order they were written."""
        return tuple(dict.fromkeys(step.meter for step in self.steps))

    @property
    def asks_features(self) -> bool:
        """Whether anything depends on features that the billing service entitles to."""
        conditions = (one.condition for one in self.reactions.all)
        asked = any(isinstance(part, FeatureCondition) for one in conditions for part in parts_of(one))
        return asked or any(step.feature is not None for step in self.steps)

    def named(self, name: str) -> tuple[CompiledStep, ...]:
        """The steps of a loop, or the one step that `loop.step` names, gauges left out.

        Raises:
            LookupError: nothing has this name; the message lists what there is.
        """
        found = tuple(step for step in self.flows if name in (step.loop, step.key))
        if not found:
            known = sorted({step.loop for step in self.flows} | {step.key for step in self.flows})
            raise LookupError(_unknown("loop or step", name, known))
        return found

    def metered(self, meter: str) -> tuple[CompiledStep, ...]:
        """The steps that count on a meter.

        Raises:
            LookupError: no step does; the message lists the meters there are.
        """
        found = tuple(step for step in self.steps if step.meter == meter)
        if not found:
            raise LookupError(_unknown("meter", meter, sorted({step.meter for step in self.steps})))
        return found

    def plan_faults(self, plans: Sequence[str], default: str) -> tuple[Fault, ...]:
        """What is missing when billing can yield `plans` and falls back to `default`."""
        faults: list[Fault] = []
        wanted = tuple(dict.fromkeys((default, *plans)))
        for step in self.steps:
            if default in step.billed:
                where, given = f"{step.path}.condition.limit", "a bill for those who pay for nothing"
                allowed = "a number for this plan, and billed(…) for plans that are paid for"
                faults.append(Fault(f"{where}.{default}", given, allowed))
            for plan in wanted if step.feature is None else ():
                if plan not in step.limits:
                    near = get_close_matches(plan, step.limits, 1)
                    faults.append(
                        Fault(
                            f"{step.path}.condition.limit",
                            f"no limit for the plan {plan!r}, which billing can yield",
                            f'a number or "unlimited" for it; there are limits for {", ".join(step.limits)}',
                            near[0] if near else None,
                        )
                    )
        return tuple(faults)


def compile_loops(loops: Sequence[Loop], *, enforce: bool = True) -> tuple[Program, tuple[Fault, ...]]:
    """Compile loops into a program.

    Args:
        loops: as defined.
        enforce: False turns every loop into one that only watches.

    Returns:
        The program, and what keeps the loops from living together.
    """
    steps: list[CompiledStep] = []
    reactions: list[Reaction] = []
    faults: list[Fault] = []
    names: set[str] = set()
    for loop in loops:
        if loop.key in names:
            faults.append(Fault(loop.key, "two loops of this name", "name=… to one of them", None))
        names.add(loop.key)
        keys = [_key(loop, index, step) for index, step in enumerate(loop.steps)]
        for index, step in enumerate(loop.steps):
            if step.limit is not None:
                steps.append(_compile(loop, index, step.limit, step, keys[index], enforce and loop.enforce))
        reactions += compile_reactions(loop, keys, enforce and loop.enforce)
    meters = tuple(dict.fromkeys(step.meter for step in steps))
    by_route = {step.meter for step in steps if step.by_route}
    faults += [*_key_faults([*steps, *reactions]), *_meter_faults(steps)]
    faults += level_faults(reactions, meters, by_route)
    recoveries = MappingProxyType({loop.key: loop.recovery for loop in loops})
    attribution = max((loop.attribution for loop in loops), default=timedelta(days=30))
    return Program(tuple(steps), recoveries, attribution, Reactions(tuple(reactions))), tuple(faults)


def _key(loop: Loop, index: int, step: Step) -> str:
    name = step.name or (None if len(loop.steps) == 1 else str(index + 1))
    return f"{loop.key}.{name}" if name else loop.key


def _compile(
    loop: Loop,
    index: int,
    limit: tuple[UsageCondition | FeatureCondition, BlockAction],
    step: Step,
    key: str,
    enforce: bool,
) -> CompiledStep:
    asked, block = limit
    usage = asked if isinstance(asked, UsageCondition) else None
    limits = {plan: _units(limit) for plan, limit in usage.limit.items()} if usage else {}
    window: Period = usage.period if usage else LifetimePeriod()
    warning = block.usage_warning
    return CompiledStep(
        key=key,
        loop=loop.key,
        path=f"{loop.key}.steps[{index}]",
        meter=asked.meter or key,
        limits=MappingProxyType(limits),
        counted_limits=MappingProxyType(limits if enforce else dict.fromkeys(limits)),
        period=period_text(window),
        window=window,
        cost=usage.cost if usage else 1,
        charge=usage.charge if usage else "success",
        by_route=usage is not None and usage.group_by == "route",
        message=block.message,
        status_code=block.status_code,
        prompt=block.upgrade_prompt,
        warnings=tuple((fraction, warning) for fraction in block.notify_at) if warning else (),
        enforce=enforce,
        holdout=loop.holdout,
        trigger=step.trigger if isinstance(step.trigger, ApiTrigger) else None,
        billed=MappingProxyType(usage.billed if usage else {}),
        feature=asked.feature if isinstance(asked, FeatureCondition) else None,
        member_limits=MappingProxyType(_member_limits(usage)),
        lease=usage.lease if usage else None,
    )


def _member_limits(usage: UsageCondition | None) -> dict[str, int | None]:
    """Units for each member, by plan; where a plan does not limit its members, None."""
    if usage is None or usage.member_limit is None:
        return {}
    return {plan: _units(usage.member_limit.get(plan, Unlimited.UNLIMITED)) for plan in usage.limit}


def _units(limit: PlanLimit) -> int | None:
    """The units after which a plan's calls are refused; None: they never are."""
    if isinstance(limit, Billed):
        return limit.cap
    return limit if isinstance(limit, int) else None


def _key_faults(steps: Sequence[CompiledStep | Reaction]) -> list[Fault]:
    """A name may contain a dot or be a number, so steps of different names may still go by the same key."""
    faults: list[Fault] = []
    first: dict[str, CompiledStep | Reaction] = {}
    for step in steps:
        other = first.setdefault(step.key, step)
        if other.path != step.path:  # else they are of two loops of one name, which is reported
            given = f"{step.key!r}, which {other.path} is called too"
            faults.append(Fault(f"{step.path}.name", given, "a name that makes the two differ", None))
    return faults


def _meter_faults(steps: Sequence[CompiledStep]) -> list[Fault]:
    """Steps may share a counter only if they mean the same by it."""
    faults: list[Fault] = []
    first: dict[str, CompiledStep] = {}
    for step in steps:
        other = first.setdefault(step.meter, step)
        if _held_against(other) != _held_against(step) or other.window != step.window:
            difference = "another limit or period"
        elif other.enforce != step.enforce:
            difference = "another enforce"  # one storage call cannot hold a limit and only watch it
        else:
            continue
        faults.append(
            Fault(
                f"{step.path}.condition.meter",
                f"{step.meter!r} with {difference} than {other.path} gives it",
                "one of them another meter: steps that share one share its limit, period and enforce",
                None,
            )
        )
    return faults


def _held_against(step: CompiledStep) -> tuple[object, ...]:
    return dict(step.limits), dict(step.billed), step.feature, dict(step.member_limits)


def for_route(step: CompiledStep, route: str) -> CompiledStep:
    """The step as it counts on one route: its own counter when it is grouped by route."""
    return replace(step, meter=f"{step.meter}:{route}") if step.by_route else step


def for_member(step: CompiledStep, member: str) -> CompiledStep:
    """The step as it counts for one member of a team, beside the counter that all members share.

    Args:
        step: one with `member_limits`.
        member: a storable id (see `engine.subject`).
    """
    limits = step.member_limits
    return replace(
        step,
        meter=f"{step.meter}@{member}",
        limits=limits,
        counted_limits=limits if step.enforce else MappingProxyType(dict.fromkeys(limits)),
        prompt=None,
        warnings=(),
        billed=MappingProxyType[str, Billed]({}),
        member=member,
    )


def members_of(step: CompiledStep, meters: Sequence[str]) -> tuple[CompiledStep, ...]:
    """The step once for each member of a team who has a counter among `meters`."""
    if not step.member_limits:
        return ()
    begin = f"{step.meter}@"
    return tuple(for_member(step, meter.removeprefix(begin)) for meter in meters if meter.startswith(begin))


def member_of(meter: str) -> str | None:
    """The member that a team's counter is kept for; None if it is of the team itself."""
    name, at, member = meter.partition("@")
    # A route's counter has its path behind the name; no counter of a member is a route's.
    return member if at and "/" not in name else None


def counters_of(step: CompiledStep, meters: Sequence[str]) -> tuple[CompiledStep, ...]:
    """The step once for each of its counters among `meters`; as it is when it has only one."""
    if not step.by_route:
        return (step,)
    begin = f"{step.meter}:/"  # paths begin with a slash, and no meter's name has one
    return tuple(replace(step, meter=meter) for meter in meters if meter.startswith(begin))


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no {kind} is called {name!r}; there are: {', '.join(known)}{hint}"

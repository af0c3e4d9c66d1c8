"""What fits together within a loop: a trigger with a condition, an action with both, a step with the next."""

from collections.abc import Iterator, Sequence

from skene.definitions.action import BlockAction
from skene.definitions.condition import Condition, UsageCondition
from skene.definitions.conditions import (
    AllCondition,
    AnyCondition,
    FeatureCondition,
    NotCondition,
    PlanCondition,
    QueryCondition,
)
from skene.definitions.faults import Fault, describe
from skene.definitions.period import HeldPeriod
from skene.definitions.sql import read_select
from skene.definitions.step import Step
from skene.definitions.trigger import ApiTrigger
from skene.definitions.triggers import PLAN_CHANGED, EventTrigger, ScheduleTrigger

__all__ = ["goal_faults", "scanning_query", "step_faults"]

_LIMIT = 'condition.usage(limit={…}, period="30d")'
_PLAN_CHANGED = f'trigger.event("{PLAN_CHANGED}")'


def step_faults(steps: Sequence[Step | None]) -> list[Fault]:
    """What does not fit together; a step that is faulty in itself is given as None."""
    faults: list[Fault] = []
    for place, one in enumerate(steps):
        if one is None:
            continue
        before = steps[place - 1] if place else None
        goes_on = before is not None and before.then is not None
        follows = goes_on or (place > 0 and before is None)  # whether a faulty step waits is not known
        found = _limit_faults(one) if _is_limit(one) else _firing_faults(one, follows=follows, place=place)
        faults += [_at(place, fault) for fault in (*found, *_chain_faults(one, goes_on, place))]
        if one.then is not None and not _is_limit(one):
            faults += [_at(place, fault) for fault in _wait_faults(steps[place + 1 :], place)]
    return faults


def goal_faults(goal: object, steps: Sequence[Step]) -> list[Fault]:
    """A goal belongs to journeys, which firings alone begin; what skene tells by itself reaches none."""
    if isinstance(goal, EventTrigger) and goal.event == PLAN_CHANGED:
        given = f'"{PLAN_CHANGED}", which steps alone hear of'
        return [Fault("goal.event", given, "an event of your own; a payment ends a journey by itself")]
    if goal is None or any(not _is_limit(one) for one in steps):
        return []
    given = "a goal of a loop whose steps only hold limits"
    return [Fault("goal", given, "none: payments are the goal of a limit, and recorded as conversions")]


def scanning_query(condition: Condition | None) -> QueryCondition | None:
    """The query whose rows say whom a schedule is about; None where no single one does."""
    if isinstance(condition, QueryCondition):
        return condition
    if isinstance(condition, AllCondition):
        found = [one for one in condition.conditions if isinstance(one, QueryCondition)]
        return found[0] if len(found) == 1 else None
    return None


def _at(place: int, fault: Fault) -> Fault:
    return Fault(f"[{place}].{fault.path}", fault.given, fault.allowed, fault.hint)


def _is_limit(one: Step) -> bool:
    """Whether it holds a limit in front of calls, or is meant to."""
    blocks = any(isinstance(action, BlockAction) for action in one.actions)
    return blocks or isinstance(one.condition, UsageCondition) or isinstance(one.trigger, ApiTrigger)


def _warns(one: Step) -> bool:
    return isinstance(one.action, BlockAction) and bool(one.action.notify_at)


def _limit_faults(one: Step) -> Iterator[Fault]:
    if not isinstance(one.action, BlockAction):
        given = "a list" if isinstance(one.action, tuple) else f"an action of type {one.action.type!r}"
        hint = "trigger.event(…), and skene.emit(…) in the handler" if one.condition is None else None
        yield Fault("action", f"{given} at a limit", 'action.block("…")', hint)
    if not isinstance(one.condition, UsageCondition | FeatureCondition):
        given = "nothing" if one.condition is None else f"a condition of type {one.condition.type!r}"
        yield Fault("condition", f"{given} in front of calls", _LIMIT)
    if _warns(one) and isinstance(one.condition, FeatureCondition):
        allowed = "none: who holds a feature has no limit, so there is no share of it to warn at"
        yield Fault("action.notify_at", "shares of a limit, in front of a feature", allowed)
    if one.trigger is not None and not isinstance(one.trigger, ApiTrigger):
        given = f"a trigger of type {one.trigger.type!r} at a limit"
        hint = "condition.usage(at=0.8)" if isinstance(one.condition, UsageCondition) else None
        yield Fault("trigger", given, "trigger.api(…), or none for a step that code calls", hint)
    gauge = isinstance(one.condition, UsageCondition) and isinstance(one.condition.period, HeldPeriod)
    if gauge and one.trigger is not None:
        allowed = "none: code takes units with skene.consume(…), and skene.release(…) gives them back"
        yield Fault("trigger", "a trigger of a gauge", allowed)
    for name in ("then", "cooldown", "max_fires"):
        if getattr(one, name) is not None:
            yield Fault(name, "a value at a limit", "none: a limit refuses every call beyond it")


def _firing_faults(one: Step, *, follows: bool, place: int) -> Iterator[Fault]:
    changes = any(plan.changed for plan in _plans(one.condition))
    if one.trigger is None and not follows:
        allowed = "trigger.database(…), .schedule(…), .webhook(…) or .event(…)"
        if place:
            allowed += f"; or then=wait(…) in steps[{place - 1}], to go on with it"
        yield Fault("trigger", "nothing", _PLAN_CHANGED if changes else allowed)
    elif changes:
        yield from _plan_faults(one)
    if isinstance(one.trigger, ScheduleTrigger):
        yield from _schedule_faults(one)


def _schedule_faults(one: Step) -> Iterator[Fault]:
    query = scanning_query(one.condition)
    if query is None:
        given = "nothing" if one.condition is None else f"a condition of type {one.condition.type!r}"
        allowed = "condition.query(…), whose rows say whom it is about; alone, or once within all_of(…)"
        yield Fault("condition", f"{given} at a schedule", allowed)
    elif names := read_select(query.query).names:
        bound = "$1" if names[0] == "subject" else f":{names[0]}"
        given = f"a query with {bound}, and at a schedule nobody is given yet"
        where = "condition"
        if isinstance(one.condition, AllCondition):
            where += f".conditions[{one.condition.conditions.index(query)}]"
        yield Fault(f"{where}.query", given, "a query that finds the subjects by itself")


def _plan_faults(one: Step) -> Iterator[Fault]:
    """Of a step that asks for a change of plan."""
    if one.trigger is None:
        given = "a plan that changes, in a step that goes on with the one before"
        yield Fault("condition", given, 'condition.plan("…"), which is the plan held by then')
    elif not isinstance(one.trigger, EventTrigger):
        given = f"a trigger of type {one.trigger.type!r} with a plan that changes"
        yield Fault("trigger", given, _PLAN_CHANGED)
    elif one.trigger.event != PLAN_CHANGED:
        given = f"{describe(one.trigger.event)} with a plan that changes"
        yield Fault("trigger.event", given, f'"{PLAN_CHANGED}"')


def _plans(condition: Condition | None) -> Iterator[PlanCondition]:
    match condition:
        case PlanCondition():
            yield condition
        case AllCondition() | AnyCondition():
            for one in condition.conditions:
                yield from _plans(one)
        case NotCondition():
            yield from _plans(condition.condition)
        case _:
            pass


def _wait_faults(behind: Sequence[Step | None], place: int) -> Iterator[Fault]:
    """Of a step that waits, with those behind it."""
    if not behind:
        yield Fault("then", "a wait after the last step", "another step behind it, or no then")
    elif behind[0] is not None and _is_limit(behind[0]):
        given = f"a wait before steps[{place + 1}], which is a limit"
        yield Fault("then", given, "a step without a trigger behind it, or no then")


def _chain_faults(one: Step, goes_on: bool, place: int) -> Iterator[Fault]:
    if goes_on and one.trigger is not None and not _is_limit(one):
        given = f"a trigger, and steps[{place - 1}] goes on here"
        yield Fault("trigger", given, f"none; or no then in steps[{place - 1}]")

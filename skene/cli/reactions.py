"""The steps that firings set off, in words and as data, for `skene check`."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from skene.cli.output import counted, instant
from skene.definitions import (
    AllCondition,
    AnyCondition,
    DatabaseTrigger,
    Definition,
    EmailAction,
    EventTrigger,
    FeatureCondition,
    FunctionCondition,
    GrantAction,
    NotCondition,
    PlanCondition,
    QueryCondition,
    ScheduleTrigger,
    UsageLevelCondition,
    WebhookAction,
    WebhookTrigger,
    format_duration,
)
from skene.definitions.triggers import PLAN_CHANGED
from skene.definitions.values import as_list, as_mapping

if TYPE_CHECKING:
    from skene.definitions import FiringAction, FiringCondition, Goal
    from skene.engine.reactions import Reaction, Reactions

__all__ = ["describe_goal", "describe_reaction", "goal_as_json", "next_tick", "reaction_as_json"]

_LONGEST = 200
"""Characters of a query that are shown; the configuration has it whole."""
_COLUMNS = "subject, user_id or id"
_ROWS = 1_000_000
_SCAN = timedelta(minutes=10)


def describe_reaction(reaction: "Reaction", all_: "Reactions", now: datetime) -> list[tuple[str, str]]:
    """What a step means, as headings and sentences; lines that go on have no heading.

    Args:
        reaction: the step.
        all_: it and the others.
        now: to tell when a schedule fires next; aware UTC.
    """
    lines = [("when", _when(reaction, all_, now))]
    if reaction.scan is not None:
        lines.append(("for", _scan(reaction.scan)))
    lines += _under("if", [] if reaction.condition is None else _condition(reaction.condition))
    lines += _under("then", [_action(one) for one in reaction.actions])
    lines.append(("again", _again(reaction)))
    if reaction.trigger is not None and reaction.holdout:  # what goes on with a journey decides no more
        lines.append(("holds out", f"{reaction.holdout:.0%} of the subjects are left alone, for comparison"))
    if not reaction.enforce:
        lines.append(("watches", "nobody is acted upon: this loop only watches (enforce=False)"))
    return lines


def reaction_as_json(reaction: "Reaction", all_: "Reactions", now: datetime) -> dict[str, Any]:
    """The same as data; functions by their names, durations as seconds."""
    before = _before(reaction, all_)
    return {
        "step": reaction.key,
        "trigger": _trigger_as_json(reaction, now),
        "after": None if before is None else {"step": before.key, "wait": before.wait},
        "scan": None if reaction.scan is None else _part_as_json(reaction.scan),
        "condition": None if reaction.condition is None else _part_as_json(reaction.condition),
        "actions": [_part_as_json(one) for one in reaction.actions],
        "once_per_episode": _by_episode(reaction),
        "cooldown": reaction.cooldown,
        "max_fires": reaction.max_fires,
        "goal": goal_as_json(reaction.goal, reaction.within),
        "holdout": reaction.holdout,
        "enforced": reaction.enforce,
    }


def describe_goal(goal: "Goal", within: timedelta) -> str:
    """What a loop wants its subjects to reach."""
    what = f"the event {goal.event}" if isinstance(goal, EventTrigger) else f"a row in {_sql(goal)}"
    return f"{what}, within {format_duration(within)} of the beginning"


def goal_as_json(goal: "Goal | None", within: timedelta) -> dict[str, Any] | None:
    """The same as data."""
    return None if goal is None else {**_part_as_json(goal), "within": within}


def next_tick(trigger: ScheduleTrigger, now: datetime) -> datetime | None:
    """When a schedule fires next; None if the calendar has no such day."""
    from skene.engine.schedule import Schedule

    return Schedule(trigger.cron, trigger.timezone).next(now)


def _under(heading: str, lines: Sequence[str]) -> list[tuple[str, str]]:
    return [("" if place else heading, line) for place, line in enumerate(lines)]


# -- when --------------------------------------------------------------------------------------------------


def _when(reaction: "Reaction", all_: "Reactions", now: datetime) -> str:
    match reaction.trigger:
        case DatabaseTrigger() as trigger:
            return _row(trigger)
        case ScheduleTrigger() as trigger:
            return _tick(trigger, now)
        case WebhookTrigger() as trigger:
            kind = f"webhook {trigger.event}" if trigger.event else "webhook of any type"
            return f"a signed {kind} comes from {trigger.source}; {trigger.subject} names the subject"
        case EventTrigger(event=event):
            return "a subject's plan changes" if event == PLAN_CHANGED else f"your code emits {event}"
        case _:
            before = _before(reaction, all_)
            return f"{format_duration(reaction.wait if before is None else before.wait)} after step " + (
                "before" if before is None else before.key
            )


def _before(reaction: "Reaction", all_: "Reactions") -> "Reaction | None":
    if reaction.trigger is not None:
        return None
    return next((one for one in all_.all if one.next == reaction.key), None)


def _row(trigger: DatabaseTrigger) -> str:
    cells = [f"{column} = {_cell(value)}" for column, value in (trigger.where or {}).items()]
    such = f" with {' and '.join(cells)}" if cells else ""
    if trigger.event == "insert":
        what = f"a row{such} is inserted into {trigger.table}"
    elif trigger.event == "delete":
        what = f"a row{such} is deleted from {trigger.table}"
    else:
        what = f"a row of {trigger.table} is updated"
        what += f" and its {' or '.join(trigger.columns)} changes" if trigger.columns else ""
        what += f" and it comes to be one{such}" if cells else ""
    return f"{what}; its {trigger.subject} names the subject"


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "NULL", True: "true", False: "false"}[value]
    return f"'{value}'" if isinstance(value, str) else str(value)


def _tick(trigger: ScheduleTrigger, now: datetime) -> str:
    at = next_tick(trigger, now)
    return f"{_explained(trigger)} ({trigger.timezone}), next {instant(at)}"


def _explained(trigger: ScheduleTrigger) -> str:
    """A cron expression in words, with the expression itself, which says it exactly."""
    from cronsim import CronSim

    said = CronSim(trigger.cron, datetime.fromisoformat("2026-01-01T00:00:00+00:00")).explain()
    return f'{said[:1].lower()}{said[1:]} by "{trigger.cron}"'


def _trigger_as_json(reaction: "Reaction", now: datetime) -> dict[str, Any] | None:
    trigger = reaction.trigger
    if trigger is None:
        return None
    made = _part_as_json(trigger)
    return {**made, "next": next_tick(trigger, now)} if isinstance(trigger, ScheduleTrigger) else made


# -- if ----------------------------------------------------------------------------------------------------


def _scan(query: QueryCondition) -> str:
    column = query.subject or f"its column {_COLUMNS}"
    said = f"each row of {_sql(query)}; {column} names the subject"
    if query.max_rows != _ROWS:
        said += f"; {query.max_rows:,} rows at most"
    return f"{said}; read within {format_duration(query.timeout or _SCAN)}"


def _condition(condition: "FiringCondition") -> list[str]:
    """A condition in lines; what it is made of is indented."""
    match condition:
        case AllCondition():
            return _several("all of these hold:", condition.conditions)
        case AnyCondition():
            return _several("any of these holds:", condition.conditions)
        case NotCondition():
            first, *rest = _condition(condition.condition)
            return [f"not: {first}", *rest]
        case QueryCondition():
            return [f"there is a row in {_sql(condition)}{_in_time(condition.timeout)}"]
        case UsageLevelCondition():
            return [_level(condition)]
        case PlanCondition():
            return [_plan(condition)]
        case FeatureCondition():
            return [f"the billing service entitles the subject to {condition.feature}"]
        case FunctionCondition():
            return [f"your function {_name(condition.function)} says so{_in_time(condition.timeout)}"]


def _several(heading: str, conditions: Sequence["FiringCondition"]) -> list[str]:
    lines = [heading]
    for one in conditions:
        first, *rest = _condition(one)
        lines += [f"- {first}", *(f"  {line}" for line in rest)]
    return lines


def _in_time(timeout: timedelta | None) -> str:
    return "" if timeout is None else f", now or within {format_duration(timeout)}"


def _level(condition: UsageLevelCondition) -> str:
    which = f"the meter {condition.meter}" if condition.meter else "the only meter"
    said = [
        f"{word} {_amount(level)}"
        for word, level in (("at least", condition.at), ("less than", condition.under))
        if level is not None
    ]
    return f"{' and '.join(said)} of {which} is used"


def _amount(level: float) -> str:
    if isinstance(level, int):
        return counted(level, "unit")
    return f"{level * 100:.10g}% of the limit"


def _plan(condition: PlanCondition) -> str:
    said: list[str] = []
    if condition.plans:
        said.append(f"the plan is {' or '.join(condition.plans)}")
    if condition.changed:
        begin = f" from {' or '.join(condition.changed_from)}" if condition.changed_from else ""
        end = f" to {' or '.join(condition.changed_to)}" if condition.changed_to else ""
        said.append(f"the plan changed{begin}{end}")
    return " and ".join(said)


def _sql(query: QueryCondition) -> str:
    text = " ".join(query.query.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST].rstrip()}…"


# -- then, again -------------------------------------------------------------------------------------------


def _action(action: "FiringAction") -> str:
    match action:
        case EmailAction():
            through = f" through {action.provider}" if action.provider else ""
            return f"e-mail {action.template}{through}, {_kind(action)}"
        case WebhookAction():
            return f"signed webhook {action.event} through {action.provider}"
        case GrantAction():
            units = counted(action.units, "more unit")
            which = f"the meter {action.meter}" if action.meter else "the only meter"
            length = f"for {format_duration(action.expires)}" if action.expires else "for ever"
            return f"{units} of {which}, {length}"
        case _:
            again = ", which may be called again" if action.repeatable else ""
            return f"your function {_name(action.function)}{again}"


def _kind(mail: EmailAction) -> str:
    return "transactional" if mail.transactional else "marketing"


def _by_episode(reaction: "Reaction") -> bool:
    return reaction.scan is not None and reaction.cooldown is None


def _again(reaction: "Reaction") -> str:
    if _by_episode(reaction):
        said = "once per episode: not until the subject has left the result"
    elif reaction.cooldown is not None:
        said = f"after {format_duration(reaction.cooldown)} at the earliest"
    else:
        said = "" if reaction.max_fires else "every time"
    if reaction.max_fires:
        said += f"{', ' if said else ''}{counted(reaction.max_fires, 'time')} at most"
    return said


# -- as data -----------------------------------------------------------------------------------------------


def _part_as_json(part: Definition) -> dict[str, Any]:
    """Every field of a definition, whether written or at its default."""
    return {name: _plain(getattr(part, name)) for name in type(part).model_fields}


def _plain(value: object) -> Any:
    if isinstance(value, Definition):
        return _part_as_json(value)
    if (several := as_list(value)) is not None:
        return [_plain(one) for one in several]
    if (named := as_mapping(value)) is not None:
        return {str(name): _plain(one) for name, one in named.items()}
    return _name(value) if callable(value) else value


def _name(function: Callable[..., Any]) -> str:
    found = getattr(function, "__qualname__", None) or type(function).__qualname__
    return str(found)

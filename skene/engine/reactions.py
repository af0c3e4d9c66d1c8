"""The steps that firings set off, compiled once: which of them hears what, and what it then does."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from difflib import get_close_matches
from typing import cast

from skene.definitions import (
    AllCondition,
    AnyCondition,
    AnyFiringTrigger,
    DatabaseTrigger,
    EventTrigger,
    Fault,
    FiringAction,
    FiringCondition,
    Goal,
    GrantAction,
    Loop,
    NotCondition,
    QueryCondition,
    ScheduleTrigger,
    Step,
    UsageLevelCondition,
    WebhookTrigger,
)
from skene.definitions.combining import scanning_query
from skene.definitions.conditions import waiting_time
from skene.engine.rowtrigger import RowTrigger

__all__ = ["Reaction", "Reactions", "compile_reactions", "level_faults", "parts_of"]


@dataclass(frozen=True, slots=True, eq=False)
class Reaction:
    """A step that a firing sets off. Compared by identity: a program has each once.

    Attributes:
        key: `loop` for the only step, else `loop.step`; unique in a program.
        loop: the loop's key.
        path: where it is written, e.g. `activation.steps[0]`, for error messages.
        trigger: what sets it off; None when it goes on with the step before.
        condition: what must hold, asked about one subject; None: nothing, or all is in the scan.
        scan: at a schedule, the query that finds the subjects.
        actions: what follows.
        next: key of the step that goes on from here, after `wait`; None at the end.
        cooldown, max_fires: see `definitions.Step`.
        enforce: False: the loop only watches.
        holdout: share of subjects that are left alone.
        goal: what the loop wants to be reached; within: how long after the beginning it counts.
    """

    key: str
    loop: str
    path: str
    trigger: AnyFiringTrigger | None
    condition: FiringCondition | None
    scan: QueryCondition | None
    actions: tuple[FiringAction, ...]
    next: str | None
    wait: timedelta
    cooldown: timedelta | None
    max_fires: int | None
    enforce: bool
    holdout: float
    goal: Goal | None
    within: timedelta

    def place_of(self, index: int) -> str:
        """Where one of its actions is written."""
        return f"{self.path}.action" + (f"[{index}]" if len(self.actions) > 1 else "")

    @property
    def patience(self) -> timedelta | None:
        """How long the condition may take to come true; None: it is asked once."""
        return waiting_time(self.condition)


@dataclass(frozen=True, slots=True)
class Reactions:
    """Every reaction of an app, in the order they were written."""

    all: tuple[Reaction, ...] = ()

    def get(self, key: str) -> Reaction | None:
        """The reaction of a key; None when the loops no longer have it."""
        return next((one for one in self.all if one.key == key), None)

    def listening(self, event: str) -> tuple[Reaction, ...]:
        """Those that an event of the app's sets off."""
        return tuple(
            one for one in self.all if isinstance(one.trigger, EventTrigger) and one.trigger.event == event
        )

    def from_source(self, source: str, event: str) -> tuple[tuple[Reaction, WebhookTrigger], ...]:
        """Those that a webhook sets off."""
        found = ((one, one.trigger) for one in self.all if isinstance(one.trigger, WebhookTrigger))
        return tuple(
            (one, trigger)
            for one, trigger in found
            if trigger.source == source and trigger.event in (None, event)
        )

    @property
    def scheduled(self) -> tuple[tuple[Reaction, ScheduleTrigger], ...]:
        """Those that the clock sets off."""
        return tuple((one, one.trigger) for one in self.all if isinstance(one.trigger, ScheduleTrigger))

    @property
    def row_triggers(self) -> tuple[RowTrigger, ...]:
        """What the database has to tell of."""
        return tuple(_row_trigger(one, one.trigger) for one in self.all if _of_rows(one))

    def reached_by(self, event: str) -> Mapping[str, timedelta]:
        """The loops whose goal an event is, and how long after the beginning it counts."""
        return {
            one.loop: one.within
            for one in self.all
            if isinstance(one.goal, EventTrigger) and one.goal.event == event
        }

    def events(self) -> tuple[str, ...]:
        """Every event of the app's that anything listens to, sorted."""
        triggers = (one.trigger for one in self.all)
        goals = (one.goal for one in self.all)
        return tuple(sorted({t.event for t in (*triggers, *goals) if isinstance(t, EventTrigger)}))


def compile_reactions(loop: Loop, keys: Sequence[str], enforce: bool) -> list[Reaction]:
    """Compile the steps of a loop that firings set off.

    Args:
        loop: as defined.
        keys: the key of each of its steps.
        enforce: False: it only watches.
    """
    return [
        _compile(loop, place, step, keys, enforce)
        for place, step in enumerate(loop.steps)
        if step.limit is None
    ]


def _compile(loop: Loop, place: int, step: Step, keys: Sequence[str], enforce: bool) -> Reaction:
    scheduled = isinstance(step.trigger, ScheduleTrigger)
    condition = cast("FiringCondition | None", step.condition)  # a step without a limit has no other
    scan = scanning_query(condition) if scheduled else None
    return Reaction(
        key=keys[place],
        loop=loop.key,
        path=f"{loop.key}.steps[{place}]",
        trigger=cast("AnyFiringTrigger | None", step.trigger),
        condition=_without(condition, scan),
        scan=scan,
        actions=cast("tuple[FiringAction, ...]", step.actions),
        next=keys[place + 1] if step.then else None,
        wait=step.then.length if step.then else timedelta(0),
        cooldown=step.cooldown,
        max_fires=step.max_fires,
        enforce=enforce,
        holdout=loop.holdout,
        goal=loop.goal,
        within=loop.attribution,
    )


def _without(condition: FiringCondition | None, scan: QueryCondition | None) -> FiringCondition | None:
    """What is left to ask about each subject, once a scan has found it."""
    if scan is None or not isinstance(condition, AllCondition):
        return None if scan is condition else condition
    rest = tuple(one for one in condition.conditions if one is not scan)
    return rest[0] if len(rest) == 1 else AllCondition(conditions=rest)


def _of_rows(one: Reaction) -> bool:
    return isinstance(one.trigger, DatabaseTrigger)


def _row_trigger(one: Reaction, trigger: object) -> RowTrigger:
    assert isinstance(trigger, DatabaseTrigger)  # what it is called for
    return RowTrigger(
        step=one.key,
        loop=one.loop,
        table=trigger.table,
        event=trigger.event,
        columns=trigger.columns or (),
        where=tuple((trigger.where or {}).items()),
        subject=trigger.subject,
        capture=trigger.capture,
    )


def parts_of(condition: FiringCondition | None) -> Iterator[FiringCondition]:
    """A condition and all that it is made of."""
    if condition is None:
        return
    yield condition
    if isinstance(condition, AllCondition | AnyCondition):
        for one in condition.conditions:
            yield from parts_of(one)
    elif isinstance(condition, NotCondition):
        yield from parts_of(condition.condition)


def level_faults(
    reactions: Sequence[Reaction], meters: Sequence[str], by_route: Collection[str] = ()
) -> list[Fault]:
    """Levels and grants of meters that no limit counts on, or that leave open which is meant.

    Args:
        reactions: of all loops.
        meters: those that limits count on, in the order they were written.
        by_route: those of them with a counter for each route, so that there is no one level to ask about.
    """
    faults: list[Fault] = []
    for one in reactions:
        levels = [part for part in parts_of(one.condition) if isinstance(part, UsageLevelCondition)]
        grants = [action for action in one.actions if isinstance(action, GrantAction)]
        for where, named in (("condition", levels), ("action", grants)):
            for part in named:
                faults += _meter_faults(f"{one.path}.{where}.meter", part.meter, meters, by_route)
    return faults


def _meter_faults(
    path: str, meter: str | None, meters: Sequence[str], by_route: Collection[str]
) -> list[Fault]:
    whole = [one for one in meters if one not in by_route]
    known = ", ".join(whole) or "none"
    if meter is None and len(meters) != 1:
        return [Fault(path, "nothing", f"one of the meters that limits count on: {known}")]
    meant = meters[0] if meter is None else meter
    if meant in by_route:
        given = f"{meant!r}, which has a counter for each route"
        return [Fault(path, given, f"a meter with one counter, without group_by: {known}")]
    if meant not in meters:
        near = get_close_matches(meant, whole, 1)
        hint = near[0] if near else None
        return [Fault(path, f"{meant!r}", f"a meter that a limit counts on: {known}", hint)]
    return []

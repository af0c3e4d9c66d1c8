"""Evaluating firings: may it act, does its condition hold, and what follows."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import anyio

from skene.definitions import EmailAction, FiringAction, FiringCondition, QueryCondition, WebhookAction
from skene.engine.actions import (
    LATEST,
    LATEST_FOR_GOALS,
    action_data,
    action_key,
    goal_step,
    journey_id,
    next_look,
    waits_for_goal,
)
from skene.engine.backoff import next_delay
from skene.engine.decide import held_out
from skene.engine.effects import subject_digest
from skene.engine.keys import unique_key
from skene.engine.occasion import Occasion
from skene.engine.reactions import Reaction
from skene.errors import ConditionFailed, QueryError, QueryRefused, StorageUnavailable
from skene.ports.counters import Draft
from skene.ports.firings import (
    GOAL_REACHED,
    Closing,
    Entry,
    Firing,
    FiringState,
    Journey,
    NewFiring,
    Outcome,
    Phase,
    Repeat,
)
from skene.ports.observers import Work, WorkKind
from skene.runtime.asking import Asking, Held
from skene.runtime.keeping import kept
from skene.runtime.parts import Parts
from skene.runtime.scanning import Scanning
from skene.runtime.watching import watched

__all__ = ["Evaluation"]

LOOK = 20.0
"""Seconds for all the conditions of a firing together: it keeps a lane, and others wait for it."""


class Evaluation:
    """Sees firings through: from a claimed one to what follows from it, recorded in one transaction."""

    def __init__(self, parts: Parts, asking: Asking) -> None:
        self._parts = parts
        self._asking = asking
        self._scanning = Scanning(parts, self.entry_for, self._row_holds)

    async def deal_with(self, firing: Firing) -> None:
        """Evaluate a firing; whatever goes wrong with it stops no other.

        Raises:
            StorageUnavailable: nothing was recorded, and the claim is still held.
        """
        try:
            work = Work(WorkKind.FIRING, firing.loop, firing.step, firing.subject)
            with watched(self._parts, work):
                async with kept(self._parts, firing):
                    await self._evaluate(firing)
        except StorageUnavailable:
            raise
        except QueryRefused as error:
            await self._end(firing, Phase.CONDITION, Outcome.FAILED, error.reason, FiringState.DEAD)
        except (QueryError, ConditionFailed) as error:
            await self._failed(firing, str(error))
        except Exception as error:  # noqa: BLE001 - one poisoned firing must not stop the others
            text = "firing %s of step %s failed"
            self._parts.log.error(text, firing.id, firing.step, error=error)
            await self._failed(firing, f"unexpected {type(error).__name__}")

    async def _evaluate(self, firing: Firing) -> None:
        if firing.step == goal_step(firing.loop):
            await self._look_for_goal(firing)
            return
        reaction = self._parts.program.reactions.get(firing.step)
        if reaction is None:
            await self._end(firing, Phase.TRIGGER, Outcome.SKIPPED, "no loop has this step any more")
        elif firing.tick is not None:
            await self._tick(reaction, firing, firing.tick)
        elif firing.over is not None:
            await self._end(firing, Phase.PRECHECK, Outcome.STOPPED, firing.over)
        elif not firing.subject:
            await self._end(firing, Phase.PRECHECK, Outcome.SKIPPED, "it names no subject")
        else:
            await self._react(reaction, firing)

    async def _react(self, reaction: Reaction, firing: Firing) -> None:
        occasion = self._occasion(reaction, firing)
        if firing.journey is not None and await self._reached(reaction, firing):
            await self._end(firing, Phase.PRECHECK, Outcome.STOPPED, GOAL_REACHED)
            return
        held = await self._look(reaction.condition, occasion)
        if not held.met:
            await self._wait_or_end(firing, reaction.patience)
            return
        entry = self.entry_for(reaction, firing, _with_row(occasion, held.row))
        repeat = None
        if reaction.cooldown is not None or reaction.max_fires is not None:
            repeat = Repeat(cooldown=reaction.cooldown, max_fires=reaction.max_fires)
        closing = Closing(Phase.ACTION, entry.outcome)
        await self._parts.storage.record(firing, (entry,), repeat=repeat, closing=closing)
        if entry.drafts:
            self._parts.wake()

    async def _wait_or_end(
        self, firing: Firing, patience: timedelta | None, latest: timedelta = LATEST
    ) -> None:
        since = firing.occurred_at if firing.journey is None else firing.due_at
        deadline = firing.deadline or (None if patience is None else since + patience)
        if deadline is None or firing.now >= deadline:
            reason = "the condition did not hold" + (" in time" if deadline is not None else "")
            await self._end(firing, Phase.CONDITION, Outcome.NOT_MET, reason)
            return
        begun = deadline - patience if patience is not None else since
        wait = next_look(firing.now - begun, deadline - firing.now, latest=latest)
        await self._parts.storage.postpone_firing(firing, wait, deadline=deadline)

    async def _look_for_goal(self, firing: Firing) -> None:
        of_loop = (one for one in self._parts.program.reactions.all if one.loop == firing.loop)
        reaction = next(of_loop, None)
        if reaction is None or not waits_for_goal(reaction):
            await self._end(firing, Phase.TRIGGER, Outcome.SKIPPED, "the loop has no such goal any more")
        elif await self._reached(reaction, firing):
            await self._end(firing, Phase.CONDITION, Outcome.ACTED, GOAL_REACHED)
        else:
            await self._wait_or_end(firing, reaction.within, LATEST_FOR_GOALS)

    async def _reached(self, reaction: Reaction, firing: Firing) -> bool:
        """Whether a goal that a query tells of is reached now; if so, that is written down."""
        goal = reaction.goal
        if not isinstance(goal, QueryCondition):
            return False  # an event tells of it by itself, or there is none
        if not (await self._look(goal, self._occasion(reaction, firing))).met:
            return False
        goals, hooks = {firing.loop: reaction.within}, self._parts.hook_names
        await self._parts.storage.emit(firing.subject, (), goals, hooks=hooks)
        return True

    async def _tick(self, reaction: Reaction, firing: Firing, tick: datetime) -> None:
        grace = getattr(reaction.trigger, "grace", timedelta(0))
        if firing.occurred_at - tick > grace:
            late = firing.occurred_at - tick
            reason = f"the tick came {int(late.total_seconds())} s too late"
            await self._end(firing, Phase.TRIGGER, Outcome.SKIPPED, reason)
        elif reaction.scan is None:
            await self._end(firing, Phase.TRIGGER, Outcome.SKIPPED, "the step has no query any more")
        else:
            await self._scanning.scan(reaction, reaction.scan, firing)

    # -- what follows --------------------------------------------------------------------------------------

    def entry_for(self, reaction: Reaction, firing: Firing, occasion: Occasion) -> Entry:
        """What a firing does to a subject once its condition holds."""
        outcome = Outcome.ACTED
        if held_out(reaction.holdout, subject_digest(reaction.loop, occasion.subject)):
            outcome = Outcome.HELD_OUT
        elif not reaction.enforce:
            outcome = Outcome.SHADOW
        journey = None if firing.journey else self._journey(reaction, occasion, outcome)
        going = firing.journey or (journey.id if journey else None)
        drafts: tuple[Draft, ...] = ()
        if outcome is Outcome.ACTED:
            pairs = enumerate(reaction.actions)
            drafts = tuple(self._draft(reaction, occasion, i, action, going) for i, action in pairs)
        next_ones = self._next(reaction, occasion, going, acted=outcome is Outcome.ACTED)
        if journey is not None and waits_for_goal(reaction):
            next_ones = (*next_ones, _goal_firing(reaction, occasion, journey))
        return Entry(occasion.subject, outcome, drafts, next_ones, journey)

    def _journey(self, reaction: Reaction, occasion: Occasion, outcome: Outcome) -> Journey:
        return Journey(
            id=journey_id(reaction, occasion.key, occasion.subject),
            loop=reaction.loop,
            subject=occasion.subject,
            held_out=outcome is Outcome.HELD_OUT,
            shadow=outcome is Outcome.SHADOW,
            within=reaction.within if reaction.goal is not None else None,
            hooks=self._parts.hook_names,
        )

    def _draft(
        self, reaction: Reaction, occasion: Occasion, index: int, action: FiringAction, journey: str | None
    ) -> Draft:
        channel, template, marketing = "", str(index), False
        if isinstance(action, EmailAction):
            channel, template = self._parts.channel(action), action.template
            marketing = not action.transactional
        elif isinstance(action, WebhookAction):
            channel, template = action.provider, action.event
        return Draft(
            key=action_key(action, reaction, occasion, index),
            kind=action.type,
            loop=reaction.loop,
            step=reaction.key,
            subject=occasion.subject,
            plan=occasion.plan,
            channel=channel,
            template=template,
            data=action_data(action, occasion),
            cancel_on_upgrade=False,
            journey=journey,
            marketing=marketing,
        )

    def _next(
        self, reaction: Reaction, occasion: Occasion, journey: str | None, *, acted: bool
    ) -> tuple[NewFiring, ...]:
        if reaction.next is None or not acted:
            return ()
        key = unique_key("then", occasion.key, occasion.subject, reaction.next)
        data = occasion.event or occasion.row  # of a schedule, the row is all there is
        going = (reaction.loop, reaction.next, occasion.subject)
        return (NewFiring(key, *going, data, reaction.wait, journey),)

    def _occasion(self, reaction: Reaction, firing: Firing) -> Occasion:
        plan = firing.current_plan or self._parts.default_plan
        at, event = firing.occurred_at, dict(firing.data)
        return Occasion(firing.subject, reaction.loop, reaction.key, firing.key, at, plan, event)

    async def _row_holds(self, reaction: Reaction, occasion: Occasion) -> bool:
        return (await self._look(reaction.condition, occasion)).met

    async def _look(self, condition: FiringCondition | None, occasion: Occasion) -> Held:
        with anyio.move_on_after(LOOK):
            return await self._asking.holds(condition, occasion)
        raise ConditionFailed("the conditions took too long")

    # -- how it ends -----------------------------------------------------------------------------------------

    async def _end(
        self,
        firing: Firing,
        phase: Phase,
        outcome: Outcome,
        reason: str,
        state: FiringState = FiringState.DONE,
    ) -> None:
        if state is FiringState.DEAD:
            text = "a firing of step %s cannot be evaluated: %s"
            self._parts.log.warning(text, firing.step, reason)
        await self._parts.storage.record(firing, (), closing=Closing(phase, outcome, reason, state))

    async def _failed(self, firing: Firing, reason: str) -> None:
        """Try again later, or give up when the loop's recovery does; while there is time to wait, not yet."""
        recovery = self._parts.recovery(firing.loop)
        wait = next_delay(recovery, firing.failures + 1, chance=self._parts.clock.chance())
        if wait is None and firing.deadline is not None and firing.now < firing.deadline:
            wait = min(recovery.cap, firing.deadline - firing.now)
        if wait is None:
            await self._end(firing, Phase.CONDITION, Outcome.FAILED, reason, FiringState.DEAD)
            return
        await self._parts.storage.postpone_firing(firing, wait, failed=True, reason=reason)


def _goal_firing(reaction: Reaction, occasion: Occasion, journey: Journey) -> NewFiring:
    key, step = unique_key("goal", journey.id), goal_step(reaction.loop)
    data = occasion.event or occasion.row
    return NewFiring(key, reaction.loop, step, occasion.subject, data, journey=journey.id)


def _with_row(occasion: Occasion, row: Mapping[str, Any] | None) -> Occasion:
    return occasion if row is None else replace(occasion, row=row)

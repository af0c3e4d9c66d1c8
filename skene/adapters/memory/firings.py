"""Firings in memory."""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice

from skene.adapters.memory.state import FiringRow, JourneyRow, Part, Recipient, Schedule, as_json
from skene.engine.early import goal_before
from skene.ports.counters import Draft
from skene.ports.firings import (
    Closing,
    DecisionRow,
    Entry,
    Firing,
    FiringState,
    NewFiring,
    Outcome,
    Phase,
    Recorded,
    Repeat,
)
from skene.ports.happened import goal_reached

__all__ = ["MemoryFirings"]


class MemoryFirings(Part):
    """The port `Firings`, but for `note_lapses`, which is where the plans are."""

    async def emit(
        self,
        subject: str,
        firings: tuple[NewFiring, ...],
        goals: Mapping[str, timedelta],
        *,
        hooks: tuple[str, ...] = (),
    ) -> int:
        """Record firings, each key once, and that a subject has reached the goals of loops."""
        state, now = self._state, self._state.clock.now()
        named, subject = subject, state.living(subject)
        if subject != named:
            firings = tuple(replace(one, subject=subject) if one.subject == named else one for one in firings)
        for waiting in state.open_firings.values() if goals else ():
            new = waiting.new
            theirs = new.subject == subject and new.loop in goals and new.journey is None
            if theirs and waiting.tick is None and now - waiting.occurred_at <= goals[new.loop]:
                waiting.goal_at = waiting.goal_at or now
        for loop, within in goals.items():
            for name in state.ways.get((subject, loop), ()):
                row = state.journeys[name]
                if row.goal_at is None and now - row.begun_at <= within:
                    state.journeys[name] = replace(row, goal_at=now)
                    state.post(_goal(row, hooks, now), now)
        return sum(state.fire(firing, now) for firing in firings)

    async def last_tick(self, step: str) -> datetime | None:
        """The latest tick that was recorded for a schedule step."""
        schedule = self._state.schedules.get(step)
        return schedule.ticks[-1] if schedule else None

    async def open_tick(self, step: str, tick: datetime, firing: NewFiring | None) -> bool:
        """Record a tick of a schedule and its firing, once."""
        now, schedule = self._state.clock.now(), self._state.schedules.get(step)
        if schedule is None:
            schedule = self._state.schedules[step] = Schedule()
        elif tick <= schedule.ticks[-1]:
            return False
        schedule.ticks.append(tick)
        if firing is not None:
            self._state.fire(firing, now, tick)
        return True

    async def claim_firings(self, limit: int, lease: timedelta) -> tuple[datetime, tuple[Firing, ...]]:
        """Take firings that are due, or whose lease has ended, those due longest first."""
        state, now = self._state, self._state.clock.now()
        claimed: list[Firing] = []
        while len(claimed) < limit and state.due and state.due[0][0] <= now:
            due, name = heappop(state.due)
            row = state.open_firings.get(name)
            if row is None or row.due != due:
                continue  # left behind: the row was closed, or is due at another time
            row.state, row.claim = FiringState.CLAIMED, row.claim + 1
            claimed.append(self._shown(row, now))
            self._move(row, now + lease)
        return now, tuple(claimed)

    async def keep_firing(self, firing: Firing, lease: timedelta) -> bool:
        """Hold a firing for another lease."""
        row = self._claimed(firing)
        if row is not None:
            self._move(row, self._state.clock.now() + lease)
        return row is not None

    async def postpone_firing(
        self,
        firing: Firing,
        wait: timedelta,
        *,
        deadline: datetime | None = None,
        failed: bool = False,
        reason: str | None = None,
    ) -> bool:
        """Let go of a firing, to be looked at again after `wait`."""
        row = self._claimed(firing)
        if row is None:
            return False
        row.state, row.reason = FiringState.PENDING, reason
        row.deadline = deadline or row.deadline
        row.failures += failed
        self._move(row, self._state.clock.now() + wait)
        return True

    async def record(
        self,
        firing: Firing,
        entries: tuple[Entry, ...],
        *,
        repeat: Repeat | None = None,
        closing: Closing | None = None,
        lease: timedelta | None = None,
    ) -> Recorded:
        """Record what follows from a firing, or nothing if the claim was lost."""
        row, now = self._claimed(firing), self._state.clock.now()
        if row is None:
            return Recorded(held=False)
        if row.new.subject != firing.subject:  # who was merged into somebody since the firing was claimed
            whom = row.new.subject
            entries = tuple(one.about(whom) if one.subject == firing.subject else one for one in entries)
        acted = 0
        for entry in entries:
            if repeat is None or self._admits(row, entry.subject, repeat, now):
                self._enter(row, entry, now)
                acted += 1
        if closing is not None:
            if row.tick is not None or not entries:
                self._note(row, row.new.subject, closing.phase, closing.outcome, now, closing.reason)
            self._close(row, closing, now)
        elif lease is not None:
            self._move(row, now + lease)
        return Recorded(held=True, acted=acted)

    async def decisions(
        self,
        *,
        loop: str | None = None,
        subject: str | None = None,
        outcome: Outcome | None = None,
        since: datetime | None = None,
        limit: int = 100,
    ) -> tuple[DecisionRow, ...]:
        """The log, latest first."""
        wanted = (
            row
            for row in reversed(self._state.log)
            if loop in (None, row.loop)
            and subject in (None, row.subject)
            and outcome in (None, row.outcome)
            and (since is None or row.at >= since)
        )
        return tuple(islice(wanted, limit))

    async def pending_firings(self) -> int:
        """How many firings are on their way."""
        return len(self._state.open_firings)

    def begin_schedule(self, step: str, at: datetime) -> None:
        """For tests: let a schedule begin, so that the next tick after `at` is its first."""
        self._state.schedules[step] = Schedule(deque([at]))

    def log(self) -> tuple[DecisionRow, ...]:
        """For tests: the whole log, oldest first, without waiting."""
        return tuple(self._state.log)

    def waiting(self) -> tuple[Firing, ...]:
        """For tests: what is on its way, with `due_at`, in the order it was recorded; nothing is claimed."""
        now = self._state.clock.now()
        return tuple(self._shown(row, now) for row in self._state.open_firings.values())

    def _claimed(self, firing: Firing) -> FiringRow | None:
        """The firing, if this claim on it is the latest and it was not let go of."""
        row = self._state.open_firings.get(firing.id)
        held = row is not None and row.state is FiringState.CLAIMED and row.claim == firing.claim
        return row if held else None

    def _move(self, row: FiringRow, due: datetime) -> None:
        row.due = due
        heappush(self._state.due, (due, row.id))

    def _shown(self, row: FiringRow, now: datetime) -> Firing:
        state, new = self._state, row.new
        holder = state.holders.get(new.subject)
        standing = holder.standing_at(now) if holder else None
        return Firing(
            id=row.id,
            claim=row.claim,
            key=new.key,
            loop=new.loop,
            step=new.step,
            subject=new.subject,
            data=as_json(new.data),
            journey=new.journey,
            occurred_at=row.occurred_at,
            due_at=row.due,
            deadline=row.deadline,
            failures=row.failures,
            now=now,
            tick=row.tick,
            current_plan=standing.plan if standing else None,
            email=holder.email if holder else None,
            unsubscribed=state.unsubscribed(new.subject),
            over=state.goes_no_further(new.journey, new.subject),
        )

    def _admits(self, row: FiringRow, subject: str, repeat: Repeat, now: datetime) -> bool:
        """Whether a step may act upon a subject (again); if so, that it does is kept."""
        step = self._state.recipients.setdefault(row.new.step, {})
        known = step.get(subject)
        tick = row.tick if repeat.episode else None
        if known is None:
            step[subject] = Recipient(now, 1, row.id, tick)
            return True
        seen, known.seen = known.seen, max(filter(None, (known.seen, tick)), default=None)
        if known.firing == row.id:
            return False  # this firing did so itself, before its claim was lost
        if self._repeats(known, repeat, now) or (tick is not None and self._in_episode(row, seen)):
            if row.tick is None:
                self._note(row, subject, Phase.GATE, Outcome.REPEATED, now)
            return False
        known.fired_at, known.fires, known.firing = now, known.fires + 1, row.id
        return True

    def _repeats(self, known: Recipient, repeat: Repeat, now: datetime) -> bool:
        soon = repeat.cooldown is not None and now - known.fired_at < repeat.cooldown
        return soon or (repeat.max_fires is not None and known.fires >= repeat.max_fires)

    def _in_episode(self, row: FiringRow, seen: datetime | None) -> bool:
        """Whether no earlier tick that was read to the end has missed the subject since it was seen.

        A tick that failed half-way shows who is in its result, not who is not.
        """
        scanned = self._state.schedules[row.new.step].scanned
        before = bisect_left(scanned, row.tick) if row.tick is not None else 0
        return seen is not None and (not before or seen >= scanned[before - 1])

    def _enter(self, row: FiringRow, entry: Entry, now: datetime) -> None:
        state, begun = self._state, entry.journey
        if begun is not None and begun.id not in state.journeys:
            ours = (begun.loop, begun.subject) == (row.new.loop, row.new.subject)
            state.journeys[begun.id] = JourneyRow(
                id=begun.id,
                loop=begun.loop,
                subject=begun.subject,
                begun_at=now,
                within=begun.within,
                held_out=begun.held_out,
                shadow=begun.shadow,
                goal_at=goal_before(row.goal_at, now) if ours else None,
            )
            if state.journeys[begun.id].goal_at is not None:
                state.post(_goal(state.journeys[begun.id], begun.hooks, now), now)
            state.begun[begun.id] = len(state.conversions)
            state.ways.setdefault((begun.subject, begun.loop), []).append(begun.id)
        state.post(entry.drafts, now)
        for following in entry.next:
            state.fire(following, now)
        self._note(row, entry.subject, Phase.ACTION, entry.outcome, now)

    def _close(self, row: FiringRow, closing: Closing, now: datetime) -> None:
        row.state, row.reason, row.settled_at = closing.state, closing.reason, now
        row.new = replace(row.new, data={})
        del self._state.open_firings[row.id]
        if row.tick is not None and (closing.state, closing.outcome) == (FiringState.DONE, Outcome.SCANNED):
            insort(self._state.schedules[row.new.step].scanned, row.tick)

    def _note(
        self,
        row: FiringRow,
        subject: str,
        phase: Phase,
        outcome: Outcome,
        now: datetime,
        reason: str | None = None,
    ) -> None:
        new = row.new
        self._state.log.append(DecisionRow(now, new.loop, new.step, subject, phase, outcome, reason, new.key))


def _goal(row: JourneyRow, hooks: tuple[str, ...], now: datetime) -> tuple[Draft, ...]:
    about = {"held_out": row.held_out, "shadow": row.shadow}
    return goal_reached(hooks, row.subject, now, journey=row.id, loop=row.loop, **about)

"""Stores that make one mistake each with firings and what is recorded of them: the suite must see it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from anyio.lowlevel import checkpoint

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import FiringRow, Recipient
from skene.ports.firings import (
    Closing,
    Entry,
    Firing,
    FiringState,
    NewFiring,
    Outcome,
    Recorded,
    Repeat,
)

__all__ = ["CARELESS_WITH_FIRINGS"]


# -- setting off and claiming ------------------------------------------------------------------------------


class FiresEveryTime(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        for firing in firings:
            self._state.firings.pop(firing.key, None)
        return await super().emit(subject, firings, goals, **how)


class LooksForTheFiringFirst(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        new = tuple(firing for firing in firings if firing.key not in self._state.firings)
        await checkpoint()
        for firing in new:
            self._state.firings.pop(firing.key, None)
        return await super().emit(subject, new, goals, **how)


class MarksJourneysOnly(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        kept, self._state.open_firings = self._state.open_firings, {}
        new = await super().emit(subject, (), goals, **how)
        self._state.open_firings = kept
        return new + await super().emit(subject, firings, {}, **how)


class LooksForTheGoalFirst(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        row = self._claimed(firing)
        reached = row.goal_at if row else None
        await checkpoint()
        if row is not None:
            row.goal_at = reached
        return await super().record(firing, entries, **how)


class SharesItsData(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        new = await super().emit(subject, firings, goals, **how)
        for firing in firings:
            self._state.firings[firing.key].new = firing
        return new


class ClaimsWhatItSaw(MemoryStorage):
    async def claim_firings(self, limit: int, lease: timedelta) -> tuple[datetime, tuple[Firing, ...]]:
        now = self._state.clock.now()
        seen = [row for row in self._state.open_firings.values() if row.due <= now][:limit]
        await checkpoint()
        for row in seen:
            row.state, row.claim = FiringState.CLAIMED, row.claim + 1
            self._move(row, now + lease)
        return now, tuple(self._shown(row, now) for row in seen)


class ClaimsFiringsWithoutGuard(MemoryStorage):
    def _claimed(self, firing: Firing) -> FiringRow | None:
        return self._state.open_firings.get(firing.id)


class EndsWithTheLease(MemoryStorage):
    def _claimed(self, firing: Firing) -> FiringRow | None:
        row = super()._claimed(firing)
        return None if row is None or row.due <= self._state.clock.now() else row


class RecordsWhateverItIsGiven(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        row = self._state.open_firings.get(firing.id)
        return await super().record(replace(firing, claim=row.claim) if row else firing, entries, **how)


class ChecksTheClaimFirst(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        row = self._claimed(firing)
        await checkpoint()
        if row is not None:
            self._state.open_firings[row.id], row.state = row, FiringState.CLAIMED
        return await super().record(firing, entries, **how)


class ForgetsTheDeadline(MemoryStorage):
    async def postpone_firing(self, firing: Firing, wait: timedelta, **how: Any) -> bool:
        postponed = await super().postpone_firing(firing, wait, **how)
        if postponed:
            self._state.open_firings[firing.id].deadline = how.get("deadline")
        return postponed


# -- ticks and episodes ------------------------------------------------------------------------------------


class TicksInAnyOrder(MemoryStorage):
    async def open_tick(self, step: str, tick: datetime, firing: NewFiring | None) -> bool:
        schedule = self._state.schedules.pop(step, None)
        if schedule is not None and tick in schedule.ticks:
            self._state.schedules[step] = schedule
            return False
        return await super().open_tick(step, tick, firing)


class LooksForTheTickFirst(MemoryStorage):
    async def open_tick(self, step: str, tick: datetime, firing: NewFiring | None) -> bool:
        latest = await self.last_tick(step)
        await checkpoint()
        if latest is not None and tick <= latest:
            return False
        self._state.schedules.pop(step, None)
        return await super().open_tick(step, tick, firing)


class ComparesWithTheLastTickOpened(MemoryStorage):
    def _in_episode(self, row: FiringRow, seen: datetime | None) -> bool:
        earlier = [tick for tick in self._state.schedules[row.new.step].ticks if row.tick and tick < row.tick]
        return seen is not None and (not earlier or seen >= earlier[-1])


class TakesEveryEndForAResult(MemoryStorage):
    def _close(self, row: FiringRow, closing: Closing, now: datetime) -> None:
        super()._close(row, closing, now)
        if row.tick is not None:
            self._state.schedules[row.new.step].scanned = [row.tick]


class ComparesWithTheLatestResult(MemoryStorage):
    def _in_episode(self, row: FiringRow, seen: datetime | None) -> bool:
        scanned = self._state.schedules[row.new.step].scanned
        return seen is not None and (not scanned or seen >= scanned[-1])


class _Recipients(MemoryStorage):
    """Something is done to what is kept of a recipient, after it was asked whether to act."""

    def spoil(self, known: Recipient, before: Recipient, row: FiringRow, now: datetime) -> None:
        raise NotImplementedError

    def _admits(self, row: FiringRow, subject: str, repeat: Repeat, now: datetime) -> bool:
        kept = self._state.recipients.get(row.new.step, {}).get(subject)
        before = replace(kept) if kept else None
        admitted = super()._admits(row, subject, repeat, now)
        if before is not None:
            self.spoil(self._state.recipients[row.new.step][subject], before, row, now)
        return admitted


class SeesOnlyWhomItActsUpon(_Recipients):
    def spoil(self, known: Recipient, before: Recipient, row: FiringRow, now: datetime) -> None:
        known.seen = before.seen if known.fires == before.fires else known.seen


class SeesTheTickThatCameLast(_Recipients):
    def spoil(self, known: Recipient, before: Recipient, row: FiringRow, now: datetime) -> None:
        known.seen = row.tick


class CoolsDownFromTheLastWish(_Recipients):
    def spoil(self, known: Recipient, before: Recipient, row: FiringRow, now: datetime) -> None:
        known.fired_at = now


class ForgetsWhichFiringActed(MemoryStorage):
    def _admits(self, row: FiringRow, subject: str, repeat: Repeat, now: datetime) -> bool:
        for known in self._state.recipients.get(row.new.step, {}).values():
            known.firing = 0
        return super()._admits(row, subject, repeat, now)


class ChecksTheCooldownFirst(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        repeat, known = how["repeat"], self._state.recipients.get(firing.step, {})
        now = self._state.clock.now()
        may = tuple(
            e for e in entries if e.subject not in known or not self._repeats(known[e.subject], repeat, now)
        )
        await checkpoint()
        without: dict[str, Any] = {**how, "repeat": Repeat()}
        return await super().record(firing, may, **without)


class LetsTheHeldOutComeAgain(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        recorded = await super().record(firing, entries, **how)
        for entry in entries:
            if entry.outcome is not Outcome.ACTED:
                self._state.recipients.get(firing.step, {}).pop(entry.subject, None)
        return recorded


CARELESS_WITH_FIRINGS: list[tuple[type[MemoryStorage], str]] = [
    (FiresEveryTime, "test_a_key_fires_once"),
    (LooksForTheFiringFirst, "test_50_emits_of_one_key"),
    (MarksJourneysOnly, "test_a_goal_before_its_journey"),
    (MarksJourneysOnly, "test_which_firings_a_goal_is_noted_with"),
    (LooksForTheGoalFirst, "test_50_goals_while_their_firings_are_recorded"),
    (SharesItsData, "test_a_firing_reads_back"),
    (ClaimsWhatItSaw, "test_100_tasks_claim_100_firings"),
    (ClaimsWhatItSaw, "test_workers_record_each_firing_once"),
    (ClaimsFiringsWithoutGuard, "test_a_lost_claim_may_not_record"),
    (ClaimsFiringsWithoutGuard, "test_made_up_claims_on_firings_are_lost"),
    (EndsWithTheLease, "test_an_end_nobody_noticed_loses_nothing"),
    (RecordsWhateverItIsGiven, "test_a_lost_claim_may_not_record"),
    (ChecksTheClaimFirst, "test_one_claim_records_once"),
    (ForgetsTheDeadline, "test_a_postponed_firing"),
    (TicksInAnyOrder, "test_ticks_only_go_forward"),
    (LooksForTheTickFirst, "test_20_open_a_tick"),
    (ComparesWithTheLastTickOpened, "test_a_failed_scan_ends_no_episode"),
    (TakesEveryEndForAResult, "test_a_failed_scan_ends_no_episode"),
    (TakesEveryEndForAResult, "test_only_what_was_read_to_the_end_counts"),
    (SeesOnlyWhomItActsUpon, "test_once_until_it_has_left_the_result"),
    (SeesTheTickThatCameLast, "test_a_tick_that_ends_late"),
    (ComparesWithTheLatestResult, "test_a_tick_that_ends_late"),
    (CoolsDownFromTheLastWish, "test_a_cooldown"),
    (ForgetsWhichFiringActed, "test_the_same_firing_after_a_lost_lease"),
    (ChecksTheCooldownFirst, "test_one_step_acts_once_upon_a_subject"),
    (LetsTheHeldOutComeAgain, "test_left_alone_counts_too"),
]

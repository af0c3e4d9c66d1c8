"""Stores that make one mistake each with sending, journeys, plans or erasure: the suite must see it."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from anyio.lowlevel import checkpoint

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.spells import Terms
from skene.adapters.memory.state import MessageRow
from skene.ports.accounts import Applied
from skene.ports.contacts import Suppressed
from skene.ports.counters import Draft
from skene.ports.firings import (
    Entry,
    Firing,
    NewFiring,
    Recorded,
)
from skene.ports.notifier import Body
from skene.ports.outbox import Attempt, Begun, Claimed, Later, Never, Rules
from skene.ports.outbox import Outcome as Ending

__all__ = ["CARELESS_WITH_MESSAGES"]

NO_RULES = Rules()


# -- sending -----------------------------------------------------------------------------------------------


class ChecksTheCapFirst(MemoryStorage):
    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = NO_RULES) -> Attempt:
        capped = self._capped(self._state.messages[claimed.id], rules, self._state.clock.now())
        await checkpoint()
        return capped or await super().begin_attempt(claimed, body, replace(rules, cap=None))


class CountsWhatIsSentAlone(MemoryStorage):
    def _capped(self, row: MessageRow, rules: Rules, now: datetime) -> Later | None:
        others = self._state.marketing.get(row.draft.subject, [])
        begun = [other.begun for other in others]
        for other in others:
            other.begun = None
        capped = super()._capped(row, rules, now)
        for other, claim in zip(others, begun, strict=True):
            other.begun = claim
        return capped


class CapsAMicrosecondTooLong(MemoryStorage):
    def _capped(self, row: MessageRow, rules: Rules, now: datetime) -> Later | None:
        capped = super()._capped(row, rules, now - timedelta(microseconds=1))
        return replace(capped, delay=capped.delay - timedelta(microseconds=1)) if capped else None


class TakesTheTurnFirst(MemoryStorage):
    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = NO_RULES) -> Attempt:
        answer = await super().begin_attempt(claimed, body, rules)
        if rules.pace is not None and not isinstance(answer, Begun):
            channel, now = claimed.draft.channel, self._state.clock.now()
            self._state.paces[channel] = max(now, self._state.paces.get(channel, now)) + rules.pace
        return answer


class HoldsNobody(MemoryStorage):
    async def settle(self, claimed: Claimed, outcome: Ending) -> bool:
        return await super().settle(claimed, replace(outcome, hold=timedelta(0)))


class HoldsAsLongAsTheLastSays(MemoryStorage):
    async def settle(self, claimed: Claimed, outcome: Ending) -> bool:
        if outcome.hold:
            self._state.paces.pop(claimed.draft.channel, None)
        return await super().settle(claimed, outcome)


class WritesToEverybody(MemoryStorage):
    def _refused(self, draft: Draft, rules: Rules) -> Never | None:
        return None


class RetriesWithoutThinking(MemoryStorage):
    def _idle(self, message: int) -> MessageRow | None:
        return self._state.messages.get(message)


class RemembersTheFirstAttempt(MemoryStorage):
    async def retry_message(self, message: int) -> bool:
        row = self._state.messages.get(message)
        first = row.first_attempt_at if row else None
        retried = await super().retry_message(message)
        if row is not None:
            row.first_attempt_at = first
        return retried


# -- journeys, plans, erasure ------------------------------------------------------------------------------


class ReachesTheGoalAgain(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        for name, row in self._state.journeys.items():
            self._state.journeys[name] = replace(row, goal_at=None)
        return await super().emit(subject, firings, goals, **how)


class MeasuresLoopsAlike(MemoryStorage):
    async def emit(
        self, subject: str, firings: tuple[NewFiring, ...], goals: Mapping[str, timedelta], **how: Any
    ) -> int:
        longest = max(goals.values(), default=timedelta(0))
        return await super().emit(subject, firings, dict.fromkeys(goals, longest), **how)


class CountsEarlierPayments(MemoryStorage):
    async def claim_firings(self, limit: int, lease: timedelta) -> tuple[datetime, tuple[Firing, ...]]:
        now, claimed = await super().claim_firings(limit, lease)
        paid = self._state.converted
        return now, tuple(replace(f, over="converted") if f.subject in paid else f for f in claimed)


class CountsWatchedJourneys(MemoryStorage):
    async def record(self, firing: Firing, entries: tuple[Entry, ...], **how: Any) -> Recorded:
        shown = tuple(
            replace(entry, journey=replace(entry.journey, shadow=False)) if entry.journey else entry
            for entry in entries
        )
        return await super().record(firing, shown, **how)


class SwallowsALapse(MemoryStorage):
    async def set_plan(self, *who: Any, **how: Any) -> Applied:
        await self.note_lapses((), 100)
        return await super().set_plan(*who, **how)


class NamesEveryChangeAlike(MemoryStorage):
    async def set_plan(self, *who: Any, **how: Any) -> Applied:
        self._state.changes = 0
        return await super().set_plan(*who, **how)


class TakesAPlanInSilence(MemoryStorage):
    def _tie(self, subject: str, customer: str, now: datetime, terms: Terms) -> Any:
        return super()._tie(subject, customer, now, replace(terms, watchers=()))


class ForgetsTheLimitAlone(MemoryStorage):
    def _forget_firings(self, subject: str) -> int:
        return 0


class ErasesJourneys(MemoryStorage):
    async def forget(self, subject: str) -> int:
        for name in [name for name, row in self._state.journeys.items() if row.subject == subject]:
            self._state.journeys.pop(name)
        self._state.ways = {way: names for way, names in self._state.ways.items() if way[0] != subject}
        return await super().forget(subject)


class PrunesKeysWithTheirFirings(MemoryStorage):
    def _prune_firings(self, now: datetime) -> int:
        return super()._prune_firings(now + timedelta(days=83))


class PrunesWhatWaits(MemoryStorage):
    def _prune_firings(self, now: datetime) -> int:
        old = [row for row in self._state.open_firings.values() if row.occurred_at < now - timedelta(days=90)]
        for row in old:
            del self._state.open_firings[row.id]
        return len(old)


class PrunesTheLatestTick(MemoryStorage):
    def _prune_firings(self, now: datetime) -> int:
        schedules = self._state.schedules
        old = [step for step, kept in schedules.items() if kept.ticks[-1] < now - timedelta(days=400)]
        pruned = super()._prune_firings(now)
        for step in old:
            del schedules[step]
        return pruned


class PrunesRecipients(MemoryStorage):
    async def prune(self) -> int:
        self._state.recipients.clear()
        return await super().prune()


class ForgetsTheFirstWish(MemoryStorage):
    async def suppress(self, kind: Suppressed, **whom: Any) -> bool:
        new = await super().suppress(kind, **whom)
        await self.unsuppress(subject=whom.get("subject"), address=whom.get("address"), kind=kind)
        await super().suppress(kind, **whom)
        return new


class TakesSubjectsForAddresses(MemoryStorage):
    async def suppress(self, kind: Suppressed, **whom: Any) -> bool:
        if kind is not Suppressed.UNSUBSCRIBED and whom.get("subject"):
            whom = {**whom, "subject": None, "address": whom["subject"]}
        return await super().suppress(kind, **whom)


CARELESS_WITH_MESSAGES: list[tuple[type[MemoryStorage], str]] = [
    (ChecksTheCapFirst, "test_20_begin_and_one_may_send"),
    (CountsWhatIsSentAlone, "test_an_attempt_under_way_counts"),
    (CapsAMicrosecondTooLong, "test_a_cap_to_the_microsecond"),
    (TakesTheTurnFirst, "test_who_may_not_leave_takes_no_turn"),
    (TakesTheTurnFirst, "test_a_turn_that_comes_too_late"),
    (HoldsNobody, "test_a_channel_is_held"),
    (HoldsAsLongAsTheLastSays, "test_a_shorter_hold_shortens_nothing"),
    (WritesToEverybody, "test_who_has_unsubscribed"),
    (WritesToEverybody, "test_a_suppressed_address"),
    (RetriesWithoutThinking, "test_what_is_sent_or_in_hand_is_left_alone"),
    (RemembersTheFirstAttempt, "test_a_person_tries_again"),
    (ReachesTheGoalAgain, "test_the_first_time_counts"),
    (MeasuresLoopsAlike, "test_loops_have_times_of_their_own"),
    (CountsEarlierPayments, "test_a_conversion_before_it_began"),
    (CountsWatchedJourneys, "test_a_history_of_journeys"),
    (SwallowsALapse, "test_an_end_nobody_noted_is_told_later"),
    (NamesEveryChangeAlike, "test_only_changes_are_told"),
    (TakesAPlanInSilence, "test_what_a_link_changes"),
    (ForgetsTheLimitAlone, "test_the_other_loops_forget_too"),
    (ForgetsTheLimitAlone, "test_a_firing_in_hand_is_dropped"),
    (ErasesJourneys, "test_journeys_stay_under_no_name"),
    (PrunesKeysWithTheirFirings, "test_a_key_guards_for_90_days"),
    (PrunesWhatWaits, "test_what_is_on_its_way_stays"),
    (PrunesTheLatestTick, "test_ticks_go_after_400_days"),
    (PrunesRecipients, "test_repetitions_are_known_for_ever"),
    (ForgetsTheFirstWish, "test_a_reason_is_known_once"),
    (TakesSubjectsForAddresses, "test_subjects_are_no_addresses"),
]

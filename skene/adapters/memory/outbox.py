"""Messages on their way, in memory."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from heapq import heappop, heappush
from itertools import islice

from skene.adapters.memory.state import MessageRow as Row
from skene.adapters.memory.state import Part, as_json
from skene.engine.cap import cap_wait, counts_until
from skene.ports.contacts import REASONS, Suppressed
from skene.ports.counters import Draft
from skene.ports.notifier import Body
from skene.ports.outbox import (
    PERHAPS_SENT,
    Attempt,
    Begun,
    Claimed,
    Later,
    MessageRow,
    MessageState,
    Never,
    Outcome,
    Rules,
)

__all__ = ["MemoryOutbox"]

NO_RULES = Rules()


class MemoryOutbox(Part):
    """The port `Outbox`."""

    async def post(self, drafts: tuple[Draft, ...]) -> None:
        """Put messages into the outbox, each key once."""
        self._state.post(drafts, self._state.clock.now())

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take messages that are due, or whose lease has ended: marketing last, those due longest first."""
        state, now = self._state, self._state.clock.now()
        due: list[Row] = []
        for waiting in state.sending:
            while waiting and len(due) < limit and waiting[0][0] <= now:
                at, name = heappop(waiting)
                row = state.open.get(name)
                if row is not None and row.due == at:
                    due.append(row)
        return tuple([self._hand_over(row, now, lease) for row in sorted(due, key=lambda row: row.id)])

    async def begin_attempt(self, claimed: Claimed, body: Body, rules: Rules = NO_RULES) -> Attempt:
        """Record that an attempt begins and freeze the body, if the rules let it."""
        row, now = self._held(claimed), self._state.clock.now()
        if row is None or row.due <= now:
            return None
        refused = self._refused(row.draft, rules) or self._capped(row, rules, now)
        if refused is not None:
            return refused
        channel, paces = row.draft.channel, self._state.paces
        turn = max(now, paces.get(channel, now))
        if turn - now > rules.patience:
            return Later(turn - now)
        if rules.pace is not None:
            paces[channel] = turn + rules.pace
        row.begun, row.first_attempt_at = claimed.claim, row.first_attempt_at or now
        row.body = as_json(body) if row.body is None else row.body
        return Begun(turn - now)

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Record how it ended."""
        row, state, now = self._held(claimed), self._state, self._state.clock.now()
        if row is None:
            return False
        if outcome.hold:
            held = state.paces.get(row.draft.channel, now)
            state.paces[row.draft.channel] = max(held, now + outcome.hold)
        row.state, row.reason, row.provider_id = outcome.state, outcome.reason, outcome.provider_id
        row.failures += outcome.failed
        row.begun = None if row.begun == row.claim else row.begun
        if outcome.provider_id is not None:
            state.reported[outcome.provider_id] = row
        if outcome.state is MessageState.PENDING:
            self._put_off(row, now + outcome.delay)
            return True
        self._end(row, now)
        state.post(outcome.drafts, now)
        if outcome.state is MessageState.SENT:
            wall = state.walls.get(row.draft.wall or "")
            if wall is not None:
                wall.prompted = True
            way = state.journeys.get(row.draft.journey or "")
            if way is not None and way.prompted_at is None:
                state.journeys[way.id] = replace(way, prompted_at=now)
        return True

    async def messages(
        self, subject: str | None = None
    ) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """All messages, oldest first."""
        return self.posted(subject)

    async def outbox_counts(self) -> Mapping[MessageState, int]:
        """How many messages are in each state."""
        return Counter(row.state for row in self._state.messages.values())

    async def outbox_rows(
        self,
        *,
        states: tuple[MessageState, ...] = (),
        loop: str | None = None,
        subject: str | None = None,
        limit: int = 100,
    ) -> tuple[MessageRow, ...]:
        """Messages for people, latest first."""
        wanted = (
            _shown(row)
            for row in reversed(self._state.messages.values())
            if (not states or row.state in states)
            and loop in (None, row.draft.loop)
            and subject in (None, row.draft.subject)
        )
        return tuple(islice(wanted, limit))

    async def outbox_row(self, message: int) -> tuple[MessageRow, Body | None] | None:
        """One message and its frozen body."""
        row = self._state.messages.get(message)
        return None if row is None else (_shown(row), None if row.body is None else as_json(row.body))

    async def retry_message(self, message: int) -> bool:
        """Make a message due at once, as if it had never been tried."""
        row, now = self._idle(message), self._state.clock.now()
        if row is None:
            return False
        row.state, row.settled_at, row.reason = MessageState.PENDING, None, None
        row.failures, row.begun, row.first_attempt_at = 0, None, None
        self._state.open[row.id] = row
        self._put_off(row, now)
        return True

    async def discard_message(self, message: int, reason: str) -> bool:
        """Settle a message as cancelled that is not sent and in nobody's hands."""
        row, now = self._idle(message), self._state.clock.now()
        if row is None:
            return False
        row.state, row.reason, row.begun = MessageState.CANCELLED, reason, None
        self._end(row, now)
        return True

    async def mark_report(self, provider_id: str, kind: str) -> bool:
        """Note what became of a sent message."""
        state = self._state
        row = state.reported.get(provider_id)
        if row is None or row.provider_id != provider_id:
            return False
        way = state.journeys.get(row.draft.journey or "")
        if kind == "clicked" and way is not None and way.clicked_at is None:
            state.journeys[way.id] = replace(way, clicked_at=state.clock.now())
        return True

    def posted(self, subject: str | None = None) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """For tests: what `messages` returns, without waiting."""
        rows = self._state.messages.values()
        return tuple((r.draft, r.state, r.reason) for r in rows if subject in (None, r.draft.subject))

    def _held(self, claimed: Claimed) -> Row | None:
        """The message, if this claim on it is the latest and not settled."""
        row = self._state.open.get(claimed.id)
        held = row is not None and row.state is MessageState.CLAIMED and row.claim == claimed.claim
        return row if held else None

    def _idle(self, message: int) -> Row | None:
        """The message, if it is not sent and in nobody's hands."""
        row = self._state.messages.get(message)
        if row is None or row.state is MessageState.SENT:
            return None
        in_hand = row.state is MessageState.CLAIMED and row.due > self._state.clock.now()
        return None if in_hand else row

    def _put_off(self, row: Row, due: datetime) -> None:
        row.due = due
        heappush(self._state.sending[row.draft.marketing], (due, row.id))

    def _end(self, row: Row, now: datetime) -> None:
        row.settled_at = now
        self._state.open.pop(row.id, None)

    def _refused(self, draft: Draft, rules: Rules) -> Never | None:
        """Why nothing may be sent to the address, or no marketing mail to the subject."""
        state = self._state
        if rules.address is not None:
            for kind in (Suppressed.COMPLAINED, Suppressed.BOUNCED):
                if (kind, None, rules.address) in state.suppressions:
                    return Never(REASONS[kind])
        if draft.marketing and state.unsubscribed(draft.subject):
            return Never(REASONS[Suppressed.UNSUBSCRIBED])
        return None

    def _capped(self, row: Row, rules: Rules, now: datetime) -> Later | None:
        """How long the subject has had enough."""
        if rules.cap is None or not row.draft.marketing:
            return None
        most, span = rules.cap
        others = (one for one in self._state.marketing.get(row.draft.subject, ()) if one is not row)
        ends = [counts_until(one.settled_at, span, now) for one in others if _counts(one, span, now)]
        wait = cap_wait(ends, most, span, now)
        return None if wait is None else Later(wait, capped=True)

    def _hand_over(self, row: Row, now: datetime, lease: timedelta) -> Claimed:
        row.state, row.claim = MessageState.CLAIMED, row.claim + 1
        self._put_off(row, now + lease)
        holder = self._state.holders.get(row.draft.subject)
        standing = holder.standing_at(now) if holder else None
        return Claimed(
            id=row.id,
            claim=row.claim,
            draft=row.draft,
            failures=row.failures,
            body=None if row.body is None else as_json(row.body),
            first_attempt_at=row.first_attempt_at,
            unsettled=row.begun is not None,
            now=now,
            current_plan=standing.plan if standing else None,
            email=holder.email if holder else None,
            over=self._state.over(row.draft.journey, row.draft.subject, marketing=row.draft.marketing),
        )


def _shown(row: Row) -> MessageRow:
    return MessageRow(
        id=row.id,
        draft=row.draft,
        state=row.state,
        reason=row.reason,
        failures=row.failures,
        due_at=row.due if row.settled_at is None else None,
        created_at=row.created_at,
        settled_at=row.settled_at,
        provider_id=row.provider_id,
    )


def _counts(row: Row, span: timedelta, now: datetime) -> bool:
    """Whether a message counts against a cap: under way, or perhaps sent within the span."""
    if row.settled_at is None:
        return row.begun is not None
    return row.state in PERHAPS_SENT and row.settled_at + span > now

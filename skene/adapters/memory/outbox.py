"""Messages on their way, in memory."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from itertools import islice

from skene.adapters.memory.state import MessageRow, Part, as_json
from skene.ports.counters import Draft
from skene.ports.notifier import Body
from skene.ports.outbox import Claimed, MessageState, Outcome

__all__ = ["MemoryOutbox"]


class MemoryOutbox(Part):
    """The port `Outbox`."""

    async def claim(self, limit: int, lease: timedelta) -> tuple[Claimed, ...]:
        """Take messages that are due, or whose lease has ended, oldest first."""
        now = self._state.clock.now()
        due = islice((row for row in self._state.open.values() if row.due <= now), limit)
        return tuple([self._hand_over(row, now, lease) for row in due])

    async def begin_attempt(self, claimed: Claimed, body: Body) -> bool:
        """Record that an attempt begins and freeze the body."""
        row, now = self._held(claimed), self._state.clock.now()
        if row is None or row.due <= now:
            return False
        row.begun, row.first_attempt_at = claimed.claim, row.first_attempt_at or now
        row.body = as_json(body) if row.body is None else row.body
        return True

    async def settle(self, claimed: Claimed, outcome: Outcome) -> bool:
        """Record how it ended."""
        row = self._held(claimed)
        if row is None:
            return False
        row.state, row.reason, row.provider_id = outcome.state, outcome.reason, outcome.provider_id
        row.failures += outcome.failed
        row.begun = None if row.begun == row.claim else row.begun
        if outcome.state is MessageState.PENDING:
            row.due = self._state.clock.now() + outcome.delay
            return True
        del self._state.open[row.id]
        wall = self._state.walls.get(row.draft.wall or "")
        if outcome.state is MessageState.SENT and wall is not None:
            wall.prompted = True
        return True

    async def messages(
        self, subject: str | None = None
    ) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """All messages, oldest first."""
        return self.posted(subject)

    async def outbox_counts(self) -> Mapping[MessageState, int]:
        """How many messages are in each state."""
        return Counter(row.state for row in self._state.messages.values())

    def posted(self, subject: str | None = None) -> tuple[tuple[Draft, MessageState, str | None], ...]:
        """For tests: what `messages` returns, without waiting."""
        rows = self._state.messages.values()
        return tuple((r.draft, r.state, r.reason) for r in rows if subject in (None, r.draft.subject))

    def _held(self, claimed: Claimed) -> MessageRow | None:
        """The message, if this claim on it is the latest and not settled."""
        row = self._state.open.get(claimed.id)
        held = row is not None and row.state is MessageState.CLAIMED and row.claim == claimed.claim
        return row if held else None

    def _hand_over(self, row: MessageRow, now: datetime, lease: timedelta) -> Claimed:
        row.state, row.claim, row.due = MessageState.CLAIMED, row.claim + 1, now + lease
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
        )

"""The outbox as people look after it: rows, retries, and what providers report."""

from dataclasses import replace

import pytest

from skene.ports.outbox import Begun, MessageRow, MessageState, Outcome
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import ConformanceBase
from skene.testing.conformance.delivery import awkward
from skene.testing.conformance.happening import (
    DAY,
    LEASE,
    SENT,
    begin_journey,
    mail,
    post,
    send,
    take,
)

AGAIN = Outcome(MessageState.PENDING)
SETTLED = (MessageState.DEAD, MessageState.PARKED, MessageState.SKIPPED, MessageState.CANCELLED)


class OutboxConformance(ConformanceBase):
    """For people."""

    async def test_messages_that_no_verb_has_decided(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `post`: each key once, and delivered like any other."""
        one, other = mail("m1"), mail("m2")
        await storage.post(())
        await storage.post((one,))
        await storage.post((replace(one, subject="bob"), other))
        assert [row[0] for row in await storage.messages()] == [one, other]
        assert [claimed.draft for claimed in await storage.claim(1, LEASE)] == [one]
        assert [row.created_at for row in await storage.outbox_rows()] == [clock.now()] * 2

    async def test_a_message_as_people_see_it(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: a dead letter can be listed, with its body as it would have been sent."""
        created = clock.now()
        one = replace(mail(journey="j1"), data=awkward())
        await post(storage, clock, one)
        (row,) = await storage.outbox_rows()
        assert row == MessageRow(row.id, one, MessageState.PENDING, None, 0, created, created, None, None)
        clock.advance("1h")
        message = await take(storage)
        assert message.id == row.id
        (row,) = await storage.outbox_rows()
        assert (row.state, row.due_at) == (MessageState.CLAIMED, clock.now() + LEASE)
        assert await storage.outbox_row(row.id) == (row, None)
        assert await storage.begin_attempt(message, awkward()) == Begun()
        clock.advance("1s")
        await storage.settle(message, Outcome(MessageState.PENDING, DAY, failed=True, reason="503"))
        (row,) = await storage.outbox_rows()
        assert (row.state, row.reason, row.failures) == (MessageState.PENDING, "503", 1)
        assert (row.due_at, row.settled_at) == (clock.now() + DAY, None)
        clock.advance(DAY)
        again = await take(storage)
        assert await storage.begin_attempt(again, {}) == Begun()
        await storage.settle(again, replace(SENT, provider_id="p-1"))
        found = await storage.outbox_row(row.id)
        assert found is not None
        assert found[1] == awkward()
        assert found[0] == MessageRow(
            row.id, one, MessageState.SENT, None, 1, None, created, clock.now(), "p-1"
        )
        assert await storage.outbox_row(row.id + 1) is None

    async def test_messages_come_latest_first(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `outbox_rows`: by state, loop, subject and number, in any combination."""
        assert await storage.outbox_rows() == ()
        for n in range(6):
            subject, loop = ("ada", "bob")[n % 2], ("a", "b")[n // 3]
            await post(storage, clock, mail(f"m{n}", subject=subject, loop=loop))
        claimed = await storage.claim(3, LEASE)
        await storage.settle(claimed[0], Outcome(MessageState.DEAD))
        await storage.settle(claimed[1], Outcome(MessageState.PARKED))
        rows = await storage.outbox_rows()
        assert [row.draft.key for row in rows] == ["m5", "m4", "m3", "m2", "m1", "m0"]
        assert await storage.outbox_rows(limit=2) == rows[:2]
        assert await storage.outbox_rows(states=(MessageState.DEAD,)) == rows[5:]
        stuck = (MessageState.DEAD, MessageState.PARKED)
        assert await storage.outbox_rows(states=stuck) == rows[4:]
        assert await storage.outbox_rows(states=(MessageState.CLAIMED,)) == (rows[3],)
        assert await storage.outbox_rows(loop="b") == rows[:3]
        assert await storage.outbox_rows(subject="ada") == rows[1::2]
        assert await storage.outbox_rows(loop="a", subject="ada", states=stuck) == (rows[5],)
        assert await storage.outbox_rows(states=(MessageState.SENT,)) == ()
        assert await storage.outbox_rows(subject="bob", limit=1) == (rows[0],)

    @pytest.mark.parametrize("state", SETTLED)
    async def test_a_person_tries_again(
        self, storage: Storage, clock: ManualClock, state: MessageState
    ) -> None:
        """Decision 26: afresh, with the same key and the same body."""
        await post(storage, clock, mail())
        message = await take(storage)
        assert await storage.begin_attempt(message, awkward()) == Begun()
        clock.advance(LEASE)
        message = await take(storage)  # whether the first attempt arrived is not known
        assert message.unsettled
        assert await storage.settle(message, Outcome(state, failed=True, reason="because"))
        clock.advance(3 * DAY)
        assert await storage.claim(10, LEASE) == ()
        assert await storage.retry_message(message.id) is True
        (row,) = await storage.outbox_rows()
        assert (row.state, row.due_at) == (MessageState.PENDING, clock.now())
        assert (row.failures, row.settled_at) == (0, None)
        again = await take(storage)
        assert (again.draft, again.body, again.failures) == (mail(), awkward(), 0)
        assert (again.first_attempt_at, again.unsettled) == (None, False)
        assert again.claim != message.claim
        assert not await storage.settle(message, SENT)
        await send(storage, again)
        assert dict(await storage.outbox_counts()) == {MessageState.SENT: 1}

    async def test_a_person_hurries_one_that_waits(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `retry_message`: due at once, failures forgotten."""
        await post(storage, clock, mail())
        message = await take(storage)
        await storage.settle(message, Outcome(MessageState.PENDING, DAY, failed=True))
        assert await storage.claim(10, LEASE) == ()
        assert await storage.retry_message(message.id)
        assert (await take(storage)).failures == 0

    async def test_what_is_sent_or_in_hand_is_left_alone(self, storage: Storage, clock: ManualClock) -> None:
        """L4: nobody sends a mail twice by mistake, or takes one from a worker."""
        await post(storage, clock, mail("m1"), mail("m2"))
        sent, held = await storage.claim(10, LEASE)
        await send(storage, sent)
        for message in (sent.id, held.id, held.id + 1):
            assert await storage.retry_message(message) is False
            assert await storage.discard_message(message, "not wanted") is False
        await send(storage, held)
        assert dict(await storage.outbox_counts()) == {MessageState.SENT: 2}

    async def test_a_person_discards(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: what waits or is stuck is settled as cancelled, until somebody retries it."""
        await post(storage, clock, mail("m1"), mail("m2"), mail("m3"))
        (dead,) = await storage.claim(1, LEASE)
        await storage.settle(dead, Outcome(MessageState.DEAD, reason="550"))
        clock.advance("1h")
        *_, waiting, stuck = reversed(await storage.outbox_rows(limit=3))
        for message in (dead.id, waiting.id):
            assert await storage.discard_message(message, "not wanted") is True
        discarded = await storage.outbox_rows(states=(MessageState.CANCELLED,))
        assert [(row.reason, row.due_at, row.settled_at) for row in discarded] == [
            ("not wanted", None, clock.now())
        ] * 2
        assert [message.id for message in await storage.claim(10, LEASE)] == [stuck.id]
        assert await storage.retry_message(waiting.id)
        assert (await take(storage)).id == waiting.id


class ReportConformance(ConformanceBase):
    """What providers tell of a sent mail."""

    async def test_a_click_marks_its_journey(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 21: once, however often it is reported; of this journey alone."""
        await begin_journey(storage, "j1")
        await begin_journey(storage, "j2", subject="bob")
        for message in await storage.claim(10, LEASE):
            await send(storage, message, f"p-{message.draft.subject}")
        assert [row.clicks for row in await storage.funnel()] == [0]
        for _ in range(2):
            assert await storage.mark_report("p-ada", "clicked") is True
        (row,) = await storage.funnel()
        assert (row.journeys, row.prompts, row.clicks) == (2, 2, 1)

    async def test_other_reports(self, storage: Storage, clock: ManualClock) -> None:
        """Contract of `mark_report`: known or not is all they say; a mail of no journey is known, too."""
        assert await storage.mark_report("p-1", "clicked") is False
        await begin_journey(storage)
        await send(storage, await take(storage), "p-1")
        await post(storage, clock, mail("lone"))
        await send(storage, await take(storage), "p-2")
        for kind in ("delivered", "opened", "bounced", "something new"):
            assert await storage.mark_report("p-1", kind) is True
        assert await storage.mark_report("p-2", "clicked") is True
        assert await storage.mark_report("p-3", "clicked") is False
        assert await storage.mark_report("", "clicked") is False
        assert [row.clicks for row in await storage.funnel(loop="welcome")] == [0]

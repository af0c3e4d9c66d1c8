"""`Outbox`: handing messages to workers."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.engine.standing import Standing
from skene.ports.notifier import Body
from skene.ports.outbox import Begun, Claimed, MessageState, Outcome
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    MICROSECOND,
    PAYING,
    ConformanceBase,
    apply,
    draft,
    refuse_once,
    set_plan,
    wall,
)

LEASE = timedelta(seconds=30)
FINAL = [state for state in MessageState if state not in (MessageState.PENDING, MessageState.CLAIMED)]
SENT = Outcome(MessageState.SENT)


def awkward() -> Body:
    """JSON that is easily spoilt on its way through a database."""
    text = 'You\'ve …\0 "100%" {{x}} :y $1 ä🌍'
    return {"to": text, "list": [1, -2.5, None, True, {text: {}}], "big": 2**60, "empty": "", "nothing": None}


async def take(storage: Storage) -> Claimed:
    """Claim the one message that is due."""
    (message,) = await storage.claim(10, LEASE)
    return message


class ClaimConformance(ConformanceBase):
    """Leases."""

    async def test_a_new_message_is_due_at_once(self, storage: Storage, clock: ManualClock) -> None:
        """L10: as it was written, never tried."""
        assert await storage.claim(10, LEASE) == ()
        await refuse_once(storage, clock)
        clock.advance("5s")
        message = await take(storage)
        assert message.draft == draft("upgrade_prompt:w1", wall="w1")
        assert (message.failures, message.body, message.first_attempt_at) == (0, None, None)
        assert message.unsettled is False
        assert message.now == clock.now()
        assert (message.current_plan, message.email) == (None, None)
        ((kept, state, reason),) = await storage.messages()
        assert (kept, state, reason) == (message.draft, MessageState.CLAIMED, None)

    async def test_oldest_first_and_no_more_than_asked_for(
        self, storage: Storage, clock: ManualClock
    ) -> None:
        """L10: nobody waits behind somebody younger."""
        for n in range(7):
            await refuse_once(storage, clock, subject=f"s{n}", wall_id=f"w{n}")
            clock.advance("1s")
        claims = [await storage.claim(3, LEASE) for _ in range(4)]
        assert [[m.draft.subject for m in claimed] for claimed in claims] == [
            ["s0", "s1", "s2"],
            ["s3", "s4", "s5"],
            ["s6"],
            [],
        ]
        assert len({message.id for claimed in claims for message in claimed}) == 7
        assert [message[0].subject for message in await storage.messages()] == [f"s{n}" for n in range(7)]

    async def test_a_lease_that_ends_hands_over(self, storage: Storage, clock: ManualClock) -> None:
        """L4, L10: not a moment before, whoever holds it; what a dead worker held comes back."""
        await refuse_once(storage, clock)
        first = await take(storage)
        clock.advance(LEASE - MICROSECOND)
        assert await storage.claim(10, LEASE) == ()
        clock.advance(MICROSECOND)
        second = await take(storage)
        assert second.id == first.id
        assert second.claim != first.claim
        assert second.unsettled is False
        assert second.failures == 0
        assert await storage.claim(10, LEASE) == ()

    async def test_a_lost_claim_may_not_act(self, storage: Storage, clock: ManualClock) -> None:
        """L4: the earlier worker can neither send nor settle; the later one can do both."""
        await refuse_once(storage, clock)
        first = await take(storage)
        clock.advance(LEASE)
        second = await take(storage)
        assert await storage.begin_attempt(first, {"n": 1}) is None
        assert await storage.settle(first, SENT) is False
        assert (await storage.messages())[0][1] is MessageState.CLAIMED
        assert (await storage.funnel())[0].prompts == 0
        assert await storage.begin_attempt(second, {"n": 2}) == Begun() == Begun()
        assert await storage.settle(first, Outcome(MessageState.DEAD)) is False
        assert await storage.settle(second, SENT) is True
        assert await storage.settle(first, Outcome(MessageState.PENDING)) is False
        assert (await storage.messages())[0][1] is MessageState.SENT

    async def test_no_attempt_after_the_lease(self, storage: Storage, clock: ManualClock) -> None:
        """L4: a message is in a worker's hands until the lease ends, taken over or not."""
        await refuse_once(storage, clock)
        message = await take(storage)
        clock.advance(LEASE)
        assert await storage.begin_attempt(message, {}) is None
        assert (await take(storage)).unsettled is False

    async def test_a_claim_ends_when_it_is_settled(self, storage: Storage, clock: ManualClock) -> None:
        """L4: settling twice changes nothing; what was given back can be claimed anew."""
        await refuse_once(storage, clock)
        message = await take(storage)
        assert await storage.settle(message, Outcome(MessageState.PENDING))
        assert await storage.begin_attempt(message, {}) is None
        assert await storage.settle(message, SENT) is False
        again = await take(storage)
        assert again.claim != message.claim
        assert await storage.settle(message, SENT) is False
        assert await storage.settle(again, SENT)
        assert await storage.settle(again, Outcome(MessageState.PENDING)) is False
        assert await storage.claim(10, LEASE) == ()

    async def test_made_up_claims_are_lost(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: the number guards, not only the id."""
        await refuse_once(storage, clock)
        message = await take(storage)
        for wrong in (replace(message, claim=message.claim + 1), replace(message, id=message.id + 1)):
            assert await storage.begin_attempt(wrong, {}) is None
            assert await storage.settle(wrong, SENT) is False
        assert await storage.settle(message, SENT)

    async def test_the_plan_and_address_of_now(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 19: read at the claim, so that a prompt to somebody who has paid can be dropped."""
        await refuse_once(storage, clock)
        await refuse_once(storage, clock, subject="bob", wall_id="w2")
        await apply(storage)
        ada, bob = await storage.claim(10, LEASE)
        assert (ada.current_plan, ada.email) == ("paid", "ada@example.test")
        assert (bob.current_plan, bob.email) == (None, None)
        assert "ada@example.test" not in repr(await storage.get_customer("ada"))
        end = clock.now() + timedelta(days=1)
        await apply(storage, Standing("paid", end, paying=True))
        await storage.link("bob", "cus_bob")
        clock.set(end)
        ada, bob = await storage.claim(10, LEASE)
        assert ada.current_plan == "free"
        assert bob.current_plan is None
        await set_plan(storage, Standing("pro"), subject="bob")
        await apply(storage, FREE, email=None)
        clock.advance(LEASE)
        ada, bob = await storage.claim(10, LEASE)
        assert (ada.current_plan, ada.email) == ("free", None)
        assert bob.current_plan == "pro"


class AttemptConformance(ConformanceBase):
    """Sending, and how it ended."""

    async def test_the_body_is_frozen(self, storage: Storage, clock: ManualClock) -> None:
        """L4, decision 19: what the first attempt sent is what every later one sends."""
        await refuse_once(storage, clock)
        message = await take(storage)
        body = awkward()
        assert await storage.begin_attempt(message, body) == Begun()
        begun = clock.now()
        body["tags"] = []
        clock.advance(LEASE)
        second = await take(storage)
        assert second.body == awkward()
        assert second.first_attempt_at == begun
        assert await storage.begin_attempt(second, {"to": "somebody else"}) == Begun()
        clock.advance(LEASE)
        third = await take(storage)
        assert third.body == second.body
        assert third.first_attempt_at == begun

    async def test_data_comes_back_as_json(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: as plain JSON, whatever a template says, untouched by later changes."""
        data = awkward()
        await storage.open_wall(wall(clock), (replace(draft(), data=data),))
        data["to"] = "changed"
        assert (await storage.messages())[0][0].data == awkward()
        assert (await take(storage)).draft.data == awkward()

    async def test_an_attempt_nobody_settled(self, storage: Storage, clock: ManualClock) -> None:
        """L4, L10: it shows until an attempt begun later is settled; giving back unsent settles nothing."""
        await refuse_once(storage, clock)
        message = await take(storage)
        assert await storage.begin_attempt(message, {}) == Begun()
        clock.advance(LEASE)
        second = await take(storage)
        assert second.unsettled is True
        assert await storage.settle(second, Outcome(MessageState.PENDING))
        third = await take(storage)
        assert third.unsettled is True
        assert await storage.begin_attempt(third, {}) == Begun()
        assert await storage.settle(third, Outcome(MessageState.PENDING, failed=True))
        fourth = await take(storage)
        assert fourth.unsettled is False
        assert fourth.failures == 1
        assert fourth.first_attempt_at is not None

    async def test_another_attempt_waits(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: due after the delay and not before; failures are counted, postponements are not."""
        await refuse_once(storage, clock)
        delays = (timedelta(microseconds=1), timedelta(seconds=3), timedelta(hours=23))
        for number, delay in enumerate(delays):
            message = await take(storage)
            assert message.failures == number
            assert await storage.begin_attempt(message, {}) == Begun()
            clock.advance("1s")
            outcome = Outcome(MessageState.PENDING, delay, failed=True, reason=f"try {number}")
            assert await storage.settle(message, outcome)
            assert (await storage.messages())[0][1:] == (MessageState.PENDING, f"try {number}")
            clock.advance(delay - MICROSECOND)
            assert await storage.claim(10, LEASE) == ()
            clock.advance(MICROSECOND)
        postponed = await take(storage)
        assert postponed.failures == 3
        await storage.settle(postponed, Outcome(MessageState.PENDING))
        assert (await take(storage)).failures == 3

    async def test_a_waiting_message_holds_nobody_up(self, storage: Storage, clock: ManualClock) -> None:
        """L10: those who are due pass one who has to wait."""
        await refuse_once(storage, clock, subject="s0", wall_id="w0")
        await refuse_once(storage, clock, subject="s1", wall_id="w1")
        (first,) = await storage.claim(1, LEASE)
        await storage.settle(first, Outcome(MessageState.PENDING, timedelta(hours=1)))
        assert [message.draft.subject for message in await storage.claim(1, LEASE)] == ["s1"]

    async def test_those_due_longest_are_taken(self, storage: Storage, clock: ManualClock) -> None:
        """L10: one that is tried again and again does not keep younger ones waiting."""
        for n in range(3):
            await refuse_once(storage, clock, subject=f"s{n}", wall_id=f"w{n}")
        for message, minutes in zip(await storage.claim(3, LEASE), (3, 1, 2), strict=True):
            await storage.settle(message, Outcome(MessageState.PENDING, timedelta(minutes=minutes)))
        clock.advance("5m")
        assert [message.draft.subject for message in await storage.claim(2, LEASE)] == ["s1", "s2"]
        assert (await take(storage)).draft.subject == "s0"

    @pytest.mark.parametrize("state", FINAL)
    async def test_final_states_are_final(
        self, storage: Storage, clock: ManualClock, state: MessageState
    ) -> None:
        """L4: nothing takes a message out of a final state by itself."""
        await refuse_once(storage, clock)
        message = await take(storage)
        outcome = Outcome(state, failed=True, reason="because", provider_id="p-1")
        assert await storage.settle(message, outcome)
        clock.advance(timedelta(days=400))
        assert await storage.claim(10, LEASE) == ()
        assert await storage.settle(message, Outcome(MessageState.PENDING)) is False
        assert await storage.begin_attempt(message, {}) is None
        assert (await storage.messages())[0][1:] == (state, "because")
        assert dict(await storage.outbox_counts()) == {state: 1}

    async def test_counts_and_lists(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: by state, empty ones left out; of one subject or of all."""
        assert dict(await storage.outbox_counts()) == {}
        for n in range(6):
            await refuse_once(storage, clock, subject=f"s{n % 2}", wall_id=f"w{n}")
            clock.advance("31d")
        one, two, three, *_ = await storage.claim(4, timedelta(days=9))
        await storage.settle(one, SENT)
        await storage.settle(two, Outcome(MessageState.SKIPPED, reason="no address"))
        await storage.settle(three, SENT)
        assert dict(await storage.outbox_counts()) == {
            MessageState.SENT: 2,
            MessageState.SKIPPED: 1,
            MessageState.CLAIMED: 1,
            MessageState.PENDING: 2,
        }
        assert [m[0].wall for m in await storage.messages()] == [f"w{n}" for n in range(6)]
        assert [m[0].wall for m in await storage.messages("s1")] == ["w1", "w3", "w5"]
        assert (await storage.messages("s1"))[0][2] == "no address"
        assert await storage.messages("nobody") == ()

    async def test_a_draft_reads_back(self, storage: Storage, clock: ManualClock) -> None:
        """L10: every field."""
        one = replace(
            draft("k1", wall="w1", plan="pro"),
            kind="usage_warning",
            loop="x",
            step="x.3",
            channel="smtp",
            template="almost",
            cancel_on_upgrade=False,
        )
        await storage.open_wall(wall(clock), (one,))
        assert (await storage.messages())[0][0] == one
        message = await take(storage)
        assert message.draft == one
        await set_plan(storage, PAYING)

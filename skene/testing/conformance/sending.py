"""`Outbox.begin_attempt`: what a message must pass before it may leave."""

from dataclasses import replace
from datetime import timedelta

import pytest

from skene.ports.contacts import Suppressed
from skene.ports.outbox import Begun, Later, MessageState, Never, Outcome, Rules
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import MICROSECOND, ConformanceBase
from skene.testing.conformance.happening import DAY, LEASE, SENT, mail, post, send, take

DIGEST = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
WEEK = timedelta(days=7)
CAP = Rules(cap=(1, WEEK))
SECOND = timedelta(seconds=1)
AGAIN = Outcome(MessageState.PENDING)


class SuppressionConformance(ConformanceBase):
    """Who is not written to."""

    @pytest.mark.parametrize("kind", [Suppressed.BOUNCED, Suppressed.COMPLAINED])
    @pytest.mark.parametrize("marketing", [True, False])
    async def test_a_suppressed_address(
        self, storage: Storage, clock: ManualClock, kind: Suppressed, marketing: bool
    ) -> None:
        """Decision 27: nothing is sent to it, transactional mail included; nothing was begun either."""
        await storage.suppress(kind, address=DIGEST, source="resend")
        await post(storage, clock, mail(marketing=marketing))
        message = await take(storage)
        answer = await storage.begin_attempt(message, {"to": "a"}, Rules(address=DIGEST))
        assert isinstance(answer, Never)
        assert kind in answer.reason
        assert DIGEST not in answer.reason
        assert await storage.begin_attempt(message, {"to": "b"}, Rules(address="another")) == Begun()
        found = await storage.outbox_row(message.id)
        assert found is not None
        assert found[1] == {"to": "b"}

    async def test_what_has_no_address(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: a webhook or a grant is stopped by no address."""
        await storage.suppress(Suppressed.BOUNCED, address=DIGEST, source="resend")
        await post(storage, clock, replace(mail(marketing=False), kind="webhook"))
        assert await storage.begin_attempt(await take(storage), {}, Rules()) == Begun()

    async def test_who_has_unsubscribed(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: gets no marketing mail and everything else; others get both."""
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        await post(
            storage,
            clock,
            mail("m1"),
            mail("m2", marketing=False),
            mail("m3", subject="bob"),
            mail("m4", subject="bob", marketing=False),
        )
        claimed = await storage.claim(10, LEASE)
        rules = Rules(address=DIGEST)
        answers = {one.draft.key: await storage.begin_attempt(one, {}, rules) for one in claimed}
        refused = answers.pop("m1")
        assert list(answers.values()) == [Begun()] * 3
        assert isinstance(refused, Never)
        assert Suppressed.UNSUBSCRIBED in refused.reason

    async def test_marketing_goes_last(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: a campaign of thousands keeps nobody waiting for the notice of a limit."""
        await post(storage, clock, *(mail(f"m{n}", subject=f"user-{n}") for n in range(30)))
        clock.advance(SECOND)
        await post(storage, clock, mail("n1", marketing=False))
        await post(storage, clock, mail("n2", marketing=False))
        claimed = await storage.claim(3, LEASE)
        assert [one.draft.key for one in claimed] == ["m0", "n1", "n2"]
        claimed = await storage.claim(3, LEASE)
        assert [one.draft.key for one in claimed] == ["m1", "m2", "m3"]
        clock.advance(LEASE)
        again = await storage.claim(40, LEASE)
        assert len(again) == 32

    async def test_a_wish_that_comes_last_is_honoured(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: between the claim and the attempt; also between two attempts."""
        await post(storage, clock, mail())
        message = await take(storage)
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        assert isinstance(await storage.begin_attempt(message, {}), Never)
        await storage.unsuppress(subject="ada")
        assert await storage.begin_attempt(message, {}) == Begun()
        assert await storage.settle(message, replace(AGAIN, failed=True))
        await storage.suppress(Suppressed.BOUNCED, address=DIGEST, source="resend")
        again = await take(storage)
        assert isinstance(await storage.begin_attempt(again, {}, Rules(address=DIGEST)), Never)
        assert await storage.settle(again, Outcome(MessageState.CANCELLED, reason="bounced"))

    async def test_a_lost_claim_is_told_first(self, storage: Storage, clock: ManualClock) -> None:
        """L4: whoever lost it has nothing to settle, whatever the rules say."""
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="ada", source="link")
        await post(storage, clock, mail())
        message = await take(storage)
        clock.advance(LEASE)
        rules = Rules(DIGEST, (1, WEEK), WEEK)
        assert await storage.begin_attempt(message, {}, rules) is None
        await take(storage)
        assert await storage.begin_attempt(message, {}, rules) is None


class CapConformance(ConformanceBase):
    """No more marketing mails in a time than a subject should get."""

    async def test_a_cap_to_the_microsecond(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: counted from when a mail was sent; exactly the time later there is room again."""
        await post(storage, clock, mail("m1"))
        first = await take(storage)
        assert await storage.begin_attempt(first, {}, CAP) == Begun()
        clock.advance(SECOND)
        assert await storage.settle(first, SENT)
        sent = clock.now()
        await post(storage, clock, mail("m2"))
        clock.advance("1h")
        message = await take(storage)
        left = WEEK - timedelta(hours=1)
        assert await storage.begin_attempt(message, {"n": 1}, CAP) == Later(left, capped=True)
        assert await storage.settle(message, Outcome(MessageState.PENDING, left - MICROSECOND))
        clock.set(sent + WEEK - MICROSECOND)
        message = await take(storage)
        assert message.body is None
        assert message.first_attempt_at is None
        assert message.unsettled is False
        assert await storage.begin_attempt(message, {}, CAP) == Later(MICROSECOND, capped=True)
        clock.set(sent + WEEK)
        assert await storage.begin_attempt(message, {}, CAP) == Begun()

    async def test_several_in_a_time(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: the oldest that counts makes room first, and only for one."""
        rules = Rules(cap=(3, WEEK))
        begin = clock.now()
        for n in range(3):
            await post(storage, clock, mail(f"m{n}"))
            message = await take(storage)
            assert await storage.begin_attempt(message, {}, rules) == Begun()
            await storage.settle(message, SENT)
            clock.advance(DAY)
        await post(storage, clock, mail("m3"), mail("m4"))
        one, two = await storage.claim(10, 30 * DAY)
        assert await storage.begin_attempt(one, {}, rules) == Later(WEEK - 3 * DAY, capped=True)
        clock.set(begin + WEEK)
        assert await storage.begin_attempt(one, {}, rules) == Begun()
        await storage.settle(one, SENT)
        assert await storage.begin_attempt(two, {}, rules) == Later(DAY, capped=True)
        lower = await storage.begin_attempt(two, {}, Rules(cap=(1, WEEK)))
        assert lower == Later(WEEK, capped=True)
        assert await storage.begin_attempt(two, {}, Rules(cap=(3, 6 * DAY))) == Begun()

    async def test_what_counts(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: marketing mails of this subject that were sent, or perhaps were."""
        others = (
            mail("transactional", marketing=False),
            mail("bob's", subject="bob"),
            mail("dead"),
            mail("cancelled"),
            mail("skipped"),
            mail("failed"),
            mail("waiting"),
        )
        await post(storage, clock, *others)
        ends = [SENT, SENT, *(Outcome(MessageState(one.key)) for one in others[2:5])]
        ends += [Outcome(MessageState.PENDING, 9 * DAY, failed=True)]
        claimed = await storage.claim(10, LEASE)
        for message, end in zip(claimed, ends, strict=False):
            assert await storage.begin_attempt(message, {}, Rules(cap=(100, WEEK))) == Begun()
            assert await storage.settle(message, end)
        assert await storage.settle(claimed[-1], Outcome(MessageState.PENDING, 9 * DAY))
        await post(storage, clock, mail("m1"))
        message = await take(storage)
        assert await storage.begin_attempt(message, {}, CAP) == Begun()
        await storage.settle(message, Outcome(MessageState.PARKED, reason="perhaps sent"))
        await post(storage, clock, mail("m2"), mail("m3", marketing=False), mail("m4", subject="cy"))
        ada, transactional, cy = await storage.claim(10, LEASE)
        assert await storage.begin_attempt(ada, {}, CAP) == Later(WEEK, capped=True)
        assert await storage.begin_attempt(ada, {}, Rules(cap=(2, WEEK))) == Begun()
        assert await storage.begin_attempt(transactional, {}, CAP) == Begun()
        assert await storage.begin_attempt(cy, {}, CAP) == Begun()

    async def test_an_attempt_under_way_counts(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: two workers never pass the cap together; a certain failure gives the place back."""
        await post(storage, clock, mail("m1"), mail("m2"))
        one, two = await storage.claim(10, DAY)
        assert await storage.begin_attempt(one, {}, CAP) == Begun()
        answer = await storage.begin_attempt(two, {}, CAP)
        assert isinstance(answer, Later)
        assert answer.capped
        assert timedelta(0) < answer.delay <= WEEK
        await storage.settle(one, Outcome(MessageState.PENDING, failed=True))
        assert await storage.begin_attempt(two, {}, CAP) == Begun()
        again = await take(storage)
        assert isinstance(await storage.begin_attempt(again, {}, CAP), Later)

    async def test_an_attempt_of_unknown_end(self, storage: Storage, clock: ManualClock) -> None:
        """L4, decision 27: it counts for the others, however old it is, and not for itself."""
        await post(storage, clock, mail("m1"))
        assert await storage.begin_attempt(await take(storage), {}, CAP) == Begun()
        clock.advance(2 * WEEK)
        await post(storage, clock, mail("m2"))
        first, second = await storage.claim(10, LEASE)
        assert first.unsettled
        assert isinstance(await storage.begin_attempt(second, {}, CAP), Later)
        assert await storage.begin_attempt(first, {}, CAP) == Begun()
        assert await storage.settle(first, SENT)
        assert await storage.begin_attempt(second, {}, CAP) == Later(WEEK, capped=True)

    async def test_transactional_mail_knows_no_cap(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 27: neither held back nor counted."""
        await post(storage, clock, *(mail(f"m{n}", marketing=False) for n in range(3)))
        for message in await storage.claim(10, LEASE):
            assert await storage.begin_attempt(message, {}, CAP) == Begun()
            assert await storage.settle(message, SENT)


class PaceConformance(ConformanceBase):
    """Turns of a channel, and channels that are held."""

    async def test_one_turn_after_the_other(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: each attempt is told how long to wait for its own turn; time makes up for it."""
        rules = Rules(pace=timedelta(milliseconds=500))
        await post(storage, clock, *(mail(f"m{n}", subject=f"s{n}") for n in range(6)))
        claimed = list(await storage.claim(10, DAY))
        waits = [await storage.begin_attempt(claimed.pop(0), {}, rules) for _ in range(3)]
        assert waits == [Begun(), Begun(timedelta(seconds=0.5)), Begun(timedelta(seconds=1))]
        clock.advance(SECOND)
        assert await storage.begin_attempt(claimed.pop(0), {}, rules) == Begun(timedelta(seconds=0.5))
        clock.advance("1h")
        waits = [await storage.begin_attempt(one, {}, rules) for one in claimed]
        assert waits == [Begun(), Begun(timedelta(seconds=0.5))]

    async def test_a_turn_that_comes_too_late(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: nobody waits longer than their patience; the turn is left to others."""
        pace = timedelta(seconds=2)
        rules = Rules(pace=pace, patience=2 * pace)
        await post(storage, clock, *(mail(f"m{n}", subject=f"s{n}") for n in range(4)))
        one, two, three, four = await storage.claim(10, DAY)
        waits = [await storage.begin_attempt(message, {}, rules) for message in (one, two, three)]
        assert waits == [Begun(), Begun(pace), Begun(2 * pace)]
        for _ in range(3):
            assert await storage.begin_attempt(four, {"n": 1}, rules) == Later(3 * pace)
        found = await storage.outbox_row(four.id)
        assert found is not None
        assert found[1] is None
        clock.advance(pace - MICROSECOND)
        assert await storage.begin_attempt(four, {}, rules) == Later(2 * pace + MICROSECOND)
        clock.advance(MICROSECOND)
        assert await storage.begin_attempt(four, {"n": 2}, rules) == Begun(2 * pace)

    async def test_channels_have_turns_of_their_own(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: a slow provider holds up no other; who has no pace takes no turn."""
        await post(storage, clock, *(mail(f"m{n}", channel=("resend", "smtp")[n % 2]) for n in range(4)))
        rules = Rules(pace=SECOND)
        one, two, three, four = await storage.claim(10, DAY)
        assert await storage.begin_attempt(one, {}, rules) == Begun()
        assert await storage.begin_attempt(two, {}) == Begun()
        assert await storage.begin_attempt(four, {}, rules) == Begun()
        assert await storage.begin_attempt(three, {}, rules) == Begun(SECOND)

    async def test_who_may_not_leave_takes_no_turn(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: refused, capped or lost: the channel stays free."""
        await storage.suppress(Suppressed.UNSUBSCRIBED, subject="bob", source="link")
        rules = Rules(cap=(1, WEEK), pace=SECOND)
        await post(storage, clock, mail("m1"), mail("m2"), mail("m3", subject="bob"), mail("m4", subject="c"))
        one, capped, refused, other = await storage.claim(10, DAY)
        await send(storage, one)
        lost = replace(one, claim=one.claim + 1)
        assert isinstance(await storage.begin_attempt(capped, {}, rules), Later)
        assert isinstance(await storage.begin_attempt(refused, {}, rules), Never)
        assert await storage.begin_attempt(lost, {}, rules) is None
        assert await storage.begin_attempt(other, {}, rules) == Begun()

    async def test_a_channel_is_held(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: what one worker is told by the provider holds for all, with a pace or without."""
        await post(
            storage, clock, *(mail(f"m{n}", subject=f"s{n}") for n in range(4)), mail("m9", channel="smtp")
        )
        one, two, three, four, smtp = await storage.claim(10, DAY)
        assert await storage.begin_attempt(one, {}) == Begun()
        hold = timedelta(seconds=10)
        busy = Outcome(MessageState.PENDING, hold, failed=True, reason="429", hold=hold)
        assert await storage.settle(one, busy)
        assert await storage.begin_attempt(two, {}) == Later(hold)
        assert await storage.begin_attempt(two, {}, Rules(pace=SECOND)) == Later(hold)
        assert await storage.begin_attempt(smtp, {}) == Begun()
        clock.advance("6s")
        assert await storage.begin_attempt(two, {}) == Begun(timedelta(seconds=4))
        assert await storage.begin_attempt(three, {}, Rules(pace=SECOND)) == Begun(timedelta(seconds=4))
        assert await storage.begin_attempt(four, {}, Rules(pace=SECOND)) == Begun(timedelta(seconds=5))

    async def test_a_shorter_hold_shortens_nothing(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 26: the longest wish stands; one of somebody who lost the claim is not heard."""
        await post(storage, clock, *(mail(f"m{n}", subject=f"s{n}") for n in range(4)))
        one, two, three, four = await storage.claim(10, DAY)
        for message, hold in ((one, 10), (two, 3)):
            assert await storage.settle(message, replace(AGAIN, delay=DAY, hold=timedelta(seconds=hold)))
        assert await storage.begin_attempt(three, {}) == Later(timedelta(seconds=10))
        lost = replace(four, claim=four.claim + 1)
        assert not await storage.settle(lost, replace(AGAIN, hold=timedelta(hours=1)))
        assert await storage.begin_attempt(three, {}) == Later(timedelta(seconds=10))
        clock.advance("10s")
        assert await storage.begin_attempt(three, {}) == Begun()
        sent = replace(SENT, hold=timedelta(seconds=7))  # a provider may say so while it takes a mail
        assert await storage.settle(three, sent)
        assert await storage.begin_attempt(four, {}) == Later(timedelta(seconds=7))

"""`Storage.forget`, starting and closing, and ids of every kind."""

from dataclasses import replace
from unicodedata import normalize

import pytest

from skene.engine.standing import Standing
from skene.ports.contacts import Suppressed
from skene.ports.firings import Entry, Journey, Repeat, Watcher
from skene.ports.firings import Outcome as Decided
from skene.ports.outbox import Begun, MessageState, Outcome, Rules
from skene.ports.storage import Storage
from skene.testing.clock import ManualClock
from skene.testing.conformance.base import (
    FREE,
    PAYING,
    ConformanceBase,
    StorageFactory,
    apply,
    call,
    charge,
    conversions,
    draft,
    notice,
    refuse_once,
    set_plan,
    update,
    used,
    wall,
)
from skene.testing.conformance.happening import (
    ACTED,
    LEASE,
    act,
    begin_journey,
    fired,
    mail,
    send,
    take_firing,
)

COMPOSED, DECOMPOSED = normalize("NFC", "é"), normalize("NFD", "é")
ODD = [
    "🌍🏳️‍🌈",
    "x" * 200,
    "ä" * 100,
    "'; DROP TABLE skene_usage; --",
    '"quoted" \\ back \\\\ %s %(x)s :name $1 ? {y} %_',
    "مرحبا \u202e rtl",
    "\x01\t\n\r\x7f",
    " ",
    "null",
    "0",
    COMPOSED,
    DECOMPOSED,
    "ADA",
    "ada ",
    "I\u0307",
    "ß",
    "ss",
]


class ForgetConformance(ConformanceBase):
    """Erasing a person."""

    async def test_nothing_of_the_person_is_left(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: counters, keys, messages, record and names are gone; others keep theirs."""
        for subject in ("ada", "bob"):
            counted = await storage.consume(call(charge(3), subject=subject, key="k1"))
            warned = notice(
                counted, "n", drafts=(draft(f"warn:{subject}", subject=subject),), subject=subject
            )
            await storage.record_notice(warned)
            await refuse_once(storage, clock, subject=subject, wall_id=f"w-{subject}")
            email = f"{subject}@example.test"
            await apply(storage, customer=f"cus_{subject}", subject=subject, email=email)
            await storage.consume(call(charge(3), subject=subject))
        assert await storage.forget("ada") > 0
        assert await storage.messages("ada") == ()
        assert await storage.get_customer("ada") is None
        assert {message[0].subject for message in await storage.messages()} == {"bob"}
        counted = await storage.peek(call(charge(3), key="k1"))
        assert (counted.plan, counted.customer, counted.replayed) == ("free", None, False)
        assert (counted.tallies[0].used, counted.tallies[0].notices) == (0, ())
        assert (await storage.peek(call(charge(0)))).tallies[0].wall is None
        kept = await storage.get_wall("w-ada")
        assert kept is None or kept.subject not in ("ada", "bob")
        bob = await storage.get_customer("bob")
        assert bob is not None
        assert bob.plan == "paid"
        assert (await storage.consume(call(charge(3), subject="bob", key="k1"))).replayed
        assert len(await storage.messages("bob")) == 2

    async def test_what_was_proven_is_still_counted(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: walls and conversions stay, under no name, however many are forgotten."""
        names = ("ada", "bob", "cy")
        for name in names:
            await refuse_once(storage, clock, subject=name, wall_id=f"w-{name}")
            await storage.mark_clicked(f"w-{name}")
            await apply(storage, customer=f"cus_{name}", subject=name)
        before = await storage.funnel()
        for name in names:
            assert await storage.forget(name) > 0
        assert await storage.funnel() == before
        assert (before[0].walls, before[0].conversions, before[0].clicks) == (3, 3, 3)
        assert await storage.messages() == ()

    async def test_a_late_webhook_brings_nobody_back(self, storage: Storage) -> None:
        """Decision 31: neither one that starts now, nor a fetch that was under way."""
        await apply(storage, event="evt_1")
        under_way = await storage.begin_sync("cus_ada", "evt_2")
        await storage.forget("ada")
        assert await storage.begin_sync("cus_ada") is None
        assert await storage.begin_sync("cus_ada", "evt_3") is None
        await storage.apply_billing(update(under_way, event="evt_2"))
        assert await storage.get_customer("ada") is None
        assert (await storage.peek(call())).plan == "free"
        assert await storage.begin_sync("cus_ada") is None
        assert await storage.begin_sync("cus_bob") is not None
        assert await conversions(storage) == 1

    async def test_a_message_in_hand_is_dropped(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: the worker that holds it may not send it any more."""
        await refuse_once(storage, clock)
        (message,) = await storage.claim(10, LEASE)
        await storage.forget("ada")
        assert await storage.begin_attempt(message, {}) is None
        assert await storage.settle(message, Outcome(MessageState.SENT)) is False
        assert dict(await storage.outbox_counts()) == {}
        clock.advance(LEASE)
        assert await storage.claim(10, LEASE) == ()

    async def test_refunds_of_the_forgotten_are_ignored(self, storage: Storage) -> None:
        """Contract of `refund`: a call under way while its subject is forgotten does no harm."""
        counted = await storage.consume(call(key="k1"))
        await storage.forget("ada")
        receipt = counted.tallies[0].receipt
        assert receipt is not None
        await storage.refund("ada", (receipt,), "k1")
        assert await used(storage) == 0
        assert (await storage.consume(call(charge(1)))).tallies[0].used == 1

    async def test_who_comes_back_is_new(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: the same id is counted, stopped and asked again as anybody else."""
        await storage.consume(call(charge(1)))
        await refuse_once(storage, clock, wall_id="w1")
        await storage.forget("ada")
        clock.advance("1h")
        assert (await storage.consume(call(charge(1)))).tallies[0].start == clock.now()
        assert await refuse_once(storage, clock, wall_id="w2") == "w2"
        assert [message[0].wall for message in await storage.messages("ada")] == ["w2"]
        await set_plan(storage, PAYING)
        assert (await storage.peek(call())).plan == "paid"

    async def test_the_other_loops_forget_too(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: firings, log, suppression, repetitions are gone; of nobody else."""
        rule = Repeat(max_fires=1)
        for subject in ("ada", "bob"):
            await act(storage, f"a:{subject}", subject=subject, repeat=rule)
            await storage.emit(subject, (fired(f"b:{subject}", subject=subject, after=LEASE),), {})
            await storage.suppress(Suppressed.UNSUBSCRIBED, subject=subject, source="link")
        await storage.suppress(Suppressed.BOUNCED, address="digest", source="resend")
        assert await storage.forget("ada") >= 5
        assert await storage.decisions(subject="ada") == ()
        assert {row.subject for row in await storage.decisions()} == {"bob"}
        assert await storage.suppressions(subject="ada") == ()
        assert dict(await storage.suppression_counts()) == {
            Suppressed.UNSUBSCRIBED: 1,
            Suppressed.BOUNCED: 1,
        }
        assert await storage.outbox_rows(subject="ada") == ()
        assert await storage.pending_firings() == 1
        clock.advance(LEASE)
        assert (await take_firing(storage)).subject == "bob"
        assert await storage.forget("ada") == 0
        assert (await act(storage, "a:ada", repeat=rule)).acted == 1
        assert (await act(storage, "c:bob", subject="bob", repeat=rule)).acted == 0

    async def test_journeys_stay_under_no_name(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: they are still counted; nobody reaches the goal of a forgotten subject's."""
        for name in ("ada", "bob", "cy"):
            await begin_journey(storage, name, subject=name)
        clock.advance("1h")
        await storage.emit("ada", (), {"welcome": LEASE * 1000})
        before = await storage.funnel()
        for name in ("ada", "bob"):
            assert await storage.forget(name) > 0
        assert await storage.funnel() == before
        assert await storage.forget("bob") == 0
        await storage.emit("bob", (), {"welcome": LEASE * 1000})
        assert await storage.funnel() == before
        assert [message.draft.subject for message in await storage.claim(10, LEASE)] == ["cy"]

    async def test_a_firing_in_hand_is_dropped(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: the worker that holds it records nothing more about the person."""
        await storage.emit("ada", (fired(),), {})
        firing = await take_firing(storage)
        await storage.forget("ada")
        journey = Journey("j1", "welcome", "ada")
        following = Entry("ada", Decided.ACTED, (mail(),), (fired("f2"),), journey)
        assert not (await storage.record(firing, (following,), lease=LEASE)).held
        assert not (await storage.record(firing, (following,), closing=ACTED)).held
        assert not await storage.keep_firing(firing, LEASE)
        assert not await storage.postpone_firing(firing, LEASE)
        assert await storage.messages() == ()
        assert await storage.decisions() == ()
        assert await storage.funnel() == ()
        clock.advance(LEASE)
        assert (await storage.claim_firings(10, LEASE))[1] == ()

    async def test_a_sent_mail_is_forgotten(self, storage: Storage) -> None:
        """Decision 31: what its provider reports later is about nobody."""
        await begin_journey(storage)
        (message,) = await storage.claim(10, LEASE)
        await send(storage, message, "p-1")
        await storage.forget("ada")
        assert await storage.mark_report("p-1", "clicked") is False
        assert await storage.outbox_row(message.id) is None
        assert await storage.retry_message(message.id) is False
        assert [(row.prompts, row.clicks) for row in await storage.funnel()] == [(1, 0)]

    async def test_a_plan_that_ends_later(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: the end of a forgotten subject's plan is no news, and brings no record back."""
        await set_plan(storage, Standing("pro", clock.now() + LEASE))
        await storage.forget("ada")
        clock.advance(LEASE)
        assert await storage.note_lapses((Watcher("winback", "winback.0"),), 10) == 0
        assert await storage.get_customer("ada") is None
        assert await storage.pending_firings() == 0

    async def test_who_comes_back_is_written_to_again(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 31: neither the mails nor the payment of the person before count for the new one."""
        cap = Rules(cap=(1, LEASE * 1000))
        await act(storage)
        (message,) = await storage.claim(10, LEASE)
        await send(storage, message)
        await set_plan(storage, PAYING)
        await storage.forget("ada")
        await begin_journey(storage)
        (message,) = await storage.claim(10, LEASE)
        assert message.over is None
        assert await storage.begin_attempt(message, {}, cap) == Begun()

    async def test_forgetting_nobody(self, storage: Storage, clock: ManualClock) -> None:
        """Contract: how many rows; none of an unknown subject, none the second time."""
        await storage.consume(call(subject="bob"))
        assert await storage.forget("ada") == 0
        await set_plan(storage, FREE)
        assert await storage.forget("ada") >= 1
        assert await storage.forget("ada") == 0
        assert await used(storage, subject="bob") == 1


class IdConformance(ConformanceBase):
    """Subjects are opaque."""

    @pytest.mark.parametrize("subject", ODD, ids=[f"odd{n}" for n in range(len(ODD))])
    async def test_any_text_is_a_subject(self, storage: Storage, clock: ManualClock, subject: str) -> None:
        """Decision 13: through every verb, unchanged, and confused with nobody."""
        counted = await storage.consume(call(charge(2), subject=subject, key="k"))
        assert counted.tallies[0].used == 1
        assert await storage.record_notice(
            notice(counted, "n", drafts=(draft("warn", subject=subject),), subject=subject)
        )
        assert await refuse_once(storage, clock, subject=subject) == "w1"
        assert (await apply(storage, subject=subject)).wall == "w1"
        known = await storage.get_customer(subject)
        assert known is not None
        assert known.subject == subject
        found = await storage.get_wall("w1")
        assert found is not None
        assert found.subject == subject
        assert [m.draft.subject for m in await storage.claim(10, LEASE)] == [subject] * 2
        assert len(await storage.messages(subject)) == 2
        assert await storage.claim_lookup(subject, LEASE) == "cus_ada"
        receipt = counted.tallies[0].receipt
        assert receipt is not None
        await storage.refund(subject, (receipt,), "k")
        assert await used(storage, subject="ada") == 0
        assert await storage.forget(subject) > 0
        assert await storage.get_customer(subject) is None

    @pytest.mark.parametrize("subject", ODD, ids=[f"odd{n}" for n in range(len(ODD))])
    async def test_any_text_goes_through_a_loop(
        self, storage: Storage, clock: ManualClock, subject: str
    ) -> None:
        """Decision 13: firings, journeys, the log and suppressions keep it, as name, key and value."""
        new = fired(subject, subject=subject, loop=subject, step=subject, data={subject: subject})
        assert await storage.emit(subject, (new,), {}) == 1
        firing = await take_firing(storage)
        assert (firing.key, firing.subject, firing.loop, firing.step) == (subject,) * 4
        assert firing.data == {subject: subject}
        journey = Journey(subject, subject, subject)
        following = Entry(subject, Decided.ACTED, (mail(subject, subject=subject, journey=subject),))
        following = replace(following, journey=journey)
        rule = Repeat(max_fires=1)
        assert (await storage.record(firing, (following,), repeat=rule, closing=ACTED)).acted == 1
        (row,) = await storage.decisions(subject=subject, loop=subject)
        assert (row.subject, row.loop, row.step, row.firing) == (subject,) * 4
        await storage.emit(subject, (), {subject: LEASE})
        assert [(line.loop, line.goals) for line in await storage.funnel()] == [(subject, 1)]
        assert await storage.suppress(Suppressed.UNSUBSCRIBED, subject=subject, source="link")
        assert [one.subject for one in await storage.suppressions(subject=subject)] == [subject]
        (message,) = await storage.claim(10, LEASE)
        assert message.over == "the goal is reached"
        await storage.settle(message, Outcome(MessageState.SENT, reason=subject, provider_id=subject))
        assert await storage.mark_report(subject, "clicked")
        assert [line.reason for line in await storage.outbox_rows(subject=subject)] == [subject]
        assert await storage.open_tick(subject, clock.now(), None)
        assert await storage.last_tick(subject) == clock.now()
        assert await storage.forget(subject) >= 4
        assert await storage.decisions() == ()

    async def test_ids_that_look_alike_are_different(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 13: nothing is trimmed, folded or normalised."""
        for subject in [*ODD, "ada", "Ada"]:
            assert (await storage.consume(call(charge(1), subject=subject))).admitted
        for subject in [*ODD, "ada", "Ada"]:
            assert not (await storage.consume(call(charge(1), subject=subject))).admitted

    async def test_other_names_are_opaque_too(self, storage: Storage, clock: ManualClock) -> None:
        """Decision 13: meters, steps, plans, customers and events keep their text."""
        for text in ODD:
            await set_plan(storage, FREE)
            item = charge({"free": 5, text: 7}, meter=text, step=text)
            assert (await storage.consume(call(item))).admitted
            assert (await storage.consume(call(item))).tallies[0].used == 2
            await storage.open_wall(wall(clock, f"w{text}"[:60], step=text, loop=text, plan=text), ())
            assert await storage.record_event(text, text)
            ticket = await storage.begin_sync(text)
            assert ticket is not None
            assert ticket.customer == text
        assert {row.loop for row in await storage.funnel()} == set(ODD)


class LifeConformance(ConformanceBase):
    """Starting and closing."""

    async def test_starting_and_closing_may_be_repeated(self, storage: Storage) -> None:
        """Contract of `Storage`: both may be called again; what was kept is still there."""
        await storage.consume(call())
        await storage.start()
        assert await used(storage) == 1
        await storage.aclose()
        await storage.aclose()
        await storage.start()
        assert (await storage.consume(call())).tallies[0].used == 2

    async def test_another_storage_sees_the_same(self, storage_factory: StorageFactory) -> None:
        """L10: what one process wrote, another one reads."""
        one, two = await storage_factory(), await storage_factory()
        await one.consume(call())
        await set_plan(one, PAYING, subject="bob")
        assert await used(two) == 1
        assert (await two.peek(call(subject="bob"))).plan == "paid"

"""The recovery worker: every way a message can end."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import skene.runtime.delivery as delivery
import skene.runtime.mailing as mailing
import skene.runtime.worker as worker
from skene import Profile, Recovery
from skene.engine.standing import Standing
from skene.errors import DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.outbox import MessageState
from skene.runtime.worker import LEASE
from tests.runtime.shop import BACKENDS, PEOPLE, Killed, Post, Shop, asked, drain, freemium

SENT, PENDING, DEAD, PARKED = MessageState.SENT, MessageState.PENDING, MessageState.DEAD, MessageState.PARKED
DAY_OF_KEYS = timedelta(hours=23)


# -- sent --------------------------------------------------------------------------------------------------


async def test_a_prompt_is_sent_and_its_wall_knows() -> None:
    shop = await asked()
    assert await drain(shop) == 1
    assert shop.messages() == [("upgrade_prompt", SENT, None)]
    (mail,) = shop.mail.sent
    assert (mail.to, mail.template) == ("ada@acme.test", "upgrade_prompt")
    assert "Limit reached." in mail.text
    ((row, *_),) = [await shop.skene.funnel()]
    assert row.prompts == 1
    assert await drain(shop) == 0


async def test_the_key_names_the_message_and_nobody() -> None:
    shop = await asked()
    await drain(shop)
    ((key, _),) = shop.mail.attempts
    assert key.startswith("skene-upgrade_prompt:")
    assert "ada" not in key


# -- again -------------------------------------------------------------------------------------------------


async def test_what_failed_is_tried_again_after_a_wait_within_the_backoff() -> None:
    shop = await asked(recovery=Recovery(retries=3, base="1m", cap="1h"))
    shop.mail.fail_with(DeliveryFailed("busy"), times=3)
    waits = []
    for _ in range(3):
        assert await drain(shop) == 1
        assert shop.states() == [PENDING]
        (row,) = shop.memory._state.open.values()
        waits.append(row.due - shop.clock.now())
        shop.clock.set(row.due - timedelta(microseconds=1))
        assert await drain(shop) == 0
        shop.clock.set(row.due)
    assert all(timedelta(0) < wait <= timedelta(minutes=2**n) for n, wait in enumerate(waits))
    await drain(shop)
    assert shop.states() == [SENT]
    assert len({key for key, _ in shop.mail.attempts}) == 1


async def test_the_providers_own_wish_is_honoured() -> None:
    shop = await asked(recovery=Recovery(retries=1))
    shop.mail.fail_with(DeliveryFailed("slow down", timedelta(minutes=10)))
    await drain(shop)
    shop.clock.advance("9m59s")
    assert await drain(shop) == 0
    shop.clock.advance("1s")
    assert await drain(shop) == 1
    assert shop.states() == [SENT]


@pytest.mark.parametrize("retries", [0, 1, 4])
async def test_retries_are_additional_and_then_it_is_dead(
    retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    shop = await asked(recovery=Recovery(retries=retries))
    shop.mail.fail_with(DeliveryFailed("busy"), times=99)
    for _ in range(10):
        await drain(shop)
        shop.clock.advance("1h")
    assert len(shop.mail.attempts) == retries + 1
    assert shop.messages() == [("upgrade_prompt", DEAD, "busy")]
    assert "is dead: busy" in caplog.text
    assert "ada" not in caplog.text
    assert (await shop.skene.funnel())[0].prompts == 0  # what was not sent does not count as a prompt


async def test_what_is_refused_is_dead_at_once() -> None:
    shop = await asked("ada", "bob")
    shop.mail.fail_with(DeliveryRefused("no such address"))
    await drain(shop)
    assert sorted(shop.states()) == [DEAD, SENT]
    assert shop.messages("ada") == [("upgrade_prompt", DEAD, "no such address")]
    assert len(shop.mail.attempts) == 2


# -- nobody knows ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("accepted", [True, False])
async def test_an_unknown_outcome_is_asked_about_with_the_same_key_and_body(accepted: bool) -> None:
    shop = await asked()
    shop.mail.fail_with(DeliveryUnknown("no answer"), accepted=accepted)
    await drain(shop)
    assert shop.states() == [PENDING]
    shop.clock.advance("5m")
    await drain(shop)
    first, second = shop.mail.attempts
    assert first == second
    assert shop.reached == ["ada@acme.test"]
    assert shop.states() == [SENT]


async def test_what_stays_unknown_is_parked_for_a_person() -> None:
    shop = await asked(recovery=Recovery(retries=2))
    shop.mail.fail_with(DeliveryUnknown("no answer"), times=99)
    for _ in range(9):
        await drain(shop)
        shop.clock.advance("1h")
    assert len(shop.mail.attempts) == 3
    assert shop.messages() == [("upgrade_prompt", PARKED, "no answer")]


async def test_without_a_memory_for_keys_it_is_parked_at_once() -> None:
    shop = await asked(mail=Post(memory=timedelta(0)))
    shop.mail.fail_with(DeliveryUnknown("no answer"), accepted=True)
    for _ in range(3):
        await drain(shop)
        shop.clock.advance("1h")
    assert shop.states() == [PARKED]
    assert len(shop.mail.attempts) == 1


async def test_without_a_memory_for_keys_what_failed_for_certain_is_tried_again() -> None:
    shop = await asked(mail=Post(memory=timedelta(0)), recovery=Recovery(retries=1))
    shop.mail.fail_with(DeliveryFailed("refused the connection", timedelta(hours=30)))
    await drain(shop)
    shop.clock.advance("30h")
    await drain(shop)
    assert shop.states() == [SENT]


@pytest.mark.parametrize(("later", "state"), [("22h59m", SENT), ("23h", PARKED), ("30d", PARKED)])
async def test_past_the_providers_memory_nothing_is_repeated(later: str, state: MessageState) -> None:
    shop = await asked(mail=Post(memory=DAY_OF_KEYS))
    shop.mail.fail_with(DeliveryUnknown("no answer"), accepted=True)
    await drain(shop)
    shop.clock.advance(later)
    await drain(shop)
    assert shop.states() == [state]
    assert len(shop.mail.attempts) == (2 if state is SENT else 1)
    assert len(shop.mail.sent) == 1


async def test_no_answer_in_time_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "SEND_TIMEOUT", 0.01)
    shop = await asked()
    shop.mail.hold = anyio.Event()
    begun = anyio.current_time()
    with anyio.fail_after(5):
        await drain(shop)
    assert anyio.current_time() - begun < 2
    assert shop.messages() == [("upgrade_prompt", PENDING, "no answer in time")]


@pytest.mark.parametrize(("memory", "state"), [(None, PENDING), (timedelta(0), PARKED)])
async def test_what_no_notifier_may_raise_is_unknown_too(
    memory: timedelta | None, state: MessageState, caplog: pytest.LogCaptureFixture
) -> None:
    shop = await asked(mail=Post(memory=memory))
    shop.mail.raises = RuntimeError("a secret")
    await drain(shop)
    assert shop.messages() == [("upgrade_prompt", state, "unexpected RuntimeError")]
    assert "the notifier 'mail' failed" in caplog.text


# -- not sent ----------------------------------------------------------------------------------------------


async def test_who_has_paid_is_not_asked() -> None:
    shop = await asked("ada", "bob")
    await shop.skene.set_plan("ada", "paid")
    await drain(shop)
    assert shop.messages("ada") == [
        ("upgrade_prompt", MessageState.CANCELLED, "the subject holds the plan paid")
    ]
    assert shop.reached == ["bob@acme.test"]


async def test_who_paid_and_lapsed_again_is_asked() -> None:
    shop = await asked()
    await shop.skene.set_plan("ada", "paid", until=shop.clock.now() + timedelta(hours=1))
    shop.clock.advance("1h")
    await drain(shop)
    assert shop.states() == [SENT]


async def test_what_may_have_been_sent_is_found_out_even_if_the_subject_has_paid() -> None:
    shop = await asked()
    shop.mail.kill = shop.wire
    with pytest.raises((Killed, BaseExceptionGroup)):
        await drain(shop)
    shop.mail.kill = None
    twin = shop.twin()
    await twin.skene.set_plan("ada", "paid")
    shop.clock.advance(LEASE)
    await drain(twin)
    assert (twin.states(), len(twin.mail.sent)) == ([SENT], 1)


async def nobody(subject: str) -> Profile | None:
    return None


async def nameless(subject: str) -> Profile | None:
    return Profile(name="Ada Lovelace")


@pytest.mark.parametrize("profile", [None, nobody, nameless])
async def test_without_an_address_a_message_is_skipped(profile: Any) -> None:
    shop = await asked(profile=profile)
    await drain(shop)
    assert shop.messages() == [
        ("upgrade_prompt", MessageState.SKIPPED, "no e-mail address: no profile and no customer")
    ]
    assert shop.mail.attempts == []


@pytest.mark.parametrize("profile", [None, nobody, nameless])
async def test_the_customers_address_stands_in(profile: Any) -> None:
    shop = await asked(profile=profile)
    await shop.memory.link("ada", "cus_1")
    shop.memory._state.holders["ada"].email = "billing@acme.test"
    await drain(shop)
    assert shop.reached == ["billing@acme.test"]
    assert ("Ada Lovelace" in shop.mail.sent[0].text) == (profile is nameless)


async def test_a_channel_that_is_gone_is_a_dead_letter() -> None:
    shop = await asked()
    await drain(shop.twin(notifiers={"other": Post()}))
    assert shop.messages() == [("upgrade_prompt", DEAD, "no notifier is called 'mail'")]


# -- one poisoned message ----------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", ["profile", "render", "refused", "send"])
async def test_one_poisoned_message_of_200_stops_no_other(
    poison: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Poisoned(Post):
        def render(self, context: Any) -> Any:
            if context.user.name == "User-077" and poison in ("render", "refused"):
                raise ZeroDivisionError if poison == "render" else DeliveryRefused("a value is missing")
            return super().render(context)

        async def send(self, body: Any, *, idempotency_key: str) -> str | None:
            self.raises = OSError() if poison == "send" and "user-077@" in str(body) else None
            return await super().send(body, idempotency_key=idempotency_key)

    async def profile(subject: str) -> Profile:
        if poison == "profile" and subject == "user-077":
            raise LookupError("no such user")
        return Profile(email=f"{subject}@acme.test", name=subject.title())

    caplog.set_level(logging.CRITICAL, "skene")
    shop = await asked(*PEOPLE, profile=profile, mail=Poisoned(), recovery=Recovery(retries=2))
    for _ in range(4):
        await drain(shop)
        shop.clock.advance("10m")
    assert sorted(shop.reached) == [f"{who}@acme.test" for who in PEOPLE if who != "user-077"]
    assert shop.states("user-077") == [PARKED if poison == "send" else DEAD]


async def test_a_profile_that_hangs_holds_up_nothing_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailing, "PROFILE_TIMEOUT", 0.01)

    async def profile(subject: str) -> Profile:
        if subject == "ada":
            await anyio.sleep_forever()
        return Profile(email=f"{subject}@acme.test")

    shop = await asked("ada", "bob", profile=profile)
    with anyio.fail_after(5):
        await drain(shop)
    assert shop.reached == ["bob@acme.test"]
    assert shop.messages("ada") == [("upgrade_prompt", PENDING, "unexpected TimeoutError")]


# -- claims ------------------------------------------------------------------------------------------------


async def test_a_claim_that_was_lost_is_not_sent() -> None:
    async def slow(subject: str) -> Profile:
        if not twin.mail.attempts:
            shop.clock.advance(LEASE)  # the lease ends, and another worker is quicker
            await drain(twin)
        return Profile(email=f"{subject}@acme.test")

    shop = await asked(profile=slow)
    twin = shop.twin(mail=Post())
    await drain(shop)
    assert (len(twin.mail.attempts), shop.mail.attempts) == (1, [])
    assert shop.states() == [SENT]


async def test_nobody_can_settle_with_a_claim_that_was_lost() -> None:
    class Slow(Post):
        async def send(self, body: Any, *, idempotency_key: str) -> str | None:
            shop.clock.advance(LEASE)
            await drain(twin)
            raise DeliveryRefused("never")

    shop = await asked(mail=Slow())
    twin = shop.twin(mail=Post())
    await drain(shop)
    assert shop.states() == [SENT]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_two_workers_share_200_messages_and_each_goes_once(anyio_backend: str) -> None:
    shop = await asked(*PEOPLE)
    twin = shop.twin(mail=Post())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(drain, shop)
        tasks.start_soon(drain, twin)
    assert len(shop.mail.attempts) + len(twin.mail.attempts) == 200
    assert sorted(shop.reached + twin.reached) == [f"{who}@acme.test" for who in PEOPLE]
    assert shop.mail.sent
    assert twin.mail.sent


async def test_a_batch_that_takes_long_goes_back_before_its_lease_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = await asked(*PEOPLE[:10])
    monkeypatch.setattr(worker, "FRESH", 0.0)
    assert await shop.skene.worker.work_once() == 0
    monkeypatch.undo()
    assert await drain(shop.twin()) == 10


# -- the body is frozen ------------------------------------------------------------------------------------


def template(folder: Path, text: str) -> Path:
    folder.mkdir()
    (folder / "upgrade_prompt.txt").write_text('{% set subject = "Hello" %}' + text)
    return folder


async def test_another_process_with_another_template_sends_what_was_first_rendered(tmp_path: Path) -> None:
    shop = await asked(mail=Post(template(tmp_path / "old", "The old words.")))
    shop.mail.fail_with(DeliveryUnknown("no answer"))
    await drain(shop)
    changed = Post(template(tmp_path / "new", "The new words."))
    twin = shop.twin(mail=changed, profile=nobody)
    shop.clock.advance("5m")
    await drain(twin)
    assert changed.attempts == shop.mail.attempts
    assert changed.sent[0].text.strip() == "The old words."
    assert shop.states() == [SENT]


# -- whom a message is about -------------------------------------------------------------------------------


async def test_a_downgrade_cancels_the_prompt_of_the_plan_that_was_left() -> None:
    shop = Shop(freemium(1, paid=2))
    await shop.skene.set_plan("ada", "paid")
    await shop.refuse()
    await shop.memory.set_plan("ada", Standing("free"), default_plan="free", attribution=timedelta(days=30))
    await drain(shop)
    assert shop.states() == [MessageState.CANCELLED]

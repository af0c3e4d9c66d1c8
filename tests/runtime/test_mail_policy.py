"""How much marketing mail people get, and when; whom nobody writes to; how fast a channel goes."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import anyio
import pytest

import skene.runtime.delivery as delivery
from skene import ConfigurationError, MailPolicy, Profile, Recovery, action
from skene.errors import DeliveryFailed
from skene.ports.contacts import Suppressed
from skene.ports.outbox import MessageState
from skene.runtime.mailing import address_digest
from tests.runtime.reacting import got, loop, mail, on
from tests.runtime.shop import BACKENDS, Post, Shop, drain, freemium

SENT, PENDING, CANCELLED = MessageState.SENT, MessageState.PENDING, MessageState.CANCELLED


def both(**first: Any) -> tuple[Any, Any]:
    """Two loops that write to the same people because of the same event."""
    return loop(on(**first)), loop(on(action=mail("re_engagement")), name="retention")


async def emit(shop: Shop, *subjects: str) -> None:
    for who in subjects or ("ada",):
        await shop.skene.emit("signed.up", who)
    await drain(shop)


def policed(*loops: Any, policy: MailPolicy, **options: Any) -> Shop:
    shop = Shop(*loops, **options)
    shop.skene._parts.mail = policy
    return shop


# -- caps --------------------------------------------------------------------------------------------------


async def test_a_cap_counts_what_all_loops_send_to_one_subject() -> None:
    shop = policed(*both(), policy=MailPolicy(cap=(1, "7d")))
    await emit(shop, "ada", "bob")
    assert shop.states("ada") == [SENT, PENDING]
    assert shop.messages("ada")[1][2] == "the person has got as many as the cap allows"
    assert shop.states("bob") == [SENT, PENDING]
    shop.clock.advance(timedelta(days=7) - timedelta(microseconds=1))
    await drain(shop)
    assert shop.states("ada") == [SENT, PENDING]
    shop.clock.advance(timedelta(microseconds=1))
    await drain(shop)
    assert shop.states("ada") == [SENT, SENT]


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_many_workers_together_keep_the_cap(anyio_backend: str) -> None:
    policy = MailPolicy(cap=(2, "1d"))
    several = loop(on(action=[mail() for _ in range(6)]))
    shop = policed(several, policy=policy)
    await shop.skene.emit("signed.up", "ada")
    await shop.skene.worker.react_once()
    twins = [shop.twin() for _ in range(4)]
    for twin in twins:
        twin.skene._parts.mail = policy
    async with anyio.create_task_group() as tasks:
        for twin in twins:
            tasks.start_soon(drain, twin)
    for _ in range(3):  # those who came while nobody knew yet come again
        shop.clock.advance("1m")
        await drain(shop)
    assert shop.states().count(SENT) == 2


async def test_what_failed_for_certain_does_not_count() -> None:
    shop = policed(*both(), policy=MailPolicy(cap=(1, "7d")))
    shop.mail.fail_with(DeliveryFailed("busy"))
    await emit(shop)
    assert sorted(shop.states()) == sorted([MessageState.DEAD, SENT])


async def test_notices_pass_the_cap_and_do_not_count() -> None:
    policy = MailPolicy(cap=(1, "7d"), quiet=("00:00", "23:59"))
    notice = mail(transactional=True)
    shop = policed(loop(on(action=[notice, notice])), freemium(1), policy=policy)
    await shop.refuse()
    await emit(shop)
    assert shop.states() == [SENT] * 3
    shop.clock.set(datetime(2026, 1, 1, 23, 59, 30, tzinfo=UTC))
    ad = policed(loop(on("other")), policy=policy, memory=shop.memory, clock=shop.clock)
    await ad.skene.emit("other", "ada")
    await drain(ad)
    assert ad.states() == [SENT] * 4  # the notices did not use the cap up


# -- quiet hours -------------------------------------------------------------------------------------------


def zoned(zone: object) -> Callable[[str], Any]:
    async def profile(subject: str) -> Profile:
        return Profile.model_validate({"email": f"{subject}@acme.test", "name": "Ada", "timezone": zone})

    return profile


NIGHT = ("22:00", "08:00")


@pytest.mark.parametrize(
    ("zone", "at", "until"),
    [
        ("UTC", "2026-01-01T21:59:59", None),
        ("UTC", "2026-01-01T22:00:00", "2026-01-02T08:00:00"),
        ("UTC", "2026-01-02T07:59:59", "2026-01-02T08:00:00"),
        ("UTC", "2026-01-02T08:00:00", None),
        ("Europe/Helsinki", "2026-01-01T20:00:00", "2026-01-02T06:00:00"),
        ("Europe/Helsinki", "2026-01-01T19:59:00", None),
        ("America/New_York", "2026-01-01T12:59:00", "2026-01-01T13:00:00"),
        ("America/New_York", "2026-01-01T22:30:00", None),
        ("Mars/Olympus", "2026-01-01T22:30:00", "2026-01-02T07:00:00"),
        (7, "2026-01-01T22:30:00", "2026-01-02T07:00:00"),
        (None, "2026-01-01T22:30:00", "2026-01-02T07:00:00"),
        ("../../etc/passwd", "2026-01-01T22:30:00", "2026-01-02T07:00:00"),
    ],
)
async def test_nobody_is_written_to_at_night_by_their_own_clocks(
    zone: object, at: str, until: str | None
) -> None:
    policy = MailPolicy(quiet=NIGHT, timezone="Europe/Paris")
    shop = policed(loop(on()), policy=policy, profile=zoned(zone))
    shop.clock.set(datetime.fromisoformat(at).replace(tzinfo=UTC))
    await emit(shop)
    if until is None:
        assert shop.states() == [SENT]
        return
    assert shop.messages() == [("email", PENDING, "quiet hours")]
    end = datetime.fromisoformat(until).replace(tzinfo=UTC)
    shop.clock.set(end - timedelta(microseconds=1))
    await drain(shop)
    assert shop.states() == [PENDING]
    shop.clock.set(end)
    await drain(shop)
    assert shop.states() == [SENT]


async def test_notices_and_other_actions_keep_no_hours() -> None:
    shop = policed(loop(on(action=[mail(transactional=True)])), freemium(1), policy=MailPolicy(quiet=NIGHT))
    shop.clock.set(datetime(2026, 1, 1, 23, tzinfo=UTC))
    await shop.refuse()
    await emit(shop)
    assert shop.states() == [SENT, SENT]


async def test_who_pays_or_unsubscribes_overnight_gets_nothing_in_the_morning() -> None:
    shop = policed(loop(on()), freemium(), policy=MailPolicy(quiet=NIGHT))
    shop.clock.set(datetime(2026, 1, 1, 23, tzinfo=UTC))
    await emit(shop, "ada", "bob", "cleo")
    await shop.skene.set_plan("ada", "paid")
    await shop.skene.unsubscribe("bob")
    shop.clock.advance("9h")
    await drain(shop)
    assert shop.messages("ada") == [("email", CANCELLED, "converted")]
    assert shop.messages("bob") == [("email", CANCELLED, "unsubscribed")]
    assert shop.states("cleo") == [SENT]


async def test_a_second_attempt_keeps_the_hours_as_well() -> None:
    shop = policed(loop(on(), recovery=Recovery(retries=1)), policy=MailPolicy(quiet=NIGHT))
    shop.clock.set(datetime(2026, 1, 1, 21, 59, tzinfo=UTC))
    shop.mail.fail_with(DeliveryFailed("busy", timedelta(minutes=5)))
    await emit(shop)
    shop.clock.advance("5m")
    await drain(shop)
    assert (shop.states(), len(shop.mail.attempts)) == ([PENDING], 1)
    shop.clock.advance("10h")
    await drain(shop)
    assert shop.states() == [SENT]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"cap": (0, "7d")}, "MailPolicy(cap=…)"),
        ({"cap": (True, "7d")}, "MailPolicy(cap=…)"),
        ({"cap": 2}, "how many in how long"),
        ({"cap": (2, "a week")}, "MailPolicy(cap=…)[1]"),
        ({"cap": (2, "401d")}, "MailPolicy(cap=…)[1]"),
        ({"quiet": ("22:00", "22:00")}, "two times of the day"),
        ({"quiet": ("10pm", "8am")}, "two times of the day"),
        ({"quiet": "22:00"}, "two times of the day"),
        ({"quiet": ("22:00+01:00", "08:00")}, "two times of the day"),
        ({"timezone": "Europe/Helsinky"}, "did you mean"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        MailPolicy(**options)
    assert says in str(caught.value)
    with pytest.raises(ConfigurationError) as several:
        MailPolicy(**{"cap": 0, "quiet": 0, "timezone": "x", **options})
    assert len(several.value.faults) == 3


# -- whom nobody writes to ---------------------------------------------------------------------------------


async def test_an_unsubscribed_subject_gets_notices_and_no_marketing() -> None:
    shop = Shop(loop(on(action=[mail(), mail("re_engagement", transactional=True)])), freemium(1))
    assert await shop.skene.unsubscribe("ada")
    assert not await shop.skene.unsubscribe("ada")
    await shop.refuse()
    await emit(shop, "ada", "bob")
    assert got(shop, "ada") == ["upgrade_prompt", "re_engagement"]
    assert sorted(got(shop, "bob")) == ["activation_welcome", "re_engagement"]
    assert await shop.skene.resubscribe("ada")
    assert not await shop.skene.resubscribe("ada")
    await emit(shop)
    assert sorted(got(shop, "ada")[2:]) == ["activation_welcome", "re_engagement"]


@pytest.mark.parametrize("kind", [Suppressed.BOUNCED, Suppressed.COMPLAINED])
@pytest.mark.parametrize("written", ["ada@acme.test", " Ada@ACME.test "])
async def test_an_address_that_bounced_gets_nothing_whoever_has_it(kind: Suppressed, written: str) -> None:
    shop = Shop(loop(on(action=[mail(), mail(transactional=True)])))
    await shop.memory.suppress(kind, address=address_digest(written), source="mail")
    await emit(shop, "ada", "bob")
    assert shop.states("ada") == [CANCELLED, CANCELLED]
    assert str(kind) in str(shop.messages("ada")[0][2])
    assert shop.states("bob") == [SENT, SENT]


# -- pace --------------------------------------------------------------------------------------------------


class Paced(Post):
    """A provider that bears a mail a second."""

    every: timedelta | None = timedelta(seconds=1)

    @property
    def pace(self) -> timedelta | None:
        return self.every


async def test_the_pace_holds_over_two_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "PATIENCE", timedelta(0))  # nobody waits, all come again
    shop = Shop(loop(on()), mail=Paced())
    people = [f"user-{number}" for number in range(6)]
    for who in people:
        await shop.skene.emit("signed.up", who)
    twin = shop.twin()
    sent: list[int] = []
    for _ in range(6):
        for one in (twin, shop):
            await drain(one)
        sent.append(len(shop.mail.sent))
        shop.clock.advance("1s")
    assert sent == [1, 2, 3, 4, 5, 6]


async def test_a_turn_that_comes_soon_is_waited_for() -> None:
    shop = Shop(loop(on()), mail=Paced())
    shop.mail.every = timedelta(milliseconds=20)  # type: ignore[attr-defined] # it is Paced
    begun = anyio.current_time()
    await emit(shop, "ada", "bob", "cleo")
    assert shop.states() == [SENT] * 3
    # The clock stands still, so that the third one's turn is 40 ms after the first one's.
    assert anyio.current_time() - begun >= 0.06


async def test_what_a_provider_asks_for_holds_for_all_workers() -> None:
    shop = Shop(loop(on(), recovery=Recovery(retries=1)), freemium(1))
    shop.mail.fail_with(DeliveryFailed("slow down", timedelta(minutes=10)))
    await emit(shop, "ada")
    twin = shop.twin()
    await emit(twin, "bob")
    await twin.refuse("cleo")
    await drain(twin)
    assert len(shop.mail.attempts) == 1
    assert twin.messages("bob") == [("email", PENDING, "the channel is busy")]
    shop.clock.advance("9m59s")
    await drain(twin)
    assert len(shop.mail.attempts) == 1
    shop.clock.advance("1s")
    await drain(twin)
    assert twin.states() == [SENT] * 3


async def test_another_channel_is_not_held() -> None:
    other = Post()
    second = on(action=action.email("activation_welcome", provider="other"))
    shop = Shop(loop(on()), loop(second, name="second"))
    shop.skene._parts.notifiers = {"mail": shop.mail, "other": other}
    shop.mail.fail_with(DeliveryFailed("slow down", timedelta(minutes=10)))
    await emit(shop, "ada", "bob")
    assert (len(shop.mail.attempts), len(other.sent)) == (1, 2)

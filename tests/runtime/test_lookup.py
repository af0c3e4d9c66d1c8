"""Nobody who has paid is refused for over a minute, even if every webhook is lost; Stripe is not pestered."""

from datetime import timedelta

import anyio
import httpx
import pytest

import skene.runtime.lookup as lookup
from skene import Decision
from tests.runtime.shop import BACKENDS, freemium
from tests.runtime.till import LIMITS, Till, billing

MINUTE = timedelta(seconds=60)


async def at_the_limit(**options: object) -> tuple[Till, str]:
    """A subject that was refused, followed the link, and has a checkout open; webhooks go nowhere."""
    till = Till(freemium(limits=LIMITS), **options).listen()
    till.stripe.webhooks_dropped = True
    await till.refuse()
    refused = await till.call()
    assert refused.upgrade_url is not None
    url = await till.skene.upgrade.follow(refused.upgrade_url.partition("token=")[2])
    return till, url.rpartition("/")[2]


@pytest.mark.parametrize("wait", [0, 1, 30, 59, 60, 61, 3600])
async def test_who_pays_while_every_webhook_is_lost_is_admitted_within_a_minute(wait: int) -> None:
    till, session = await at_the_limit()
    assert not (await till.call()).allowed  # and was looked up: the worst moment to pay is right after it
    till.clock.advance(timedelta(seconds=wait))
    await till.stripe.pay(session)
    paid = till.clock.now()
    while not (await till.call()).allowed:
        till.clock.advance("1s")
    assert till.clock.now() - paid <= MINUTE - timedelta(seconds=min(wait, 60))
    assert till.plan() == "starter"
    assert len(till.memory.conversions) == 1
    assert till.stripe.undelivered  # really none came


async def test_who_keeps_trying_after_weeks_is_still_looked_up() -> None:
    till, session = await at_the_limit()
    for _ in range(20):
        till.clock.advance("1d")
        assert not (await till.call()).allowed
    await till.stripe.pay(session)
    till.clock.advance("60s")
    assert (await till.call()).allowed


@pytest.mark.parametrize("anyio_backend", BACKENDS)
async def test_at_most_one_look_up_a_minute_from_two_processes(anyio_backend: str) -> None:
    till, _ = await at_the_limit()
    twin = till.twin()
    before = till.fetches
    told: list[Decision] = []

    async def call(process: Till) -> None:
        told.append(await process.call())

    for second in range(180):
        async with anyio.create_task_group() as tasks:
            for process in (till, twin) if second % 10 else (till, twin) * 5:
                tasks.start_soon(call, process)
        till.clock.advance("1s")
    assert len(told) > 360
    assert not any(decision.allowed for decision in told)
    assert till.fetches - before == 3


async def test_who_has_units_left_or_no_limit_is_never_looked_up() -> None:
    till = Till(freemium(limits=LIMITS)).listen()
    await till.stripe.subscribe("ada", "price_pro")
    asked = len(till.stripe.requests)
    for _ in range(100):
        assert (await till.call()).allowed
        till.clock.advance("10m")
    assert len(till.stripe.requests) == asked


# -- Stripe is away ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["down", "slow", "429", "401", "no customer"])
async def test_while_stripe_is_away_the_last_known_plan_stands(
    fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Somebody who pays for ten calls has used them up: refused by their own limit, whatever Stripe does."""
    monkeypatch.setattr(lookup, "TIMEOUT", timedelta(seconds=0.1))
    till = Till(freemium(limits=LIMITS)).listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.call(times=10)
    if fault == "down":
        till.stripe.down = True
    elif fault == "slow":
        till.stripe.delay = 30
    elif fault == "no customer":
        till.stripe._state.tables["customer"].clear()
    else:
        till.stripe.fail(int(fault), times=1000)
    begun = anyio.current_time()
    for _ in range(3):
        refused = await till.call()
        assert (refused.allowed, refused.plan, refused.limit) == (False, "starter", 10)
        till.clock.advance("20s")
    assert anyio.current_time() - begun < 1.5
    assert till.plan() == "starter"
    assert "last known plan stands" in caplog.text
    # A new window is theirs as before, and nobody asks Stripe for it.
    asked = len(till.stripe.requests)
    till.clock.advance("30d")
    assert (await till.call()).plan == "starter"
    assert len(till.stripe.requests) == asked


async def test_a_payer_without_a_limit_does_not_notice_that_stripe_is_down() -> None:
    till = Till(freemium(limits=LIMITS)).listen()
    await till.stripe.subscribe("ada", "price_pro")
    till.stripe.down = True
    for _ in range(50):
        assert (await till.call()).allowed
        till.clock.advance("1d")


async def test_a_cancellation_that_nobody_heard_of_is_learned_at_the_limit() -> None:
    till = Till(freemium(limits=LIMITS)).listen()
    await till.stripe.subscribe("ada", "price_starter")
    await till.call(times=10)
    till.stripe.webhooks_dropped = True
    await till.stripe.cancel("ada")
    told = await till.call()
    # The free plan's own units are still there: what was paid for does not eat them.
    assert (told.plan, told.allowed, told.used) == ("free", True, 1)


async def test_a_look_up_with_a_wrong_key_says_so_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    till, _ = await at_the_limit()
    till.clock.advance("60s")
    wrong = billing(till.stripe).against(
        api_key="sk_test_another0key0entirely",
        webhook_secret=till.stripe.webhook_secret,
        base_url=till.stripe.base_url,
        transport=httpx.ASGITransport(till.stripe.app),
    )
    with till.skene.override(billing=wrong):
        assert not (await till.call()).allowed
    assert "refuses the key" in caplog.text
    assert "another0key" not in caplog.text


# -- Stripe hangs ------------------------------------------------------------------------------------------

PEOPLE = 40


async def a_crowd_at_the_limit() -> tuple[Till, list[str]]:
    """Many customers who have used up what they pay for, and one who pays for no limit."""
    till = Till(freemium(limits=LIMITS)).listen()
    crowd = [f"user {number}" for number in range(PEOPLE)]
    for one in crowd:
        await till.stripe.subscribe(one, "price_starter")
        assert all([(await till.call(one)).allowed for _ in range(10)])
    await till.stripe.subscribe("ada", "price_pro")
    till.stripe.delay = 30
    return till, crowd


async def rush(till: Till, crowd: list[str]) -> list[Decision]:
    """Everybody calls at the same moment."""
    told: list[Decision] = []

    async def one(subject: str) -> None:
        told.append(await till.call(subject))

    async with anyio.create_task_group() as tasks:
        for subject in crowd:
            tasks.start_soon(one, subject)
    return told


async def test_while_stripe_hangs_only_a_few_find_out_and_nobody_who_paid_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup, "TIMEOUT", timedelta(seconds=0.1))
    till, crowd = await a_crowd_at_the_limit()
    asked, allowed = till.fetches, 0
    for second in range(60):
        told = await rush(till, [*crowd, "ada"])
        assert all(one.allowed == (one.subject == "ada") for one in told)
        allowed += sum(one.allowed for one in told)
        # As many as may wait at once, and then one every ten seconds.
        assert till.fetches - asked <= lookup.AT_ONCE + second // 10
        till.clock.advance("1s")
    assert allowed == 60
    assert till.fetches - asked == lookup.AT_ONCE + 5


async def test_without_the_pause_everybody_finds_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: what the test above would see if requests did not tell each other."""
    monkeypatch.setattr(lookup, "TIMEOUT", timedelta(seconds=0.1))
    monkeypatch.setattr(lookup, "PAUSE", timedelta(0))
    monkeypatch.setattr(lookup, "AT_ONCE", PEOPLE)
    till, crowd = await a_crowd_at_the_limit()
    asked = till.fetches
    await rush(till, crowd)
    assert till.fetches - asked == PEOPLE


async def test_once_stripe_answers_again_everybody_who_has_paid_is_admitted_within_a_minute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(lookup, "TIMEOUT", timedelta(seconds=0.1))
    till, crowd = await a_crowd_at_the_limit()
    await rush(till, crowd)
    till.stripe.webhooks_dropped = True
    till.stripe.delay = 0
    for one in crowd:
        await till.stripe.switch_price(one, "price_pro")
    for _ in range(60):
        till.clock.advance("1s")
        waiting = [one.subject for one in await rush(till, crowd) if not one.allowed]
        if not waiting:
            break
    assert waiting == []


async def test_a_clock_that_is_set_back_does_not_prolong_the_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "TIMEOUT", timedelta(seconds=0.1))
    till, crowd = await a_crowd_at_the_limit()
    await till.call(crowd[0])
    asked = till.fetches
    await till.call(crowd[1])
    assert till.fetches == asked
    till.clock.advance(timedelta(days=-1))
    await till.call(crowd[2])
    assert till.fetches == asked + 1


async def test_a_storage_that_fails_on_the_way_leaves_the_refusal(caplog: pytest.LogCaptureFixture) -> None:
    till, _ = await at_the_limit()
    till.clock.advance("60s")
    till.wire.cut = {"apply_billing"}
    assert not (await till.call()).allowed
    assert "last known plan stands" in caplog.text

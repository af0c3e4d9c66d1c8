"""The local Resend that fails by shares, honest about keys, so that a sender can be shown to send once."""

from datetime import timedelta
from typing import Any

import anyio
import pytest

from skene.adapters.resend import ResendNotifier
from skene.errors import DeliveryFailed, DeliveryUnknown
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import message
from skene.testing.resend_server import FakeResend
from skene.testing.serve import serving

KEY = "re_local0resend"
RATES: dict[str, Any] = {"rate_429": 0.1, "rate_500": 0.1, "drop_after_accept": 0.1, "seed": 1}


async def deliver(notifier: ResendNotifier, number: int, *, fresh_keys: bool = False) -> None:
    """Until it is known to be accepted; the naive sender uses a new key for each attempt."""
    body = notifier.render(message(f"user{number}@acme.test"))
    for attempt in range(100):
        key = f"k-{number}-{attempt}" if fresh_keys else f"k-{number}"
        try:
            await notifier.send(body, idempotency_key=key)
        except (DeliveryFailed, DeliveryUnknown):
            continue
        return
    raise AssertionError("never accepted")


@pytest.fixture
async def sending() -> Any:
    fake = FakeResend(now=ManualClock().now)
    with serving(fake.app, log_level="critical") as address:
        notifier = ResendNotifier(KEY, "Acme <team@acme.test>", base_url=address)
        yield fake, notifier
        await notifier.aclose()


async def test_two_hundred_are_delivered_and_none_twice(sending: tuple[FakeResend, ResendNotifier]) -> None:
    fake, notifier = sending
    fake.fail(**RATES)
    async with anyio.create_task_group() as group:
        for part in range(8):
            group.start_soon(_some, notifier, range(part, 200, 8))
    assert fake.accepted == {f"k-{number}": 1 for number in range(200)}
    assert sorted(len(fake.sent_to(f"user{number}@acme.test")) for number in range(200)) == [1] * 200
    statuses = [call.status for call in fake.calls]
    assert len(statuses) > 250
    assert min(statuses.count(429), statuses.count(500)) >= 10
    assert len(statuses) - statuses.count(429) - statuses.count(500) - 200 >= 10, "answers that broke off"


async def _some(notifier: ResendNotifier, numbers: range) -> None:
    for number in numbers:
        await deliver(notifier, number)


async def test_a_sender_without_keys_delivers_some_twice(sending: tuple[FakeResend, ResendNotifier]) -> None:
    fake, notifier = sending
    fake.fail(**RATES)
    for number in range(60):
        await deliver(notifier, number, fresh_keys=True)
    assert len(fake.emails) > 60


async def test_a_busy_answer_says_when_to_come_back_and_accepts_nothing(
    sending: tuple[FakeResend, ResendNotifier],
) -> None:
    fake, notifier = sending
    body = notifier.render(message())
    fake.fail(rate_429=1, retry_after="7")
    with pytest.raises(DeliveryFailed) as caught:
        await notifier.send(body, idempotency_key="k")
    assert caught.value.retry_after == timedelta(seconds=7)
    fake.fail(rate_500=1)
    with pytest.raises(DeliveryFailed):
        await notifier.send(body, idempotency_key="k")
    assert not fake.emails
    fake.fail(drop_after_accept=1)
    for _ in range(3):  # the repeated ones are recognised, and their answers break off as well
        with pytest.raises(DeliveryUnknown):
            await notifier.send(body, idempotency_key="k")
    assert fake.accepted == {"k": 1}
    fake.fail()
    await notifier.send(body, idempotency_key="k")
    assert len(fake.emails) == 1


async def test_the_seed_decides_which_fail(sending: tuple[FakeResend, ResendNotifier]) -> None:
    fake, notifier = sending
    body = notifier.render(message())
    seen: dict[int, list[list[int]]] = {1: [], 2: []}
    for seed in (1, 2, 1, 2):
        fake.fail(rate_429=0.5, seed=seed)
        fake.calls.clear()
        for _ in range(20):
            try:
                await notifier.send(body, idempotency_key="k")
            except DeliveryFailed:
                continue
        seen[seed].append([call.status for call in fake.calls])
    assert seen[1][0] == seen[1][1] != seen[2][0] == seen[2][1]


async def test_each_call_has_its_time_and_key() -> None:
    clock = ManualClock()
    fake = FakeResend(now=clock.now)
    with serving(fake.app, log_level="critical") as address:
        notifier = ResendNotifier(KEY, "Acme <team@acme.test>", base_url=address)
        start = clock.now()
        for number in range(3):
            await deliver(notifier, number)
            clock.advance(timedelta(seconds=2))
        await notifier.aclose()
    assert [(call.idempotency_key, (call.at - start).total_seconds()) for call in fake.calls] == [
        ("k-0", 0.0),
        ("k-1", 2.0),
        ("k-2", 4.0),
    ]


@pytest.mark.parametrize("rates", [{"rate_429": 1.1}, {"rate_500": -0.1}, {"rate_429": 0.6, "rate_500": 0.6}])
def test_shares_that_cannot_be(rates: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="from 0 to 1"):
        FakeResend(now=ManualClock().now).fail(**rates)

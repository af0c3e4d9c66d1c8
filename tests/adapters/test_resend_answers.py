"""What an answer of Resend's, or none, means for a message."""

import re
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import anyio
import httpx
import pytest

from skene.adapters.resend import ResendNotifier
from skene.errors import DeliveryError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import message
from skene.testing.resend_server import FakeResend

KEY = "re_local0resend"
SENDER = "Acme <team@acme.test>"


@pytest.fixture
def fake() -> FakeResend:
    return FakeResend(now=ManualClock().now)


@pytest.fixture
async def notifier(fake: FakeResend) -> AsyncIterator[ResendNotifier]:
    made = ResendNotifier(KEY, SENDER, transport=httpx.ASGITransport(fake.app))
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("status", "name", "expected"),
    [
        (400, "validation_error", DeliveryRefused),
        (400, "invalid_idempotency_key", DeliveryRefused),
        (401, "missing_api_key", DeliveryRefused),
        (401, "restricted_api_key", DeliveryRefused),
        (403, "invalid_api_key", DeliveryRefused),
        (403, "validation_error", DeliveryRefused),
        (404, "not_found", DeliveryRefused),
        (405, "method_not_allowed", DeliveryRefused),
        (409, "invalid_idempotent_request", DeliveryRefused),
        (409, "concurrent_idempotent_requests", DeliveryFailed),
        (422, "missing_required_field", DeliveryRefused),
        (422, "invalid_from_address", DeliveryRefused),
        (429, "rate_limit_exceeded", DeliveryFailed),
        (429, "daily_quota_exceeded", DeliveryFailed),
        (429, "monthly_quota_exceeded", DeliveryFailed),
        (451, "security_error", DeliveryRefused),
        (500, "application_error", DeliveryFailed),
        (500, "internal_server_error", DeliveryFailed),
    ],
)
async def test_every_error_of_resend(
    notifier: ResendNotifier, fake: FakeResend, status: int, name: str, expected: type[DeliveryError]
) -> None:
    fake.fail_next(status, name)
    with pytest.raises(DeliveryError, match=f"{status} {name}") as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    assert type(caught.value) is expected
    assert not fake.emails


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (301, DeliveryRefused),
        (404, DeliveryRefused),
        (500, DeliveryUnknown),
        (502, DeliveryUnknown),
        (503, DeliveryFailed),
        (504, DeliveryUnknown),
    ],
)
async def test_an_answer_that_is_not_resends(
    notifier: ResendNotifier, fake: FakeResend, status: int, expected: type[DeliveryError]
) -> None:
    """A gateway that gives up may have passed the message on."""
    fake.fail_next(status, json=False)
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    assert type(caught.value) is expected


@pytest.mark.parametrize("answer", [b"", b"<p>Sign in to this network</p>", b"[]", b"\xff"])
async def test_a_success_without_json_is_unknown(answer: bytes) -> None:
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    notifier = ResendNotifier(KEY, SENDER, transport=transport)
    with pytest.raises(DeliveryUnknown):
        await notifier.send(notifier.render(message()), idempotency_key="k")
    await notifier.aclose()


@pytest.mark.parametrize(
    ("name", "header", "seconds"),
    [
        ("rate_limit_exceeded", "7", 7),
        ("rate_limit_exceeded", "0.5", 0.5),
        ("rate_limit_exceeded", None, None),
        ("rate_limit_exceeded", "Wed, 21 Oct 2026 07:28:00 GMT", None),
        ("rate_limit_exceeded", "-1", None),
        ("rate_limit_exceeded", "inf", None),
        ("rate_limit_exceeded", "999999999", 86_400),
        ("daily_quota_exceeded", None, 3_600),
        ("daily_quota_exceeded", "1", 3_600),
        ("monthly_quota_exceeded", "7200", 7_200),
    ],
)
async def test_retry_after(
    notifier: ResendNotifier, fake: FakeResend, name: str, header: str | None, seconds: float | None
) -> None:
    fake.fail_next(429, name, retry_after=header)
    with pytest.raises(DeliveryFailed) as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    wait = caught.value.retry_after
    assert (None if wait is None else wait.total_seconds()) == seconds


async def test_the_same_key_for_another_body_is_refused_loudly(
    notifier: ResendNotifier, fake: FakeResend
) -> None:
    await notifier.send(notifier.render(message()), idempotency_key="k")
    with pytest.raises(DeliveryRefused, match="409 invalid_idempotent_request"):
        await notifier.send(notifier.render(message(used=99)), idempotency_key="k")
    assert len(fake.emails) == 1


async def test_an_answer_that_drips_is_not_waited_for() -> None:
    """The time is for the whole attempt, not for each byte of it."""

    async def drip(_: httpx.Request) -> httpx.Response:
        await anyio.sleep(30)
        return httpx.Response(200, json={"id": "late"})

    notifier = ResendNotifier(
        KEY, SENDER, timeout=timedelta(seconds=0.1), transport=httpx.MockTransport(drip)
    )
    with anyio.fail_after(2), pytest.raises(DeliveryUnknown):
        await notifier.send(notifier.render(message()), idempotency_key="k")
    await notifier.aclose()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (httpx.ConnectTimeout, DeliveryFailed),
        (httpx.PoolTimeout, DeliveryFailed),
        (httpx.ReadTimeout, DeliveryUnknown),
        (httpx.WriteTimeout, DeliveryUnknown),
        (httpx.ReadError, DeliveryUnknown),
        (httpx.RemoteProtocolError, DeliveryUnknown),
    ],
)
async def test_where_the_connection_broke_decides(
    error: Callable[[str], Exception], expected: type[DeliveryError]
) -> None:
    def broken(_: httpx.Request) -> httpx.Response:
        raise error("broken")

    notifier = ResendNotifier(KEY, SENDER, transport=httpx.MockTransport(broken))
    with pytest.raises(DeliveryError) as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    assert type(caught.value) is expected
    await notifier.aclose()


async def test_one_bad_message_does_not_stop_the_others(notifier: ResendNotifier, fake: FakeResend) -> None:
    fake.fail_next(422, "validation_error")
    with pytest.raises(DeliveryRefused):
        await notifier.send(notifier.render(message("bad@acme.test")), idempotency_key="bad")
    for number in range(20):
        await notifier.send(notifier.render(message()), idempotency_key=f"good-{number}")
    assert len(fake.emails) == 20
    assert len(fake.requests) == 21


async def test_the_reason_of_a_refusal_holds_no_address_and_no_key() -> None:
    said = "You can only send to your own address (boss@acme.test), not with re_AbCd1234.\nReally\x00."
    answer = {"statusCode": 403, "name": "validation_error", "message": said}
    transport = httpx.MockTransport(lambda _: httpx.Response(403, json=answer))
    notifier = ResendNotifier(KEY, SENDER, transport=transport)
    with pytest.raises(DeliveryRefused) as caught:
        await notifier.send(notifier.render(message()), idempotency_key="k")
    await notifier.aclose()
    assert "own address" in str(caught.value)
    assert not re.search(r"boss|re_A|\n|\x00", str(caught.value))

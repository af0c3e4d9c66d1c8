"""Webhooks: what answers mean, and which settings can work."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest

from skene.adapters.webhook import WebhookNotifier
from skene.errors import ConfigurationError, DeliveryFailed, DeliveryRefused, DeliveryUnknown
from skene.ports.notifier import Body
from skene.testing.clock import ManualClock

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
BODY: Body = {"type": "trial.ending", "data": {"subject": "ada"}}


def answering(status: int, headers: dict[str, str] | None = None) -> WebhookNotifier:
    transport = httpx.MockTransport(lambda request: httpx.Response(status, headers=headers))
    return WebhookNotifier("https://acme.test", SECRET, transport=transport, clock=ManualClock(NOW))


async def attempt(notifier: WebhookNotifier, key: str = "k-1") -> Exception | None:
    try:
        await notifier.send(BODY, idempotency_key=key)
    except (DeliveryFailed, DeliveryRefused, DeliveryUnknown) as error:
        return error
    finally:
        await notifier.aclose()
    return None


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_any_success_is_one(status: int) -> None:
    assert await attempt(answering(status)) is None


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 409, 410, 413, 422])
async def test_what_will_never_work_is_refused(status: int) -> None:
    error = await attempt(answering(status, {"location": "https://evil.test/"}))
    assert isinstance(error, DeliveryRefused)
    assert str(status) in str(error)


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504, 599])
async def test_what_may_work_later_is_failed(status: int) -> None:
    error = await attempt(answering(status))
    assert isinstance(error, DeliveryFailed)
    assert error.retry_after is None


@pytest.mark.parametrize(
    ("value", "pause"),
    [
        ("0", timedelta(0)),
        ("120", timedelta(seconds=120)),
        ("999999999", timedelta(days=1)),
        (format_datetime(NOW + timedelta(minutes=7), usegmt=True), timedelta(minutes=7)),
        (format_datetime(NOW - timedelta(minutes=7), usegmt=True), timedelta(0)),
        ("Fri, 20 Nov 2026 12:07:00 -0000", timedelta(minutes=7)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", timedelta(days=1)),
        ("soon", None),
        ("-5", None),
        ("1e3", None),
        ("", None),
        ("Fri, 99 Nov 2026 12:07:00 GMT", None),
        ("9" * 400, None),
    ],
)
async def test_retry_after_is_seconds_or_a_date(value: str, pause: timedelta | None) -> None:
    error = await attempt(answering(429, {"retry-after": value}))
    assert isinstance(error, DeliveryFailed)
    assert error.retry_after == pause


# --- settings ---


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.acme.test/t/s3cret?x=1",
        "https://hooks.acme.test:8443",
        "http://localhost:8000/x",
        "http://app.localhost/x",
        "http://127.0.0.1/x",
        "http://127.8.8.8:1/x",
        "http://[::1]:8000/x",
    ],
)
def test_addresses_that_may_be_called(url: str) -> None:
    assert "s3cret" not in repr(WebhookNotifier(url, SECRET))


@pytest.mark.parametrize(
    "url",
    [
        "http://hooks.acme.test/s3cret",
        "http://10.0.0.1/s3cret",
        "http://localhost.acme.test/s3cret",
        "https://ada:s3cret@hooks.acme.test/",
        "https://s3cret@hooks.acme.test/",
        "https://hooks.acme.test/#s3cret",
        "ftp://hooks.acme.test/s3cret",
        "hooks.acme.test/s3cret",
        "https:///s3cret",
        "https://hooks.acme.test:s3cret/",
        "https://[s3cret/",
        "https://hooks.acme.test/s3cret\n",
        "https://hooks.acme.test/s3cret é",
        "",
        None,
        b"https://hooks.acme.test/s3cret",
    ],
)
def test_addresses_that_may_not(url: Any) -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebhookNotifier(url, SECRET)
    assert [fault.path for fault in caught.value.faults] == ["WebhookNotifier.url"]
    assert "s3cret" not in str(caught.value)


def test_all_faults_come_at_once_and_show_no_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        WebhookNotifier(
            "http://hooks.acme.test",
            "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            headers={"Webhook-Id": "x", "a b": "x", "X-Token": "s3cret\n", "Host": "x"},
            timeout=timedelta(minutes=1),
        )
    paths = [fault.path.removeprefix("WebhookNotifier.") for fault in caught.value.faults]
    assert paths == [
        "url",
        "secret",
        "headers['Webhook-Id']",
        "headers",
        "headers['X-Token']",
        "headers['Host']",
        "timeout",
    ]
    assert 'did you mean "https://hooks.acme.test"?' in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "MfKQ" not in str(caught.value)


def test_headers_are_a_mapping() -> None:
    with pytest.raises(ConfigurationError, match="headers"):
        WebhookNotifier("https://acme.test", SECRET, headers=["X"])  # type: ignore[arg-type]  # the point of the test


async def test_nothing_secret_is_in_an_error() -> None:
    notifier = WebhookNotifier(
        "https://acme.test/s3cret",
        SECRET,
        headers={"X-Token": "t0ken"},
        transport=httpx.MockTransport(
            lambda request: httpx.Response(500, text=f"{request.headers} {request.url}")
        ),
    )
    error = await attempt(notifier)
    for secret in ("s3cret", "t0ken", SECRET, "ada"):
        assert secret not in str(error)

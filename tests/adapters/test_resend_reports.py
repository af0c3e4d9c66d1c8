"""Resend's signed reports of what became of a mail: authentic ones are read, rubbish is only refused."""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import resend
from httpx import ASGITransport
from hypothesis import example, given
from hypothesis import strategies as st

from skene.adapters.memory_notifier import MemoryNotifier
from skene.adapters.resend import ResendNotifier
from skene.errors import ConfigurationError, WebhookRejected
from skene.ports.notifier import Report, Reporting
from skene.testing.clock import ManualClock
from skene.testing.notifier_conformance import message
from skene.testing.resend_server import FakeReport, FakeResend
from skene.testing.resend_webhooks import sign_report

KEY = "re_local0resend"
SENDER = "Acme <team@acme.test>"
SECRET = "whsec_" + base64.b64encode(b"a secret of twenty-four!").decode()
NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NOTIFIER = ResendNotifier(KEY, SENDER, webhook_secret=SECRET)


def parse(body: bytes, headers: Mapping[str, str] | None = None, now: datetime = NOW) -> Report | None:
    signed = sign_report(FakeReport("msg_1", body), SECRET, NOW) if headers is None else headers
    return NOTIFIER.parse_report(body, signed, now)


def event(kind: str = "email.bounced", **data: Any) -> bytes:
    about = {"email_id": "e-1", "to": ["ada@acme.test"], "bounce": {"type": "Permanent"}, **data}
    return json.dumps({"type": kind, "created_at": NOW.isoformat(), "data": about}).encode()


def headers(body: bytes, secret: str = SECRET, at: datetime = NOW, **changes: str | None) -> dict[str, str]:
    made = sign_report(FakeReport("msg_1", body), secret, at)
    renamed = {f"svix-{name}": value for name, value in changes.items()}
    return {name: value for name, value in {**made, **renamed}.items() if value is not None}


# --- what is reported ---


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("email.bounced", {}, ("bounced", True)),
        ("email.bounced", {"bounce": {"type": "permanent"}}, ("bounced", True)),
        ("email.bounced", {"bounce": {"type": "Transient"}}, ("bounced", False)),
        ("email.bounced", {"bounce": {"type": "Undetermined"}}, ("bounced", False)),
        ("email.bounced", {"bounce": {}}, ("bounced", False)),
        ("email.bounced", {"bounce": "Permanent"}, ("bounced", False)),
        ("email.complained", {}, ("complained", True)),
        ("email.delivered", {}, ("delivered", False)),
        ("email.opened", {}, ("opened", False)),
        ("email.clicked", {}, ("clicked", False)),
        ("email.failed", {}, ("failed", False)),
        ("email.suppressed", {"suppressed": {"reason": "previous_bounce"}}, ("bounced", True)),
        ("email.suppressed", {"suppressed": {"reason": "previous_complaint"}}, ("complained", True)),
    ],
)
def test_what_became_of_a_mail(kind: str, data: dict[str, Any], expected: tuple[str, bool]) -> None:
    report = parse(event(kind, **data))
    assert report is not None
    assert (report.kind, report.permanent) == expected
    assert (report.address, report.provider_id, report.id) == ("ada@acme.test", "e-1", "msg_1")


@pytest.mark.parametrize(
    "kind",
    ["email.sent", "email.delivery_delayed", "email.scheduled", "email.received", "contact.created", ""],
)
def test_what_nobody_acts_on(kind: str) -> None:
    assert parse(event(kind)) is None


@pytest.mark.parametrize(
    ("to", "address"),
    [
        (["Ada <ada@acme.test>"], "ada@acme.test"),
        ([" ada@acme.test "], "ada@acme.test"),
        (["ada@acme.test", "bob@acme.test"], None),
        ([], None),
        (["ada"], None),
        (["(" * 5000], None),
        ([7], None),
        ("ada@acme.test", None),
        (None, None),
    ],
)
def test_whose_mail_it_was(to: Any, address: str | None) -> None:
    """Of several recipients nobody says which of them it was."""
    report = parse(event(to=to))
    assert report is not None
    assert report.address == address


def test_an_address_is_not_in_a_repr() -> None:
    report = parse(event())
    assert "ada" not in repr(report)


@pytest.mark.parametrize("number", [None, 7, "", "a b", "x" * 300])
def test_a_strange_id_of_a_mail_is_none(number: Any) -> None:
    report = parse(event(email_id=number))
    assert report is not None
    assert report.provider_id is None


# --- what is refused ---


def refused(body: bytes, signed: Mapping[str, str], now: datetime = NOW) -> int:
    with pytest.raises(WebhookRejected) as caught:
        parse(body, signed, now)
    assert "whsec" not in str(caught.value)
    assert "ada@" not in str(caught.value)
    return caught.value.status


def test_only_what_resend_signed() -> None:
    body = event()
    assert parse(body, headers(body)) is not None
    assert refused(body + b" ", headers(body)) == 401
    assert refused(body.replace(b"ada", b"eve"), headers(body)) == 401
    assert refused(body, headers(body, id="msg_2")) == 401
    other = "whsec_" + base64.b64encode(b"another secret, also long").decode()
    assert refused(body, headers(body, other)) == 401
    signature = headers(body)["svix-signature"].partition(",")[2]
    assert refused(body, headers(body, signature=f"v2,{signature}")) == 401
    assert refused(body, headers(body, signature=signature)) == 401
    assert refused(body, headers(body, signature="v1,")) == 401
    for strange in ("é", "\ud800"):
        assert refused(body, headers(body, signature=f"v1,{strange}{signature}")) == 401


def test_while_a_secret_is_exchanged_there_are_two_signatures() -> None:
    body = event()
    signature = headers(body)["svix-signature"]
    for several in (f"v1,AAAA {signature}", f"{signature} v1,AAAA", f"v1a,AAAA {signature}"):
        assert parse(body, headers(body, signature=several)) is not None


def test_header_names_may_have_any_case() -> None:
    body = event()
    assert parse(body, {name.title(): value for name, value in headers(body).items()}) is not None


@pytest.mark.parametrize("name", ["id", "timestamp", "signature"])
@pytest.mark.parametrize("value", [None, "", "\n", "é", "x" * 5000])
def test_headers_that_are_missing_or_malformed(name: str, value: str | None) -> None:
    body = event()
    assert refused(body, headers(body, **{name: value})) in (400, 401)
    assert refused(body, {}) == 400


def test_now_decides_the_age_and_no_other_clock() -> None:
    body = event()
    for minutes in (-5, 5):
        assert parse(body, headers(body), NOW + timedelta(minutes=minutes)) is not None
        late = NOW + timedelta(minutes=minutes, seconds=1 if minutes > 0 else -1)
        assert refused(body, headers(body), late) == 400
    long_ago = datetime(2001, 1, 1, tzinfo=UTC)
    assert parse(body, headers(body, at=long_ago), long_ago) is not None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b"7",
        b'"x"',
        b"{}",
        b'{"type": 7}',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"type": ' + b"9" * 10_000 + b"}",
    ],
)
def test_what_is_signed_and_no_event(body: bytes) -> None:
    assert refused(body, headers(body)) == 400


def test_without_a_secret_everything_is_refused_in_words() -> None:
    body = event()
    with pytest.raises(WebhookRejected, match="webhook_secret") as caught:
        ResendNotifier(KEY, SENDER).parse_report(body, headers(body), NOW)
    assert caught.value.status == 401


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
KINDS = st.sampled_from(["email.bounced", "email.suppressed", "email.complained", "email.sent", "x"])
PARTS = ("email_id", "to", "bounce", "suppressed")


@given(
    body=st.binary()
    | st.builds(lambda value: json.dumps(value).encode(), ANY_JSON)
    | st.builds(
        lambda kind, data: json.dumps({"type": kind, "data": data}).encode(),
        KINDS,
        st.dictionaries(st.sampled_from(PARTS), ANY_JSON) | ANY_JSON,
    ),
    signed=st.booleans(),
    strange=st.dictionaries(
        st.sampled_from(["svix-id", "svix-timestamp", "svix-signature", "SVIX-ID"]) | st.text(),
        st.text(st.characters(codec=None)),
        max_size=4,
    ),
)
@example(body=b'{"type": "email.bounced", "data": {"to": ["\\ud800@\\ud800.x"]}}', signed=True, strange={})
def test_any_bytes_are_read_or_refused_and_nothing_else_is_raised(
    body: bytes, signed: bool, strange: dict[str, str]
) -> None:
    given_headers = {**strange, **headers(body)} if signed else strange
    try:
        report = parse(body, given_headers)
    except WebhookRejected as error:
        status = error.status
    else:
        status = 200
        assert report is None or report.id == "msg_1"
    assert status in ((200, 400) if signed else (400, 401))


@given(body=st.text(min_size=1).map(str.encode), at=st.integers(-299, 299))
def test_the_official_sdk_takes_and_refuses_the_same(body: bytes, at: int) -> None:
    """It reads the wall clock, so it is shown ours."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resend.webhooks._webhooks.time.time", NOW.timestamp)
        event_body = json.dumps({"type": "email.opened", "data": {"subject": body.decode()}}).encode()
        for secret in (SECRET, "whsec_" + base64.b64encode(b"another secret, also long").decode()):
            signed = headers(event_body, secret, NOW + timedelta(seconds=at))
            options: Any = {
                "payload": event_body.decode(),
                "headers": {name: signed[f"svix-{name}"] for name in ("id", "timestamp", "signature")},
                "webhook_secret": SECRET,
            }
            if secret == SECRET:
                told: Any = resend.Webhooks.verify(options)  # the oldest that is allowed only raises
                assert told is None or told["type"] == "email.opened"
                assert parse(event_body, signed) is not None
            else:
                with pytest.raises(ValueError, match="no matching signature"):
                    resend.Webhooks.verify(options)
                assert refused(event_body, signed) == 401


# --- settings ---


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_short",
        "whsec_!!!notbase64!!!notbase64",
        SECRET + "\n",
        SECRET[6:],
        "re_" + SECRET[6:],
        "whsec_" + base64.b64encode(b"15 bytes, no 16").decode(),
        "whsec_é" + SECRET[6:],
        7,
        b"whsec_x",
    ],
)
def test_a_secret_that_cannot_be_one_is_refused_and_not_shown(secret: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"ResendNotifier\.webhook_secret") as caught:
        ResendNotifier(KEY, SENDER, webhook_secret=secret)
    said = str(caught.value).partition("; give")[0]
    assert not isinstance(secret, str) or not secret or secret not in said
    assert SECRET[6:] not in str(caught.value)


def test_its_repr_shows_no_webhook_secret() -> None:
    assert "whsec" not in repr(NOTIFIER)


def test_who_takes_reports() -> None:
    assert isinstance(NOTIFIER, Reporting)
    assert not isinstance(MemoryNotifier(), Reporting)


# --- the local Resend sends them ---


async def test_the_local_resend_reports_as_the_real_one_does() -> None:
    clock = ManualClock()
    reports: list[Report | None] = []
    fake = FakeResend(now=clock.now, api_keys=[KEY])
    notifier = ResendNotifier(
        KEY, SENDER, transport=ASGITransport(fake.app), webhook_secret=fake.webhook_secret
    )

    async def deliver(body: bytes, given_headers: Mapping[str, str]) -> int:
        reports.append(notifier.parse_report(body, given_headers, clock.now()))
        return 200

    with pytest.raises(AssertionError, match="nothing was sent to ada"):
        await fake.report("email.bounced", "ada@acme.test")
    sent = await notifier.send(notifier.render(message()), idempotency_key="k")
    with pytest.raises(AssertionError, match="deliver"):
        await fake.report("email.bounced", "ada@acme.test")
    fake.deliver = deliver
    assert await fake.report("email.bounced", "ada@acme.test") == 200
    await fake.report("email.bounced", "ada@acme.test", {"type": "Transient"})
    await fake.report("email.suppressed", "ada@acme.test", {"reason": "previous_complaint"})
    await fake.report("email.clicked", "ada@acme.test")
    await fake.report("email.sent", "ada@acme.test")
    again = fake.make_report("email.complained", "ada@acme.test")
    for _ in range(2):
        await fake.send_report(again)
        clock.advance(timedelta(hours=1))
    shown = [(one.kind, one.permanent, one.provider_id) for one in reports if one is not None]
    assert shown == [
        ("bounced", True, sent),
        ("bounced", False, sent),
        ("complained", True, sent),
        ("clicked", False, sent),
        ("complained", True, sent),
        ("complained", True, sent),
    ]
    assert reports[4] is None
    ids = [one.id for one in reports if one is not None]
    assert ids[-1] == ids[-2], "sent again, it is the same report"
    assert len(set(ids)) == 5
    await notifier.aclose()

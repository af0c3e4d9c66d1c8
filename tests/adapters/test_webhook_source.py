"""Signed webhooks from elsewhere: what is read of them, and that only refusals come of hostile ones."""

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from skene.adapters.webhook import StandardWebhookSource
from skene.errors import ConfigurationError, WebhookRejected
from skene.ports.sources import EventSource, SourceEvent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oDxyz0AAAA"
SOURCE = StandardWebhookSource(SECRET)
EVENT = {"type": "deal.won", "data": {"user_id": "ada"}}


def signed(
    body: bytes, *, secret: str = SECRET, number: str = "msg_1", age: float = 0, prefix: str = "webhook"
) -> Mapping[str, str]:
    at = NOW - timedelta(seconds=age)
    return {
        f"{prefix}-id": number,
        f"{prefix}-timestamp": str(int(at.timestamp())),
        f"{prefix}-signature": Webhook(secret).sign(msg_id=number, timestamp=at, data=body.decode()),
    }


def parse(payload: Any = EVENT, source: EventSource = SOURCE, **how: Any) -> SourceEvent:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return source.parse(body, signed(body, **how), NOW)


def rejection(body: Any, headers: Mapping[str, str], source: EventSource = SOURCE) -> WebhookRejected:
    with pytest.raises(WebhookRejected) as caught:
        source.parse(body, headers, NOW)
    return caught.value


def test_an_event_is_read() -> None:
    assert parse() == SourceEvent("msg_1", "deal.won", EVENT)  # type: ignore[arg-type]  # a plain dict is JSON


def test_the_headers_names_may_be_in_any_case_and_svix_ones() -> None:
    body = json.dumps(EVENT).encode()
    for prefix in ("Webhook", "WEBHOOK", "svix", "Svix"):
        assert SOURCE.parse(body, signed(body, prefix=prefix), NOW).type == "deal.won"


@pytest.mark.parametrize("kind", [None, 3, "", "a b", "x" * 256, "é", ["deal.won"]])
def test_a_type_that_is_none_is_empty(kind: Any) -> None:
    assert parse({"type": kind}).type == ""
    assert parse({}).type == ""


def test_the_type_may_stand_under_another_key() -> None:
    assert parse({"event": "won"}, StandardWebhookSource(SECRET, type_key="event")).type == "won"


def test_while_a_secret_is_replaced_both_are_accepted() -> None:
    both = StandardWebhookSource([SECRET, OTHER])
    assert parse(EVENT, both).id == parse(EVENT, both, secret=OTHER).id == "msg_1"
    body = json.dumps(EVENT).encode()
    assert rejection(body, signed(body, secret=OTHER)).status == 401
    pair = " ".join(signed(body, secret=one)["webhook-signature"] for one in (OTHER, SECRET))
    assert SOURCE.parse(body, {**signed(body), "webhook-signature": pair}, NOW).id == "msg_1"


def test_the_librarys_own_verification_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    class Fixed(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return NOW

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", Fixed)
    body = json.dumps(EVENT).encode()
    assert Webhook(SECRET).verify(body, dict(signed(body))) == parse().payload


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_every_header_is_needed(name: str) -> None:
    headers = dict(signed(b"{}"))
    for wrong in ({**headers, name: ""}, {key: value for key, value in headers.items() if key != name}):
        refused = rejection(b"{}", wrong)
        assert (refused.status, name in str(refused)) == (400, True)


@pytest.mark.parametrize(
    ("name", "value", "status"),
    [
        ("webhook-id", "msg_2", 401),
        ("webhook-id", "msg 1", 400),
        ("webhook-id", "x" * 256, 400),
        ("webhook-id", "msg_1\ud800", 400),
        ("webhook-timestamp", "1", 401),
        ("webhook-timestamp", "1e9", 400),
        ("webhook-timestamp", "-5", 400),
        ("webhook-timestamp", "１７６", 400),
        ("webhook-timestamp", "9" * 12, 400),
        ("webhook-timestamp", "9" * 11, 401),
        ("webhook-timestamp", "nan", 400),
        ("webhook-signature", "v1", 401),
        ("webhook-signature", "v1,", 401),
        ("webhook-signature", "v1a,AAAA", 401),
        ("webhook-signature", "v1,\ud800é", 401),
        ("webhook-signature", "," * 10_000, 401),
    ],
)
def test_headers_that_do_not_fit_are_refused(name: str, value: str, status: int) -> None:
    body = json.dumps(EVENT).encode()
    assert rejection(body, {**signed(body), name: value}).status == status


def test_a_changed_body_and_another_scheme_are_refused() -> None:
    headers = signed(b'{"type":"a"}')
    assert rejection(b'{"type":"b"}', headers).status == 401
    renamed = headers["webhook-signature"].replace("v1,", "v2,")
    assert rejection(b'{"type":"a"}', {**headers, "webhook-signature": renamed}).status == 401


def test_of_many_signatures_only_the_first_are_looked_at() -> None:
    body = json.dumps(EVENT).encode()
    right = signed(body)["webhook-signature"]
    for before, accepted in ((19, True), (20, False), (100_000, False)):
        headers = {**signed(body), "webhook-signature": "v1,AAAA " * before + right}
        if accepted:
            assert SOURCE.parse(body, headers, NOW).id == "msg_1"
        else:
            assert rejection(body, headers).status == 401


@pytest.mark.parametrize(("age", "when"), [(301, "past"), (-301, "future"), (10**9, "past")])
def test_age_is_judged_by_the_given_time(age: int, when: str) -> None:
    body = json.dumps(EVENT).encode()
    refused = rejection(body, signed(body, age=age))
    assert refused.status == 400
    assert when in str(refused)
    assert parse(EVENT, age=300).id == parse(EVENT, age=-300).id == "msg_1"


def test_the_tolerance_can_be_set() -> None:
    body = json.dumps(EVENT).encode()
    patient = StandardWebhookSource(SECRET, tolerance=timedelta(hours=1))
    assert parse(EVENT, patient, age=3600).id == "msg_1"
    assert rejection(body, signed(body, age=2), StandardWebhookSource(SECRET, tolerance=timedelta(seconds=1)))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b'"text"',
        b"{",
        b"{'type': 1}",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": -1e999}',
        b'{"a": ' + b"9" * 5000 + b"}",
        b'{"a": "\\u0000"}',
        b'{"\\u0000": 1}',
        b'{"a": ["\\ud800"]}',
        b'{"a":' * 65 + b"1" + b"}" * 65,
        "\ufeff{}".encode(),
    ],
)
def test_a_signed_body_that_is_no_usable_object_is_refused(body: bytes) -> None:
    assert rejection(body, signed(body)).status == 400


def test_what_is_nested_sixty_four_times_is_read() -> None:
    assert parse(b'{"a":' * 63 + b"{}" + b"}" * 63).id == "msg_1"


@pytest.mark.parametrize("opening", [b"[", b'{"a":'])
def test_deep_nesting_is_answered_quickly(opening: bytes) -> None:
    body = b'{"a":' + opening * 200_000
    closed = b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    began = time.perf_counter()
    assert rejection(body, signed(body)).status == 400
    assert rejection(closed, signed(closed)).status == 400
    assert time.perf_counter() - began < 2


def test_what_is_not_utf8_is_refused() -> None:
    assert rejection(b'{"a": "\xff"}', signed(b"{}")).status == 400


def test_no_secret_is_shown() -> None:
    shown = repr(StandardWebhookSource([SECRET, OTHER]))
    assert shown == "StandardWebhookSource(2 secrets)"
    assert repr(SOURCE) == "StandardWebhookSource(1 secret)"
    key = SECRET.removeprefix("whsec_")
    for wrong in (key, "v1," + SECRET, SECRET[:20], SECRET + "!", "", None, 5, [], [""], b"whsec_x"):
        with pytest.raises(ConfigurationError) as caught:
            StandardWebhookSource(wrong)  # type: ignore[arg-type]  # the point of the test
        assert "StandardWebhookSource.secret" in str(caught.value)
        assert key[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"tolerance": timedelta(0)}, "tolerance"),
        ({"tolerance": timedelta(hours=1, seconds=1)}, "tolerance"),
        ({"tolerance": 300}, "tolerance"),
        ({"type_key": ""}, "type_key"),
        ({"type_key": None}, "type_key"),
    ],
)
def test_settings_that_cannot_work_are_named(settings: Any, path: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        StandardWebhookSource("", **settings)
    assert [fault.path.partition(".")[2] for fault in caught.value.faults] == ["secret", path]


HEADER = st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "svix-id", "Webhook-ID"])
VALUE = st.text() | st.sampled_from(["msg_1", "1763640000", "v1,AAAA", "v1,", "nan", "9" * 400])


@given(st.binary(), st.dictionaries(HEADER | st.text(), VALUE))
def test_nothing_but_a_refusal_comes_of_any_bytes(body: bytes, headers: dict[str, str]) -> None:
    with pytest.raises(WebhookRejected):
        SOURCE.parse(body, headers, NOW)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON.map(lambda value: json.dumps(value).encode()) | st.text().map(str.encode))
def test_what_is_signed_is_an_event_that_json_can_keep_or_a_refusal(body: bytes) -> None:
    with suppress(WebhookRejected):
        event = parse(body)
        kept = json.dumps(event.payload, allow_nan=False, ensure_ascii=False).encode()
        assert json.loads(kept) == event.payload
        assert b"\x00" not in kept

"""The local Resend: what it accepts and answers is what Resend's own documentation says."""

import json
from typing import Any

import httpx
import pytest

from skene.testing.clock import ManualClock
from skene.testing.resend_server import FakeResend

MAIL = {"from": "Acme <team@acme.test>", "to": ["ada@acme.test"], "subject": "Hello", "text": "Hi"}


@pytest.fixture
def fake() -> FakeResend:
    return FakeResend(now=ManualClock().now, domains=["acme.test"])


@pytest.fixture
async def api(fake: FakeResend) -> Any:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(fake.app),
        base_url="http://resend.test",
        headers={"authorization": "Bearer re_local0resend"},
    ) as client:
        yield client


def problem(answer: httpx.Response) -> tuple[int, str]:
    body = answer.json()
    assert set(body) == {"statusCode", "name", "message"}
    assert body["statusCode"] == answer.status_code
    assert body["message"]
    return answer.status_code, body["name"]


async def test_an_email_is_accepted_and_can_be_read_back(api: httpx.AsyncClient, fake: FakeResend) -> None:
    sent = await api.post("/emails", json=MAIL | {"to": "ada@acme.test", "reply_to": "help@acme.test"})
    assert sent.status_code == 200
    assert set(sent.json()) == {"id"}
    shown = (await api.get(f"/emails/{sent.json()['id']}")).json()
    assert (shown["object"], shown["to"], shown["reply_to"]) == (
        "email",
        ["ada@acme.test"],
        ["help@acme.test"],
    )
    assert shown["last_event"] == "delivered"
    assert [mail.text for mail in fake.sent_to("ada@acme.test")] == ["Hi"]
    assert problem(await api.get("/emails/nothing")) == (404, "not_found")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"to": None}, (422, "missing_required_field")),
        ({"to": []}, (422, "missing_required_field")),
        ({"from": ""}, (422, "missing_required_field")),
        ({"subject": ""}, (422, "missing_required_field")),
        ({"text": None}, (422, "missing_required_field")),
        ({"text": 7}, (422, "validation_error")),
        ({"from": "team"}, (422, "validation_error")),
        ({"from": "Acme <team@acme>"}, (422, "validation_error")),
        ({"from": "team@other.test"}, (403, "validation_error")),
        ({"to": ["ada"]}, (422, "validation_error")),
        ({"to": ["ada@acme.test, bob@acme.test"]}, (422, "validation_error")),
        ({"to": ["ada@acme.test"] * 51}, (422, "validation_error")),
        ({"reply_to": "nobody"}, (422, "validation_error")),
        ({"tags": [{"name": "a b", "value": "x"}]}, (422, "validation_error")),
        ({"headers": {"X-A": "a\r\nBcc: eve@evil.test"}}, (422, "validation_error")),
        ({"headers": {"X A": "a"}}, (422, "validation_error")),
        ({"headers": {"X-A": 7}}, (422, "validation_error")),
        ({"headers": ["X-A: a"]}, (422, "validation_error")),
        ({"template": {"id": "nothing"}, "text": None}, (422, "validation_error")),
        ({"template": {"id": "welcome"}}, (422, "validation_error")),
        ({"template": {"id": "welcome"}, "text": None}, (422, "validation_error")),
        (
            {"template": {"id": "welcome", "variables": {"NAME": [1]}}, "text": None},
            (422, "validation_error"),
        ),
    ],
)
async def test_what_is_refused(
    api: httpx.AsyncClient, fake: FakeResend, change: dict[str, Any], expected: tuple[int, str]
) -> None:
    fake.add_template("welcome", "<p>{{{NAME}}}</p>", variables={"NAME": None})
    assert problem(await api.post("/emails", json=MAIL | change)) == expected
    assert not fake.emails


async def test_headers_are_kept_and_a_report_is_the_last_event(
    api: httpx.AsyncClient, fake: FakeResend
) -> None:
    sent = await api.post("/emails", json=MAIL | {"headers": {"List-Unsubscribe": "<https://acme.test/u>"}})
    assert fake.emails[0].headers == {"List-Unsubscribe": "<https://acme.test/u>"}
    about = json.loads(fake.make_report("email.bounced", "ada@acme.test").body)
    assert about["data"]["headers"] == [{"name": "List-Unsubscribe", "value": "<https://acme.test/u>"}]
    assert (about["type"], about["data"]["to"]) == ("email.bounced", ["ada@acme.test"])
    assert (await api.get(f"/emails/{sent.json()['id']}")).json()["last_event"] == "bounced"


async def test_only_its_keys_and_routes(api: httpx.AsyncClient, fake: FakeResend) -> None:
    assert problem(await api.post("/emails", json=MAIL, headers={"authorization": ""})) == (
        401,
        "missing_api_key",
    )
    wrong = await api.post("/emails", json=MAIL, headers={"authorization": "Bearer re_wrong"})
    assert problem(wrong) == (403, "invalid_api_key")
    assert problem(await api.get("/nothing")) == (404, "not_found")
    assert problem(await api.put("/emails", json=MAIL)) == (405, "method_not_allowed")
    assert problem(await api.post("/emails", content=b"{")) == (422, "validation_error")
    assert not fake.emails


async def test_idempotency_keys(api: httpx.AsyncClient, fake: FakeResend) -> None:
    first = await api.post("/emails", json=MAIL, headers={"idempotency-key": "k"})
    again = await api.post("/emails", json=dict(reversed(MAIL.items())), headers={"idempotency-key": "k"})
    assert again.json() == first.json()
    other = await api.post("/emails", json=MAIL | {"text": "Other"}, headers={"idempotency-key": "k"})
    assert problem(other) == (409, "invalid_idempotent_request")
    long = await api.post("/emails", json=MAIL, headers={"idempotency-key": "k" * 257})
    assert problem(long) == (400, "invalid_idempotency_key")
    assert len(fake.emails) == 1


async def test_a_refused_request_uses_up_no_key(api: httpx.AsyncClient, fake: FakeResend) -> None:
    fake.fail_next(500, "application_error")
    headers = {"idempotency-key": "k"}
    assert problem(await api.post("/emails", json=MAIL, headers=headers)) == (500, "application_error")
    assert (await api.post("/emails", json=MAIL, headers=headers)).status_code == 200


async def test_batches(api: httpx.AsyncClient, fake: FakeResend) -> None:
    sent = await api.post("/emails/batch", json=[MAIL, MAIL])
    assert [set(one) for one in sent.json()["data"]] == [{"id"}, {"id"}]
    assert problem(await api.post("/emails/batch", json=[])) == (422, "validation_error")
    assert problem(await api.post("/emails/batch", json=[MAIL] * 101)) == (422, "validation_error")
    assert problem(await api.post("/emails/batch", json=[MAIL, {}])) == (422, "missing_required_field")
    assert len(fake.emails) == 2
    some = await api.post("/emails/batch", json=[MAIL, {}], headers={"x-batch-validation": "permissive"})
    assert [one["index"] for one in some.json()["errors"]] == [1]
    assert len(fake.emails) == 3


async def test_templates_are_drafts_until_they_are_published(
    api: httpx.AsyncClient, fake: FakeResend
) -> None:
    variables = [{"key": "NAME", "type": "string", "fallback_value": "you"}]
    made = await api.post(
        "/templates",
        json={"name": "Welcome", "alias": "welcome", "html": "<p>{{{NAME}}}</p>", "variables": variables},
    )
    assert made.status_code == 201
    assert made.json()["object"] == "template"
    wanted = {key: value for key, value in MAIL.items() if key != "text"} | {"template": {"id": "welcome"}}
    assert problem(await api.post("/emails", json=wanted)) == (422, "validation_error")
    assert (await api.get(f"/templates/{made.json()['id']}")).json()["status"] == "draft"
    assert (await api.post(f"/templates/{made.json()['id']}/publish")).json()["id"] == made.json()["id"]
    assert (await api.post("/emails", json=wanted)).status_code == 200
    assert fake.emails[0].html == "<p>you</p>"
    assert problem(await api.post("/templates", json={"name": "x"})) == (422, "missing_required_field")
    assert problem(await api.get("/templates/nothing")) == (404, "not_found")

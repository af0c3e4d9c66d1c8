"""What clients see: design §5."""

from datetime import timedelta

import pytest

from skene import StorageUnavailable, action, billed, condition, define_loop, lifetime, step, trigger
from tests.fastapi.conftest import freemium


def gated(h, path="/api/features/x"):
    @h.app.post(path)
    async def x() -> str:
        h.calls.append("ran")
        return "done"


async def test_a_refusal_says_everything_a_client_needs(house):
    h = house(freemium(1), public_url="https://app.acme.test")
    gated(h)
    async with h.running() as client:
        await client.post("/api/features/x")
        refused = await client.post("/api/features/x")
    assert refused.status_code == 402
    assert refused.headers["content-type"] == "application/problem+json"
    body = refused.json()
    assert body.pop("type").startswith("https://")
    assert body.pop("upgrade_url").startswith("https://app.acme.test/skene/upgrade?token=")
    assert body.pop("resets_at") == (h.clock.now() + timedelta(days=30)).isoformat()
    assert body == {
        "title": "Usage limit reached",
        "status": 402,
        "detail": "Limit reached.",
        "code": "usage_limit_reached",
        "loop": "freemium",
        "meter": "freemium",
        "plan": "free",
        "limit": 1,
        "used": 1,
        "remaining": 0,
        "period": "30d",
    }


async def test_a_cap_on_the_bill_is_told_apart_from_a_limit(house):
    h = house(freemium(1, paid=billed(included=1, meter="api_calls", cap=2)))
    gated(h)
    async with h.running() as client:
        await h.skene.set_plan("ada", "paid")
        for _ in range(2):
            assert (await client.post("/api/features/x")).status_code == 200
        refused = await client.post("/api/features/x")
        document = (await client.get("/openapi.json")).json()
    body = refused.json()
    assert (refused.status_code, body["title"]) == (402, "Spend cap reached")
    assert body["code"] == "spend_cap_reached"
    assert body["type"].endswith("#spend_cap_reached")
    assert (body["limit"], body["used"], body["included"], body["billed_units"]) == (2, 2, 1, 1)
    assert body["detail"] != "Limit reached."
    told = document["components"]["schemas"]["UsageLimitProblem"]["properties"]
    assert set(body) <= set(told)
    assert body["code"] in told["code"]["enum"]


async def test_every_gated_answer_carries_the_rate_limit_fields(house):
    h = house(freemium(2))
    gated(h)
    async with h.running() as client:
        await client.post("/api/features/x")
        h.clock.advance("29d")
        second, refused = [await client.post("/api/features/x") for _ in range(2)]
    for answer, left in ((second, 0), (refused, 0)):
        assert answer.headers["ratelimit-policy"] == '"free";q=2;w=2592000'
        assert answer.headers["ratelimit"] == f'"free";r={left};t=86400'


async def test_unlimited_plans_and_ungated_routes_carry_none(house):
    h = house(freemium(1))
    gated(h)

    @h.app.get("/free")
    async def free() -> None: ...

    async with h.running() as client:
        await h.skene.set_plan("ada", "paid")
        for _ in range(3):
            answer = await client.post("/api/features/x")
            assert answer.status_code == 200
            assert "ratelimit" not in answer.headers
        assert "ratelimit" not in (await client.get("/free")).headers
    assert await h.used() == 3, "unlimited subjects are counted all the same"


async def test_a_plan_without_the_feature_is_403(house):
    h = house(freemium(0))
    gated(h)
    async with h.running() as client:
        answer = await client.post("/api/features/x")
    assert (answer.status_code, answer.json()["code"]) == (403, "feature_not_in_plan")
    assert h.calls == []


async def test_429_comes_with_retry_after(house):
    h = house(freemium(1, block={"status_code": 429}))
    gated(h)
    async with h.running() as client:
        await client.post("/api/features/x")
        h.clock.advance("29d")
        answer = await client.post("/api/features/x")
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "86400"


async def test_a_lifetime_limit_never_resets(house):
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                trigger=trigger.api("/api/features/*"),
                condition=condition.usage(limit={"free": 1, "paid": 5}, period=lifetime()),
                action=action.block("No more."),
            )
        ],
    )
    h = house(loop)
    gated(h)
    async with h.running() as client:
        first = await client.post("/api/features/x")
        h.clock.advance("520w")
        second = await client.post("/api/features/x")
    assert first.headers["ratelimit-policy"] == '"free";q=1'
    assert second.status_code == 402
    assert second.json()["resets_at"] is None


@pytest.mark.parametrize("who", [None, "", "absent"])
async def test_nobody_is_401_and_never_a_shared_counter(house, who):
    h = house()
    gated(h)
    async with h.running() as client:
        if who == "absent":
            del client.headers["x-user"]
        answer = await client.post(
            "/api/features/x", headers={} if who == "absent" else {"x-user": who or ""}
        )
    assert (answer.status_code, answer.json()["code"]) == (401, "subject_unknown")
    assert "www-authenticate" in answer.headers
    assert h.calls == []


async def test_an_outage_is_503_and_never_a_limit(house, monkeypatch):
    h = house()
    gated(h)

    async def away(call):
        raise StorageUnavailable("no route to the database", timedelta(seconds=3))

    async with h.running() as client:
        monkeypatch.setattr(h.storage, "consume", away)
        answer = await client.post("/api/features/x")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")
    assert answer.json()["code"] == "storage_unavailable"
    assert h.calls == []
    assert h.mail.sent == []


async def test_an_outage_can_let_calls_through(house, monkeypatch, caplog):
    h = house(on_storage_error="allow")
    gated(h)

    async def away(call):
        raise StorageUnavailable("no route to the database")

    async with h.running() as client:
        monkeypatch.setattr(h.storage, "consume", away)
        answers = [await client.post("/api/features/x") for _ in range(50)]
    assert {a.status_code for a in answers} == {200}
    assert "ratelimit" not in answers[0].headers
    assert len([r for r in caplog.records if r.name == "skene"]) == 1, "an outage is one line a second"


async def test_shadow_mode_counts_and_records_and_refuses_nobody(house):
    h = house(freemium(2, enforce=False))
    gated(h)
    async with h.running() as client:
        answers = [await client.post("/api/features/x") for _ in range(5)]
        await h.skene.worker.drain()
    assert {a.status_code for a in answers} == {200}
    assert await h.used() == 5
    assert h.mail.sent == []


async def test_ids_may_be_numbers_uuids_and_any_text(house):
    h = house(freemium(1))
    gated(h)
    async with h.running() as client:
        for who in ("42", "o'brien; DROP TABLE users", "%F0%9F%A6%8A", "x" * 3000):
            answers = [
                (await client.post("/api/features/x", headers={"x-user": who})).status_code for _ in range(2)
            ]
            assert answers == [200, 402], who

"""The local Stripe itself: billing meters, their events, and features."""

import httpx
import pytest

from skene.testing.stripe_server import FakeStripe
from tests.support.stripe_kit import NOW

METER = {"display_name": "Calls", "event_name": "calls", "default_aggregation[formula]": "sum"}
EVENT = {"event_name": "calls", "payload[stripe_customer_id]": "cus_1", "payload[value]": "5"}


async def test_a_meter_is_made_and_listed(http: httpx.AsyncClient) -> None:
    made = (await http.post("/v1/billing/meters", data=METER)).json()
    assert (made["object"], made["event_name"], made["status"]) == ("billing.meter", "calls", "active")
    assert (await http.get("/v1/billing/meters?status=active")).json()["data"] == [made]
    assert (await http.get("/v1/billing/meters?status=inactive")).json()["data"] == []


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"event_name": ""}, "event_name"),
        ({"display_name": ""}, "display_name"),
        ({"default_aggregation[formula]": "last"}, None),
        ({"colour": "red"}, "colour"),
    ],
)
async def test_meters_that_are_refused(
    http: httpx.AsyncClient, change: dict[str, str], param: str | None
) -> None:
    answer = await http.post("/v1/billing/meters", data=METER | change)
    assert (answer.status_code, answer.json()["error"].get("param")) == (400, param)


async def test_a_name_belongs_to_one_meter(http: httpx.AsyncClient) -> None:
    assert (await http.post("/v1/billing/meters", data=METER)).status_code == 200
    assert (await http.post("/v1/billing/meters", data=METER)).status_code == 400


async def test_an_event_without_identifier_gets_one(http: httpx.AsyncClient, fake: FakeStripe) -> None:
    fake.add_meter("calls")
    answers = [(await http.post("/v1/billing/meter_events", data=EVENT)).json() for _ in range(2)]
    assert len({one["identifier"] for one in answers}) == 2
    assert {one["timestamp"] for one in answers} == {int(NOW.timestamp())}


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"event_name": "cals"}, "event_name"),
        ({"payload[stripe_customer_id]": ""}, "payload[stripe_customer_id]"),
        ({"payload[value]": "1.5"}, "payload[value]"),
        ({"payload[value]": ""}, "payload[value]"),
        ({"identifier": "x" * 101}, "identifier"),
        ({"timestamp": "now"}, "timestamp"),
        ({"quantity": "5"}, "quantity"),
    ],
)
async def test_events_that_are_refused(
    http: httpx.AsyncClient, fake: FakeStripe, change: dict[str, str], param: str
) -> None:
    fake.add_meter("calls")
    answer = await http.post("/v1/billing/meter_events", data=EVENT | change)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
    bare = await http.post("/v1/billing/meter_events", data={"event_name": "calls"})
    assert bare.json()["error"]["param"] == "payload"


async def test_features_are_listed(http: httpx.AsyncClient, fake: FakeStripe) -> None:
    number = fake.add_feature("support", product="prod_pro")
    assert fake.add_feature("support", product="prod_team") == number
    fake.add_feature("exports", product="prod_team")
    (found,) = (await http.get("/v1/entitlements/features?lookup_key=support")).json()["data"]
    assert (found["id"], found["lookup_key"]) == (number, "support")
    assert len((await http.get("/v1/entitlements/features")).json()["data"]) == 2

"""What Paddle's own objects come to: as its documentation shows them, and as they may be."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from skene.adapters.paddle import PaddleBilling
from skene.adapters.paddle.reading import instant, subscription
from skene.errors import BillingUnavailable
from skene.ports.billing import Subscription
from skene.testing.paddle_server import FakePaddle
from tests.support.billing_drivers import paddle_billing
from tests.support.stripe_kit import NOW

PLANS = {"pri_basic": "basic", "pro_gold": "gold", "*": "any"}
ORDER = ("any", "basic", "gold")
START, END = datetime(2026, 4, 12, 10, 37, 59, 556997, UTC), datetime(2026, 5, 12, 10, 37, 59, 556997, UTC)


def line(price: str = "pri_basic", product: str = "pro_basic", **more: Any) -> dict[str, Any]:
    unit = {"amount": more.pop("amount", "3000"), "currency_code": more.pop("currency", "USD")}
    return {
        "status": "active",
        "quantity": 2,
        "recurring": True,
        "trial_dates": None,
        "price": {"id": price, "product_id": product, "unit_price": unit},
        "product": {"id": product},
        **more,
    }


def source(*lines: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "sub_1",
        "status": "active",
        "customer_id": "ctm_1",
        "currency_code": "USD",
        "first_billed_at": "2026-04-12T10:37:59.556997Z",
        "started_at": "2026-04-12T10:37:59.556997Z",
        "current_billing_period": {
            "starts_at": "2026-04-12T10:37:59.556997Z",
            "ends_at": "2026-05-12T10:37:59.556997Z",
        },
        "billing_cycle": {"interval": "month", "frequency": 1},
        "scheduled_change": None,
        "items": list(lines) or [line()],
        **more,
    }


def read(*lines: Any, **more: Any) -> Subscription:
    return subscription(source(*lines, **more), PLANS, ORDER)


def test_a_subscription_as_it_is_documented() -> None:
    assert read() == Subscription(
        "sub_1", "active", "basic", START, END, None, START, "month", 1, 6000, "usd", 2, START
    )


@pytest.mark.parametrize(
    ("lines", "plan", "quantity"),
    [
        ([line("pri_x", "pro_x")], "any", 2),
        ([line("pri_x", "pro_gold", quantity=7)], "gold", 7),
        ([line(), line("pri_x", "pro_gold", quantity=3)], "gold", 3),
        ([line("pri_x", "pro_gold", recurring=False), line()], "basic", 2),
        ([line("pri_x", "pro_gold", status="inactive"), line()], "basic", 2),
        ([{**line("pri_x", "pro_gold"), "product": None}], "gold", 2),
    ],
)
def test_the_most_valuable_item_that_goes_on_counts(lines: list[Any], plan: str, quantity: int) -> None:
    assert (read(*lines).plan, read(*lines).quantity) == (plan, quantity)


@pytest.mark.parametrize(
    ("change", "ends"),
    [
        (None, None),
        ({"action": "cancel", "effective_at": "2026-05-12T10:37:59.556997Z"}, END),
        ({"action": "pause", "effective_at": "2026-05-12T10:37:59.556997Z"}, END),
        ({"action": "resume", "effective_at": "2026-05-12T10:37:59.556997Z"}, None),
    ],
)
def test_a_scheduled_end_or_pause_ends_the_plan(change: Any, ends: datetime | None) -> None:
    assert read(scheduled_change=change).ends_at == ends


@pytest.mark.parametrize(
    ("lines", "amount"),
    [
        ([line(), line(amount="1", quantity=1)], 6001),
        ([line(), line("pri_x", amount="500", recurring=False)], 6000),
        ([line(currency="EUR")], None),
        ([line(amount=None)], None),
        ([line(amount="NaN")], None),
        ([line(quantity=None)], None),
    ],
)
def test_what_a_period_costs_or_that_nobody_knows(lines: list[Any], amount: int | None) -> None:
    assert read(*lines).amount == amount


@pytest.mark.parametrize(
    ("first", "starts", "anchor"),
    [
        ("2026-01-31T00:00:00Z", "2026-02-28T00:00:00Z", "2026-01-31T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "2026-04-15T00:00:00Z", "2026-01-15T00:00:00Z"),
        ("2026-01-15T00:00:00Z", "2026-04-01T00:00:00Z", "2026-04-01T00:00:00Z"),
        (None, "2026-04-01T00:00:00Z", "2026-04-01T00:00:00Z"),
    ],
    ids=["clamped", "same day", "moved since", "never billed"],
)
def test_billing_days_are_counted_from_the_first_bill_unless_it_was_moved(
    first: str | None, starts: str, anchor: str
) -> None:
    period = {"starts_at": starts, "ends_at": "2026-05-15T00:00:00Z"}
    assert read(first_billed_at=first, current_billing_period=period).anchor == instant(anchor)


def test_paying_begins_when_the_trial_ends() -> None:
    trial = {"starts_at": "2026-04-12T10:37:59.556997Z", "ends_at": "2026-05-12T10:37:59.556997Z"}
    assert read(line(trial_dates=trial), first_billed_at=None, status="trialing").started_at == END
    assert read(line(trial_dates=trial)).started_at == END


@pytest.mark.parametrize(
    "given", [None, 7, "", "yesterday", "2026-04-12T10:37:59", "9999-12-31T23:59:59-23:59"]
)
def test_what_is_no_time_is_none(given: Any) -> None:
    assert instant(given) is None
    assert instant("2024-10-12T07:20:50.52Z") == datetime(2024, 10, 12, 7, 20, 50, 520000, UTC)


@pytest.mark.parametrize(
    "gone",
    ["first_billed_at", "current_billing_period", "billing_cycle", "currency_code", "scheduled_change"],
)
def test_what_is_missing_is_unknown(gone: str) -> None:
    given = source()
    del given[gone]
    assert subscription(given, PLANS, ORDER).plan == "basic"


@pytest.mark.parametrize("wrong", [{"id": None}, {"status": None}, {"items": None}])
def test_what_cannot_be_a_subscription_says_so(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"list|subscription"):
        subscription(source(**wrong), PLANS, ORDER)


# --- over HTTP -------------------------------------------------------------------------------------


@pytest.fixture
def fake() -> FakePaddle:
    return FakePaddle(now=lambda: NOW, prices=["pri_starter", "pri_pro"])


@pytest.fixture
async def billing(fake: FakePaddle) -> AsyncIterator[PaddleBilling]:
    made = paddle_billing(fake, disputed="default")
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    ("told", "disputed"),
    [
        ([], False),
        ([("refund", "approved")], False),
        ([("chargeback", "pending_approval")], False),
        ([("chargeback", "approved")], True),
        ([("chargeback", "approved"), ("chargeback_reverse", "approved")], False),
    ],
)
async def test_a_payment_that_was_charged_back_is_disputed(
    fake: FakePaddle, billing: PaddleBilling, told: list[tuple[str, str]], disputed: bool
) -> None:
    await fake.subscribe("ada", "pri_pro")
    customer = fake.customer("ada") or ""
    for action, status in told:
        await fake.adjust("ada", action, 2000, status=status)
    assert (await billing.fetch(customer)).disputed is disputed
    await fake.cancel("ada")
    asked = len(fake.requests)
    assert (await billing.fetch(customer)).disputed is False
    assert {call.path for call in fake.requests[asked:]} == {f"/customers/{customer}", "/subscriptions"}


async def test_a_question_is_repeated_and_an_order_is_not(fake: FakePaddle, billing: PaddleBilling) -> None:
    customer = await fake.add_customer("ada")
    fake.fail(503, times=2)
    assert (await billing.fetch(customer)).subject == "ada"
    asked = len(fake.requests)
    fake.fail(503)
    with pytest.raises(BillingUnavailable):
        await billing.portal(customer, return_url="https://app.test/")
    assert len(fake.requests) == asked + 1


async def test_another_customers_subscriptions_are_never_taken_for_ones_own(fake: FakePaddle) -> None:
    """A filter that is ignored must not give everybody everything."""
    await fake.subscribe("bob", "pri_pro")
    mine = await fake.add_customer("ada")

    async def deaf(request: httpx.Request) -> httpx.Response:
        asked = httpx.URL(str(request.url).split("?")[0])
        async with httpx.AsyncClient(transport=httpx.ASGITransport(fake.app)) as client:
            answer = await client.get(asked, headers=request.headers)
        return httpx.Response(answer.status_code, content=answer.content)

    billing = paddle_billing(fake, transport=httpx.MockTransport(deaf))
    with pytest.raises(BillingUnavailable):
        await billing.fetch(mine)
    await billing.aclose()


async def test_the_next_page_is_asked_for_where_the_first_was(fake: FakePaddle) -> None:
    """The answer names an address; the key is sent to none but Paddle's."""
    asked: list[str] = []

    async def astray(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.host))
        page = {
            "per_page": 1,
            "next": "https://evil.test/subscriptions?after=sub_1",
            "has_more": len(asked) < 3,
        }
        return httpx.Response(200, json={"data": [source()], "meta": {"pagination": page}})

    billing = paddle_billing(fake, transport=httpx.MockTransport(astray))
    page = await billing.subscriptions()
    assert page.after == "sub_1"
    await billing.subscriptions(page.after)
    assert set(asked) == {"paddle.localhost"}


async def test_a_slow_provider_is_given_the_timeout_of_the_settings(fake: FakePaddle) -> None:
    billing = paddle_billing(fake, timeout=timedelta(milliseconds=100))
    fake.delay = 30
    with pytest.raises(BillingUnavailable, match=r"within 0\.1 s"):
        await billing.events(NOW)

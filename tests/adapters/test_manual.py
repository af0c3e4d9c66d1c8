"""ManualBilling: plans that people set, and no service behind them."""

from typing import Any

import pytest

from skene.adapters.manual import ManualBilling
from skene.errors import CheckoutUnavailable, ConfigurationError, WebhookRejected
from skene.ports.billing import Account, Billing, CheckoutSession
from tests.support.stripe_kit import NOW, order

PAGE = "https://acme.test/pricing"


async def test_it_is_a_billing() -> None:
    billing = ManualBilling(["pro", "team"], default="none")
    port: Billing = billing
    assert (port.plans, port.default, port.link_key) == (("pro", "team"), "none", None)
    assert not port.grace
    assert repr(billing) == "<ManualBilling plans=('pro', 'team') default='none'>"
    await port.aclose()
    await port.aclose()


def test_the_plans_of_the_seed_are_the_default() -> None:
    assert (ManualBilling().plans, ManualBilling().default) == (("paid",), "free")


def test_every_webhook_is_refused() -> None:
    with pytest.raises(WebhookRejected, match="by hand") as caught:
        ManualBilling().parse_webhook(b"{}", {}, NOW)
    assert caught.value.status == 400


async def test_nothing_is_known_of_a_customer() -> None:
    assert await ManualBilling().fetch("cus_1") == Account("cus_1")


async def test_people_are_sent_to_the_pricing_page() -> None:
    session = await ManualBilling(upgrade_url=PAGE).checkout(order(), idempotency_key="k")
    assert session == CheckoutSession(None, PAGE)


async def test_without_a_pricing_page_nothing_is_sold() -> None:
    with pytest.raises(CheckoutUnavailable, match="upgrade_url"):
        await ManualBilling().checkout(order(), idempotency_key="k")


async def test_there_are_no_sessions_and_no_portal() -> None:
    with pytest.raises(LookupError):
        await ManualBilling(upgrade_url=PAGE).checkout_result("cs_test_1")
    with pytest.raises(CheckoutUnavailable):
        await ManualBilling(upgrade_url=PAGE).portal("cus_1", return_url=PAGE)


@pytest.mark.parametrize(
    ("given", "paths"),
    [
        ({"plans": "paid"}, ["plans"]),
        ({"plans": None}, ["plans"]),
        ({"plans": {"paid"}}, ["plans"]),
        ({"plans": ["pro", ""]}, ["plans[1]"]),
        ({"plans": [7]}, ["plans[0]"]),
        ({"plans": ["pro", "pro"]}, ["plans[1]"]),
        ({"plans": ["free"]}, ["default"]),
        ({"default": " free"}, ["default"]),
        ({"default": None}, ["default"]),
        ({"upgrade_url": "javascript:alert(1)"}, ["upgrade_url"]),
        ({"upgrade_url": "//evil.test"}, ["upgrade_url"]),
        ({"upgrade_url": "ftp://acme.test/pricing"}, ["upgrade_url"]),
        ({"upgrade_url": "https://"}, ["upgrade_url"]),
        ({"upgrade_url": "https://[acme"}, ["upgrade_url"]),
        ({"upgrade_url": "https://acme.test/\r\nset-cookie: x"}, ["upgrade_url"]),
        ({"upgrade_url": 7}, ["upgrade_url"]),
        ({"plans": [""], "default": "", "upgrade_url": ""}, ["plans[0]", "default", "upgrade_url"]),
    ],
)
def test_settings_that_cannot_work(given: dict[str, Any], paths: list[str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ManualBilling(**given)
    assert [fault.path for fault in caught.value.faults] == [f"ManualBilling.{path}" for path in paths]


def test_no_plans_besides_the_default_are_allowed() -> None:
    assert ManualBilling([]).plans == ()

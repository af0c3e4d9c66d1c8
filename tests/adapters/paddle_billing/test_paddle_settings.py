"""What PaddleBilling is given is checked at once, and no secret is ever repeated."""

from datetime import timedelta
from typing import Any

import pytest

from skene.adapters.paddle import PaddleBilling
from skene.errors import ConfigurationError

KEY = "pdl_sdbx_apikey_01gtgztp8f4kek3yd4g1wrksa3_q6TGTJyvoIz7LDtXT65bX7_AQO"
LIVE = KEY.replace("sdbx", "live")
SECRET = "pdl_ntfset_01gkpjp8bkm3tm53kdgkx6sms7_6h3qd3uFSi9YCD3OLYAShQI90XTI5vEI"
PLANS = {"pri_1": "paid"}


def refused(*args: Any, **given: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        PaddleBilling(*args, **given)
    return caught.value


def only_fault(**given: Any) -> tuple[str, str]:
    error = refused(**{"api_key": KEY, "webhook_secret": SECRET, "plans": PLANS, **given})
    (fault,) = error.faults
    return fault.path, str(fault)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "an empty string"),
        ("   ", "an empty string"),
        (None, "None"),
        (KEY.encode(), "bytes"),
        ("pdl_sdbx_apikey_…", "placeholder"),
        ("pdl_live_apikey_xxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("pdl_live_apikey_your_api_key_goes_here", "placeholder"),
        ("x" * 50, "placeholder"),
        (KEY + "\n", "white space around it"),
        (SECRET, "secret key (pdl_ntfset_…); give"),
        ("live_7d279f61a3499fed520f7cd8c08", "a client-side token"),
        ("test_7d279f61a3499fed520f7cd8c08", "a client-side token"),
        ("hunter2hunter2", "placeholder or a value of the wrong form"),
    ],
)
def test_keys_that_cannot_work(key: Any, said: str) -> None:
    path, told = only_fault(api_key=key)
    assert path == "PaddleBilling.api_key"
    assert said in told
    assert not isinstance(key, str) or len(key.strip()) < 4 or key not in told


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "an empty string"),
        (None, "None"),
        ("pdl_ntfset_…", "placeholder"),
        ("pdl_ntfset_short", "placeholder"),
        ("pdl_ntfset_xxxxxxxxxxxxxxxxxxxx", "placeholder"),
        (" " + SECRET, "white space around it"),
        (KEY, "an API key; give"),
        ("hunter2hunter2hunter2hunter2", "placeholder or a value of the wrong form"),
    ],
)
def test_secrets_that_cannot_work(secret: Any, said: str) -> None:
    path, told = only_fault(webhook_secret=secret)
    assert path == "PaddleBilling.webhook_secret"
    assert said in told
    assert not isinstance(secret, str) or len(secret.strip()) < 4 or secret not in told


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"plans": {}}, "plans"),
        ({"plans": "paid"}, "plans"),
        ({"plans": {"price_1": "paid"}}, "plans.price_1"),
        ({"plans": {"": "paid"}}, 'plans[""]'),
        ({"plans": {7: "paid"}}, "plans[7 (int)]"),
        ({"plans": {"pri_1": ""}}, "plans.pri_1"),
        ({"plans": {"pri_1": "pri_2"}}, "plans.pri_1"),
        ({"plans": {"paid": "pri_1"}}, "plans.paid"),
        ({"default": " free"}, "default"),
        ({"checkout_price": "pro_1"}, "checkout_price"),
        ({"checkout_price": ""}, "checkout_price"),
        ({"checkout_prices": {}}, "checkout_prices"),
        ({"checkout_prices": {"piad": "pri_1"}}, "checkout_prices.piad"),
        ({"checkout_prices": {"paid": "pro_1"}}, "checkout_prices.paid"),
        ({"plans": {"pri_1": "a", "pri_2": "b"}, "checkout_prices": {"a": "pri_2"}}, "checkout_prices.a"),
        ({"checkout_page": "/pay"}, "checkout_page"),
        ({"checkout_page": "javascript:alert(1)"}, "checkout_page"),
        ({"checkout_page": "https://acme.test/#pay"}, "checkout_page"),
        ({"checkout_page": "https://[acme"}, "checkout_page"),
        ({"disputed": "free"}, "disputed"),
        ({"grace": timedelta(days=-1)}, "grace"),
        ({"grace": 14}, "grace"),
        ({"timeout": timedelta(seconds=11)}, "timeout"),
        ({"webhook_tolerance": timedelta(hours=2)}, "webhook_tolerance"),
    ],
)
def test_other_settings_that_cannot_work(given: dict[str, Any], path: str) -> None:
    assert only_fault(**given)[0] == f"PaddleBilling.{path}"


def test_all_faults_come_at_once_and_the_nearest_plan_is_named() -> None:
    error = refused("", "", {}, default="", timeout=timedelta(0))
    assert [fault.path for fault in error.faults] == [
        f"PaddleBilling.{name}" for name in ("api_key", "webhook_secret", "plans", "default", "timeout")
    ]
    assert only_fault(checkout_prices={"piad": "pri_1"})[1].endswith("did you mean paid?")


@pytest.mark.parametrize(
    ("key", "mode"), [(KEY, False), (LIVE, True), (LIVE.replace("live", "test"), False), ("a1" * 25, None)]
)
def test_the_key_says_which_account_it_is_for(key: str, mode: bool | None) -> None:
    billing = PaddleBilling(key, SECRET, PLANS)
    assert billing.livemode is mode
    assert key not in repr(billing)


@pytest.mark.parametrize(
    ("given", "offers"),
    [
        ({}, ("a", "b")),
        ({"checkout_price": "pri_b"}, ("b",)),
        ({"checkout_price": "pri_elsewhere"}, ()),
        ({"checkout_prices": {"b": "pri_b2"}}, ("b",)),
        ({"checkout_prices": {"b": "pri_b2", "a": "pri_a"}, "checkout_price": "pri_b"}, ("a", "b")),
    ],
)
def test_what_is_on_offer(given: dict[str, Any], offers: tuple[str, ...]) -> None:
    plans = {"pri_f": "free", "pri_a": "a", "pri_b": "b", "pri_b2": "b", "pro_c": "c", "*": "d"}
    billing = PaddleBilling(KEY, SECRET, plans, **given)
    assert billing.plans == ("a", "b", "c", "d")
    assert billing.offers == offers


def test_the_callers_own_mapping_may_change() -> None:
    plans = dict(PLANS)
    billing = PaddleBilling(KEY, SECRET, plans)
    plans["pri_2"] = "gold"
    assert billing.plans == ("paid",)
    assert billing.prices == PLANS


@pytest.mark.parametrize("secret", [KEY, LIVE, SECRET])
@pytest.mark.parametrize(
    "place",
    ["plans", "checkout_price", "checkout_prices", "checkout_page", "disputed", "grace", "timeout"],
)
def test_a_secret_in_the_wrong_place_is_not_repeated(secret: str, place: str) -> None:
    for given in ({place: secret}, {place: {secret: "paid"}}, {place: {"paid": secret}}):
        told = str(refused(**{"api_key": KEY, "webhook_secret": SECRET, "plans": PLANS, **given}))
        assert secret[17:37] not in told

"""What StripeBilling is given is checked at once, and no secret is ever repeated."""

from datetime import timedelta
from typing import Any

import pytest

from skene.adapters.stripe import StripeBilling
from skene.adapters.stripe.offers import OWN_OPTIONS
from skene.adapters.stripe.selling import Seller
from skene.errors import ConfigurationError
from skene.ports.billing import CheckoutOrder

KEY = "sk_test_51Abcdefghijklmnop"
SECRET = "whsec_0123456789abcdefABCDEF"
PLANS = {"price_123": "paid"}


def refused(*args: Any, **given: Any) -> ConfigurationError:
    with pytest.raises(ConfigurationError) as caught:
        StripeBilling(*args, **given)
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
        (b"sk_test_51Abc", "bytes"),
        ("sk_test_…", "placeholder"),
        ("sk_test_...", "placeholder"),
        ("sk_live_xxxxxxxx", "placeholder"),
        ("sk_test_your_key_here", "placeholder"),
        ("sk_test_<key>", "placeholder"),
        ("sk_", "placeholder"),
        (KEY + "\n", "white space around it"),
        ("pk_test_51Abcdefgh", "a publishable key"),
        ("pk_live_51Abcdefgh", "a publishable key"),
        (SECRET, "a webhook signing secret"),
        ("hunter2hunter2", "placeholder or a value of the wrong form"),
    ],
)
def test_keys_that_cannot_work(key: Any, said: str) -> None:
    path, told = only_fault(api_key=key)
    assert path == "StripeBilling.api_key"
    assert said in told
    assert not isinstance(key, str) or len(key.strip()) < 4 or key not in told


@pytest.mark.parametrize(
    ("secret", "said"),
    [
        ("", "an empty string"),
        (None, "None"),
        ("whsec_…", "placeholder"),
        ("whsec_...", "placeholder"),
        ("whsec_", "placeholder"),
        ("whsec_short", "placeholder"),
        ("whsec_xxxxxxxxxxxxxxxxxxxxxxxxxxxx", "placeholder"),
        ("whsec_your_signing_secret_goes_here", "placeholder"),
        (" " + SECRET, "white space around it"),
        (KEY, "an API key; give"),
        ("hunter2hunter2hunter2hunter2", "placeholder or a value of the wrong form"),
    ],
)
def test_signing_secrets_that_cannot_work(secret: Any, said: str) -> None:
    path, told = only_fault(webhook_secret=secret)
    assert path == "StripeBilling.webhook_secret"
    assert said in told
    assert not isinstance(secret, str) or len(secret.strip()) < 7 or secret not in told


@pytest.mark.parametrize(
    ("key", "live"),
    [
        ("sk_test_51Abcdef", False),
        ("sk_live_51Abcdef", True),
        ("rk_test_51Abcdef", False),
        ("rk_live_51Abcdef", True),
        ("sk_org_live_51Abcdef", True),
        ("sk_test_123", False),
        ("sk_51Abcdef", None),
    ],
)
def test_keys_that_can(key: str, live: bool | None) -> None:
    assert StripeBilling(key, SECRET, PLANS).livemode is live


@pytest.mark.parametrize(
    ("plans", "path", "said"),
    [
        ({}, "StripeBilling.plans", "a mapping such as"),
        (None, "StripeBilling.plans", "got None"),
        (["price_123"], "StripeBilling.plans", "a list of 1"),
        ({"price_123": ""}, "StripeBilling.plans.price_123", "the name of a plan"),
        ({"price_123": None}, "StripeBilling.plans.price_123", "got None"),
        ({"price_123": True}, "StripeBilling.plans.price_123", "True (bool)"),
        ({"price_123": " paid"}, "StripeBilling.plans.price_123", '" paid"'),
        ({"price_123": "p" * 101}, "StripeBilling.plans.price_123", "the name of a plan"),
        ({"paid": "price_123"}, "StripeBilling.plans.paid", 'did you mean {"price_123": "paid"}?'),
        ({"": "paid"}, 'StripeBilling.plans[""]', "a price id, a product id, a lookup key"),
        ({" price_123": "paid"}, 'StripeBilling.plans[" price_123"]', "a price id"),
        ({7: "paid"}, "StripeBilling.plans[7 (int)]", "a price id"),
        ({"k" * 201: "paid"}, None, "a price id"),
    ],
)
def test_plans_that_cannot_work(plans: Any, path: str | None, said: str) -> None:
    found, told = only_fault(plans=plans)
    assert path in (None, found)
    assert said in told


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"default": ""}, "default"),
        ({"default": None}, "default"),
        ({"checkout_price": ""}, "checkout_price"),
        ({"checkout_price": "*"}, "checkout_price"),
        ({"checkout_price": 7}, "checkout_price"),
        ({"checkout_prices": {}}, "checkout_prices"),
        ({"checkout_prices": ["price_1"]}, "checkout_prices"),
        ({"checkout_prices": {"paid": ""}}, "checkout_prices.paid"),
        ({"checkout_prices": {"paid": "*"}}, "checkout_prices.paid"),
        ({"checkout_prices": {"paid": None}}, "checkout_prices.paid"),
        ({"checkout_prices": {"free": "price_123"}}, "checkout_prices.free"),
        ({"checkout_prices": {7: "price_123"}}, "checkout_prices[7 (int)]"),
        ({"trial_days": -1}, "trial_days"),
        ({"trial_days": 731}, "trial_days"),
        ({"trial_days": True}, "trial_days"),
        ({"trial_days": 1.5}, "trial_days"),
        ({"trial_days": "14"}, "trial_days"),
        ({"checkout_options": ["locale"]}, "checkout_options"),
        ({"checkout_options": {7: 1}}, "checkout_options[7 (int)]"),
        ({"checkout_options": {"a b": 1}}, 'checkout_options["a b"]'),
        ({"collection_paused": True}, "collection_paused"),
        ({"collection_paused": "free"}, "collection_paused"),
        ({"disputed": None}, "disputed"),
        ({"grace": 14}, "grace"),
        ({"grace": timedelta(seconds=-1)}, "grace"),
        ({"grace": timedelta(days=366)}, "grace"),
        ({"timeout": timedelta(0)}, "timeout"),
        ({"timeout": timedelta(seconds=10.001)}, "timeout"),
        ({"timeout": 5}, "timeout"),
        ({"webhook_tolerance": timedelta(0)}, "webhook_tolerance"),
        ({"webhook_tolerance": timedelta(seconds=0.999)}, "webhook_tolerance"),
        ({"webhook_tolerance": timedelta(seconds=3601)}, "webhook_tolerance"),
        ({"webhook_tolerance": timedelta(seconds=-300)}, "webhook_tolerance"),
        ({"webhook_tolerance": 300}, "webhook_tolerance"),
    ],
)
def test_other_settings_that_cannot_work(given: dict[str, Any], path: str) -> None:
    assert only_fault(**given)[0] == f"StripeBilling.{path}"


def test_a_plan_that_is_sold_and_misspelt() -> None:
    path, told = only_fault(checkout_prices={"payd": "price_123"})
    assert path == "StripeBilling.checkout_prices.payd"
    assert "plans= names: paid; did you mean paid?" in told


def test_a_plan_that_is_sold_at_the_price_of_another() -> None:
    plans = {"price_1": "paid", "price_2": "team"}
    path, told = only_fault(plans=plans, checkout_prices={"team": "price_1"})
    assert path == "StripeBilling.checkout_prices.team"
    assert "'price_1', which means the plan 'paid'" in told


@pytest.mark.parametrize("name", sorted(OWN_OPTIONS))
def test_what_skene_sets_itself_is_not_the_callers_to_set(name: str) -> None:
    path, told = only_fault(checkout_options={name: "x", "locale": "fi"})
    assert path == f"StripeBilling.checkout_options.{name}"
    assert "skene sets itself" in told


def test_every_parameter_that_skene_sends_is_its_own() -> None:
    order = CheckoutOrder("ada", "w", "cus_1", None, "https://a.test/r", "https://a.test/")
    sent = Seller(StripeBilling(KEY, SECRET, PLANS, allow_promotion_codes=True)._settings)._params(order, "p")
    assert set(sent) < OWN_OPTIONS


def test_the_bounds_themselves_are_allowed() -> None:
    for tolerance in (timedelta(seconds=1), timedelta(hours=1)):
        StripeBilling(KEY, SECRET, PLANS, webhook_tolerance=tolerance, timeout=timedelta(seconds=10))
    assert StripeBilling(KEY, SECRET, PLANS, grace=timedelta(0)).grace == timedelta(0)


def test_all_faults_are_in_one_error_without_the_values() -> None:
    error = refused("pk_live_51Secret", "sk_live_51Secret", {"paid": "price_1"}, timeout=0)
    assert [fault.path.rpartition(".")[2] for fault in error.faults] == [
        "api_key", "webhook_secret", "paid", "timeout",
    ]  # fmt: skip
    assert "51Secret" not in str(error)


def test_no_secret_is_shown() -> None:
    billing = StripeBilling(KEY, SECRET, PLANS)
    parts = [billing, *vars(billing).values(), *(vars(billing._connection))]
    shown = " ".join(repr(part) for part in parts)
    assert repr(billing) == "<StripeBilling mode=test plans={'price_123': 'paid'}>"
    assert KEY not in shown
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("plans", "order"),
    [
        ({"price_a": "starter", "price_b": "pro"}, ("starter", "pro")),
        ({"price_b": "pro", "price_a": "starter"}, ("pro", "starter")),
        ({"price_a": "pro", "price_b": "pro", "*": "team"}, ("pro", "team")),
        ({"price_a": "pro", "price_b": "team", "price_c": "pro"}, ("team", "pro")),
        ({"price_0": "free", "*": "paid"}, ("paid",)),
    ],
)
def test_the_plan_listed_last_is_the_most_valuable(plans: dict[str, str], order: tuple[str, ...]) -> None:
    assert StripeBilling(KEY, SECRET, plans).plans == order


def test_what_the_caller_does_to_the_mapping_later_changes_nothing() -> None:
    plans = dict(PLANS)
    billing = StripeBilling(KEY, SECRET, plans)
    plans["price_9"] = "gold"
    assert billing.prices == PLANS
    assert billing.plans == ("paid",)


def test_links_are_signed_with_a_key_that_every_process_derives_alike() -> None:
    key = StripeBilling(KEY, SECRET, PLANS).link_key
    assert key == StripeBilling(KEY + "9", SECRET, {"*": "other"}).link_key
    assert key != StripeBilling(KEY, SECRET + "9", PLANS).link_key
    assert key is not None
    assert SECRET.encode() not in key
    assert len(key) == 32


def test_another_account_with_the_same_settings() -> None:
    ours = StripeBilling(
        KEY, SECRET, PLANS, default="none", checkout_price="price_9", allow_promotion_codes=True,
        grace=timedelta(days=1), timeout=timedelta(seconds=1), webhook_tolerance=timedelta(seconds=9),
        checkout_prices={"paid": "price_123"}, trial_days=7, checkout_options={"locale": "fi"},
        collection_paused="default", disputed="default",
    )  # fmt: skip
    theirs = ours.against(api_key="sk_live_51Other", webhook_secret=SECRET + "x")
    assert theirs.livemode is True
    assert theirs.sells == "price_9"
    other = {"api_key", "webhook_secret"}
    for name in type(ours._settings).__slots__:
        assert (getattr(ours._settings, name) == getattr(theirs._settings, name)) is (name not in other)

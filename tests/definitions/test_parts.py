"""What the parts of a loop are once they are made."""

import pickle
from datetime import timedelta
from typing import Annotated, Any

import pytest
from pydantic import Field

from skene.definitions import (
    BillingCyclePeriod,
    BlockAction,
    CalendarPeriod,
    Definition,
    DefinitionError,
    EmailAction,
    Fault,
    FixedPeriod,
    LifetimePeriod,
    Recovery,
    RollingPeriod,
    action,
    billing_cycle,
    calendar,
    condition,
    lifetime,
    rolling,
    trigger,
)
from skene.definitions.base import Written
from skene.definitions.faults import describe, did_you_mean, join, key_path, nearest
from skene.definitions.values import FrozenDict


def test_a_bare_duration_is_a_fixed_period() -> None:
    for written in ("30d", "720h", timedelta(days=30)):
        period = condition.usage(limit={"free": 1}, period=written).period
        assert isinstance(period, FixedPeriod)
        assert period.length == timedelta(days=30)
        assert period == FixedPeriod(length=timedelta(days=30))
    assert FixedPeriod.read("720h").dump() == "720h"
    assert FixedPeriod.read(timedelta(days=30)).dump() == "30d"
    assert FixedPeriod.read("720h").model_copy(update={"length": "1d"}).dump() == "1d"


def test_other_periods_are_explicit() -> None:
    assert rolling("1h").length == timedelta(hours=1)
    assert calendar("month", timezone="Europe/Helsinki").timezone == "Europe/Helsinki"
    assert calendar("week").timezone == "UTC"
    for period in (rolling("1h"), calendar("month", timezone="Europe/Helsinki"), billing_cycle(), lifetime()):
        assert condition.usage(limit={"free": 1}, period=period).period is period
    assert rolling(timedelta(hours=1)).dump() == {"type": "rolling", "length": "1h"}
    assert calendar("month").dump() == {"type": "calendar", "unit": "month"}
    assert billing_cycle().dump() == {"type": "billing_cycle"}
    assert lifetime().dump() == {"type": "lifetime"}
    kinds = {type(it) for it in (rolling("1h"), calendar("day"), billing_cycle(), lifetime())}
    assert kinds == {RollingPeriod, CalendarPeriod, BillingCyclePeriod, LifetimePeriod}


@pytest.mark.parametrize(
    ("written", "methods"),
    [
        ("post", {"POST"}),
        (["get", "POST"], {"GET", "POST"}),
        (("PUT",), {"PUT"}),
        (["GET", "get"], {"GET"}),
        (None, None),
    ],
)
def test_methods_are_read_in_any_case(written: Any, methods: set[str] | None) -> None:
    assert trigger.api("/x", method=written).methods == methods


@pytest.mark.parametrize(
    "endpoint", ["/", "/*", "/a/*/b", "/api/features/*", "/käse/文", "/a-b/c.d/@e:f,g;h=1&i~j!'k+"]
)
def test_endpoints_are_paths(endpoint: str) -> None:
    assert trigger.api(endpoint).endpoint == endpoint


@pytest.mark.parametrize(
    "template", ["a", "upgrade_prompt", "team/de/limit-1.html", ".hidden", "a.b/c", "resend:t-1"]
)
def test_templates_are_relative_names(template: str) -> None:
    assert action.email(template).template == template


def test_a_block_knows_the_warning_it_sends() -> None:
    assert action.block("No.").usage_warning is None
    assert action.block("No.", notify_at=[0.8]).usage_warning == EmailAction(template="usage_warning")
    own = action.block("No.", notify_at=(0.8, 1), warning=action.email("mine"))
    assert own.usage_warning == EmailAction(template="mine")
    assert own.notify_at == (0.8, 1.0)
    assert hash(own) == hash(BlockAction(message="No.", notify_at=(0.8, 1), warning=own.warning))


def test_personalization_cannot_be_changed() -> None:
    email = action.email("a", personalization={"name": "{{user.name}}"})
    assert email.personalization == {"name": "{{user.name}}"}
    assert isinstance(email.personalization, FrozenDict)
    assert hash(email) == hash(pickle.loads(pickle.dumps(email)))  # noqa: S301  # our own bytes


def test_cost_is_a_number_or_a_function() -> None:
    async def by_size(request: Any) -> int:
        return len(request)

    for cost in (1, 2**63 - 1, len, by_size, lambda request: 2, int):
        assert condition.usage(limit={"free": 1}, period="1d", cost=cost).cost is cost
    assert condition.usage(limit={"free": 1}, period="1d", cost=dict.fromkeys).cost == dict.fromkeys


def test_recovery_reads_durations() -> None:
    recovery = Recovery(retries=5, backoff="fixed", base="2s", cap=timedelta(minutes=1))
    assert (recovery.base, recovery.cap) == (timedelta(seconds=2), timedelta(minutes=1))
    assert recovery.dump() == {"retries": 5, "backoff": "fixed", "base": "2s", "cap": "1m"}
    assert Recovery() == Recovery(retries=3, backoff="exponential", base="1s", cap="300s")


def test_a_definition_of_ones_own_reports_what_pydantic_finds() -> None:
    class Own(Definition):
        how_many: int
        words: Annotated[tuple[str, ...], Field(strict=False)] = ()
        pair: tuple[int, ...] = ()

    assert Own(how_many=1, words=("a",), pair=(1,)).dump() == {"howMany": 1, "words": ["a"], "pair": [1]}
    with pytest.raises(DefinitionError) as caught:
        Own.read({"words": ["a", 5]})
    assert [(fault.path, fault.given) for fault in caught.value.faults] == [
        ("how_many", "nothing"),
        ("words[1]", "5 (int)"),
    ]
    with pytest.raises(
        DefinitionError, match=r"howMany: got \"x\" \(str\); give Input should be a valid integer"
    ):
        Own.read({"howMany": "x"})
    with pytest.raises(DefinitionError, match=r"got 5 \(int\); give a definition"):
        Own.read(5)


def test_an_error_is_pickled_with_its_faults() -> None:
    error = DefinitionError([Fault("a", "1", "2"), Fault("", "x", "y", "z")], "the loop")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert again.faults == error.faults
    assert (
        str(again)
        == str(error)
        == "the loop has 2 faults:\n  a: got 1; give 2\n  got x; give y; did you mean z?"
    )


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        (None, "", "None"),
        ('it\'s "so"', "", r'"it' + "'" + r's \"so\"" (str)'),
        ("hunter2", "db_password", "a value of type str"),
        (7, "pinToken", "a value of type int"),
        (b"hunter2", "", "a value of type bytes"),
        ({"a": "hunter2"}, "", "a dict of 1"),
        (object(), "", "a value of type object"),
    ],
)
def test_values_are_described(value: object, key: str, words: str) -> None:
    assert describe(value, key) == words


def test_paths_are_joined() -> None:
    assert join("steps", 0, "condition", "", key_path("a b"), key_path("c")) == 'steps[0].condition["a b"].c'
    assert join("", 1) == "[1]"


@pytest.mark.parametrize(
    "secret",
    [
        "sk_live_hunter2",
        "whsec_hunter2",
        "pdl_live_apikey_hunter2",
        "pdl_ntfset_hunter2",
        "postgresql://app:hunter2@db/app",
        "host=db user=app password=hunter2",
    ],
)
def test_a_secret_is_no_part_of_a_path(secret: str) -> None:
    assert key_path(secret) == "[…]"
    assert describe(secret) == "a value of type str"


def test_the_nearest_word_is_found_whatever_its_case() -> None:
    assert nearest("LIMT", ["limit", "period"]) == "limit"
    assert nearest("xyz", ["limit"]) is None
    assert nearest(5, ["limit"]) is None


def test_a_message_ends_with_the_nearest_word() -> None:
    assert did_you_mean("limt", ["limit", "period"]) == "; did you mean limit?"
    assert did_you_mean("xyz", ["limit"]) == ""


def test_a_frozen_dict_is_a_mapping() -> None:
    frozen = FrozenDict({"b": 1, "a": 2})
    assert list(frozen) == ["b", "a"]
    assert frozen == {"a": 2, "b": 1}
    assert hash(frozen) == hash(FrozenDict({"a": 2, "b": 1}))
    assert repr(frozen) == "{'b': 1, 'a': 2}"
    assert len(frozen) == 2


def test_how_it_was_written_makes_no_difference() -> None:
    one, other = Written(), Written()
    one.remember({"a": 1}, bare=True)
    assert one == other
    assert hash(one) == hash(other)
    assert one != "a"

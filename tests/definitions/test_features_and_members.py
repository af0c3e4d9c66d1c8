"""Features of the billing service, and limits of a team's members, as they are written."""

import re
from typing import Any

import pytest

from skene import (
    UNLIMITED,
    DefinitionError,
    action,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    step,
    trigger,
)

BLOCK = action.block("Not for you.")


def written(asked: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "freemium",
        "steps": [{"condition": asked, "action": {"type": "block", "message": "Not for you."}}],
    }


@pytest.mark.parametrize(
    ("code", "json"),
    [
        (
            condition.feature("priority_support"),
            {"type": "feature", "feature": "priority_support"},
        ),
        (
            condition.feature("sso", meter="logins"),
            {"type": "feature", "feature": "sso", "meter": "logins"},
        ),
        (
            condition.usage(limit={"free": 100, "team": 1000}, period="30d", member_limit={"team": 200}),
            {
                "type": "usage",
                "limit": {"free": 100, "team": 1000},
                "period": "30d",
                "memberLimit": {"team": 200},
            },
        ),
        (
            condition.usage(limit={"team": UNLIMITED}, period="30d", member_limit={"team": UNLIMITED}),
            {
                "type": "usage",
                "limit": {"team": "Infinity"},
                "period": "30d",
                "memberLimit": {"team": "Infinity"},
            },
        ),
    ],
)
def test_code_and_json_are_the_same_loop(code: Any, json: dict[str, Any]) -> None:
    loop = define_loop(type="freemium", steps=[step(condition=code, action=BLOCK)])
    assert load_loop(written(json)) == loop
    assert dump_loop(load_loop(written(json))) == written(json)
    assert load_loop(dump_loop(loop)) == loop


def test_a_feature_is_asked_of_firings_too() -> None:
    asked = condition.all_of(condition.not_(condition.feature("sso")), condition.plan("free"))
    loop = define_loop(
        type="activation",
        steps=[step(trigger=trigger.event("signed_up"), condition=asked, action=action.email("hello"))],
    )
    assert load_loop(dump_loop(loop)) == loop


@pytest.mark.parametrize("name", ["", "two words", "x" * 81, 5, None])
def test_a_feature_has_a_key(name: Any) -> None:
    with pytest.raises(DefinitionError, match="the lookup key of a feature"):
        condition.feature(name).dump()


def test_nobody_is_warned_of_the_limit_of_a_feature() -> None:
    warning = action.block("Not for you.", notify_at=(0.8,))
    with pytest.raises(DefinitionError) as caught:
        define_loop(type="freemium", steps=[step(condition=condition.feature("sso"), action=warning)])
    (fault,) = caught.value.faults
    assert str(fault) == (
        "steps[0].action.notify_at: got shares of a limit, in front of a feature; give none: who holds a "
        "feature has no limit, so there is no share of it to warn at"
    )


@pytest.mark.parametrize(
    ("member_limit", "more", "said"),
    [
        ({}, {}, r'memberLimit: got .*give a limit of each member for some plans, such as {"team": 200}'),
        (5, {}, r"memberLimit: got 5 \(int\)"),
        ({"team": 1.5}, {}, r"memberLimit\.team: got 1\.5"),
        ({"team": True, " ": 1}, {}, r"memberLimit\.team: got True(.|\n)*a plan's name"),
        ({"tema": 5}, {}, r"member_limit\.tema: got a plan without a limit.*did you mean team"),
        (
            {"team": 5},
            {"groupBy": "route"},
            r"member_limit: got a limit of members for a counter of every route",
        ),
    ],
)
def test_limits_of_members_are_checked(member_limit: Any, more: dict[str, Any], said: str) -> None:
    usage = {"type": "usage", "limit": {"free": 1, "team": 9}, "period": "30d", "memberLimit": member_limit}
    with pytest.raises(DefinitionError) as caught:
        load_loop(written(usage | more))
    assert re.search(said, str(caught.value))

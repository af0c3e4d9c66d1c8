"""Limits that are paid for by use: what they mean, what is refused, and how they are written in JSON."""

import json
from typing import Any

import pytest

from skene import UNLIMITED, action, billed, condition, define_loop, dump_loop, load_loop, rolling, step
from skene.definitions import Billed, DefinitionError, Loop


def loop(limit: Any, **more: Any) -> Loop:
    usage = condition.usage(limit=limit, **{"period": "30d", **more})
    return define_loop(type="freemium", steps=[step(condition=usage, action=action.block("Enough."))])


def said(limit: Any, **more: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        loop(limit, **more)
    return [str(fault) for fault in caught.value.faults]


def test_what_is_left_out() -> None:
    assert billed(meter="api_calls") == Billed(included=0, meter="api_calls", cap=None)


def test_it_stands_where_a_number_would() -> None:
    paid = billed(included=1000, meter="api_calls", cap=5000)
    (one,) = loop({"free": 100, "paid": paid, "team": UNLIMITED}).steps
    assert one.limit is not None
    assert one.limit[0].billed == {"paid": paid}  # type: ignore[union-attr] # no feature


def test_it_comes_back_from_json_as_it_went_there() -> None:
    written = loop({"free": 100, "paid": billed(included=1000, meter="api_calls", cap=5000)})
    data = json.loads(json.dumps(dump_loop(written)))
    assert data["steps"][0]["condition"]["limit"] == {
        "free": 100,
        "paid": {"billed": {"included": 1000, "meter": "api_calls", "cap": 5000}},
    }
    assert load_loop(data) == written


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"meter": "calls", "included": -1}, "included: got -1"),
        ({"meter": "calls", "included": True}, "included: got True (bool)"),
        ({"meter": "calls", "included": 10.0}, "included: got 10.0 (float)"),
        ({"meter": "calls", "included": 0.5}, "included: got 0.5 (float)"),
        ({"meter": "calls", "included": 2**63}, "included: got 9223372036854775808"),
        ({"meter": "calls", "cap": "5000"}, 'cap: got "5000" (str)'),
        ({"meter": "calls", "included": 10, "cap": 9}, "cap: got 9"),
        ({"meter": ""}, "meter: got"),
        ({"meter": "x" * 101}, "meter: got"),
    ],
)
def test_what_cannot_be_meant_is_refused(given: dict[str, Any], fault: str) -> None:
    (found,) = said({"free": 1, "paid": billed(**given)})
    assert found.startswith(f"steps[0].condition.limit.paid.{fault}")


def test_a_whole_number_with_a_point_is_told_how_to_write_it() -> None:
    limit = billed(meter="calls", included=10.0)  # type: ignore[arg-type] # that is the point
    assert "did you mean 10" in said({"free": 1, "paid": limit})[0]


@pytest.mark.parametrize(
    ("limit", "fault"),
    [
        ({"bill": {"meter": "calls"}}, "an object with the key 'bill'"),
        ({}, "an object with no key"),
        ({"billed": {"meter": "calls"}, "more": 1}, "an object with the key 'more'"),
        ({"billed": {"included": 5}}, "limit.paid.billed.meter: got nothing"),
        ({"billed": {"meter": "calls", "cap": -1}}, "limit.paid.billed.cap: got -1"),
    ],
)
def test_json_that_is_no_bill_is_refused_where_it_stands(limit: Any, fault: str) -> None:
    data = dump_loop(loop({"free": 100, "paid": 1}))
    data["steps"][0]["condition"]["limit"]["paid"] = limit
    with pytest.raises(DefinitionError) as caught:
        load_loop(data)
    assert fault in str(caught.value.faults[0])
    assert str(caught.value.faults[0]).startswith("steps[0].condition.limit.paid")


def test_a_bill_needs_windows_that_end_and_one_counter() -> None:
    limit = {"free": 1, "paid": billed(meter="calls")}
    assert "a rolling window" in said(limit, period=rolling("30d"))[0]
    assert "a counter of every route" in said(limit, group_by="route")[0]
    assert len(said(limit, period=rolling("30d"), group_by="route")) == 2

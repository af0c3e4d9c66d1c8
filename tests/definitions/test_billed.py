"""Limits that are paid for by use: what may be said, what is refused, and JSON."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skene import (
    DefinitionError,
    action,
    billed,
    calendar,
    condition,
    define_loop,
    dump_loop,
    load_loop,
    rolling,
    step,
)
from skene.definitions import Billed, UsageCondition

UNITS = st.integers(min_value=0, max_value=2**63 - 1)


def counting(limit: Any, **usage: Any) -> UsageCondition:
    return UsageCondition(limit={"free": 100, "paid": limit}, **({"period": "30d"} | usage))


def fault(limit: Any, **usage: Any) -> str:
    with pytest.raises(DefinitionError) as caught:
        counting(limit, **usage)
    return "\n".join(map(str, caught.value.faults))


@given(UNITS, st.one_of(st.none(), UNITS))
def test_a_limit_comes_back_from_json(included: int, cap: int | None) -> None:
    cap = None if cap is None else max(included, cap)
    limit = billed(included=included, meter="api_calls", cap=cap)
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit={"free": 100, "paid": limit}, period=calendar("month")),
                action=action.block("Enough."),
            )
        ],
    )
    written = json.dumps(dump_loop(loop))
    again = load_loop(written)
    assert again == loop
    assert json.dumps(dump_loop(again)) == written


def test_it_is_written_under_a_key_of_its_own() -> None:
    made = counting(billed(included=1000, meter="api_calls", cap=5000))
    assert made.dump()["limit"] == {
        "free": 100,
        "paid": {"billed": {"included": 1000, "meter": "api_calls", "cap": 5000}},
    }
    assert made.billed == {"paid": Billed(included=1000, meter="api_calls", cap=5000)}
    assert hash(made) == hash(counting({"billed": {"meter": "api_calls", "included": 1000, "cap": 5000}}))


def test_only_the_meter_has_to_be_said() -> None:
    assert counting(billed(meter="calls")).limit["paid"] == Billed(included=0, meter="calls", cap=None)


@pytest.mark.parametrize(
    ("limit", "said"),
    [
        ({}, ["limit.paid: got an object with no key", '"billed"']),
        (
            {"billd": {"meter": "x"}},
            ["limit.paid: got an object with the key 'billd'", 'did you mean "billed"'],
        ),
        ({"billed": {"meter": "x"}, "more": 1}, ["limit.paid: got an object with the key 'more'"]),
        ({"billed": 7}, ["limit.paid.billed: got 7 (int)", "billed(included=1000"]),
        (
            {"billed": {"included": 1}},
            ["limit.paid.billed.meter: got nothing", "the billing service's meter"],
        ),
        ({"billed": {"meter": "x", "capp": 1}}, ["limit.paid.billed.capp: got an unknown key", "mean cap"]),
        ({"billed": {"meter": "x", "included": 2, "cap": 1}}, ["limit.paid.billed.cap: got 1", "which is 2"]),
        (billed(meter="", cap=-1), ['limit.paid.meter: got ""', "limit.paid.cap: got -1"]),
        (billed(meter="x" * 101), ["limit.paid.meter: got text of 101 characters"]),
        (billed(meter="x", included=2.0), ["limit.paid.included: got 2.0", "did you mean 2?"]),  # type: ignore[arg-type] # the mistake
        (billed(meter="x", included=True), ["limit.paid.included: got True (bool)"]),
        (billed(meter="x", included=2**63), ["limit.paid.included: got 9223372036854775808"]),
    ],
)
def test_what_is_refused(limit: Any, said: list[str]) -> None:
    text = fault(limit)
    assert all(part in text for part in said), text


def test_a_key_that_stands_twice_is_refused() -> None:
    loop = """{"type": "freemium", "steps": [{
        "condition": {"type": "usage", "period": "30d", "limit":
            {"paid": {"billed": {"meter": "a"}, "billed": {"meter": "b"}}}},
        "action": {"type": "block", "message": "No."}}]}"""
    with pytest.raises(DefinitionError, match=r"paid\.billed: got the key twice"):
        load_loop(loop)


def test_a_bill_needs_windows_that_end_and_one_counter() -> None:
    text = fault(billed(meter="x"), period=rolling("30d"), group_by="route")
    assert "limit.paid: got a bill for a rolling window" in text
    assert "limit.paid: got a bill for a counter of every route" in text
    assert counting(50, period=rolling("30d"), group_by="route")

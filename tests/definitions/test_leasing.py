"""Leases: what may be said, what is refused, and JSON."""

from typing import Any

import pytest

from skene import (
    UNLIMITED,
    DefinitionError,
    action,
    billed,
    calendar,
    condition,
    define_loop,
    dump_loop,
    lifetime,
    load_loop,
    rolling,
    step,
)
from skene.definitions import UsageCondition


def counting(lease: Any, limit: Any = None, **usage: Any) -> UsageCondition:
    limits = {"free": 100, "paid": 1000} if limit is None else limit
    return UsageCondition(limit=limits, lease=lease, **({"period": "30d"} | usage))


def faults(lease: Any, limit: Any = None, **usage: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        counting(lease, limit, **usage)
    return [str(fault) for fault in caught.value.faults]


def test_it_comes_back_from_json() -> None:
    usage = condition.usage(limit={"free": 100}, period="30d", lease=10)
    loop = define_loop(type="freemium", steps=[step(condition=usage, action=action.block("Enough."))])
    written = dump_loop(loop)
    assert written["steps"][0]["condition"] == {
        "type": "usage",
        "limit": {"free": 100},
        "period": "30d",
        "lease": 10,
    }
    assert load_loop(written) == loop


def test_left_out_it_is_none_and_is_not_written() -> None:
    usage = condition.usage(limit={"free": 100}, period="30d")
    assert isinstance(usage, UsageCondition)
    assert (usage.lease, "lease" in usage.dump()) == (None, False)
    assert counting(None).lease is None


@pytest.mark.parametrize("lease", [True, 1, 0, -5, 10.0, "10", 1_000_001])
def test_anything_but_a_number_of_units_is_refused(lease: Any) -> None:
    (fault,) = faults(lease)
    assert fault.startswith("lease: got ")
    assert fault.endswith("give a whole number from 2 to 1,000,000, at most a tenth of the limit")


@pytest.mark.parametrize(
    ("lease", "limit"),
    [
        (2, {"free": 20}),
        (10, {"free": 100}),
        (100, {"free": 100, "paid": 1000}),
        (10, {"free": 0, "paid": 100}),
        (1_000_000, {"free": 5, "paid": UNLIMITED}),
    ],
)
def test_up_to_a_tenth_of_the_largest_limit_is_allowed(lease: int, limit: Any) -> None:
    assert counting(lease, limit).lease == lease


def test_beyond_a_tenth_the_largest_is_named() -> None:
    assert faults(50, {"free": 100}) == [
        "lease: got 50; give at most 10, a tenth of the largest limit; did you mean 10?"
    ]
    assert faults(101, {"free": 100, "paid": 1009}) == [
        "lease: got 101; give at most 100, a tenth of the largest limit; did you mean 100?"
    ]


def test_small_limits_have_none() -> None:
    assert faults(2, {"free": 0, "paid": 19}) == [
        "lease: got 2; give no lease: the largest limit has to be 20 units or more"
    ]


def test_a_lease_holds_two_calls_at_least() -> None:
    assert faults(9, cost=5) == [
        "lease: got 9, where one call costs 5; give at least 10, the units of two calls"
    ]
    assert counting(10, cost=5).lease == 10
    assert counting(2, cost=lambda request: 50).lease == 2  # known only when it is called


def test_what_cannot_be_leased_is_refused_and_all_of_it_at_once() -> None:
    told = faults(
        10, {"free": 5, "paid": billed(meter="calls")}, period=lifetime(), member_limit={"free": 2}, cost=6
    )
    assert [fault.split(";")[0] for fault in told] == [
        "lease: got a lease beside a member_limit",
        "lease: got a lease of use that is billed",
        "lease: got a lease for a lifetime",
        "lease: got 10, where one call costs 6",
        "lease: got 10",
    ]


@pytest.mark.parametrize(
    "usage",
    [
        {"period": rolling("1h")},
        {"period": calendar("month")},
        {"group_by": "route"},
        {"charge": "attempt"},
        {"meter": "exports"},
    ],
)
def test_what_can_be_leased(usage: Any) -> None:
    assert counting(10, **usage).lease == 10


def test_a_level_leases_nothing() -> None:
    usage: Any = condition.usage
    with pytest.raises(DefinitionError, match=r"lease: got a key that does not go with the others"):
        define_loop(
            type="activation", steps=[step(condition=usage(at=0.8, lease=10), action=action.email("a"))]
        )

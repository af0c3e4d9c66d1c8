"""`condition.gauge`: what is held until it is released."""

from typing import Any

import pytest

from skene import UNLIMITED, action, billed, condition, define_loop, dump_loop, load_loop, step, trigger
from skene.definitions import DefinitionError, HeldPeriod, Loop, UsageCondition

HELD: dict[str, Any] = {"type": "held"}


def seats(condition_: UsageCondition, **more: Any) -> Loop:
    block = action.block("All seats are taken.")
    return define_loop(type="freemium", steps=[step(condition=condition_, action=block, **more)])


def faults(**given: Any) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        UsageCondition(**({"limit": {"free": 3}, "period": HELD, "meter": "seats"} | given))
    return [str(fault) for fault in caught.value.faults]


def test_a_gauge_is_a_count_without_windows() -> None:
    gauge = condition.gauge(limit={"free": 3, "team": UNLIMITED}, meter="seats")
    assert isinstance(gauge.period, HeldPeriod)
    assert gauge.dump() == {
        "type": "usage",
        "limit": {"free": 3, "team": "Infinity"},
        "period": {"type": "held"},
        "meter": "seats",
    }


def test_it_is_read_back_as_it_was_written() -> None:
    loop = seats(condition.gauge(limit={"free": 3}, meter="seats"))
    assert load_loop(dump_loop(loop)) == loop


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"meter": None}, 'meter: got nothing; give a name for the gauge, such as "seats"'),
        ({"group_by": "route"}, "group_by: got a group_by for a gauge"),
        ({"member_limit": {"free": 1}}, "member_limit: got a member_limit for a gauge"),
        ({"limit": {"free": 100}, "lease": 10}, "lease: got a lease for a gauge"),
        ({"limit": {"paid": billed(included=3, meter="seats")}}, "limit: got a bill for what is held"),
    ],
)
def test_what_goes_with_no_gauge_is_refused(given: dict[str, Any], told: str) -> None:
    (fault,) = faults(**given)
    assert fault.startswith(told)


def test_a_gauge_has_no_trigger() -> None:
    gauge = condition.gauge(limit={"free": 3}, meter="seats")
    with pytest.raises(DefinitionError, match=r"trigger: got a trigger of a gauge; give none: code takes"):
        seats(gauge, trigger=trigger.api("/members", method="POST"))

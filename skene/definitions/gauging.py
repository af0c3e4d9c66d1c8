"""Gauges: what a count of units that are held, and released again, can be combined with."""

from collections.abc import Mapping
from typing import Any

from skene.definitions.billed import Billed
from skene.definitions.faults import Fault

__all__ = ["gauge_faults"]

_ONE_COUNTER = "nothing: a gauge is one counter for each subject"
_NOT_FOR_GAUGES = {
    "group_by": _ONE_COUNTER,
    "member_limit": _ONE_COUNTER,
    "lease": "nothing: what is held is taken one call at a time",
}


def gauge_faults(given: Mapping[str, Any]) -> list[Fault]:
    """What keeps units from being held and released.

    Args:
        given: The condition's values by name.
    """
    faults: list[Fault] = []
    if given["meter"] is None:
        allowed = 'a name for the gauge, such as "seats": whoever releases units names it'
        faults.append(Fault("meter", "nothing", allowed))
    if any(isinstance(limit, Billed) for limit in given["limit"].values()):
        allowed = "numbers: a bill is for what is used in a window, and a gauge has none"
        faults.append(Fault("limit", "a bill for what is held", allowed))
    faults += [
        Fault(name, f"a {name} for a gauge", allowed)
        for name, allowed in _NOT_FOR_GAUGES.items()
        if given[name] is not None
    ]
    return faults

"""Random histories of two processes that lease units: never beyond the limit, and nothing gets lost."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, Phase, find, given, settings
from hypothesis.errors import NoSuchExample

from skene import calendar, rolling
from skene.runtime import lease as one
from skene.runtime.leases import Leases
from tests.runtime.leasing import STEPS, Step, play

PERIODS = {"short": "7s", "long": "30d", "rolling": rolling("3m"), "calendar": calendar("day")}
_quiet = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.mark.parametrize("period", PERIODS)
def test_no_history_breaks_the_laws(period: str) -> None:
    @settings(_quiet, max_examples=150)
    @given(STEPS)
    def histories(steps: list[Step]) -> None:
        anyio.run(play, PERIODS[period], steps)

    histories()


def found_out(period: str) -> str:
    """What a history shows to be wrong."""
    shown: list[str] = []

    def breaks(steps: list[Step]) -> bool:
        try:
            anyio.run(play, PERIODS[period], steps)
        except AssertionError as error:
            shown.append(str(error).splitlines()[0])
            return True
        return False

    fast = settings(_quiet, max_examples=200, derandomize=True, phases=[Phase.generate])
    find(STEPS, breaks, settings=fast)
    return shown[0]


# -- controls: leases as they come to mind first -------------------------------------------------------------


async def _spend_without_taking(self: Leases, lease: Any, call: Any, size: int) -> None:
    lease.left, lease.size = size, size


def _live_on(rule: object, at: object, end: object, now: object) -> timedelta:
    return timedelta(seconds=10)


def _never_end(self: object, at: object) -> timedelta:
    return timedelta(0)


def _keep_all(self: Leases, subject: str, receipt: Any) -> bool:
    lease = self._lease(subject, receipt.meter)
    if lease is not None:
        lease.left += receipt.cost
    return lease is not None


async def _forget(self: Leases, lease: Any) -> None:
    lease.left = 0


async def _refuse_at_once(self: Leases, call: Any, returns: int) -> bool:
    return False


CONTROLS: dict[str, tuple[str, Callable[[pytest.MonkeyPatch], None], set[str]]] = {
    "spends without taking": (
        "long",
        lambda patch: patch.setattr(Leases, "_take", _spend_without_taking),
        {"beyond the limit", "counted and used differ"},
    ),
    "does not stop at the window's end": (
        "short",
        lambda patch: patch.setattr(one, "lasts", _live_on),
        {"spent outside of its window"},
    ),
    "takes back whatever fails": (
        "long",
        lambda patch: patch.setattr(Leases, "_kept", _keep_all),
        {"beyond the limit", "more than a block lies here", "more was lost than a block"},
    ),
    "does not return": (
        "long",
        lambda patch: patch.setattr(Leases, "_hand_back", _forget),
        {"counted and used differ", "refused for its own lease"},
    ),
    "lets its own units refuse": (
        "long",
        lambda patch: patch.setattr(Leases, "_gave_back", _refuse_at_once),
        {"refused for its own lease"},
    ),
}


@pytest.mark.parametrize("control", CONTROLS)
def test_a_naive_lease_is_found_out(control: str, monkeypatch: pytest.MonkeyPatch) -> None:
    period, breaks, wrong = CONTROLS[control]
    breaks(monkeypatch)
    assert found_out(period) in wrong


LONG_KEPT: list[Step] = [
    *[("burst", 0, 0, 3)],  # one by itself, and a block with eight units left
    *[("wait", 0, 0, 6)] * 4,
    *[("burst", 0, 0, 8)],  # two minutes later
    *[("wait", 0, 0, 6)] * 2,
    *[("burst", 0, 0, 40)] * 2,  # what was charged at first is out of the window, what was used then is not
]


def test_units_that_are_spent_late_would_leave_a_rolling_window_too_early(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    anyio.run(play, PERIODS["rolling"], LONG_KEPT)
    monkeypatch.setattr(one.Lease, "age", _never_end)
    with pytest.raises(AssertionError, match="beyond the limit"):
        anyio.run(play, PERIODS["rolling"], LONG_KEPT)


def test_what_stands_is_not_found_out() -> None:
    with pytest.raises(NoSuchExample):
        found_out("long")

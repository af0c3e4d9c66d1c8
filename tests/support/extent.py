"""How much is tried: a little and the same in the usual run, more or others when the environment asks."""

import os
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, Verbosity, seed, settings

__all__ = ["FULL", "SEED", "amount", "extent", "seeded"]

FULL = os.environ.get("SKENE_TEST_FULL") == "1"
SEED = os.environ.get("SKENE_TEST_SEED")


def amount(usual: int, *, full: int) -> int:
    """How many rows, rounds or examples: in the usual run, and in the full one."""
    return full if FULL else usual


def extent(usual: int, full: int, **more: Any) -> settings:
    """Settings for a number of examples: in the usual run, and in the full one."""
    more.setdefault("phases", (Phase.explicit, Phase.generate, Phase.shrink))
    return settings(
        max_examples=amount(usual, full=full),
        deadline=None,  # a busy machine is no fault
        database=None,
        derandomize=SEED is None,
        print_blob=True,
        verbosity=Verbosity.normal,
        suppress_health_check=[
            HealthCheck.function_scoped_fixture,
            HealthCheck.too_slow,
            HealthCheck.filter_too_much,
            HealthCheck.data_too_large,
        ],
        **more,
    )


def seeded(test: Callable[..., Any]) -> Callable[..., Any]:
    """The test, with the seed that the environment names, if it names one."""
    return test if SEED is None else seed(int(SEED))(test)

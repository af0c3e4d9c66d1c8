"""Which limit holds for a counter."""

from datetime import UTC, datetime, timedelta

import pytest

from skene.engine.limits import OwnLimit, applied_plan, limit_for

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_plan_that_is_applied() -> None:
    limits = {"free": 3, "paid": None}
    assert [applied_plan(limits, held, "free") for held in ("free", "paid", "gold")] == [
        "free",
        "paid",
        "free",
    ]


@pytest.mark.parametrize(
    ("planned", "feature", "features", "own", "expected"),
    [
        (3, None, (), None, 3),
        (None, None, (), None, None),
        (3, "export", (), None, 3),
        (3, "export", ("import",), None, 3),
        (3, "export", ("import", "export"), None, None),
        (3, None, ("export",), None, 3),
        (3, None, (), OwnLimit(500), 500),
        (3, None, (), OwnLimit(0), 0),
        (3, None, (), OwnLimit(None), None),
        (None, None, (), OwnLimit(5), 5),
        (3, "export", ("export",), OwnLimit(5), 5),
        (3, None, (), OwnLimit(5, NOW + SECOND), 5),
        (3, None, (), OwnLimit(5, NOW), 3),
        (3, "export", ("export",), OwnLimit(5, NOW - SECOND), None),
    ],
)
def test_own_limits_come_before_features_and_those_before_plans(
    planned: int | None,
    feature: str | None,
    features: tuple[str, ...],
    own: OwnLimit | None,
    expected: int | None,
) -> None:
    assert limit_for(planned, feature, features, own, NOW) == expected

"""A decision as a value."""

from dataclasses import FrozenInstanceError, replace

import pytest

from skene.engine.decision import Decision, Reason
from skene.engine.window import EPOCH, FOREVER

DECISION = Decision(
    allowed=True,
    reason=Reason.WITHIN_LIMIT,
    subject="ada",
    loop="freemium",
    step="freemium.0",
    meter="calls",
    plan="free",
    limit=100,
    used=88,
    cost=1,
    period="30d",
    window_start=EPOCH,
    resets_at=FOREVER,
    decided_at=EPOCH,
)


@pytest.mark.parametrize(
    ("limit", "used", "left"), [(100, 88, 12), (100, 100, 0), (5, 9, 0), (0, 0, 0), (None, 7, None)]
)
def test_what_is_left(limit: int | None, used: int, left: int | None) -> None:
    assert replace(DECISION, limit=limit, used=used).remaining == left


@pytest.mark.parametrize("allowed", [True, False])
def test_a_decision_is_no_truth_value(allowed: bool) -> None:
    with pytest.raises(TypeError, match=r"decision\.allowed"):
        bool(replace(DECISION, allowed=allowed))


def test_a_decision_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        DECISION.allowed = False  # type: ignore[misc] # that is the point


def test_what_is_left_out_is_an_answer_that_passes() -> None:
    assert (DECISION.status_code, DECISION.message, DECISION.upgrade_url, DECISION.wall) == (
        200,
        None,
        None,
        None,
    )


def test_the_link_stays_out_of_logs() -> None:
    assert "secret" not in repr(replace(DECISION, upgrade_url="https://app.example/secret"))


def test_reasons_read_as_text() -> None:
    assert f"{Reason.LIMIT_REACHED}" == "usage_limit_reached"
    assert Reason("feature_not_in_plan") is Reason.NOT_IN_PLAN

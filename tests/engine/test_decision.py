"""A decision as a value."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, asdict, fields, replace

import pytest

from skene.engine.decision import Decision, Reason, put_off
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


class Maker:
    """Makes the decision, and counts how often."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self, used: int) -> Decision:
        self.made += 1
        return replace(DECISION, used=used)


LOOKS: dict[str, Callable[[Decision], object]] = {
    **{field.name: lambda decision, name=field.name: getattr(decision, name) for field in fields(Decision)},  # type: ignore[misc] # mypy takes the default for a parameter
    "remaining": lambda decision: decision.remaining,
    "billed_units": lambda decision: decision.billed_units,
    "repr": repr,
    "hash": hash,
    "asdict": asdict,
    "replace": lambda decision: replace(decision, plan="paid"),
    "copy": copy.copy,
    "pickle": lambda decision: pickle.loads(pickle.dumps(decision)),  # noqa: S301 - our own
    "equality": lambda decision: decision == DECISION,
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=list(LOOKS))
def test_one_that_was_put_off_is_the_same_however_it_is_looked_at(look: Callable[[Decision], object]) -> None:
    assert look(put_off((Maker(), 88))) == look(DECISION)


def test_it_is_made_when_somebody_looks_and_once() -> None:
    maker = Maker()
    decision = put_off((maker, 7))
    assert decision.allowed
    assert maker.made == 0
    assert (decision.used, decision.limit, decision.remaining) == (7, 100, 93)
    assert decision == replace(DECISION, used=7)
    assert maker.made == 1


def test_one_that_was_put_off_cannot_be_changed_either() -> None:
    decision = put_off((Maker(), 7))
    with pytest.raises(FrozenInstanceError):
        decision.used = 1  # type: ignore[misc] # that is the point
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        decision.nonsense  # type: ignore[attr-defined] # noqa: B018 - the same
    with pytest.raises(TypeError, match=r"decision\.allowed"):
        bool(decision)

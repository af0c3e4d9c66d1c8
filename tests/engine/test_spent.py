"""A plain call, from its numbers to its decision."""

from datetime import timedelta

import pytest

from skene import UNLIMITED, action, condition, define_loop, step
from skene.engine.decide import decide
from skene.engine.decision import Reason
from skene.engine.program import CompiledStep, compile_loops
from skene.engine.spent import MASK, UNITS, WIDTH, decide_spent, instant, nanos, span_of
from skene.engine.window import EPOCH, FOREVER

AT = EPOCH + timedelta(days=20_000, microseconds=123_457)
DAY = timedelta(days=1)


def compiled() -> CompiledStep:
    loop = define_loop(
        type="freemium",
        steps=[
            step(
                condition=condition.usage(limit={"free": 9, "paid": UNLIMITED}, period="1d", meter="calls"),
                action=action.block("Limit reached."),
            )
        ],
    )
    program, faults = compile_loops([loop])
    assert not faults
    return program.steps[0]


@pytest.mark.parametrize("at", [EPOCH, AT, FOREVER])
def test_instants_become_numbers_without_loss(at: object) -> None:
    assert instant(nanos(at - EPOCH)) == at  # type: ignore[operator] # they are instants
    assert nanos(at - EPOCH) <= MASK  # type: ignore[operator] # as above


def test_people_are_told_of_microseconds() -> None:
    assert span_of(1_999) == timedelta(microseconds=1)
    assert instant(nanos(AT - EPOCH) + 999) == AT


@pytest.mark.parametrize(
    ("plan", "limit", "reason"), [("free", 9, Reason.WITHIN_LIMIT), ("paid", None, Reason.UNLIMITED)]
)
def test_the_decision_is_the_one_that_the_same_values_give(
    plan: str, limit: int | None, reason: Reason
) -> None:
    one, start = compiled(), AT - timedelta(hours=3)
    end = start + DAY
    counter = 7 << UNITS | nanos(start - EPOCH) << WIDTH | nanos(end - EPOCH)
    decision = decide_spent(one, "ada", 2, (plan, limit, counter, nanos(AT - EPOCH)))
    assert decision.reason is reason
    assert decision == decide(
        one,
        subject="ada",
        plan=plan,
        limit=limit,
        used=7,
        cost=2,
        start=start,
        end=end,
        fits=True,
        admitted=True,
        replayed=False,
        now=AT,
    )

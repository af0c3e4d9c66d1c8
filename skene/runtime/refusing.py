"""What follows from a refusal: whether there is a wall, for how long it stands, whether somebody is asked."""

from datetime import datetime, timedelta

from skene.engine.decide import held_out
from skene.engine.decision import Decision, Reason
from skene.engine.effects import subject_digest
from skene.engine.program import CompiledStep
from skene.engine.window import Rolling
from skene.ports.counters import Tally

__all__ = ["has_wall", "is_held_out", "wall_window"]

HELD_WALL = timedelta(days=30)


def has_wall(decision: Decision) -> bool:
    """Whether it refuses for a reason that somebody may be asked to pay for."""
    return not decision.allowed and decision.reason in (Reason.LIMIT_REACHED, Reason.NOT_IN_PLAN)


def is_held_out(step: CompiledStep, subject: str) -> bool:
    """Whether the subject is in the group that is never asked, nor warned with a link to upgrade."""
    return step.holdout > 0 and held_out(step.holdout, subject_digest(step.loop, subject))


def wall_window(step: CompiledStep, decision: Decision, tally: Tally) -> tuple[datetime, datetime]:
    """How long a wall stands. A rolling window slides on, so its wall stands for one whole length.

    What is held has no window: whoever is at the limit is asked once in a while.
    """
    rule = tally.charge.rule
    if step.held and decision.decided_at is not None:
        return decision.decided_at, decision.decided_at + HELD_WALL
    if isinstance(rule, Rolling) and decision.decided_at is not None:
        return decision.decided_at, decision.decided_at + rule.length
    return tally.start, tally.end

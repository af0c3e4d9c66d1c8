"""Why a step is asked about a call, or is not."""

from dataclasses import dataclass
from enum import Enum

from skene.engine.match import Coverage, covers, method_covers
from skene.engine.program import CompiledStep

__all__ = ["Asked", "Why", "asked_about"]


class Why(Enum):
    """Why a step is asked about a call, or is not."""

    COVERED = "its pattern covers the call"
    BY_HAND = "the route is gated by hand"
    CODE = "only code asks it: it has no trigger"
    METHOD = "its pattern covers other methods"
    PREFIX = "its pattern covers what lies below this path, not the path itself"
    PATH = "its pattern covers other paths"


@dataclass(frozen=True, slots=True)
class Asked:
    """A step, and whether and why it is asked about a call."""

    step: CompiledStep
    why: Why

    @property
    def matches(self) -> bool:
        """Whether the call is held against it."""
        return self.why in (Why.COVERED, Why.BY_HAND)


def asked_about(step: CompiledStep, method: str, path: str) -> Why:
    """Whether a step's pattern covers a call, and if not, why.

    Args:
        step: one that holds a limit.
        method: upper case.
        path: of the request, or a route's template.
    """
    trigger = step.trigger
    if trigger is None:
        return Why.CODE
    pattern = trigger.endpoint
    if covers(pattern, path) is not Coverage.FULL:
        below = pattern.endswith("/*") and covers(pattern[:-2], path) is Coverage.FULL
        return Why.PREFIX if below else Why.PATH
    return Why.COVERED if method_covers(trigger.methods, method) else Why.METHOD

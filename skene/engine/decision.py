"""The answer to "may this subject do this now?", as a value."""

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias

__all__ = ["Decision", "Reason", "put_off"]

Making: TypeAlias = "tuple[Callable[..., Decision], *tuple[Any, ...]]"


class Reason(StrEnum):
    """Why a decision is what it is."""

    WITHIN_LIMIT = "within_limit"
    UNLIMITED = "unlimited"
    REPLAYED = "replayed"
    """The same Idempotency-Key was admitted before; nothing was charged again."""
    LIMIT_REACHED = "usage_limit_reached"
    NOT_IN_PLAN = "feature_not_in_plan"
    MEMBER_LIMIT_REACHED = "member_limit_reached"
    """The team has units left, but this member has used those that one member may."""
    CAP_REACHED = "spend_cap_reached"
    """Use of the plan is billed, and this call would go beyond the cap on it."""
    SHADOW = "shadow"
    """It would have been refused, but the loop only watches (`enforce=False`)."""
    STORAGE_UNAVAILABLE = "storage_unavailable"
    """Let through uncounted, because the storage was away and `on_storage_error="allow"`."""


class _PutOff:
    """A slot for what makes the decision once somebody asks: most callers look at one or two attributes."""

    __slots__ = ("_making",)
    _making: "Making"


@dataclass(frozen=True, slots=True)
class Decision(_PutOff):
    """What was decided for one subject at one instant, and on what grounds.

    Attributes:
        allowed: whether the call may go on.
        reason: why.
        subject: who is counted, as the app named them.
        loop, step, meter: what decided: of several steps the tightest one.
        plan: the plan held at that instant.
        limit: units per window on that plan, and what grants add to it; None is unlimited.
        used: units used in the window, this call included when it was admitted.
        cost: units this call takes.
        period: the period as written, e.g. `30d`.
        window_start, resets_at: the window `[start, end)`; None where nothing is counted, `resets_at` also
        for a lifetime. decided_at: the storage's clock when it was decided.
        message: the loop's words for a refusal, else None.
        status_code: the HTTP status a refusal is answered with.
        upgrade_url: signed link to pay, on a refusal that has one.
        member: whose share of a team's units it is about; None where it is about all of them.
        wall: id of the refusal's wall, on a refusal; None where a cap refuses: that is no reason to upgrade.
        included: units of a window that the plan's price covers, where use beyond them is billed; else None.
    """

    allowed: bool
    reason: Reason
    subject: str
    loop: str
    step: str
    meter: str
    plan: str
    limit: int | None
    used: int
    cost: int
    period: str
    window_start: datetime | None
    resets_at: datetime | None
    decided_at: datetime | None
    message: str | None = None
    status_code: int = 200
    upgrade_url: str | None = field(default=None, repr=False)
    wall: str | None = None
    member: str | None = None
    included: int | None = None

    @property
    def remaining(self) -> int | None:
        """Units left in the window, never negative; None is unlimited."""
        return None if self.limit is None else max(0, self.limit - self.used)

    @property
    def billed_units(self) -> int:
        """Units used in the window that go on the bill; 0 where nothing is billed."""
        return 0 if self.included is None else max(0, self.used - self.included)

    def __bool__(self) -> bool:
        """A decision is not a truth value: `if decision:` would let refused calls through silently."""
        raise TypeError("a Decision is neither true nor false; ask decision.allowed")


_NAMES = frozenset(one.name for one in fields(Decision))
_FILL: tuple[tuple[str, Callable[[Decision, object], None]], ...] = tuple(
    (one.name, vars(Decision)[one.name].__set__) for one in fields(Decision)
)


def _made(decision: Decision, name: str) -> Any:
    """What a slot has that was empty when somebody looked. Fills them all."""
    if name not in _NAMES:
        raise AttributeError(f"a Decision has no attribute {name!r}", name=name, obj=decision)
    make, *of = decision._making  # pyright: ignore[reportPrivateUsage] # the rest of it is here
    made = make(*of)
    for one, fill in _FILL:
        fill(decision, getattr(made, one))
    return getattr(made, name)


# Said like this, since type checkers would take any misspelt attribute for one if they knew of it.
setattr(_PutOff, "__getattr__", _made)  # noqa: B010 - as above
_new = object.__new__
_put: Callable[[Decision, object], None] = vars(_PutOff)["_making"].__set__
_allow: Callable[[Decision, object], None] = vars(Decision)["allowed"].__set__


def put_off(making: Making) -> Decision:
    """A decision that allows a call. The rest is made when somebody looks, as if it had been made at once.

    Args:
        making: a function that makes it, and what it is called with: values that do not change.
    """
    decision = _new(Decision)
    _put(decision, making)
    _allow(decision, True)
    return decision

"""From what was counted to a decision."""

from datetime import datetime

from skene.definitions.units import LARGEST
from skene.engine.decision import Decision, Reason
from skene.engine.program import CompiledStep
from skene.engine.window import FOREVER

__all__ = [
    "crossed",
    "decide",
    "held_out",
    "notice_name",
    "shadow_name",
    "tightest",
    "unavailable",
    "would_refuse",
]

PAYMENT_REQUIRED = 402
FORBIDDEN = 403
_NOT_FOR_SALE = (Reason.NOT_IN_PLAN, Reason.MEMBER_LIMIT_REACHED)
_WORDS = {
    Reason.CAP_REACHED: "The spend cap for this period is reached.",
    Reason.MEMBER_LIMIT_REACHED: "You have used your share of the team's units for this period.",
}
"""In place of the loop's words, which ask to upgrade."""


def would_refuse(step: CompiledStep, limit: int | None, used: int, *, fits: bool, admitted: bool) -> bool:
    """Whether the step's own limit refuses the call, enforced or not.

    A loop that only watches is counted without a limit; there `used` includes the call, and the limit is held
    against it here.
    """
    if step.enforce:
        return not fits
    return admitted and limit is not None and used > limit


def decide(
    step: CompiledStep,
    *,
    subject: str,
    plan: str,
    limit: int | None,
    granted: int = 0,
    used: int,
    cost: int,
    start: datetime,
    end: datetime,
    fits: bool,
    admitted: bool,
    replayed: bool,
    now: datetime,
    ahead: int = 0,
) -> Decision:
    """Put one step's count into words.

    Args:
        plan: the plan that was applied.
        limit: what the storage held against the count, grants included; None is unlimited.
        granted: units of grants that can still be spent.
        used: units in the window `[start, end)`, the call's own included if it was admitted.
        fits: this step alone would admit the call; admitted: all of them together did.
        replayed: an idempotency key had been admitted before.
        now: when it was decided.
        ahead: units of a call that was only looked at, and which `used` is therefore without.
    """
    if not step.enforce:
        limit = _watched(step, limit, plan, granted)
    refused = would_refuse(step, limit, used + ahead, fits=fits, admitted=admitted)
    billed = step.billed.get(plan)
    reason = _why_refused(step, limit, plan) if refused else _why_admitted(limit, replayed)
    blocked = refused and step.enforce
    status = step.status_code or (FORBIDDEN if reason in _NOT_FOR_SALE else PAYMENT_REQUIRED)
    return Decision(
        allowed=not blocked,
        reason=reason,
        subject=subject,
        loop=step.loop,
        step=step.key,
        meter=step.meter,
        plan=plan,
        limit=limit,
        used=used,
        cost=cost,
        period=step.period,
        window_start=start,
        resets_at=None if end == FOREVER else end,
        decided_at=now,
        message=_WORDS.get(reason, step.message) if blocked else None,
        status_code=status if blocked else 200,
        member=step.member,
        included=None if billed is None else billed.included,
    )


def _why_admitted(limit: int | None, replayed: bool) -> Reason:
    if replayed:
        return Reason.REPLAYED
    return Reason.UNLIMITED if limit is None else Reason.WITHIN_LIMIT


def _why_refused(step: CompiledStep, limit: int | None, plan: str) -> Reason:
    if not step.enforce:
        return Reason.SHADOW
    if step.member is not None:
        return Reason.MEMBER_LIMIT_REACHED
    if plan in step.billed:
        return Reason.CAP_REACHED
    return Reason.NOT_IN_PLAN if limit == 0 else Reason.LIMIT_REACHED


def _watched(step: CompiledStep, held: int | None, plan: str, granted: int) -> int | None:
    """The limit of a loop that only watches. It spends no grants, but they would have admitted more."""
    if step.feature is not None:
        return None if held is None else min(granted, LARGEST)
    limit = step.limits.get(plan)
    return None if limit is None else min(limit + granted, LARGEST)


def unavailable(step: CompiledStep, subject: str, plan: str, cost: int) -> Decision:
    """The decision when nothing could be counted and the app prefers to let calls through."""
    return Decision(
        allowed=True,
        reason=Reason.STORAGE_UNAVAILABLE,
        subject=subject,
        loop=step.loop,
        step=step.key,
        meter=step.meter,
        plan=plan,
        limit=step.limits.get(plan),
        used=0,
        cost=cost,
        period=step.period,
        window_start=None,
        resets_at=None,
        decided_at=None,
    )


def tightest(decisions: tuple[Decision, ...]) -> int:
    """Index of the decision to report: a refusal first, then the one with the least left.

    Of a team's refusal and its member's, the team's: that one can be helped by paying.
    """

    def rank(index: int) -> tuple[bool, bool, float, int]:
        decision = decisions[index]
        left = decision.remaining
        own_share = decision.reason is Reason.MEMBER_LIMIT_REACHED
        return decision.allowed, own_share, float("inf") if left is None else left, index

    return min(range(len(decisions)), key=rank)


def crossed(
    step: CompiledStep, plan: str, limit: int | None, used: int, noticed: tuple[str, ...]
) -> tuple[float, ...]:
    """Fractions of the plan's limit that the use has reached and nobody has been told of, ascending."""
    if not limit or not step.warnings:
        return ()
    return tuple(
        fraction
        for fraction, _ in step.warnings
        # Divided, not multiplied: 7 of 100 is 0.07 exactly as it is written, but 0.07 * 100 is more than 7.
        if used / limit >= fraction and notice_name(step, plan, fraction) not in noticed
    )


def notice_name(step: CompiledStep, plan: str, fraction: float) -> str:
    """The name under which a warning is remembered in its window."""
    # A gauge has one counter for all plans, and each plan's limit is worth a warning.
    return f"{step.key}@{fraction:g}" + (f"@{plan}" if step.held else "")


def shadow_name(step: CompiledStep) -> str:
    """The name under which a step that only watches remembers whom it would have refused.

    Not the step's own: once the loop enforces, the first refusal is a wall, whatever was seen before.
    """
    return f"{step.key}@shadow"


def held_out(share: float, digest: bytes) -> bool:
    """Whether a subject belongs to the group that is left alone, for comparison.

    Args:
        share: of all subjects, from 0 up to but not 1.
        digest: at least 8 bytes of a hash over loop and subject: the same subject stays in or out for ever.
    """
    return int.from_bytes(digest[:8], "big") < share * 2**64

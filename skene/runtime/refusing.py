"""What follows from a refusal: whether there is a wall, for how long it stands, whether somebody is asked."""

from datetime import datetime, timedelta

from skene.engine.decide import held_out, shadow_name
from skene.engine.decision import Decision, Reason
from skene.engine.effects import message_data, subject_digest
from skene.engine.keys import unique_key
from skene.engine.program import CompiledStep
from skene.engine.window import Rolling
from skene.ports.counters import Draft, Tally
from skene.ports.ledger import Wall
from skene.runtime.parts import Parts
from skene.runtime.telling import wall_opened

__all__ = ["has_wall", "is_held_out", "proposed_wall"]

HELD_WALL = timedelta(days=30)


def has_wall(decision: Decision) -> bool:
    """Whether it refuses for a reason that somebody may be asked to pay for."""
    return not decision.allowed and decision.reason in (Reason.LIMIT_REACHED, Reason.NOT_IN_PLAN)


def is_held_out(step: CompiledStep, subject: str) -> bool:
    """Whether the subject is in the group that is never asked, nor warned with a link to upgrade."""
    return step.holdout > 0 and held_out(step.holdout, subject_digest(step.loop, subject))


def proposed_wall(
    parts: Parts, step: CompiledStep, subject: str, decision: Decision, tally: Tally, *, shadow: bool
) -> tuple[Wall, tuple[Draft, ...]]:
    """The wall of a refusal, should none stand yet, and the messages that go with it.

    Args:
        parts: the back-ends.
        step, subject, decision, tally: what was refused, to whom, and how much was used.
        shadow: the step only watches; nobody is asked.
    """
    wall_id = parts.clock.new_id()
    start, end = _wall_window(step, decision, tally)
    out = is_held_out(step, subject)
    wall = Wall(
        id=wall_id,
        loop=step.loop,
        step=shadow_name(step) if shadow else step.key,
        subject=subject,
        plan=decision.plan,
        meter=step.meter,
        limit=decision.limit or 0,
        used=decision.used,
        window_start=start,
        window_end=end,
        held_out=out,
        shadow=shadow,
    )
    drafts: tuple[Draft, ...] = ()
    if step.prompt is not None and not out and not shadow:
        url = parts.links.upgrade(wall=wall_id)
        data = message_data(decision, step.message, step.prompt, upgrade_url=url)
        drafts = (
            Draft(
                key=unique_key("upgrade_prompt", step.key, subject, decision.plan, start.isoformat()),
                kind="upgrade_prompt",
                loop=step.loop,
                step=step.key,
                subject=subject,
                plan=decision.plan,
                channel=parts.channel(step.prompt),
                template=step.prompt.template,
                data=data,
                wall=wall_id,
            ),
        )
    drafts += wall_opened(parts, wall)
    return wall, drafts


def _wall_window(step: CompiledStep, decision: Decision, tally: Tally) -> tuple[datetime, datetime]:
    """How long a wall stands. A rolling window slides on, so its wall stands for one whole length.

    What is held has no window: whoever is at the limit is asked once in a while.
    """
    rule = tally.charge.rule
    if step.held and decision.decided_at is not None:
        return decision.decided_at, decision.decided_at + HELD_WALL
    if isinstance(rule, Rolling) and decision.decided_at is not None:
        return decision.decided_at, decision.decided_at + rule.length
    return tally.start, tally.end

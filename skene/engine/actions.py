"""From a firing that may act to what follows: journeys, messages, the next firing of a chain."""

from collections.abc import Mapping
from datetime import timedelta

from skene.definitions import EmailAction, FiringAction, GrantAction, QueryCondition, WebhookAction
from skene.engine.keys import digest, unique_key
from skene.engine.occasion import Occasion
from skene.engine.reactions import Reaction

__all__ = ["action_data", "action_key", "goal_step", "journey_id", "next_look"]

SOONEST, LATEST = timedelta(seconds=1), timedelta(minutes=10)
LATEST_FOR_GOALS = timedelta(hours=6)
"""A goal is waited for by nobody: a chain's next step asks once more before it acts."""
_SHARE = 4
"""A condition that has been waited for so long is asked again after a quarter of that."""


def journey_id(reaction: Reaction, firing: str, subject: str) -> str:
    """The journey that a firing begins for a subject: the same whenever it is evaluated again."""
    return f"j_{digest(reaction.loop, firing, subject).hex()[:40]}"


def goal_step(loop: str) -> str:
    """The key under which a loop waits for a goal that a query tells of; no step of a user's has it."""
    return f"{loop}?goal"


def action_key(action: FiringAction, reaction: Reaction, occasion: Occasion, index: int) -> str:
    """The message's key: one per firing, subject and action."""
    return unique_key(action.type, reaction.key, occasion.key, occasion.subject, str(index))


def action_data(action: FiringAction, occasion: Occasion) -> dict[str, object]:
    """What a message is made of, as JSON: the action's own words, and all that is known of the occasion."""
    data: dict[str, object] = {
        "values": {"loop": occasion.loop, "subject": occasion.subject},
        "event": dict(occasion.event),
        "row": dict(occasion.row),
    }
    match action:
        case EmailAction():
            data["subject_line"] = action.subject
            data["personalization"] = dict(action.personalization or {})
        case WebhookAction():
            data["personalization"] = dict(action.payload or {})
        case GrantAction():
            data["grant"] = {
                "units": action.units,
                "meter": action.meter,
                "seconds": None if action.expires is None else action.expires.total_seconds(),
                "reason": action.reason,
            }
        case _:
            data["occasion"] = _plain(occasion)
    return data


def next_look(waited: timedelta, left: timedelta, *, latest: timedelta = LATEST) -> timedelta:
    """How long to wait before a condition that does not hold yet is asked again.

    Often at first and then less and less, so that waiting costs little however long it takes; the last look
    is when the time is up.

    Args:
        waited: since it could first have held.
        left: until its time is up; more than zero.
        latest: the longest pause.
    """
    return min(max(SOONEST, min(latest, waited / _SHARE)), left)


def waits_for_goal(reaction: Reaction) -> bool:
    """Whether somebody has to look again and again whether the goal is reached."""
    return isinstance(reaction.goal, QueryCondition)


def _plain(occasion: Occasion) -> Mapping[str, object]:
    return {
        "step": occasion.step,
        "key": occasion.key,
        "occurred_at": occasion.occurred_at.isoformat(),
        "plan": occasion.plan,
    }

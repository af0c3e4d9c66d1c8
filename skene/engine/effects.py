"""What a decision sets in motion: what its messages are made of."""

from datetime import datetime

from skene.definitions import EmailAction
from skene.engine.decision import Decision
from skene.engine.keys import digest

__all__ = ["message_data", "subject_digest"]


def subject_digest(loop: str, subject: str) -> bytes:
    """A stable hash of a subject within a loop, for dividing subjects into groups."""
    return digest(loop, subject)


def message_data(
    decision: Decision, message: str, mail: EmailAction, *, upgrade_url: str | None
) -> dict[str, object]:
    """What a message is made of, as JSON: the mail's own words, and what they can say about the decision.

    Returns:
        `subject_line` and `personalization` as the mail's author wrote them, and `values`.
    """
    return {
        "subject_line": mail.subject,
        "personalization": dict(mail.personalization or {}),
        "values": {
            "message": message,
            "loop": decision.loop,
            "meter": decision.meter,
            "plan": decision.plan,
            "limit": decision.limit,
            "used": decision.used,
            "remaining": decision.remaining,
            "period": decision.period,
            "resets_at": _iso(decision.resets_at),
            "upgrade_url": upgrade_url,
        },
    }


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()

"""What a decision sets in motion: messages with keys that follow from what they are about."""

from datetime import datetime
from hashlib import sha256

from skene.definitions import EmailAction
from skene.engine.decision import Decision

__all__ = ["message_data", "message_key", "subject_digest"]


def message_key(kind: str, *about: str) -> str:
    """A key that is the same for the same message and for no other, and tells nothing of whom it goes to.

    Args:
        kind: e.g. `upgrade_prompt`.
        about: loop, step, subject, plan, window: whatever makes it one message.
    """
    return f"{kind}:{_digest(about).hex()[:40]}"


def subject_digest(loop: str, subject: str) -> bytes:
    """A stable hash of a subject within a loop, for dividing subjects into groups."""
    return _digest((loop, subject))


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


def _digest(parts: tuple[str, ...]) -> bytes:
    # With each part's length, so that no two lists of parts read the same, whatever a subject contains.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return sha256(text.encode("utf-8", "surrogatepass")).digest()


def _iso(instant: datetime | None) -> str | None:
    return None if instant is None else instant.isoformat()

"""Whom a message is for, what it can say, and whether this is the hour for it."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import sha256
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
from pydantic import JsonValue

from skene.engine.quiet import quiet_until
from skene.ports.notifier import MessageContext, Profile
from skene.ports.outbox import Claimed
from skene.runtime.parts import Parts
from skene.runtime.policy import MailPolicy

__all__ = ["address_digest", "context_of", "profile_of", "quiet_for"]

PROFILE_TIMEOUT = 5.0


def address_digest(address: str) -> str:
    """What is kept of an address that must not be written to."""
    return sha256(address.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def quiet_for(policy: MailPolicy, user: Profile, now: datetime) -> datetime | None:
    """Until when a person is not to be written to; None: now is fine."""
    if policy.quiet is None:
        return None
    own = (user.model_extra or {}).get("timezone")
    zone = own if isinstance(own, str) and _is_zone(own) else policy.timezone
    return quiet_until(policy.quiet, zone, now)


def _is_zone(name: str) -> bool:
    try:
        return bool(ZoneInfo(name).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


async def profile_of(parts: Parts, message: Claimed) -> Profile:
    """Whom a message is for: what the app says of them, completed by the rows that led to it, and by billing.

    Raises:
        TimeoutError: the app's resolver took too long.
        Exception: whatever it raised.
    """
    found: Profile | None = None
    if parts.profile is not None:
        with anyio.fail_after(PROFILE_TIMEOUT):
            found = await parts.profile(message.draft.subject)
    known: dict[str, JsonValue] = {}
    for name in ("event", "row"):
        known.update(_texts(message.draft.data.get(name)))
    if found is not None:
        known.update(
            {key: value for key, value in found.model_dump(mode="json").items() if value is not None}
        )
    if not known.get("email"):
        known["email"] = message.email
    return Profile.model_validate({key: value for key, value in known.items() if _fits(key, value)})


def _texts(row: object) -> Mapping[str, JsonValue]:
    return cast("Mapping[str, JsonValue]", row) if isinstance(row, Mapping) else {}


def _fits(key: str, value: JsonValue) -> bool:
    """A row may call anything e-mail or name; a profile wants text there."""
    return key not in ("email", "name") or isinstance(value, str | None)


def context_of(parts: Parts, message: Claimed, user: Profile) -> MessageContext:
    """What the message's template can say."""
    draft = message.draft
    data = draft.data
    link = parts.links.unsubscribe(draft.subject) if draft.marketing else None
    values = dict(_texts(data.get("values")))
    if draft.kind == "email":  # a wall's own link is among its values; this one leads on without a wall
        values["upgrade_url"] = parts.links.upgrade(subject=draft.subject)
    return MessageContext.model_validate(
        {
            "template": draft.template,
            "subject_line": data.get("subject_line"),
            "user": user,
            "data": values,
            "personalization": data.get("personalization", {}),
            "event": data.get("event", {}),
            "row": data.get("row", {}),
            "unsubscribe_url": link,
        }
    )

"""Who may be written to, and when: caps, quiet hours, links to unsubscribe, addresses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from hashlib import sha256
from typing import cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import anyio
from pydantic import JsonValue

from skene.definitions import DefinitionError, Fault
from skene.definitions.faults import describe
from skene.definitions.units import parse_duration
from skene.definitions.zones import read_zone
from skene.engine.quiet import QuietHours, quiet_until
from skene.errors import ConfigurationError
from skene.ports.notifier import MessageContext, Profile
from skene.ports.outbox import Claimed
from skene.runtime.parts import Parts

__all__ = ["MailPolicy", "address_digest", "context_of", "profile_of", "quiet_for"]

PROFILE_TIMEOUT = 5.0
_CLOCK = "two times of the day such as (\"22:00\", \"08:00\")"
_CAP = 'how many in how long, such as (2, "7d")'


@dataclass(frozen=True, slots=True, init=False)
class MailPolicy:
    """How much marketing mail a person gets, and when. Notices of limits are no marketing.

    Attributes:
        cap: how many at most in how long a time; None for any number.
        quiet: hours at which none is sent; None for none.
        timezone: whose clocks the hours are by, when the profile has no `timezone` of its own.
    """

    cap: tuple[int, timedelta] | None
    quiet: QuietHours | None
    timezone: str

    def __init__(
        self,
        *,
        cap: tuple[int, str | timedelta] | None = None,
        quiet: tuple[str, str] | None = None,
        timezone: str = "UTC",
    ) -> None:
        """Say what people may be asked to bear.

        Args:
            cap: such as `(2, "7d")`: at most two in any seven days.
            quiet: such as `("22:00", "08:00")`: none at night.
            timezone: an IANA name.

        Raises:
            ConfigurationError: with everything that cannot be meant.
        """
        faults: list[Fault] = []
        object.__setattr__(self, "cap", _read_cap(cap, faults))
        object.__setattr__(self, "quiet", _read_quiet(quiet, faults))
        try:
            object.__setattr__(self, "timezone", read_zone(timezone))
        except DefinitionError as error:
            faults += [Fault("MailPolicy(timezone=…)", f.given, f.allowed, f.hint) for f in error.faults]
        if faults:
            raise ConfigurationError(faults)


def _read_cap(given: object, faults: list[Fault]) -> tuple[int, timedelta] | None:
    if given is None:
        return None
    match given:
        case (int() as count, str() | timedelta() as length) if count > 0 and not isinstance(count, bool):
            try:
                return count, parse_duration(length)
            except DefinitionError as error:
                faults += [Fault("MailPolicy(cap=…)[1]", f.given, f.allowed, f.hint) for f in error.faults]
        case _:
            faults.append(Fault("MailPolicy(cap=…)", describe(given), _CAP))
    return None


def _read_quiet(given: object, faults: list[Fault]) -> QuietHours | None:
    if given is None:
        return None
    try:
        start, end = (time.fromisoformat(one) for one in cast("tuple[str, str]", given))
        if start != end and start.tzinfo is None and end.tzinfo is None:
            return QuietHours(start, end)
    except (ValueError, TypeError):
        pass
    faults.append(Fault("MailPolicy(quiet=…)", describe(given), _CLOCK))
    return None


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
        known.update({key: value for key, value in found.model_dump(mode="json").items() if value is not None})
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
    return MessageContext.model_validate(
        {
            "template": draft.template,
            "subject_line": data.get("subject_line"),
            "user": user,
            "data": data.get("values", {}),
            "personalization": data.get("personalization", {}),
            "event": data.get("event", {}),
            "row": data.get("row", {}),
            "unsubscribe_url": link,
        }
    )

"""Instants as people type them: `30d`, `2026-03-01`, `2026-03-01T09:30+02:00`."""

from datetime import UTC, datetime, timedelta

from skene.cli.failing import CommandError
from skene.definitions.faults import DefinitionError
from skene.definitions.units import parse_duration

__all__ = ["read_expiry", "read_future", "read_past"]

_FORMS = "a duration such as 30d or 12h, or an instant such as 2026-03-01 or 2026-03-01T09:30+02:00"


def read_past(text: str, option: str, now: datetime) -> datetime:
    """An instant, or as long ago as a duration says.

    Args:
        text: as typed; an instant without a zone is in UTC.
        option: for the message.
        now: aware UTC.

    Raises:
        CommandError: it is neither, or lies before the year 1.
    """
    return _read(text, option, now, -1)


def read_future(text: str, option: str, now: datetime) -> datetime:
    """As `read_past`, but a duration counts from now on, and the instant must lie ahead."""
    at = _read(text, option, now, 1)
    if at <= now:
        raise CommandError(f"{option}: got {text!r}, which has passed; give an instant that lies ahead")
    return at


def read_expiry(text: str, option: str, now: datetime) -> timedelta | datetime:
    """How long something lasts, as it was typed, or the instant at which it ends; as `read_future`.

    A length stays one: it counts from when the storage's clock says that it begins.
    """
    try:
        return parse_duration(text.strip())
    except DefinitionError:
        return read_future(text, option, now)


def _read(text: str, option: str, now: datetime, direction: int) -> datetime:
    hint = None
    try:
        return now + direction * parse_duration(text.strip())
    except DefinitionError as error:
        hint = error.faults[0].hint
    except OverflowError:
        raise CommandError(f"{option}: got {text!r}, which is beyond the calendar; give {_FORMS}") from None
    try:
        at = datetime.fromisoformat(text.strip())
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        meant = f"; did you mean {hint}?" if hint else ""
        raise CommandError(f"{option}: got {text!r}; give {_FORMS}{meant}") from None

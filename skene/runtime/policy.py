"""How much marketing mail people get, and when: `MailPolicy`."""

from dataclasses import dataclass
from datetime import time, timedelta
from typing import cast

from skene.definitions import DefinitionError, Fault
from skene.definitions.faults import describe
from skene.definitions.units import parse_duration
from skene.definitions.zones import read_zone
from skene.engine.quiet import QuietHours
from skene.errors import ConfigurationError
from skene.ports.retention import KEPT

__all__ = ["MailPolicy"]

_CLOCK = 'two times of the day such as ("22:00", "08:00")'
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
            cap: such as `(2, "7d")`: at most two in any seven days. 400 days is the longest.
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
                within = parse_duration(length)
            except DefinitionError as error:
                faults += [Fault("MailPolicy(cap=…)[1]", f.given, f.allowed, f.hint) for f in error.faults]
            else:
                if within <= KEPT:
                    return count, within
                longest = f"at most {KEPT.days}d, which is how long messages are kept"
                faults.append(Fault("MailPolicy(cap=…)[1]", describe(length), longest))
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

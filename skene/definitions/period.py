"""When a count starts again: what `period` of a usage condition may be."""

from datetime import timedelta
from functools import partial
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import BeforeValidator, Field, PlainValidator

from skene.definitions.base import Definition, part
from skene.definitions.checks import choice, one_of
from skene.definitions.units import parse_duration
from skene.definitions.zones import ZoneName

Unit = Literal["day", "week", "month", "year"]

_Length = Annotated[timedelta, BeforeValidator(partial(parse_duration, calendar=True))]


class FixedPeriod(Definition, frozen=True):
    """A window that opens with the first counted use and lasts `length`: what a bare `"30d"` means."""

    example: ClassVar[str] = 'a period such as "30d"'
    shorthand: ClassVar[str | None] = "length"

    type: Annotated[Literal["fixed"], choice("fixed")] = "fixed"
    length: _Length = Field(description='a duration such as "30d"')


class RollingPeriod(Definition, frozen=True):
    """Never more than the limit in any trailing `length`."""

    example: ClassVar[str] = 'rolling("30d")'

    type: Annotated[Literal["rolling"], choice("rolling")] = "rolling"
    length: _Length = Field(description='a duration such as "30d"')


class CalendarPeriod(Definition, frozen=True):
    """A day, an ISO week (from Monday), a month or a year of the calendar, by the clocks of one time zone."""

    example: ClassVar[str] = 'calendar("month")'

    type: Annotated[Literal["calendar"], choice("calendar")] = "calendar"
    unit: Annotated[Unit, choice(*get_args(Unit))] = Field(description='"day", "week", "month" or "year"')
    timezone: ZoneName = "UTC"


class BillingCyclePeriod(Definition, frozen=True):
    """The subject's current billing period at Stripe."""

    example: ClassVar[str] = "billing_cycle()"

    type: Annotated[Literal["billing_cycle"], choice("billing_cycle")] = "billing_cycle"


class LifetimePeriod(Definition, frozen=True):
    """One window that never ends: the limit is for good."""

    example: ClassVar[str] = "lifetime()"

    type: Annotated[Literal["lifetime"], choice("lifetime")] = "lifetime"


class HeldPeriod(Definition, frozen=True):
    """No window: units are held until they are released, as seats are. `condition.gauge` counts so."""

    example: ClassVar[str] = 'condition.gauge(limit={"free": 3}, meter="seats")'

    type: Annotated[Literal["held"], choice("held")] = "held"


Period = FixedPeriod | RollingPeriod | CalendarPeriod | BillingCyclePeriod | LifetimePeriod | HeldPeriod

PERIODS: tuple[type[Period], ...] = get_args(Period)
_read_kind = one_of(*PERIODS)


def read_period(value: object) -> Period:
    """Reads a bare `"30d"`, `30` and the like as a fixed period, all else by its type."""
    if value is None or isinstance(value, (str, int, float, timedelta)):
        return FixedPeriod.read(value)
    return _read_kind(value)


AnyPeriod = Annotated[Period, PlainValidator(read_period)]
"""A period as the field of a definition."""


def rolling(length: str | timedelta) -> RollingPeriod:
    """Counts what was used in the trailing `length`, at any moment.

    Args:
        length: A duration such as `"30d"`, from one second to ten years.
    """
    return part(RollingPeriod, type="rolling", length=length)


def calendar(unit: Unit, *, timezone: str = "UTC") -> CalendarPeriod:
    """Counts per calendar day, ISO week, month or year.

    Args:
        unit: `"day"`, `"week"`, `"month"` or `"year"`.
        timezone: The IANA name of the zone whose midnight opens the window: `"Europe/Helsinki"`.
    """
    return part(CalendarPeriod, type="calendar", unit=unit, timezone=timezone)


def billing_cycle() -> BillingCyclePeriod:
    """Counts per billing period of the subject's Stripe subscription."""
    return part(BillingCyclePeriod, type="billing_cycle")


def lifetime() -> LifetimePeriod:
    """Counts for ever: a used-up limit does not come back."""
    return part(LifetimePeriod, type="lifetime")

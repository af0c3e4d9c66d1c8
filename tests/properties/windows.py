"""Windows, said a second time: where they begin and end, and what counts in them."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

__all__ = [
    "ALWAYS",
    "HOUR",
    "MONTH",
    "NEVER",
    "Use",
    "Window",
    "base",
    "joined",
    "kind_of",
    "part_at",
    "running",
]

NEVER = datetime(9999, 1, 1, tzinfo=UTC)
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)
MONTH = timedelta(days=30)
HOUR = timedelta(hours=1)
PART = timedelta(minutes=1)
"""A rolling window is kept in sixtieths."""

PERIODS = {"rolling": "rolling", "month": "calendar", "cycle": "cycle", "life": "lifetime"}
"""What is not named here has fixed windows of 30 days."""


@dataclass
class Use:
    """Units that were charged, and when; `units` shrinks when some are given back."""

    units: int
    at: datetime
    window: "Window"


@dataclass
class Window:
    """`[start, end)`, what was used in it, how much of that grants paid, and of what it was warned."""

    start: datetime
    end: datetime
    uses: list[Use] = field(default_factory=list[Use])
    extra: int = 0
    warned: set[float] = field(default_factory=set[float])

    @property
    def used(self) -> int:
        return sum(use.units for use in self.uses)


def base(meter: str) -> str:
    """The step that counts on a meter: routes may have counters of their own."""
    return meter.partition(":")[0]


def kind_of(meter: str) -> str:
    return PERIODS.get(base(meter), "fixed")


def part_at(now: datetime) -> datetime:
    return now.replace(second=0, microsecond=0)


def running(last: Window | None, kind: str, now: datetime, bought: tuple[datetime, ...]) -> Window:
    """The window that runs at `now`, or the one that a use would open."""
    if kind == "rolling":
        return rolled(last, now)
    start, end = (now, now + MONTH) if kind == "fixed" else between(edges(kind, now, bought), now)
    if last is not None and now < last.end and (kind == "fixed" or start <= last.start):
        return last  # it runs until its end, whatever the clock says meanwhile
    return Window(start, end)


def rolled(last: Window | None, now: datetime) -> Window:
    """Only what was used within the last hour counts, up to a part's width."""
    if last is None:
        return Window(part_at(now), part_at(now) + PART + HOUR)
    live = [use for use in last.uses if use.units and now < use.at + PART + HOUR]
    if not live:
        start = part_at(max(now, last.start))
        return Window(start, start + PART + HOUR)
    start = min(use.at for use in live)
    gone = last.used - sum(use.units for use in live)
    return Window(start, start + PART + HOUR, live, max(0, last.extra - gone), last.warned)


def joined(ours: Window, theirs: Window, kind: str, now: datetime) -> Window:
    """Two people's windows as one: the target's, with what was used in both."""
    if kind == "rolling":
        ours, theirs = rolled(ours, now), rolled(theirs, now)
        if not ours.uses and not theirs.uses:
            return max((ours, theirs), key=lambda window: window.start)
        if not ours.uses or (theirs.uses and theirs.start < ours.start):
            ours.start, ours.end = theirs.start, theirs.end
    elif ours.start != theirs.start and not (now < ours.end and now < theirs.end):
        return theirs if now < theirs.end else ours
    ours.uses = [*ours.uses, *theirs.uses]
    for use in ours.uses:
        use.window = ours
    ours.extra = min(ours.extra + theirs.extra, ours.used)
    ours.warned |= theirs.warned
    return ours


def between(edges: tuple[datetime, ...], now: datetime) -> tuple[datetime, datetime]:
    before = [edge for edge in edges if edge <= now]
    after = [edge for edge in edges if edge > now]
    return max(before, default=ALWAYS), min(after, default=NEVER)


def edges(kind: str, now: datetime, bought: tuple[datetime, ...]) -> tuple[datetime, ...]:
    if kind == "lifetime":
        return ()
    if kind == "cycle":
        return bought or month_edges(now, UTC)
    return month_edges(now, ZoneInfo("Europe/Helsinki"))


def month_edges(now: datetime, zone: tzinfo) -> tuple[datetime, ...]:
    """The first instants of the months around now."""
    local = now.astimezone(zone)
    firsts = (divmod(local.year * 12 + local.month - 1 + n, 12) for n in (-1, 0, 1, 2))
    return tuple(datetime(year, month + 1, 1, tzinfo=zone).astimezone(UTC) for year, month in firsts)

"""Two subjects that turn out to be one: what becomes of their counters, and of what they pay for."""

from dataclasses import dataclass, replace
from datetime import datetime

from skene.definitions.units import LARGEST
from skene.engine.counter import Counter, Parts
from skene.engine.keys import digest

__all__ = ["Billing", "Meter", "United", "bring_together", "other_key", "unite"]


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter, and what of it has been put on a bill.

    Attributes:
        counter: the window that is running or ran last.
        billable: something may have to be put on a bill, or taken off.
        reported: units of this window that were.
        reports: how many reports there were, in all windows: names the next one.
    """

    counter: Counter
    billable: bool = False
    reported: int = 0
    reports: int = 0


@dataclass(frozen=True, slots=True)
class United:
    """What two counters of the same name become.

    Attributes:
        meter: the counter from now on.
        over: windows that are over, and go into the history.
    """

    meter: Meter
    over: tuple[Meter, ...] = ()


def unite(target: Meter | None, source: Meter, now: datetime) -> United:
    """Make one counter of two.

    Where both windows are running the target's stays, and has what was used in both. So whatever the source
    has used takes room for as long as the target's window lasts, and never more than the limit is admitted.
    """
    if target is None:
        return United(source)
    if target.counter.parts or source.counter.parts:
        return _rolling(target, source, now)
    ours, theirs = target.counter, source.counter
    if ours.start == theirs.start or (now < ours.end and now < theirs.end):
        return United(_summed(target, source, ours, theirs))
    kept, other = (source, target) if now < theirs.end else (target, source)
    reports = max(target.reports, source.reports)
    over = (other,) if other.counter.used or other.reported else ()
    return United(replace(kept, reports=reports), over)


def _rolling(target: Meter, source: Meter, now: datetime) -> United:
    """Parts by their instants. One that has left the window counts no more, as when the next call comes."""
    ours, theirs = _live(target.counter, now), _live(source.counter, now)
    summed: dict[datetime, int] = {}
    for at, used in (*ours.parts, *theirs.parts):
        summed[at] = min(summed.get(at, 0) + used, LARGEST)
    if not summed:
        kept = max((ours, theirs), key=lambda counter: counter.start)  # the clock never goes behind it
        return United(_summed(target, source, kept, Counter(kept.start, kept.end)))
    parts = tuple(sorted(summed.items()))
    wide = target.counter if target.counter.parts else source.counter
    window = replace(ours, start=parts[0][0], end=parts[0][0] + (wide.end - wide.start))
    meter = _summed(target, source, window, theirs)
    return United(replace(meter, counter=replace(meter.counter, parts=parts)))


def _live(counter: Counter, now: datetime) -> Counter:
    """A counter with the parts that still count; one without parts has one, its window."""
    length = counter.end - counter.start
    parts: Parts = counter.parts or ((counter.start, counter.used),)
    live = tuple((at, used) for at, used in parts if used > 0 and at + length > now)
    used = sum(used for _, used in live)
    extra = max(0, counter.extra - (counter.used - used))
    return replace(counter, used=used, parts=live, extra=extra, notices=counter.notices if live else ())


def _summed(target: Meter, source: Meter, ours: Counter, theirs: Counter) -> Meter:
    notices = tuple(dict.fromkeys((*ours.notices, *theirs.notices)))
    used = min(ours.used + theirs.used, LARGEST)
    extra = min(ours.extra + theirs.extra, used)
    both = ours.used > 0 and theirs.used > 0  # what the plan includes is included once
    return Meter(
        replace(ours, used=used, notices=notices, extra=extra),
        target.billable or source.billable or both,
        min(target.reported + source.reported, LARGEST),
        max(target.reports, source.reports),
    )


@dataclass(frozen=True, slots=True)
class Billing:
    """What billing has to say of a subject.

    Attributes:
        customer: the billing service's customer that it is tied to.
        holds_more: it holds more than the default plan now.
    """

    customer: str | None = None
    holds_more: bool = False


def bring_together(target: Billing, source: Billing) -> tuple[bool, bool]:
    """Whether the source's customer becomes the target's, and whether the source's plan does.

    Whoever pays is heard: a customer that gives the target nothing gives way to one that gives the source
    more.
    """
    gives_way = source.holds_more and not target.holds_more
    if source.customer is None:
        return False, gives_way
    tie = target.customer is None or gives_way
    return tie, tie and source.holds_more


def other_key(source: str, key: str) -> str:
    """What a grant of the source's is called where the target has one of its name; it tells nobody who."""
    return f"merged:{digest(source).hex()[:16]}:{key}"

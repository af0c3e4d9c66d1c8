"""Two subjects that turn out to be one: what becomes of their counters, and of what they pay for."""

from dataclasses import dataclass, replace
from datetime import datetime

from skene.definitions.units import LARGEST
from skene.engine.bill import Bill, past
from skene.engine.counter import Counter, Parts
from skene.engine.keys import digest

__all__ = ["Billing", "Meter", "United", "bring_together", "other_key", "unite"]


_UNBILLED = Bill()


@dataclass(frozen=True, slots=True)
class Meter:
    """A counter, the window that is running or ran last, and what of it has been put on a bill."""

    counter: Counter
    bill: Bill = _UNBILLED


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
    A bill knows every unit that was reported of either: none is reported again.
    """
    if target is None:
        return United(source)
    ours, theirs = target.counter, source.counter
    if ours.parts or theirs.parts:
        return United(Meter(_rolling(ours, theirs, now), _added(target, source, ours.start)))
    target, source, over = _made_up(target), _made_up(source), (*_before(target), *_before(source))
    if ours.start == theirs.start or (now < ours.end and now < theirs.end):
        return United(Meter(_summed(ours, theirs), _added(target, source, ours.start)), over)
    kept, other = (source, target) if now < theirs.end else (target, source)
    bill = replace(kept.bill, reports=max(target.bill.reports, source.bill.reports))
    gone = Meter(other.counter, past(other.bill, other.counter.start))
    if gone.counter.used or gone.bill.reported:
        over = (*over, gone)
    return United(replace(kept, bill=bill), over)


def _made_up(meter: Meter) -> Meter:
    """The same without what is known of an earlier window."""
    bill, start = meter.bill, meter.counter.start
    return meter if bill.since in (None, start) else replace(meter, bill=Bill(reports=bill.reports))


def _before(meter: Meter) -> tuple[Meter, ...]:
    """A window before this one that a process of an older release has ended, without noting the bill."""
    bill, start = meter.bill, meter.counter.start
    if bill.since is None or bill.since == start:
        return ()
    return (Meter(Counter(bill.since, start), replace(bill, billable=True)),)


def _rolling(ours: Counter, theirs: Counter, now: datetime) -> Counter:
    """Parts by their instants. One that has left the window counts no more, as when the next call comes."""
    wide = ours if ours.parts else theirs
    ours, theirs = _live(ours, now), _live(theirs, now)
    parts: dict[datetime, int] = {}
    for at, used in (*ours.parts, *theirs.parts):
        parts[at] = min(parts.get(at, 0) + used, LARGEST)
    if not parts:
        return max((ours, theirs), key=lambda counter: counter.start)  # the clock never goes behind it
    start = min(parts)
    window = replace(ours, start=start, end=start + (wide.end - wide.start))
    return replace(_summed(window, theirs), parts=tuple(sorted(parts.items())))


def _live(counter: Counter, now: datetime) -> Counter:
    """A counter with the parts that still count; one without parts has one, its window."""
    length = counter.end - counter.start
    parts: Parts = counter.parts or ((counter.start, counter.used),)
    live = tuple((at, used) for at, used in parts if used > 0 and at + length > now)
    used = sum(used for _, used in live)
    extra = max(0, counter.extra - (counter.used - used))
    return replace(counter, used=used, parts=live, extra=extra, notices=counter.notices if live else ())


def _summed(ours: Counter, theirs: Counter) -> Counter:
    used = min(ours.used + theirs.used, LARGEST)
    notices = tuple(dict.fromkeys((*ours.notices, *theirs.notices)))
    return replace(ours, used=used, notices=notices, extra=min(ours.extra + theirs.extra, used))


def _added(target: Meter, source: Meter, start: datetime) -> Bill:
    """What is known of both windows. It is looked at once more: what a plan includes is included once."""
    ours, theirs = target.bill, source.bill
    billed = ours.since == target.counter.start or theirs.since == source.counter.start
    reported = ours.told(target.counter.start) + theirs.told(source.counter.start)
    reports = max(ours.reports, theirs.reports)
    return Bill(True, reported, start, reports) if billed else Bill(reports=reports)


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

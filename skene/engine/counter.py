"""One counter of one subject: what a charge or a give-back does to it. Every store decides by these rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from skene.definitions.units import LARGEST
from skene.engine.light import light
from skene.engine.window import Edges, Rolling, WindowRule, window_at

__all__ = [
    "Counter",
    "Parts",
    "after_merge",
    "charge",
    "drawn",
    "fits",
    "give_back",
    "present",
    "reported",
    "returned",
    "room",
]

Parts = tuple[tuple[datetime, int], ...]


@light
@dataclass(frozen=True, slots=True)
class Counter:
    """A running window and what was used in it.

    Attributes:
        start, end: the window `[start, end)`.
        used: units used in it.
        parts: for rolling windows, the units per part, oldest first; else empty.
        notices: names of the warnings already sent for this window.
        extra: how many of the used units were paid with grants, and so take no room of the plan's limit.
    """

    start: datetime
    end: datetime
    used: int = 0
    parts: Parts = ()
    notices: tuple[str, ...] = ()
    extra: int = 0


def present(
    counter: Counter | None, rule: WindowRule, now: datetime, cycle: Sequence[datetime] = ()
) -> Counter:
    """The counter as it stands at `now`: the running one, or a fresh one when its window is over.

    A clock that steps back never reopens an earlier window: a running window stands until its end is reached.
    """
    if isinstance(rule, Rolling):
        return _rolled(counter, rule, now)
    if counter is not None and now < counter.end:
        if isinstance(rule, Edges) and (edges := window_at(rule, now, cycle))[0] > counter.start:
            return Counter(*edges)  # the configured edges moved: a later window has begun
        # Parts are left over when the window used to be a rolling one.
        return replace(counter, parts=()) if counter.parts else counter
    return Counter(*window_at(rule, now, cycle))


def _rolled(counter: Counter | None, rule: Rolling, now: datetime) -> Counter:
    part, length = rule.part, rule.length
    if counter is None:
        start, end = window_at(rule, now)
        return Counter(start, end)
    kept = counter.parts or ((counter.start, counter.used),)
    live = tuple((at, used) for at, used in kept if at + part + length > now and used > 0)
    if not live:
        start, end = window_at(rule, max(now, counter.start))
        return Counter(start, end)
    oldest, used = live[0][0], sum(used for _, used in live)
    # Which part was paid with grants is not kept. What leaves the window is taken for that first, so that the
    # plan's own units are the last to make room: more than the limit is never admitted.
    extra = max(0, counter.extra - (counter.used - used))
    # Notices stay while any use is in the window: it slides, and a new start is not a new window.
    return Counter(oldest, oldest + part + length, used, live, counter.notices, extra)


def room(counter: Counter, limit: int) -> int:
    """Units that the plan itself still admits. What grants paid for takes none of it."""
    return max(0, limit - (counter.used - counter.extra))


def fits(counter: Counter, limit: int | None, cost: int, granted: int = 0) -> bool:
    """Whether a call is admitted: by the plan, and where that leaves no room, by `granted` unspent units."""
    return limit is None or cost <= room(counter, limit) + granted


def drawn(counter: Counter, limit: int | None, cost: int) -> int:
    """How many of a call's units grants have to pay. Never any where there is no limit."""
    return 0 if limit is None else max(0, cost - room(counter, limit))


def reported(counter: Counter, limit: int | None, granted: int = 0) -> int | None:
    """The limit as people are told it: the plan's, what grants have paid in this window, and what they hold.

    So `limit - used` is what may still be used. Where a plan's limit was lowered below what is used already,
    that holds as long as grants admit more.
    """
    if limit is None:
        return None
    plans = max(limit, counter.used - counter.extra) if granted else limit
    return min(plans + counter.extra + granted, LARGEST)


def charge(
    counter: Counter, rule: WindowRule, now: datetime, cost: int, extra: int = 0
) -> tuple[Counter, datetime]:
    """Take `cost` units from a present counter, `extra` of which grants pay.

    Returns:
        The new counter, and the instant that names the charge (a window's or part's start) for giving it
        back.
    """
    # As wide as a database's integers: where nothing limits, costs may add up to more.
    used, extra = min(counter.used + cost, LARGEST), counter.extra + extra
    if not isinstance(rule, Rolling):
        charged = Counter(counter.start, counter.end, used, counter.parts, counter.notices, extra)
        return charged, counter.start
    parts = list(counter.parts)
    at = max(rule.part_at(now), parts[-1][0]) if parts else counter.start
    if parts and parts[-1][0] == at:
        parts[-1] = (at, parts[-1][1] + cost)
    else:
        parts.append((at, cost))
    return replace(counter, used=used, parts=tuple(parts), extra=extra), at


def give_back(counter: Counter, at: datetime, cost: int) -> Counter | None:
    """Return `cost` units to the window, or part, that `at` names.

    What grants paid for is returned first.

    Returns:
        The new counter, never below zero; None when that window is no longer the running one. What goes back
        to the grants is `returned`.
    """
    parts, used = counter.parts, max(0, counter.used - cost)
    if parts:
        if all(start != at for start, _ in parts):
            return None
        parts = tuple((s, max(0, u - cost) if s == at else u) for s, u in parts)
        used = sum(u for _, u in parts)
    elif counter.start != at:
        return None
    return replace(counter, parts=parts, used=used, extra=max(0, counter.extra - (counter.used - used)))


def returned(before: Counter, after: Counter, at: datetime, now: datetime) -> int:
    """How many units a give-back at `at` returns to the grants: none once that window, or part, is over."""
    return before.extra - after.extra if now - at < before.end - before.start else 0


def after_merge(counter: Counter, at: datetime, merged_at: datetime) -> datetime:
    """The instant by which `give_back` finds what was charged to another subject, merged into this one since.

    A window of the other one that was running then has gone into the one that was running here.

    Args:
        counter: of the subject that goes on.
        at: the instant that named the charge then.
        merged_at: when the two became one.
    """
    running_then = at <= merged_at and merged_at - at < counter.end - counter.start
    return counter.start if running_then and not counter.parts and counter.start <= merged_at else at

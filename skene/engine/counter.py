"""One counter of one subject: what a charge or a give-back does to it. Every store decides by these rules."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from skene.engine.window import Edges, Rolling, WindowRule, window_at

__all__ = ["Counter", "Parts", "charge", "give_back", "present"]

Parts = tuple[tuple[datetime, int], ...]


@dataclass(frozen=True, slots=True)
class Counter:
    """A running window and what was used in it.

    Attributes:
        start, end: the window `[start, end)`.
        used: units used in it.
        parts: for rolling windows, the units per part, oldest first; else empty.
        notices: names of the warnings already sent for this window.
    """

    start: datetime
    end: datetime
    used: int = 0
    parts: Parts = ()
    notices: tuple[str, ...] = ()


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
    oldest = live[0][0]
    # Notices stay while any use is in the window: it slides, and a new start is not a new window.
    return Counter(oldest, oldest + part + length, sum(used for _, used in live), live, counter.notices)


def charge(counter: Counter, rule: WindowRule, now: datetime, cost: int) -> tuple[Counter, datetime]:
    """Take `cost` units from a present counter.

    Returns:
        The new counter, and the instant that names the charge (a window's or part's start) for giving it
        back.
    """
    if not isinstance(rule, Rolling):
        used = counter.used + cost
        return Counter(counter.start, counter.end, used, counter.parts, counter.notices), counter.start
    parts = list(counter.parts)
    at = max(rule.part_at(now), parts[-1][0]) if parts else counter.start
    if parts and parts[-1][0] == at:
        parts[-1] = (at, parts[-1][1] + cost)
    else:
        parts.append((at, cost))
    return replace(counter, used=counter.used + cost, parts=tuple(parts)), at


def give_back(counter: Counter, at: datetime, cost: int) -> Counter | None:
    """Return `cost` units to the window, or part, that `at` names.

    Returns:
        The new counter, never below zero; None when that window is no longer the running one.
    """
    if counter.parts:
        if all(start != at for start, _ in counter.parts):
            return None
        parts = tuple((s, max(0, u - cost) if s == at else u) for s, u in counter.parts)
        return replace(counter, parts=parts, used=sum(u for _, u in parts))
    if counter.start != at:
        return None
    return replace(counter, used=max(0, counter.used - cost))

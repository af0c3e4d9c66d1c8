"""What of a counter has been put on a bill, window by window: every unit once, whoever counted it."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

__all__ = ["Bill", "added", "charged", "given_back", "moment", "owed", "past", "settled"]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Bill:
    """How much of a counter the billing service was told.

    Attributes:
        billable: something may have to be reported.
        reported: units reported, in the window that began at `since`.
        since: start of the last window in which billed use was charged; of any other, nothing is reported.
        reports: how many reports there were, in all windows.
    """

    billable: bool = False
    reported: int = 0
    since: datetime | None = None
    reports: int = 0

    def told(self, start: datetime) -> int:
        """Units reported in the window that began at `start`."""
        return self.reported if self.since == start else 0


def added(bill: Bill, more: Bill) -> Bill:
    """What is known of a window together with what comes to light of it later."""
    return replace(
        bill,
        billable=bill.billable or more.billable,
        reported=bill.reported + more.reported,
        reports=max(bill.reports, more.reports),
    )


def charged(bill: Bill, start: datetime, *, billed: bool, moved: bool) -> Bill:
    """After a charge to the window that began at `start`.

    Args:
        bill: as it was before.
        start: start of the window.
        billed: the use is put on a bill.
        moved: the charge has opened the window; what was reported before goes with `past`.
    """
    if billed:
        return Bill(True, 0 if moved else bill.told(start), start, bill.reports)
    return Bill(reports=bill.reports) if moved else bill


def past(bill: Bill, start: datetime) -> Bill:
    """What a window that is over takes along. One with billed use is looked at once more."""
    return Bill(bill.since == start, bill.told(start), start, bill.reports)


def given_back(bill: Bill, start: datetime) -> Bill:
    """After units went back to a window: what was reported of it may have been too much."""
    return replace(bill, billable=True) if bill.told(start) else bill


def owed(bill: Bill, start: datetime, used: int, included: int) -> int:
    """Units to report now; negative when too much was reported, and given back since."""
    return max(0, used - included) - bill.told(start)


def settled(bill: Bill, start: datetime, used: int, included: int) -> Bill:
    """After everything that is owed has been reported."""
    reports = bill.reports + (owed(bill, start, used, included) != 0)
    return Bill(False, max(0, used - included), start, reports)


def moment(start: datetime, end: datetime, now: datetime) -> datetime:
    """The instant that a report names: the latest that lies in the window, and not in the future."""
    return max(start, min(now, end - _MICROSECOND))

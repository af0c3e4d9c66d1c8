"""The messages that tell the billing service of use, alike from every storage."""

from dataclasses import dataclass
from datetime import datetime

from skene.engine.bill import Bill, moment, owed
from skene.engine.keys import unique_key
from skene.ports.counters import BilledUse, Draft

__all__ = ["BilledWindow", "usage_draft"]


@dataclass(frozen=True, slots=True)
class BilledWindow:
    """A window with use that goes on a bill.

    Attributes:
        subject: whose.
        customer: their id at the billing service.
        start, end: the window `[start, end)`.
        used: units used in it.
        bill: what was reported of it.
        past: it is over, and kept in the history.
    """

    subject: str
    customer: str
    start: datetime
    end: datetime
    used: int
    bill: Bill
    past: bool = False


def usage_draft(use: BilledUse, window: BilledWindow, now: datetime) -> Draft | None:
    """The message that reports what a window owes, or None: see `Counters.report_billed`."""
    units = owed(window.bill, window.start, window.used, use.included)
    if units == 0:
        return None
    # One that runs and one that is over count their reports apart, and may have begun at the same instant.
    number = f"{'past ' if window.past else ''}{window.bill.reports}"
    return Draft(
        key=unique_key("usage", window.subject, use.meter, use.plan, window.start.isoformat(), number),
        kind="usage",
        loop=use.loop,
        step=use.step,
        subject=window.subject,
        plan=use.plan,
        channel="billing",
        template=use.billing_meter,
        data={
            "customer": window.customer,
            "meter": use.billing_meter,
            "units": units,
            "at": moment(window.start, window.end, now).isoformat(),
        },
        cancel_on_upgrade=False,
    )

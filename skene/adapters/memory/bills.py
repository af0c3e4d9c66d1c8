"""What becomes of bills when memory counts, and what is reported of them."""

from datetime import datetime

from skene.adapters.memory.packed import unpack
from skene.adapters.memory.state import Part, PastWindow, State
from skene.engine.bill import Bill, added, charged, given_back, past, settled
from skene.engine.counter import Counter
from skene.ports.bills import BilledWindow, usage_draft
from skene.ports.counters import BilledUse, Receipt

__all__ = ["MemoryBills", "forget_bills", "give_back", "give_back_past", "keep_past", "note"]

NONE = Bill()


def note(
    state: State,
    where: tuple[str, str],
    subject: str,
    stored: Counter | None,
    start: datetime,
    *,
    billed: bool,
    moved: bool,
) -> None:
    """After a charge: keep the bill, and a window that is over with what was reported of it.

    Args:
        state: what is kept.
        where: meter and plan of the counter.
        subject: whose.
        stored: the counter before the charge; None if there was none.
        start: start of the window that was charged.
        billed: the use is put on a bill.
        moved: the charge has opened the window.
    """
    bill = state.bills.get(where, {}).get(subject, NONE)
    was_billed = stored is not None and moved and bill.since == stored.start
    if stored is not None and was_billed and (stored.used > 0 or bill.reported > 0):
        _archive(state, where, subject, stored, past(bill, stored.start))
    after = charged(bill, start, billed=billed, moved=moved)
    if after != bill:
        state.bills.setdefault(where, {})[subject] = after


def give_back(state: State, where: tuple[str, str], subject: str, start: datetime) -> None:
    """After units went back to the running window, which began at `start`."""
    table = state.bills.get(where)
    if table is not None and subject in table:
        table[subject] = given_back(table[subject], start)


def give_back_past(state: State, subject: str, receipt: Receipt) -> None:
    """Give units back to a window that is over. Others than those on bills are not kept."""
    table = state.past.get((receipt.meter, receipt.plan), {})
    window = table.get((subject, receipt.at))
    if window is not None:
        left = max(0, window.used - receipt.cost)
        table[subject, receipt.at] = PastWindow(window.end, left, given_back(window.bill, receipt.at))


def forget_bills(state: State, subject: str) -> int:
    """Erase what was noted of a subject. Returns how many windows that are over."""
    for table in state.bills.values():
        table.pop(subject, None)
    over = [(windows, name) for windows in state.past.values() for name in windows if name[0] == subject]
    for windows, name in over:
        del windows[name]
    return len(over)


def keep_past(state: State, where: tuple[str, str], name: tuple[str, datetime], over: PastWindow) -> None:
    """Keep a window that is over, together with what is known of it already."""
    table = state.past.setdefault(where, {})
    known = table.get(name)
    if known is not None:
        over = PastWindow(over.end, known.used + over.used, added(known.bill, over.bill))
    table[name] = over


def _archive(state: State, where: tuple[str, str], subject: str, stored: Counter, bill: Bill) -> None:
    keep_past(state, where, (subject, stored.start), PastWindow(stored.end, stored.used, bill))


class MemoryBills(Part):
    """Reports of billed use. In the port `Counters`."""

    async def report_billed(self, use: BilledUse, limit: int) -> int:
        """Put reports of billed use into the outbox, at most `limit`."""
        state, now = self._state, self._state.clock.now()
        waiting = [*self._running(use), *self._over(use)][:limit]
        for window in waiting:
            draft = usage_draft(use, window, now)
            state.post((draft,) if draft else (), now)
            bill = settled(window.bill, window.start, window.used, use.included)
            if window.past:
                name = (window.subject, window.start)
                state.past[use.meter, use.plan][name] = PastWindow(window.end, window.used, bill)
            else:
                state.bills[use.meter, use.plan][window.subject] = bill
        return len(waiting)

    def _running(self, use: BilledUse) -> list[BilledWindow]:
        where, found = (use.meter, use.plan), list[BilledWindow]()
        for subject, bill in sorted(self._state.bills.get(where, {}).items()):
            counter, customer = unpack(self._state.counters[where].get(subject)), self._customer(subject)
            if counter is not None and customer is not None and bill.billable:
                window = counter.start, counter.end, counter.used
                found.append(BilledWindow(subject, customer, *window, bill))
        return found

    def _over(self, use: BilledUse) -> list[BilledWindow]:
        found: list[BilledWindow] = []
        for (subject, start), window in sorted(
            self._state.past.get((use.meter, use.plan), {}).items(), key=_name
        ):
            customer = self._customer(subject)
            if customer is not None and window.bill.billable:
                over = start, window.end, window.used
                found.append(BilledWindow(subject, customer, *over, window.bill, past=True))
        return found

    def _customer(self, subject: str) -> str | None:
        holder = self._state.holders.get(subject)
        return holder.customer if holder else None


def _name(entry: tuple[tuple[str, datetime], PastWindow]) -> tuple[str, datetime]:
    return entry[0]

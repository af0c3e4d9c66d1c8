"""Reports of billed use. What is to be reported is written down here before it goes into the outbox in SQL.

So if somebody is stopped in between, the same report is made again, under the same key, and the outbox takes
it once.
"""

import json
from dataclasses import replace

from skene.adapters.valkey import wire
from skene.adapters.valkey.kept import Kept
from skene.engine.bill import Bill, settled
from skene.ports.bills import BilledWindow, usage_draft
from skene.ports.counters import BilledUse, Draft
from skene.ports.storage import Storage

__all__ = ["Reports"]

_TRIES = 50
_PAGE = 200


class Reports:
    """What is put on bills."""

    def __init__(self, kept: Kept, storage: Storage) -> None:
        self._kept, self._storage = kept, storage

    async def report(self, use: BilledUse, limit: int) -> int:
        """Put reports of billed use into the outbox, at most `limit`. Returns how many were looked at."""
        looked, of, starts = 0, "", list[str]()
        begins = wire.named("", use.meter, use.plan)[1:] + "\0"
        async for entry in self._kept.of_all("due", begins, _PAGE):
            subject, start = entry.split("\0")[2:]
            if subject != of:
                looked += await self._look_at_all(use, of, starts, limit - looked)
                of, starts = subject, []
            starts.append(start)
            if looked == limit:
                return looked
        return looked + await self._look_at_all(use, of, starts, limit - looked)

    async def _look_at_all(self, use: BilledUse, subject: str, starts: list[str], limit: int) -> int:
        """Report what the windows of a subject owe, at most `limit` of them."""
        known = await self._storage.get_customer(subject) if starts else None
        if known is None or known.customer is None:
            return 0  # it waits, and is in nobody's way
        looked = 0
        for start in (starts[-1], *starts[:-1]):  # the running one first
            if looked < limit:
                looked += await self._look_at(use, subject, start, known.customer)
        return looked

    async def _look_at(self, use: BilledUse, subject: str, start: str, customer: str) -> bool:
        """Report what a window owes. False: it owes nothing any more."""
        entry = "\0".join((use.meter, use.plan, subject, start))
        report = wire.named("r", use.meter, use.plan, start)
        for _ in range(_TRIES):
            found = await self._find(subject, use.meter, use.plan, start)
            (pending,) = await self._kept.fields(subject, [report])
            if pending:
                await self._post(subject, report, pending)
                return True
            if found is None or not found[2].bill.billable:
                await self._kept.swap(subject, wire.change(settled=[entry]))
                return False
            field, text, window = found
            window = replace(window, customer=customer)
            draft = usage_draft(use, window, await self._kept.now())
            if draft is None:
                bill = settled(window.bill, window.start, window.used, use.included)
                change = wire.change(
                    expect={field: text}, put={field: _with(text, window, bill)}, settled=[entry]
                )
                if await self._kept.swap(subject, change):
                    return True
                continue
            pending = _frozen(draft, window.used)
            if await self._kept.swap(
                subject, wire.change(expect={field: text, report: ""}, put={report: pending}, lasting=True)
            ):
                await self._post(subject, report, pending)
                return True
        return True  # it is charged all the time; the next time will do

    async def finish(self, subject: str) -> None:
        """Make the reports of a subject that were written down."""
        names = [name for name in await self._kept.names(subject) if name.startswith("r:")]
        for name, pending in zip(names, await self._kept.fields(subject, names), strict=True):
            if pending:
                await self._post(subject, name, pending)

    async def _post(self, subject: str, report: str, pending: str) -> None:
        """Put a report that is written down into the outbox, and remember that it is there."""
        told = json.loads(pending)
        draft = Draft(**told["draft"])
        await self._storage.post((draft,))
        meter, plan, start = wire.split(report)
        entry = "\0".join((meter, plan, subject, start))
        for _ in range(_TRIES * 10):
            found = await self._find(subject, meter, plan, start)
            if found is None:
                await self._kept.swap(subject, wire.change(gone=[report], settled=[entry]))
                return
            field, text, window = found
            more = window.used != told["used"]
            reported = window.bill.told(window.start) + told["draft"]["data"]["units"]
            bill = Bill(more, max(0, reported), window.start, window.bill.reports + 1)
            change = wire.change(
                expect={field: text, report: pending},
                put={field: _with(text, window, bill)},
                gone=[report],
                settled=[] if more else [entry],
            )
            if await self._kept.swap(subject, change):
                return
            if not (await self._kept.fields(subject, [report]))[0]:
                return  # somebody else did

    async def _find(
        self, subject: str, meter: str, plan: str, start: str
    ) -> tuple[str, str, BilledWindow] | None:
        """A window, running or over, by its start: the field that keeps it, the text there, what it says."""
        names = [wire.named("c", meter, plan), wire.named("p", meter, plan, start)]
        running, over = await self._kept.fields(subject, names)
        begun = wire.from_micros(start)
        if running:
            kept = wire.read_meter(running)
            if kept.counter.start == begun:
                counter = kept.counter
                window = BilledWindow(subject, "", begun, counter.end, counter.used, kept.bill)
                return names[0], running, window
        if over:
            end, used, billable, reported, reports = json.loads(over)
            bill = Bill(bool(billable), int(reported), begun, int(reports))
            window = BilledWindow(subject, "", begun, wire.from_micros(end), int(used), bill, past=True)
            return names[1], over, window
        return None


def _with(text: str, window: BilledWindow, bill: Bill) -> str:
    """A window with another bill, to be kept."""
    if not window.past:
        return wire.written(replace(wire.read_meter(text), bill=bill))
    end, used, *_ = json.loads(text)
    return json.dumps([end, used, int(bill.billable), str(bill.reported), str(bill.reports)])


def _frozen(draft: Draft, used: int) -> str:
    told = {name: getattr(draft, name) for name in Draft.__slots__}
    return json.dumps({"draft": told, "used": used})

"""Counting in memory."""

from dataclasses import replace
from datetime import datetime

from skene.adapters.memory import bills
from skene.adapters.memory.packed import Packed, pack, unpack
from skene.adapters.memory.spending import spender
from skene.adapters.memory.state import Key, Part
from skene.adapters.memory.table import Table
from skene.definitions.units import LARGEST
from skene.engine.counter import (
    Counter,
    after_merge,
    charge,
    drawn,
    fits,
    give_back,
    present,
    reported,
    returned,
)
from skene.engine.grants import draw, put_back, unspent
from skene.engine.limits import applied_plan, limit_for
from skene.engine.window import Rolling, WindowRule
from skene.errors import IdempotencyConflict
from skene.ports.counters import Charge, Consume, Counted, Notice, PlainLimit, Receipt, Spend, Tally

__all__ = ["MemoryCounters"]

_Row = tuple[Charge, str, int | None, Table[Packed], Counter, int, bool]
"""A charge, its plan and limit, where its counter lies and how it stands, its granted units, if it fits."""


class MemoryCounters(Part):
    """The port `Counters`."""

    async def consume(self, call: Consume) -> Counted:
        """Charge a call if every one of its counters admits it."""
        return self._count(call, charging=True)

    def spender(self, default_plan: str, asked: PlainLimit) -> Spend | None:
        """What charges plain calls without waiting."""
        if type(self).consume is not MemoryCounters.consume:
            return None  # whoever counts otherwise is not got round
        return spender(self._state, vars(self), default_plan, asked)

    async def peek(self, call: Consume) -> Counted:
        """What `consume` would answer now, without charging."""
        return self._count(call, charging=False)

    async def meters(self, subject: str) -> tuple[str, ...]:
        """The names of all counters that are kept for a subject."""
        who, _ = self._state.resolve(subject)
        return tuple(sorted({meter for (meter, _), t in self._state.counters.items() if who in t}))

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        """Give back charged units, and free the key."""
        holder = self._state.holders.get(subject)
        merged = holder.merged_into if holder else None
        keys = self._state.keys.get(merged or subject, {})
        if idempotency_key is not None and idempotency_key in keys:
            if keys[idempotency_key].repeated:
                return  # a repetition went on for free: the charge is its as well
            del keys[idempotency_key]
        for receipt in receipts:
            found = self._give_back(subject, receipt)
            if not found and holder is not None and merged is not None:
                found = self._give_back(merged, receipt, holder.merged_at)
            if not found:
                bills.give_back_past(self._state, merged or subject, receipt)

    def _give_back(self, subject: str, receipt: Receipt, merged_at: datetime | None = None) -> bool:
        """Give units back to a subject's running window. False: it is not the one they were charged in."""
        state, at = self._state, receipt.at
        table = state.counters.get((receipt.meter, receipt.plan))
        counter = unpack(table.get(subject)) if table is not None else None
        if table is None or counter is None:
            return False
        if merged_at is not None:
            at = after_merge(counter, at, merged_at)
        left = give_back(counter, at, receipt.cost)
        if left is None:
            return False
        table[subject] = pack(left)
        back = returned(counter, left, at, state.clock.now())
        state.change_pots(subject, put_back(state.pots(subject, receipt.meter), back))
        bills.give_back(state, (receipt.meter, receipt.plan), subject, counter.start)
        return True

    async def record_notice(self, notice: Notice) -> bool:
        """Record warnings for a running window and their messages, once."""
        now = self._state.clock.now()
        table = self._state.counters.get((notice.meter, notice.plan))
        subject, _ = self._state.resolve(notice.subject)
        counter = unpack(table.get(subject)) if table is not None else None
        if table is None or counter is None or counter.start != notice.window_start or now >= counter.end:
            return False
        new = tuple(name for name in notice.names if name not in counter.notices)
        if not new:
            return False
        table[subject] = pack(replace(counter, notices=counter.notices + new))
        self._state.post(notice.drafts, now)
        return True

    def set_used(self, subject: str, meter: str, plan: str, rule: WindowRule, used: int) -> None:
        """For tests: put a counter to `used` units, in the running window or in one that opens now."""
        now = self._state.clock.now()
        table = self._state.table(meter, plan)
        holder = self._state.holders.get(subject)
        running = None if isinstance(rule, Rolling) else unpack(table.get(subject))
        counter = present(running, rule, now, holder.cycle if holder else ())
        table[subject] = pack(charge(replace(counter, used=0, extra=0), rule, now, used)[0])

    def counts(self) -> tuple[tuple[str, str, str, int], ...]:
        """For tests: subject, meter, plan and units of the window that was last opened, of every counter."""
        return tuple(
            (subject, meter, plan, counter.used)
            for (meter, plan), table in self._state.counters.items()
            for subject, packed in table.items()
            if (counter := unpack(packed)) is not None
        )

    def _count(self, call: Consume, *, charging: bool) -> Counted:
        state = self._state
        now = state.clock.now()
        subject, holder = state.resolve(call.subject)
        features, own = (holder.features, holder.own_limits or {}) if holder else ((), {})
        standing = holder.standing_at(now) if holder else None
        cycle = holder.cycle if holder else ()
        held = standing.plan if standing else call.default_plan
        replayed = call.idempotency_key is not None and self._replayed(subject, call, charging=charging)
        rows: list[_Row] = []
        admitted, known = True, held == call.default_plan
        for item in call.charges:
            known = known or held in item.limits
            plan = applied_plan(item.limits, held, call.default_plan)
            limit = limit_for(
                item.limits[plan],
                item.feature,
                features,
                None if item.watched else own.get(item.meter),
                now,
            )
            table = state.table(item.meter, plan)
            counter = present(unpack(table.leaf(subject).get(subject)), item.rule, now, cycle)
            granted = min(unspent(state.pots(subject, item.meter), now), LARGEST)
            fitting = fits(counter, limit, item.cost, granted)
            admitted = admitted and fitting
            rows.append((item, plan, limit, table, counter, granted, fitting or replayed))
        admitted = admitted or replayed
        if charging and admitted and not replayed:
            tallies = tuple([self._charge(subject, row, now) for row in rows])
            if call.idempotency_key is not None:
                state.keys.setdefault(subject, {})[call.idempotency_key] = Key(call.fingerprint, now)
        else:
            tallies = tuple([self._report(subject, row, now) for row in rows])
        return Counted(
            admitted,
            replayed,
            now,
            held if known else call.default_plan,
            None if known else held,
            holder.customer if holder else None,
            holder.checked_at if holder else None,
            tallies,
            subject,
        )

    def _replayed(self, subject: str, call: Consume, *, charging: bool) -> bool:
        keys, name = self._state.keys.get(subject, {}), call.idempotency_key or ""
        key = keys.get(name)
        if key is None:
            return False
        if key.fingerprint != call.fingerprint:
            raise IdempotencyConflict("this idempotency key was used for a different request")
        if charging:
            keys[name] = replace(key, repeated=True)
        return True

    def _charge(self, subject: str, row: _Row, now: datetime) -> Tally:
        item, plan, limit, table, before, granted, _ = row
        extra = drawn(before, limit, item.cost)
        if extra:
            self._state.change_pots(subject, draw(self._state.pots(subject, item.meter), extra, now))
        after, at = charge(before, item.rule, now, item.cost, extra)
        if plan in item.billed or self._state.bills:
            stored, rolling = unpack(table.get(subject)), isinstance(item.rule, Rolling)
            moved = stored is not None and not rolling and _moved(stored, before)
            where, billed = (item.meter, plan), plan in item.billed
            bills.note(self._state, where, subject, stored, after.start, billed=billed, moved=moved)
        table[subject] = pack(after)
        receipt = Receipt(item.meter, plan, at, item.cost)
        return _tally(item, limit, after, granted - extra, receipt=receipt)

    def _report(self, subject: str, row: _Row, now: datetime) -> Tally:
        item, plan, limit, _, counter, granted, fitting = row
        wall = None if fitting else self._state.standing.get(subject, {}).get((item.step, plan))
        stands = wall.wall.id if wall and wall.wall.window_end > now else None
        return _tally(item, limit, counter, granted, fitting, stands)


def _moved(stored: Counter, present: Counter) -> bool:
    """Whether the window that was kept is over, and this is the next one."""
    return (stored.used > 0 and present.used == 0) or stored.start != present.start


def _tally(
    item: Charge,
    limit: int | None,
    counter: Counter,
    granted: int,
    fitting: bool = True,
    wall: str | None = None,
    receipt: Receipt | None = None,
) -> Tally:
    told, start, end = reported(counter, limit, granted), counter.start, counter.end
    return Tally(item, told, counter.used, fitting, start, end, counter.notices, wall, receipt, granted)

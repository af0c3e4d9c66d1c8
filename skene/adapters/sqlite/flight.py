"""One transaction of counting calls.

What decides them is read at once, each sees in memory what those before it have taken, and every counter is
written once. This is for ordinary calls: a running window, or the first use, without keys, grants, overrides,
bills or parts. The others go the long way of `counting`, in the same transaction.
"""

import json
import sqlite3
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from skene.adapters.sql.types import from_text, to_text
from skene.adapters.sqlite import counting
from skene.adapters.sqlite.counting import MOST
from skene.adapters.sqlite.desk import Errand
from skene.engine.counter import Counter, charge, fits, present, reported
from skene.engine.limits import limit_for
from skene.engine.window import Edges, Rolling
from skene.errors import IdempotencyConflict
from skene.ports.counters import Charge, Consume, Counted, Receipt, Tally

__all__ = ["Asked", "CountingErrand", "Flight", "GivenBack"]

UNDO_SECONDS = 30.0
"""How much longer it is tried to give back what somebody who was cancelled has never learned of."""

_ROWS = """
SELECT asked.subject, customers.plan, until, customer, checked_at, cycle, features,
       window_start, window_end, used, notices, extra, extra_since,
       merged_into IS NULL AND overrides IS NULL
       AND coalesce(part_starts, '[]') = '[]'
       AND NOT EXISTS (SELECT 1 FROM skene_grants AS grants
                        WHERE grants.subject = asked.subject AND grants.meter = asked.meter AND spent < units)
  FROM (SELECT value AS subject, ?2 AS meter, ?3 AS plan, ?4 AS now FROM json_each(?1)) AS asked
  LEFT JOIN skene_customers AS customers ON customers.subject = asked.subject
  LEFT JOIN skene_usage AS usage
         ON usage.subject = asked.subject AND usage.meter = asked.meter
        AND usage.plan = CASE WHEN customers.plan IS NULL OR until <= asked.now THEN asked.plan
                              ELSE customers.plan END
"""


class Asked(Errand):
    """A call that waits to be counted.

    Attributes:
        call: the call.
        spend: charge it, if it is admitted; else only look.
        sure: its outcome rests on nothing that is yet to be written.
    """

    __slots__ = ("call", "spend", "sure")

    def __init__(self, call: Consume, *, spend: bool) -> None:
        super().__init__()
        self.call = call
        self.spend = spend
        self.sure = False

    def undo(self) -> "GivenBack | None":
        """Give back what was charged."""
        counted = self.outcome
        if not isinstance(counted, Counted) or not counted.admitted or counted.replayed or not self.spend:
            return None
        receipts = counted.receipts
        back = GivenBack(self.call.subject, receipts, self.call.idempotency_key)
        back.deadline += UNDO_SECONDS  # nobody waits for it
        return back


class GivenBack(Errand):
    """Units of a call that failed."""

    __slots__ = ("key", "receipts", "subject", "sure")

    def __init__(self, subject: str, receipts: tuple[Receipt, ...], key: str | None) -> None:
        super().__init__()
        self.subject = subject
        self.receipts = receipts
        self.key = key
        self.sure = False


CountingErrand = Asked | GivenBack


class _Row:
    """A counter in one transaction, with what skene_customers says of whose it is."""

    __slots__ = (
        *("recorded", "plan", "customer", "checked_at", "cycle", "features"),
        *("counter", "start", "end", "notices", "plain", "changed"),
    )

    def __init__(self, found: Sequence[Any], default_plan: str, now: str) -> None:
        held, until, self.customer, checked_at, self.cycle, self.features, *usage, plain = found
        start, end, used, notices, extra, extra_since = usage
        self.recorded: str | None = held if until is None or until > now else None
        self.plan: str = default_plan if self.recorded is None else self.recorded
        self.checked_at = from_text(checked_at) if checked_at else None
        self.plain = bool(plain)
        self.changed = False
        self.counter: Counter | None = None
        self.start, self.end, self.notices = start, end, notices
        if start is not None:
            names = tuple(json.loads(notices)) if notices != "[]" else ()
            paid = min(extra, used) if extra_since == start else 0  # else the window was moved on meanwhile
            self.counter = Counter(from_text(start), from_text(end), used, (), names, paid)

    def keep(self, counter: Counter) -> None:
        """Remember a charge, which is written with all others."""
        if self.counter is None:
            self.start, self.end, self.notices = to_text(counter.start), to_text(counter.end), "[]"
        self.counter = counter
        self.changed = True


_Line = tuple[Charge, _Row, int | None, Counter, bool]
"""A charge, its row, the limit that holds, the counter as it stands, and whether it fits."""


class Flight:
    """One transaction: first everything is decided that can be in memory, then everything is written."""

    def __init__(self, db: sqlite3.Connection, now: datetime) -> None:
        self._db = db
        self._now = now
        self._now_text = to_text(now)
        self._rows: dict[tuple[str, str], _Row] = {}
        self._touched: set[str] = set()
        self._later: list[CountingErrand] = []

    def decide(self, errands: Sequence[CountingErrand]) -> None:
        """Settle what is ordinary, and what is refused. The rest is for later, each subject's in order."""
        self._read(errands)
        waiting: set[str] = set()
        for errand in errands:
            if isinstance(errand, GivenBack):
                waiting.add(errand.subject)
                self._later.append(errand)
            elif errand.call.subject in waiting or not self._settled(errand):
                waiting.add(errand.call.subject)
                self._later.append(errand)

    def write(self) -> None:
        """Write what was taken, once for each counter, and go the long way with what was left for later."""
        taken = [
            (
                *(subject, meter, row.plan, row.start, row.end, min(row.counter.used, MOST), "[]", "[]"),
                *(row.notices, min(row.counter.extra, MOST), row.start),
            )
            for (subject, meter), row in self._rows.items()
            if row.changed and row.counter is not None
        ]
        if taken:
            self._db.executemany(counting.WRITE, taken)
        for errand in self._later:
            if isinstance(errand, GivenBack):
                counting.refund(self._db, self._now, errand.subject, errand.receipts, errand.key)
                continue
            verb = counting.consume if errand.spend else counting.peek
            try:
                errand.outcome = verb(self._db, self._now, errand.call)
            except IdempotencyConflict as conflict:
                errand.outcome = conflict

    def _read(self, errands: Iterable[CountingErrand]) -> None:
        """All rows that ordinary calls need, those of a meter at once."""
        wanted: dict[tuple[str, str], dict[str, None]] = {}
        for errand in errands:
            if isinstance(errand, Asked) and errand.call.idempotency_key is None:
                for item in errand.call.charges:
                    subjects = wanted.setdefault((item.meter, errand.call.default_plan), {})
                    subjects[errand.call.subject] = None
        for (meter, plan), subjects in wanted.items():
            asked = json.dumps(list(subjects), ensure_ascii=False)
            found = self._db.execute(_ROWS, (asked, meter, plan, self._now_text)).fetchall()
            for subject, *row in found:
                self._rows[subject, meter] = _Row(row, plan, self._now_text)

    def _settled(self, errand: Asked) -> bool:
        """Whether a call could be settled without writing, or to be written with all others."""
        clean = errand.call.subject not in self._touched
        try:
            lines = self._ordinary(errand.call)
            if lines is None and not clean:
                return False
            if lines is None:
                outcome = counting.peek(self._db, self._now, errand.call)
            else:
                outcome = self._answer(errand, lines)
        except sqlite3.Error:
            raise
        except Exception as error:  # noqa: BLE001 - raised where somebody waits for it
            errand.outcome = error
            errand.sure = True
            return True
        taken = outcome.admitted and errand.spend
        errand.outcome = outcome
        errand.sure = clean and not taken
        return lines is not None or not taken

    def _ordinary(self, call: Consume) -> list[_Line] | None:
        """How an ordinary call stands; None: it is not one."""
        if call.idempotency_key is not None or not call.charges:
            return None
        lines: list[_Line] = []
        for item in call.charges:
            row = self._rows.get((call.subject, item.meter))
            if row is None:
                return None
            plan = call.default_plan if row.recorded is None else row.recorded
            if not row.plain or plan != row.plan or plan not in item.limits or plan in item.billed:
                return None
            rule = item.rule
            if isinstance(rule, Rolling) or (isinstance(rule, Edges) and row.cycle not in (None, "[]")):
                return None
            counter = present(row.counter, rule, self._now)
            if row.counter is not None and row.counter is not counter:
                return None  # its window is over
            limit = item.limits[plan]
            if item.feature is not None and row.features:
                limit = limit_for(limit, item.feature, json.loads(row.features), None, self._now)
            lines.append((item, row, limit, counter, fits(counter, limit, item.cost)))
        return lines

    def _answer(self, errand: Asked, lines: Sequence[_Line]) -> Counted:
        call, row = errand.call, lines[0][1]
        admitted = not [line for line in lines if not line[4]]
        if admitted and errand.spend:
            self._touched.add(call.subject)
            tallies = [self._charge(line) for line in lines]
        else:
            tallies = [self._report(call.subject, line) for line in lines]
        return Counted(
            admitted,
            False,
            self._now,
            row.plan,
            None,
            row.customer,
            row.checked_at,
            tuple(tallies),
            call.subject,
        )

    def _charge(self, line: _Line) -> Tally:
        item, row, limit, counter, _ = line
        after, at = charge(counter, item.rule, self._now, min(item.cost, MOST))
        row.keep(after)
        return Tally(
            item,
            reported(after, limit),
            min(after.used, MOST),
            True,
            after.start,
            after.end,
            after.notices,
            None,
            Receipt(item.meter, row.plan, at, item.cost),
        )

    def _report(self, subject: str, line: _Line) -> Tally:
        item, row, limit, counter, fitting = line
        wall = None if fitting else counting.wall(self._db, subject, item.step, row.plan, self._now)
        used, limit = min(counter.used, MOST), reported(counter, limit)
        return Tally(item, limit, used, fitting, counter.start, counter.end, counter.notices, wall)

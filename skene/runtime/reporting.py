"""Reporting billed use: what is owed enters the outbox, now and then, and goes to the billing service."""

from datetime import datetime, timedelta
from typing import Any, cast

from skene.definitions import Recovery
from skene.engine.program import Program
from skene.ports.billing import UsageReport
from skene.ports.counters import BilledUse, Draft
from skene.ports.notifier import Body
from skene.ports.storage import Storage
from skene.runtime.inner import Inner
from skene.runtime.parts import Parts

__all__ = ["REPORT_RECOVERY", "Reporting", "UsageChannel", "billed_uses"]

EVERY = timedelta(minutes=1)
BATCH = 500
"""How many windows are looked at in one transaction."""
REPORT_RECOVERY = Recovery(retries=100, base="1s", cap="30m")
"""A report is money, whatever a loop says of its mails: the attempts span about a day."""
REMEMBERED = timedelta(hours=24)
"""How long every billing service knows a report again by its key: see `Billing.report_usage`."""


def billed_uses(program: Program) -> tuple[BilledUse, ...]:
    """Everything that goes on bills: each meter and plan once, for steps that share one agree on it."""
    found: dict[tuple[str, str], BilledUse] = {}
    for step in program.steps:
        for plan in step.reported:
            one = step.billed[plan]
            use = BilledUse(step.loop, step.key, step.meter, plan, one.included, one.meter)
            found.setdefault((step.meter, plan), use)
    return tuple(found.values())


class Reporting:
    """Writes down what windows owe."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._uses = billed_uses(parts.program)
        # When it was last done, and in which storage: a test may swap it.
        self._done: tuple[Storage, datetime] | None = None

    @property
    def needed(self) -> bool:
        """Whether anything is billed at all."""
        return bool(self._uses)

    async def report_due(self) -> int:
        """Report, unless that was done within the last minute. Returns how many windows were looked at."""
        storage, now = self._parts.storage, self._parts.clock.now()
        done, at = self._done or (None, now)
        if done is storage and timedelta(0) <= now - at < EVERY:
            return 0
        looked = await self.report()
        self._done = storage, now
        return looked

    async def report(self) -> int:
        """Report everything that is owed now. Returns how many windows were looked at."""
        total = 0
        for use in self._uses:
            looked = BATCH
            while looked >= BATCH:
                looked = await self._parts.storage.report_billed(use, BATCH)
                total += looked
        if total:
            self._parts.wake()
        return total


class UsageChannel(Inner):
    """Takes a report to the billing service."""

    def __init__(self, parts: Parts, draft: Draft) -> None:
        super().__init__(draft)
        self._parts = parts

    @property
    def remembers_keys(self) -> timedelta:
        """A day; what may have arrived before that is not repeated."""
        return REMEMBERED

    async def send(self, body: Body, *, idempotency_key: str) -> str | None:
        """Report; see `Notifier.send`."""
        said = cast("dict[str, Any]", body)
        report = UsageReport(
            said["customer"], said["meter"], said["units"], datetime.fromisoformat(said["at"])
        )
        await self._parts.billing.report_usage(report, idempotency_key=idempotency_key)
        return None

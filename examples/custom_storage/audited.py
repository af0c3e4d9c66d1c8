"""A storage of your own: SQLite, and a line in a file for every charge and every give-back.

It changes two verbs and inherits the rest. A storage on another database has to write all of them: their
docstrings in `skene.ports` are the contract, `skene.engine` decides what a charge does, and the suite in
test_storage.py tells whether it is right.
"""

import json
from pathlib import Path

from anyio import to_thread

from skene.adapters.sqlite import SqliteStorage
from skene.ports.clock import Clock
from skene.ports.counters import Consume, Counted, Receipt


class AuditedStorage(SqliteStorage):
    """What auditors ask for: who was charged what.

    A line is written once the charge is. A process that is killed in between leaves a charge without a line,
    and never a line without a charge.
    """

    def __init__(self, database: Path, audit: Path, *, clock: Clock | None = None) -> None:
        super().__init__(database, clock=clock)
        self._audit = audit

    async def consume(self, call: Consume) -> Counted:
        counted = await super().consume(call)
        await self._note("charged", counted.subject, counted.receipts)  # none after a refusal or a replay
        return counted

    async def refund(
        self, subject: str, receipts: tuple[Receipt, ...], idempotency_key: str | None = None
    ) -> None:
        await super().refund(subject, receipts, idempotency_key)
        await self._note("given back", subject, receipts)

    async def _note(self, what: str, subject: str, receipts: tuple[Receipt, ...]) -> None:
        lines = [
            json.dumps({"what": what, "who": subject, "meter": one.meter, "units": one.cost})
            for one in receipts
        ]
        if lines:
            await to_thread.run_sync(self._append, "".join(f"{line}\n" for line in lines))

    def _append(self, text: str) -> None:
        with self._audit.open("a") as file:
            file.write(text)

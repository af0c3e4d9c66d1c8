"""A tick of a schedule: reading whom it is about, and acting upon each, a batch at a time."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import anyio

from skene.definitions import QueryCondition
from skene.definitions.sql import read_select
from skene.engine.occasion import Occasion
from skene.engine.reactions import Reaction
from skene.engine.subject import storable_id
from skene.errors import ConditionFailed, QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.firings import Closing, Entry, Firing, Outcome, Phase, Repeat
from skene.ports.queries import Row
from skene.runtime.parts import Parts

__all__ = ["Scanning", "subject_columns"]

BATCH = 500
LEASE = timedelta(seconds=30)
HEARTBEAT = 10.0
"""Seconds between two renewals of the lease, while a query is read."""
PATIENCE = timedelta(minutes=10)
"""How long a scan may take when its query does not say."""
COLUMNS = ("subject", "user_id", "id")


@dataclass(slots=True)
class _Count:
    rows: int = 0
    acted: int = 0
    nameless: int = 0
    undecided: int = 0
    failure: str = ""

    def in_words(self, most: int) -> str:
        """For the log."""
        said = f"{self.rows} row{'' if self.rows == 1 else 's'}, {self.acted} acted upon"
        said += f", {self.nameless} without a subject" if self.nameless else ""
        return said + (f"; the rest, beyond max_rows={most}, was left out" if self.rows >= most else "")


class Scanning:
    """Reads the result of a schedule's query, with little memory however long it is."""

    def __init__(
        self,
        parts: Parts,
        entry: Callable[[Reaction, Firing, Occasion], Entry],
        holds: Callable[[Reaction, Occasion], Awaitable[bool]],
    ) -> None:
        self._parts = parts
        self._entry = entry
        self._holds = holds

    async def scan(self, reaction: Reaction, query: QueryCondition, firing: Firing) -> None:
        """Act upon each row of a query, once per subject and episode, and close the firing.

        A scan that is cut off is begun anew by whoever takes the firing up; whom it had acted upon is passed
        over then. So is one in which further conditions could not be asked about some of the rows: the others
        are acted upon first.

        Raises:
            QueryRefused, QueryTimeout, StorageUnavailable: not read to the end.
            ConditionFailed: read to the end, and some of the rows could not be decided.
        """
        parts, count = self._parts, _Count()
        repeat = Repeat(reaction.cooldown is None, reaction.cooldown, reaction.max_fires)
        patience = query.timeout or PATIENCE
        streaming = parts.queries().stream(read_select(query.query), {}, timeout=patience, batch=BATCH)
        async with self._kept(firing) as lost, streaming as batches:
            async for rows in batches:
                wanted = rows[: query.max_rows - count.rows]
                entries = await self._entries(reaction, query, firing, wanted, count)
                done = await parts.storage.record(firing, entries, repeat=repeat, lease=LEASE)
                if not done.held or lost.is_set():
                    return  # somebody else has begun anew
                count.acted += done.acted
                if done.acted:
                    parts.wake()
                if count.rows >= query.max_rows:
                    break
        if count.undecided:
            raise ConditionFailed(f"{count.undecided} of {count.rows} rows undecided: {count.failure}")
        closing = Closing(Phase.TRIGGER, Outcome.SCANNED, count.in_words(query.max_rows))
        await parts.storage.record(firing, (), closing=closing)

    async def _entries(
        self, reaction: Reaction, query: QueryCondition, firing: Firing, rows: list[Row], count: _Count
    ) -> tuple[Entry, ...]:
        entries: dict[str, Entry] = {}
        column = _subject_column(query, rows[0]) if rows else ""
        for row in rows:
            count.rows += 1
            subject = _as_subject(row.get(column))
            if subject is None:
                count.nameless += 1
            elif subject not in entries:
                occasion = await self._occasion(reaction, firing, subject, row)
                if await self._chosen(reaction, occasion, count):
                    entries[subject] = self._entry(reaction, firing, occasion)
        return tuple(entries.values())

    async def _chosen(self, reaction: Reaction, occasion: Occasion, count: _Count) -> bool:
        """Whether the further conditions hold; a failure is counted, so that it stops no other row."""
        try:
            return reaction.condition is None or await self._holds(reaction, occasion)
        except (ConditionFailed, QueryTimeout) as error:
            count.undecided, count.failure = count.undecided + 1, str(error)
            return False

    async def _occasion(self, reaction: Reaction, firing: Firing, subject: str, row: Row) -> Occasion:
        parts, plan = self._parts, ""
        if reaction.condition is not None:  # only then does anybody ask
            known = await parts.storage.get_customer(subject)
            plan = parts.plan_of(known, firing.now)
        # The row is the event as well: further conditions may bind its values.
        at = firing.occurred_at
        return Occasion(subject, reaction.loop, reaction.key, firing.key, at, plan, row, row)

    @asynccontextmanager
    async def _kept(self, firing: Firing) -> AsyncGenerator[anyio.Event]:
        """Renew the lease in the background; the event says that it was lost all the same."""
        lost = anyio.Event()

        async def renew() -> None:
            while not lost.is_set():
                await anyio.sleep(HEARTBEAT)
                with suppress(StorageUnavailable):
                    if not await self._parts.storage.keep_firing(firing, LEASE):
                        lost.set()

        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(renew)
            try:
                yield lost
            except Exception as error:  # noqa: BLE001 - raised below, where no group wraps it
                failure = error
            tasks.cancel_scope.cancel()
        if failure is not None:
            raise failure


def subject_columns(query: QueryCondition) -> tuple[str, ...]:
    """The columns that may name the subject, the first that there is."""
    return (query.subject,) if query.subject is not None else COLUMNS


def _subject_column(query: QueryCondition, row: Row) -> str:
    wanted = subject_columns(query)
    found = next((name for name in wanted if name in row), None)
    if found is None:
        raise QueryRefused(f"no column of the result is called {' or '.join(wanted)}: {', '.join(row)}")
    return found


def _as_subject(value: object) -> str | None:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return None
    return storable_id(str(value)) if str(value) else None

"""A tick of a schedule: reading whom it is about, and acting upon each, a batch at a time."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import anyio

from skene.definitions import QueryCondition
from skene.definitions.sql import read_select
from skene.engine.occasion import Occasion
from skene.engine.reactions import Reaction
from skene.engine.secrets import copied
from skene.engine.subject import storable_id
from skene.errors import ConditionFailed, QueryRefused, QueryTimeout, StorageUnavailable
from skene.ports.firings import Closing, Entry, Firing, Outcome, Phase, Repeat
from skene.ports.queries import Row
from skene.runtime.keeping import LEASE
from skene.runtime.parts import Parts

__all__ = ["Scanning", "subject_columns"]

BATCH = 500
FEWEST = 10
SLOW = 0.2
"""Seconds. A storage in a file has one writer: calls that are counted wait so long behind a scan."""
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
    at_once: int = 100

    def adapt(self, entries: int, took: float) -> None:
        """Record more at once, or fewer, the next time."""
        if took > SLOW:
            self.at_once = max(FEWEST, self.at_once // 2)
        elif took < SLOW / 3 and entries >= self.at_once:
            self.at_once = min(BATCH, self.at_once * 2)

    def in_words(self, most: int | None) -> str:
        """For the log; `most` if there were more."""
        said = f"{self.rows} row{'' if self.rows == 1 else 's'}, {self.acted} acted upon"
        said += f", {self.nameless} without a subject" if self.nameless else ""
        return said + (f"; the rest, beyond max_rows={most}, was left out" if most is not None else "")


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

        Its lease is the caller's business.

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
        outcome = Outcome.SCANNED
        async with streaming as batches:
            async for rows in batches:
                wanted = rows[: query.max_rows - count.rows]
                if len(wanted) < len(rows):
                    outcome = Outcome.CUT_SHORT
                entries = await self._entries(reaction, query, firing, wanted, count)
                if not await self._record(firing, entries, repeat, count):
                    return  # somebody else has begun anew
                if outcome is Outcome.CUT_SHORT:
                    break
        if count.undecided:
            raise ConditionFailed(f"{count.undecided} of {count.rows} rows undecided: {count.failure}")
        reason = count.in_words(query.max_rows if outcome is Outcome.CUT_SHORT else None)
        await parts.storage.record(firing, (), closing=Closing(Phase.TRIGGER, outcome, reason))

    async def _record(
        self, firing: Firing, entries: tuple[Entry, ...], repeat: Repeat, count: _Count
    ) -> bool:
        """Record entries, as many at once as the storage takes quickly: others want to write as well.

        Returns:
            Whether the claim is still ours.
        """
        parts, start = self._parts, 0
        while start < len(entries):
            some, begun = entries[start : start + count.at_once], anyio.current_time()
            try:
                done = await parts.storage.record(firing, some, repeat=repeat, lease=LEASE)
            except StorageUnavailable:
                if count.at_once <= FEWEST:
                    raise
                count.at_once = max(FEWEST, count.at_once // 4)  # perhaps it was only too much at once
                continue
            if not done.held:
                return False
            start += len(some)
            count.acted += done.acted
            if done.acted:
                parts.wake()
            count.adapt(len(some), anyio.current_time() - begun)
        return True

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
                    kept = copied(row, query.query)
                    entries[subject] = self._entry(reaction, firing, replace(occasion, event=kept, row=kept))
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

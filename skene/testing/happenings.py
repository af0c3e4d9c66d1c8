"""What a test lets happen to loops that firings drive, and what came of it: a part of `World`."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from pydantic import JsonValue

from skene.adapters.memory import MemoryStorage
from skene.adapters.memory.state import JourneyRow
from skene.adapters.sql.triggers import LONGEST_COPY, is_secret, table_parts
from skene.definitions import QueryCondition
from skene.engine.keys import unique_key
from skene.engine.reactions import Reaction, parts_of
from skene.engine.rowtrigger import RowTrigger
from skene.engine.schedule import Schedule
from skene.engine.subject import storable_id
from skene.ports.firings import DecisionRow, NewFiring, Outcome
from skene.testing.clock import ManualClock
from skene.wiring import Skene

__all__ = ["Happenings"]

Row = Mapping[str, Any]
Answer = Callable[[Mapping[str, JsonValue]], Sequence[Row] | Awaitable[Sequence[Row]]]


class Happenings:
    """Events, rows and ticks, and the journeys that they begin."""

    clock: ManualClock
    storage: MemoryStorage

    @property
    def skene(self) -> Skene:
        """The app's own."""
        raise AssertionError("World says which")  # pragma: no cover - a part is never used by itself

    # -- what a test arranges ------------------------------------------------------------------------------

    def answer(self, what: str, rows: Sequence[Row] | Answer) -> None:
        """Say what a query of a loop finds from now on: a world has no tables.

        Args:
            what: the step whose query it is, such as `"activation"`; or the text of the query.
            rows: what it finds; or a function of the values it binds, `{"subject": "ada"}`, that returns it.

        Raises:
            LookupError: no step is called so, or it has no query, or several.
        """
        self.storage.queries.answer(self._query(what), rows)

    def _query(self, what: str) -> str:
        reactions = self.skene.program.reactions
        found = {query.query for one in reactions.all for query in _queries(one)}
        if what in found:
            return what
        one = reactions.get(what)
        if one is None:
            known = ", ".join(one.key for one in reactions.all) or "none"
            raise LookupError(f"world.answer({what!r}, …): no step is called so; there are: {known}")
        texts = list(dict.fromkeys(query.query for query in _queries(one)))
        if len(texts) != 1:
            raise LookupError(f"world.answer({what!r}, …): it has {len(texts)} queries; give the text of one")
        return texts[0]

    # -- what happens --------------------------------------------------------------------------------------

    async def emit(self, event: str, subject: str, data: Mapping[str, Any] | None = None) -> int:
        """Tell of an event, as the app does with `skene.emit`. Returns how many steps it has set off."""
        return await self.skene.emit(event, subject, data)

    async def insert(self, table: str, row: Row) -> int:
        """Insert a row into a table of the app's, as far as loops hear of it.

        Returns:
            How many steps it has set off.
        """
        return await self._rows("insert", table, row, {})

    async def update(self, table: str, before: Row, **changes: JsonValue) -> int:
        """Change some columns of a row that was `before`. Returns how many steps it has set off."""
        return await self._rows("update", table, {**before, **changes}, before)

    async def delete(self, table: str, row: Row) -> int:
        """Delete a row. Returns how many steps it has set off."""
        return await self._rows("delete", table, row, {})

    async def _rows(self, event: str, table: str, row: Row, before: Row) -> int:
        new = 0
        for trigger in self.skene.program.reactions.row_triggers:
            name = row.get(trigger.subject)
            if not _is_about(trigger, event, table, row, before) or name in (None, ""):
                continue
            subject = storable_id(str(name))
            key = unique_key("database", self.clock.new_id(), trigger.step)
            firing = NewFiring(key, trigger.loop, trigger.step, subject, _copied(trigger, row))
            new += await self.storage.emit(subject, (firing,), {})
        return new

    async def tick(self, step: str) -> None:
        """Move the clock to the next tick of a step's schedule.

        Raises:
            LookupError: no step with a schedule is called so.
        """
        scheduled = self.skene.program.reactions.scheduled
        for one, trigger in scheduled:
            if one.key == step:
                tick = Schedule(trigger.cron, trigger.timezone).next(self.clock.now())
                assert tick is not None  # a schedule that never fires is refused when it is defined
                self.clock.set(tick)
                return
        known = ", ".join(one.key for one, _ in scheduled) or "none"
        raise LookupError(f"world.tick({step!r}): no schedule is called so; there are: {known}")

    # -- what came of it -----------------------------------------------------------------------------------

    def journeys(self, subject: str | None = None) -> list[JourneyRow]:
        """Who went through which loop, in the order they began; everybody, or one subject."""
        who = None if subject is None else storable_id(subject)
        return [one for one in self.storage.journeys if who in (None, one.subject)]

    def log(self, subject: str | None = None) -> list[DecisionRow]:
        """How firings and walls were decided, oldest first; all, or those about one subject."""
        who = None if subject is None else storable_id(subject)
        return [one for one in self.storage.log() if who in (None, one.subject)]

    def _told(self, only: str | None) -> list[str]:
        """What loops wait for and have done, for people."""
        lines = [
            f"  {one.subject or '(a tick)'}: {one.step} is looked at again at {one.due_at:%Y-%m-%d %H:%M:%S}"
            for one in self.storage.waiting()
            if only in (None, one.subject)
        ]
        for one in self.storage.log():
            if only in (None, one.subject) and one.outcome is not Outcome.REFUSED:  # told as a wall
                why = f" ({one.reason})" if one.reason else ""
                lines.append(f"  {one.subject or '(a tick)'}: {one.step} {one.outcome}{why}")
        return lines


def _queries(one: Reaction) -> list[QueryCondition]:
    found = [part for part in parts_of(one.condition) if isinstance(part, QueryCondition)]
    found += [one.scan] if one.scan is not None else []
    return [*found, one.goal] if isinstance(one.goal, QueryCondition) else found


def _is_about(trigger: RowTrigger, event: str, table: str, row: Row, before: Row) -> bool:
    """Whether a change of a row sets a step off, by the rules of the databases' own triggers."""
    if trigger.event != event or table_parts(trigger.table)[-1] != table_parts(table)[-1]:
        return False
    if trigger.columns and all(row.get(name) == before.get(name) for name in trigger.columns):
        return False
    wanted = trigger.where
    has, had = (all(one.get(name) == value for name, value in wanted) for one in (row, before))
    return has and not (event == "update" and wanted and had)


def _copied(trigger: RowTrigger, row: Row) -> Row:
    if trigger.capture is not None:
        return {name: row[name] for name in trigger.capture if name in row}
    return {
        name: value for name, value in row.items() if not is_secret(name) and len(str(value)) <= LONGEST_COPY
    }

"""Triggers in a SQLite file: installed, compared, removed.

They write to `skene_firings`, which therefore has to be in the same file as the user's tables. SQLite has no
way to catch an error inside a trigger: without that table the user's own write would fail, so remove the
triggers first.
"""

import sqlite3
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import TypeVar

from anyio import to_thread

from skene.adapters.sql.triggers import (
    LONGEST_COPY,
    MARK,
    PLACE,
    Written,
    column_faults,
    digest_in,
    identifier,
    is_secret,
    misfit,
    table_fault,
    table_parts,
    trigger_name,
    written,
)
from skene.definitions.faults import Fault
from skene.engine.rowtrigger import RowTrigger
from skene.errors import SchemaOutdated, StorageUnavailable
from skene.ports.triggers import Changes

__all__ = ["SqliteTriggers"]

T = TypeVar("T")

LOCK_SECONDS = 15.0

_TRIGGER = """
CREATE TRIGGER {name} AFTER {event} ON {table}
WHEN {when}
BEGIN
    -- {mark}
    INSERT OR IGNORE INTO skene_firings
           (key, loop, step, subject, data, state, occurred_at, due_at, claim, failures)
    VALUES ('database:' || lower(hex(randomblob(16))), {loop}, {step}, CAST({row}.{subject} AS TEXT),
            (SELECT json_group_object(name, value)
               FROM ({pairs})
              WHERE CASE typeof(value)
                    WHEN 'blob' THEN 0
                    WHEN 'text' THEN length(value) <= {longest}
                    WHEN 'real' THEN abs(value) <= 1.7976931348623157e308
                    ELSE 1 END),
            'pending',
            strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), strftime('%Y-%m-%dT%H:%M:%f000Z', 'now'), 0, 0);
END
""".strip()


class SqliteTriggers:
    """The port `RowTriggers` in a file, on asyncio and on trio.

    Which columns are copied is settled when a trigger is installed: install again after adding one.

    Args:
        path: the file.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self._path = Path(path)

    def __repr__(self) -> str:
        return f"SqliteTriggers({str(self._path)!r})"

    async def sql(self, wanted: Sequence[RowTrigger]) -> str:
        """The statements, for a person to read and to run."""
        resolved = await self._in_thread(lambda db: _resolve(db, wanted), "BEGIN")
        lines = [
            "-- A column that is added later is copied once this is made and run again.",
            "BEGIN IMMEDIATE;",
        ]
        for trigger, sql in zip(wanted, resolved, strict=True):
            lines += ["", f"-- {trigger.step}: {trigger.event} on {trigger.table}"]
            lines += [f"DROP TRIGGER IF EXISTS {identifier(sql.name)};", f"{sql.statements[0]};"]
        return "\n".join([*lines, "", "COMMIT;", ""])

    async def installed(self) -> tuple[str, ...]:
        """The names of the triggers that are there."""
        return tuple(await self._in_thread(_ours, "BEGIN"))

    async def missing(self, wanted: Sequence[RowTrigger]) -> tuple[RowTrigger, ...]:
        """Those that are not there, or are there in another form."""

        def look(db: sqlite3.Connection) -> tuple[RowTrigger, ...]:
            resolved, ours = _resolve(db, wanted), _ours(db)
            pairs = zip(wanted, resolved, strict=True)
            return tuple(trigger for trigger, sql in pairs if ours.get(sql.name) != sql.digest)

        return await self._in_thread(look, "BEGIN")

    async def install(self, wanted: Sequence[RowTrigger]) -> Changes:
        """See to it that exactly these are there."""

        def work(db: sqlite3.Connection) -> Changes:
            if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'skene_firings'").fetchone():
                raise SchemaOutdated(f"{self._path} has no table skene_firings; run `skene db upgrade`")
            resolved, ours = _resolve(db, wanted), _ours(db)
            removed = tuple(name for name in ours if name not in {sql.name for sql in resolved})
            other = [sql for sql in resolved if ours.get(sql.name) != sql.digest]
            for name in (*removed, *(sql.name for sql in other)):
                db.execute(f"DROP TRIGGER IF EXISTS {identifier(name)}")
            for sql in other:
                db.execute(sql.statements[0])
            created = tuple(sql.name for sql in other if sql.name not in ours)
            return Changes(created, tuple(sql.name for sql in other if sql.name in ours), removed)

        return await self._in_thread(work)

    async def remove(self) -> tuple[str, ...]:
        """Remove all of skene's triggers."""

        def work(db: sqlite3.Connection) -> tuple[str, ...]:
            names = tuple(_ours(db))
            for name in names:
                db.execute(f"DROP TRIGGER {identifier(name)}")
            return names

        return await self._in_thread(work)

    async def _in_thread(self, work: Callable[[sqlite3.Connection], T], begin: str = "BEGIN IMMEDIATE") -> T:
        # Once begun it is seen through, whatever happens to the caller.
        return await to_thread.run_sync(self._transact, work, begin)

    def _transact(self, work: Callable[[sqlite3.Connection], T], begin: str) -> T:
        """Run work in one transaction: `BEGIN IMMEDIATE` waits for whoever writes, and then writes alone."""
        try:
            uri = f"{self._path.absolute().as_uri()}?mode=rw"
            db = sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, isolation_level=None)
            try:
                db.execute(begin)
                done = work(db)
                db.execute("COMMIT")
                return done
            finally:
                db.close()  # which undoes what was not committed
        except sqlite3.OperationalError as error:
            raise StorageUnavailable(f"{self._path}: {error}") from error


def _ours(db: sqlite3.Connection) -> dict[str, str | None]:
    rows = db.execute(
        "SELECT name, sql FROM sqlite_master"
        " WHERE type = 'trigger' AND name LIKE 'skene\\_%' ESCAPE '\\' AND instr(sql, ?) ORDER BY name",
        [MARK],
    )
    return {name: digest_in(sql) for name, sql in rows}


def _resolve(db: sqlite3.Connection, wanted: Sequence[RowTrigger]) -> list[Written]:
    """The SQL of some triggers, for the tables and columns that are there now.

    Raises:
        ConfigurationError: all that does not fit.
    """
    names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
    tables = [name for (name,) in db.execute(names) if not name.startswith("skene_")]
    known = {name.lower(): name for name in tables}
    faults: list[Fault] = []
    resolved: list[Written] = []
    for trigger in wanted:
        *schema, name = table_parts(trigger.table) or ("",)
        table = known.get(name.lower()) if schema in ([], ["main"]) else None
        if table is None:
            faults.append(table_fault(trigger, tables))
            continue
        rows = db.execute("SELECT name FROM pragma_table_xinfo(?) WHERE hidden <> 1", [table])
        columns = [column for (column,) in rows]
        faults += column_faults(trigger, columns)
        resolved.append(_write(trigger, table, columns))
    if faults:
        raise misfit(faults)
    return resolved


def _write(trigger: RowTrigger, table: str, columns: Sequence[str]) -> Written:
    row = "OLD" if trigger.event == "delete" else "NEW"
    copied = trigger.capture
    if copied is None:
        copied = tuple(name for name in columns if not is_secret(name))
    pairs = "\n                     UNION ALL ".join(
        f"SELECT {_literal(name)} AS name, {row}.{identifier(name)} AS value" for name in copied
    )
    subject = f"{row}.{identifier(trigger.subject)}"
    when = [f"{subject} IS NOT NULL AND {subject} <> ''"]
    if trigger.event == "update":
        changes = trigger.columns or columns
        when.append(
            "(" + " OR ".join(f"OLD.{identifier(n)} IS NOT NEW.{identifier(n)}" for n in changes) + ")"
        )
        if trigger.where:
            when.append(f"NOT ({_condition(trigger, 'OLD')})")
    if trigger.where:
        when.append(f"({_condition(trigger, row)})")
    name = trigger_name(trigger)
    statement = _TRIGGER.format(
        name=identifier(name),
        event=trigger.event.upper(),
        table=identifier(table),
        when="\n  AND ".join(when),
        mark=MARK + PLACE,
        loop=_literal(trigger.loop),
        step=_literal(trigger.step),
        row=row,
        subject=identifier(trigger.subject),
        pairs=pairs or "SELECT '' AS name, x'' AS value",
        longest=LONGEST_COPY,
    )
    return written(name, [statement])


def _condition(trigger: RowTrigger, row: str) -> str:
    """That a row has all the values that are wanted; `IS` knows NULL."""
    return " AND ".join(f"{row}.{identifier(name)} IS {_value(value)}" for name, value in trigger.where)


def _value(value: str | int | bool | None) -> str:
    if value is None:
        return "NULL"
    return str(int(value)) if isinstance(value, bool | int) else _literal(value)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"

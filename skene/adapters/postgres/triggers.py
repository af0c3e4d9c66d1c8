"""Triggers in a PostgreSQL database: installed, compared, removed."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import asyncpg
from sqlalchemy.ext.asyncio import AsyncEngine

from skene.adapters.postgres.apart import CONNECT_SECONDS, Apart, unavailable
from skene.adapters.postgres.faults import FAULTS, sqlstate
from skene.adapters.postgres.trigger_sql import condition, quoted, write
from skene.adapters.sql.migrate import lock_words
from skene.adapters.sql.triggers import (
    MARK,
    Written,
    column_faults,
    digest_in,
    identifier,
    misfit,
    table_fault,
)
from skene.definitions.faults import Fault, join
from skene.engine.rowtrigger import RowTrigger
from skene.errors import ConfigurationError, SchemaOutdated
from skene.ports.triggers import Changes

if TYPE_CHECKING:
    from skene.adapters.postgres.apart import Driver

__all__ = ["PostgresTriggers"]

# A table that is in use is not kept waiting behind us: what waits for its lock stops all who come after.
TABLE_LOCK = "5s"
_SETTINGS = "READ WRITE; SET LOCAL statement_timeout = '30s'; SET LOCAL lock_timeout = '30s'"
_HOME = """
SELECT n.nspname FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1)
"""
_TABLE = """
SELECT c.oid, n.nspname, c.relname, c.relkind::text, c.relkind = 'p' OR c.relispartition AS each_row,
       ARRAY(SELECT a.attname::text FROM pg_attribute AS a
              WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) AS columns
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.oid = to_regclass($1)
"""
_TABLES = """
SELECT CASE WHEN pg_table_is_visible(c.oid) THEN c.relname ELSE n.nspname || '.' || c.relname END
  FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
 WHERE c.relkind IN ('r', 'p') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
   AND n.nspname NOT LIKE 'pg\\_%' AND c.relname NOT LIKE 'skene\\_%'
"""
_OURS = """
SELECT p.proname AS name, obj_description(p.oid, 'pg_proc') AS comment,
       ARRAY(SELECT t.tgrelid FROM pg_trigger AS t
              WHERE t.tgfoid = p.oid AND t.tgparentid = 0 AND t.tgenabled <> 'D') AS tables
  FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
 WHERE n.nspname = $1 AND obj_description(p.oid, 'pg_proc') LIKE $2 || '%'
 ORDER BY p.proname
"""


class _Ours(NamedTuple):
    digest: str | None
    tables: tuple[int, ...]


class _Wanted(NamedTuple):
    trigger: RowTrigger
    sql: Written
    table: int


class PostgresTriggers:
    """The port `RowTriggers` in PostgreSQL.

    The role that installs needs the right to create functions in the schema of skene's tables, and TRIGGER on
    the user's tables. Those who write to these need no right on skene's.

    Args:
        dsn_or_engine: an address, or an `AsyncEngine` over asyncpg.
        schema: where skene's tables are; where the connection finds them if left out.

    Raises:
        ConfigurationError: an address or engine that is not PostgreSQL's.
    """

    def __init__(self, dsn_or_engine: str | AsyncEngine, *, schema: str | None = None) -> None:
        self._apart = Apart(dsn_or_engine, 1)
        self._schema = schema

    def __repr__(self) -> str:
        return "PostgresTriggers(…)"

    async def sql(self, wanted: Sequence[RowTrigger]) -> str:
        """The statements, for a person to read and to run. Needs no connection."""
        home = identifier(self._schema or "public")
        lines = [
            f"-- {len(wanted)} trigger{'' if len(wanted) == 1 else 's'} for skene; its tables are in {home}.",
            "-- Run it as a role that may create functions there and triggers on these tables.",
            "-- A table with partitions gets FOR EACH ROW in place of FOR EACH STATEMENT from --install.",
            "",
            "BEGIN;",
        ]
        for trigger in wanted:
            lines += ["", f"-- {trigger.step}: {trigger.event} on {trigger.table}"]
            sql = write(trigger, f"{home}.")
            drop = f"DROP FUNCTION IF EXISTS {home}.{identifier(sql.name)}() CASCADE"
            lines += [f"{statement};" for statement in (drop, *sql.statements)]
        return "\n".join([*lines, "", "COMMIT;", ""])

    async def installed(self) -> tuple[str, ...]:
        """The names of the triggers that are there."""
        async with self._transaction() as driver:
            ours = await self._ours(driver, await self._home(driver))
            return tuple(name for name, one in ours.items() if one.tables)

    async def missing(self, wanted: Sequence[RowTrigger]) -> tuple[RowTrigger, ...]:
        """Those that are not there, are switched off, or are there in another form."""
        async with self._transaction() as driver:
            home = await self._home(driver)
            ours = await self._ours(driver, home)
            return tuple(
                one.trigger for one in await self._resolve(driver, home, wanted) if not _is_there(one, ours)
            )

    async def install(self, wanted: Sequence[RowTrigger]) -> Changes:
        """See to it that exactly these are there."""
        created: list[str] = []
        replaced: list[str] = []
        async with self._transaction() as driver:
            await self._lock(driver)
            home = await self._home(driver)
            resolved = await self._resolve(driver, home, wanted)
            ours = await self._ours(driver, home)
            removed = [name for name in ours if name not in {one.sql.name for one in resolved}]
            await self._drop(driver, home, removed)
            for one in resolved:
                if _is_there(one, ours):
                    continue
                await self._drop(driver, home, [one.sql.name])
                for statement in one.sql.statements:
                    await driver.execute(statement)
                (replaced if one.sql.name in ours else created).append(one.sql.name)
            await driver.execute("COMMIT")
        return Changes(tuple(created), tuple(replaced), tuple(removed))

    async def remove(self) -> tuple[str, ...]:
        """Remove all of skene's triggers."""
        async with self._transaction() as driver:
            await self._lock(driver)
            home = await self._home(driver)
            names = tuple(await self._ours(driver, home))
            await self._drop(driver, home, names)
            await driver.execute("COMMIT")
            return names

    async def aclose(self) -> None:
        """Close the connection; the next use opens another."""
        await self._apart.aclose()

    # --- inside a transaction ---

    async def _lock(self, driver: "Driver") -> None:
        """One process at a time, and none while the tables are migrated."""
        await driver.fetchval(
            "SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", lock_words(self._schema)
        )
        await driver.execute(f"SET LOCAL lock_timeout = '{TABLE_LOCK}'")

    async def _home(self, driver: "Driver") -> str:
        table = f"{identifier(self._schema)}.skene_firings" if self._schema else "skene_firings"
        home: str | None = await driver.fetchval(_HOME, table)
        if home is None:
            raise SchemaOutdated("the database has no table skene_firings; run `skene db upgrade`")
        return home

    async def _ours(self, driver: "Driver", home: str) -> dict[str, _Ours]:
        rows = await driver.fetch(_OURS, home, MARK)
        return {row["name"]: _Ours(digest_in(row["comment"]), tuple(row["tables"])) for row in rows}

    async def _drop(self, driver: "Driver", home: str, names: Sequence[str]) -> None:
        for name in names:
            await driver.execute(f"DROP FUNCTION IF EXISTS {identifier(home)}.{identifier(name)}() CASCADE")

    async def _resolve(self, driver: "Driver", home: str, wanted: Sequence[RowTrigger]) -> list[_Wanted]:
        """Look the tables and columns up.

        Raises:
            ConfigurationError: all that does not fit.
        """
        faults: list[Fault] = []
        resolved: list[_Wanted] = []
        for trigger in wanted:
            found = await driver.fetchrow(_TABLE, quoted(trigger.table))
            if found is None or found["relkind"] not in ("r", "p"):
                given = f"{trigger.table!r}, which is no table" if found is not None else ""
                tables = [row[0] for row in await driver.fetch(_TABLES)]
                faults.append(table_fault(trigger, tables, given=given))
                continue
            wrong = column_faults(trigger, found["columns"])
            faults += wrong or await _value_faults(driver, trigger)
            sql = write(trigger, f"{identifier(home)}.", each_row=found["each_row"])
            resolved.append(_Wanted(trigger, sql, found["oid"]))
        if faults:
            raise misfit(faults)
        return resolved

    @asynccontextmanager
    async def _transaction(self) -> "AsyncGenerator[Driver, None]":
        try:
            async with self._apart.transaction(_SETTINGS, CONNECT_SECONDS) as driver:
                yield driver
        except FAULTS as error:
            if not isinstance(error, asyncpg.PostgresError) or sqlstate(error)[:2] not in ("0A", "42"):
                raise unavailable(error) from error
            said = f"the triggers cannot be installed: {error.args[0]}"
            if sqlstate(error) == "42501":
                said += (
                    "; the role needs TRIGGER on the tables, and CREATE in the schema of skene's; or give"
                    " those who have these rights what `skene db triggers --sql` prints"
                )
            raise ConfigurationError(said) from error


async def _value_faults(driver: "Driver", trigger: RowTrigger) -> list[Fault]:
    """Whether the values of `where` are such that their columns could have them."""
    faults: list[Fault] = []
    for name, value in trigger.where:
        alone = RowTrigger(trigger.step, trigger.loop, trigger.table, trigger.event, where=((name, value),))
        await driver.execute("SAVEPOINT skene_value")
        try:
            table, fits = quoted(trigger.table), condition(alone, "r")
            await driver.prepare(f"SELECT 1 FROM {table} AS r WHERE {fits}")  # noqa: S608 - quoted
        except asyncpg.PostgresError as error:
            if error.sqlstate[:2] not in ("22", "42"):
                raise
            given = f"a value that {name} of {trigger.table} cannot be compared with"
            faults.append(
                Fault(join(trigger.step, "trigger.where", name), given, "one that the column may have")
            )
        await driver.execute("ROLLBACK TO skene_value")
    return faults


def _is_there(wanted: _Wanted, ours: dict[str, _Ours]) -> bool:
    found = ours.get(wanted.sql.name)
    return found is not None and found.digest == wanted.sql.digest and wanted.table in found.tables

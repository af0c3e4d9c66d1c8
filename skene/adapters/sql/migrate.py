"""Bringing a database to the schema that this version needs."""

from pathlib import Path

import sqlalchemy as sa

from skene.adapters.sql import migrations
from skene.errors import SchemaOutdated

__all__ = ["HEAD", "VERSION_TABLE", "lock_words", "revision_of", "upgrade", "verify"]

VERSION_TABLE = "skene_schema_version"
KNOWN: tuple[str, ...] = ("0001", "0002", "0003", "0004", "0005", "0006")
"""Every version of the schema, oldest first. Kept here so that a start-up check needs no Alembic."""
HEAD = KNOWN[-1]


def revision_of(connection: sa.Connection, schema: str | None = None) -> str | None:
    """The version the database is at. Fails as any query does when the table is missing."""
    table = sa.table(VERSION_TABLE, sa.column("version_num"), schema=schema)
    revision: str | None = connection.scalar(sa.select(table.c.version_num))
    return revision


def verify(revision: str | None) -> None:
    """Refuse a schema that is older than this version needs. One that is newer is made so that it works.

    Raises:
        SchemaOutdated: with the command to run.
    """
    if revision is None:
        raise SchemaOutdated("the database has no tables of skene; run `skene db upgrade`")
    if revision in KNOWN[:-1]:
        found = f"the tables of skene are at version {revision}, this release needs {HEAD}"
        raise SchemaOutdated(f"{found}; run `skene db upgrade`")


def upgrade(connection: sa.Connection, schema: str | None = None) -> list[str]:
    """Apply every version that is missing, in the caller's transaction, one process at a time.

    Args:
        connection: in a transaction; on SQLite one that holds the write lock already.
        schema: where the tables are, created if it is missing; the connection's own if None.

    Returns:
        The versions applied now, oldest first.
    """
    # Alembic is for this alone: importing it takes longer than most programs take to start.
    from alembic.config import Config
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    if connection.dialect.name == "postgresql":
        _prepare_postgres(connection, schema)
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    scripts = ScriptDirectory.from_config(config)
    context = MigrationContext.configure(
        connection, opts={"version_table": VERSION_TABLE, "version_table_schema": schema}
    )
    current = context.get_current_revision()
    if current is not None and current not in KNOWN:
        return []  # the database is ahead of this release
    applied: list[str] = []
    for script in reversed(list(scripts.iterate_revisions(HEAD, current or "base"))):
        # These scripts were loaded for this call alone. `alembic.op` is the whole process's, and another
        # database may be migrated meanwhile: in this event loop, or in another thread.
        vars(script.module)["op"] = Operations(context)
        script.module.upgrade()
        context.stamp(scripts, script.revision)
        applied.append(script.revision)
    return applied


def lock_words(schema: str | None) -> str:
    """What a process on PostgreSQL locks while it changes the schema; `hashtextextended` makes it a key."""
    return f"skene migrations in {schema or ''}"


def _prepare_postgres(connection: sa.Connection, schema: str | None) -> None:
    # Of processes that start together one migrates; the others wait here and then find nothing left to do.
    words = lock_words(schema)
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtextextended(words, 0))))
    if schema is None:
        return
    # Asked first: CREATE SCHEMA IF NOT EXISTS wants a right that the owner of one schema does not have.
    known = sa.text("SELECT true FROM pg_catalog.pg_namespace WHERE nspname = :schema")
    if connection.scalar(known, {"schema": schema}) is None:
        connection.execute(sa.schema.CreateSchema(schema))

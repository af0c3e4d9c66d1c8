"""The schema: what migrations make is what the code expects, however often and by whomever they are run."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import asyncpg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql import migrate
from skene.adapters.sql.migrations import statements
from skene.adapters.sql.tables import METADATA
from skene.adapters.sqlite import SqliteStorage
from skene.errors import SchemaOutdated
from skene.testing.conformance.base import call
from tests.support.postgres import PostgresAddress
from tests.support.sqlite_files import connected

pytestmark = pytest.mark.anyio

VERSIONS = Path(migrate.__file__).parent / "migrations"
SCRIPTS = VERSIONS / "versions"


def differences(connection: sa.Connection) -> list[Any]:
    """What differs, but for comments, which only the migrations have."""
    options = {"compare_type": True, "version_table": migrate.VERSION_TABLE}
    found: list[Any] = compare_metadata(MigrationContext.configure(connection, opts=options), METADATA)
    single = [change for changes in found for change in (changes if isinstance(changes, list) else [changes])]
    return [change for change in single if "comment" not in change[0]]


async def test_postgres_is_what_the_code_expects(postgres: str) -> None:
    engine = create_async_engine(postgres.replace("postgresql://", "postgresql+asyncpg://"))
    async with engine.connect() as connection:
        assert await connection.run_sync(differences) == []
    await engine.dispose()


# Indexes of expressions are PostgreSQL's alone.
@pytest.mark.filterwarnings("ignore:autogenerate skipping metadata-specified expression-based index")
async def test_sqlite_is_what_the_code_expects(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "skene.db")
    await storage.start()
    await storage.aclose()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/skene.db")
    with engine.connect() as connection:
        assert differences(connection) == []
    engine.dispose()


def test_the_versions_are_those_of_the_scripts() -> None:
    config = Config()
    config.set_main_option("script_location", str(VERSIONS))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == migrate.KNOWN


async def test_people_find_their_way(postgres: str) -> None:
    """Every table of PostgreSQL says what it is for, but the one that only holds the version."""
    connection = await asyncpg.connect(postgres)
    silent = await connection.fetch("""
        SELECT relname FROM pg_class
         WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND obj_description(oid) IS NULL
    """)
    await connection.close()
    assert [row[0] for row in silent] == [migrate.VERSION_TABLE]


MIGRATE = """
import sys, anyio
from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage

kind, where, schema = sys.argv[1:]
storage = SqliteStorage(where) if kind == "sqlite" else PostgresStorage(where, schema=schema or None)
print(anyio.run(storage.migrate))
"""


@pytest.mark.parametrize(("kind", "schema"), [("sqlite", ""), ("postgres", ""), ("postgres", "loops")])
def test_four_at_once_make_one_schema(
    kind: str, schema: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """F39."""
    where = str(tmp_path / "skene.db") if kind == "sqlite" else request.getfixturevalue("postgres_dsn")
    command = [sys.executable, "-c", MIGRATE, kind, where, schema]
    four = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    answers = [process.communicate(timeout=60)[0].strip() for process in four]
    assert sorted(answers) == [str(list(migrate.KNOWN)), "[]", "[]", "[]"]


async def test_two_databases_at_once_in_one_event_loop(
    postgres_server: PostgresAddress, postgres_dsn: str, tmp_path: Path
) -> None:
    """Each is migrated by itself, whatever Alembic keeps for the whole process; threads are in it as well."""
    other = postgres_server.create_database("migrated_beside")
    storages = [PostgresStorage(postgres_dsn), PostgresStorage(other)]
    storages += [PostgresStorage(dsn, schema=name) for dsn in (postgres_dsn, other) for name in "ab"]
    files = [SqliteStorage(tmp_path / name, migrate=False) for name in ("one.db", "other.db")]
    answers: list[list[str]] = []

    async def migrate_one(storage: PostgresStorage | SqliteStorage) -> None:
        answers.append(await storage.migrate())
        assert await storage.schema_version() == migrate.HEAD
        await storage.aclose()

    async with anyio.create_task_group() as tasks:
        for storage in (*storages, *files):
            tasks.start_soon(migrate_one, storage)
    postgres_server.drop_database("migrated_beside")
    assert answers == [list(migrate.KNOWN)] * 8


@contextmanager
def versions(monkeypatch: pytest.MonkeyPatch, *known: str) -> Iterator[None]:
    """As a release with these versions."""
    with monkeypatch.context() as patch:
        patch.setattr(migrate, "KNOWN", known)
        patch.setattr(migrate, "HEAD", known[-1])
        yield


async def test_old_code_works_on_a_newer_schema(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And newer code refuses an older one, with the command to run."""
    for storage in (PostgresStorage(postgres_dsn), SqliteStorage(tmp_path / "skene.db", migrate=False)):
        assert await storage.migrate() == list(migrate.KNOWN)
        await storage.aclose()
    behind = migrate.HEAD
    with versions(monkeypatch, *migrate.KNOWN, "next"):
        for storage in (PostgresStorage(postgres_dsn), SqliteStorage(tmp_path / "skene.db", migrate=False)):
            with pytest.raises(SchemaOutdated, match=rf"version {behind}.*needs next.*skene db upgrade"):
                await storage.start()
    newer = "UPDATE skene_schema_version SET version_num = 'next'"
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute(newer)
    await connection.close()
    with connected(tmp_path / "skene.db") as file:
        file.execute(newer)
    for storage in (PostgresStorage(postgres_dsn), SqliteStorage(tmp_path / "skene.db")):
        await storage.start()
        assert (await storage.consume(call())).admitted
        assert await storage.migrate() == []
        await storage.aclose()


async def test_what_an_older_release_wrote_stays(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what it goes on writing while the newer one is rolled out is complete."""
    write = """
        INSERT INTO skene_outbox (key, kind, loop, step, subject, plan, channel, template, data,
                                  cancel_on_upgrade, state, created_at)
        VALUES ('{key}', 'upgrade_prompt', 'l', 's', 'ada', 'free', 'mail', 't', '[1]', true, 'pending',
                '2026-03-01T00:00:00.000000Z')
    """
    connection = await asyncpg.connect(postgres_dsn)
    for storage in (PostgresStorage(postgres_dsn), SqliteStorage(tmp_path / "skene.db", migrate=False)):
        with versions(monkeypatch, "0001"):
            assert await storage.migrate() == ["0001"]
        file = sqlite3.connect(tmp_path / "skene.db")
        for key in ("before", "after"):
            if isinstance(storage, SqliteStorage):
                file.execute(write.format(key=key))
                file.commit()
            else:
                await connection.execute(write.format(key=key))
            assert await storage.migrate() == (list(migrate.KNOWN[1:]) if key == "before" else [])
        file.close()
        kept = [(draft.key, draft.data) for draft, *_ in await storage.messages()]
        assert kept == [("before", [1]), ("after", [1])]
        await storage.aclose()
    await connection.close()


async def test_a_migration_that_fails_leaves_nothing(postgres_dsn: str) -> None:
    connection = await asyncpg.connect(postgres_dsn)
    await connection.execute("CREATE FUNCTION skene_refund_v1() RETURNS int LANGUAGE sql AS 'SELECT 1'")
    await connection.execute("CREATE TABLE skene_walls (taken text)")
    storage = PostgresStorage(postgres_dsn)
    with pytest.raises(sa.exc.ProgrammingError, match="skene_walls"):
        await storage.migrate()
    left = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relname LIKE 'skene%' AND relkind = 'r'"
    )
    assert [row[0] for row in left] == ["skene_walls"]
    await connection.execute("DROP TABLE skene_walls; DROP FUNCTION skene_refund_v1()")
    assert await storage.migrate() == list(migrate.KNOWN)
    await connection.close()
    await storage.aclose()


def test_statements_are_told_apart() -> None:
    """A semicolon inside a function ends no statement."""
    with sa.create_engine("sqlite://").connect() as connection:
        context = MigrationContext.configure(connection)
        names = [path.name.removesuffix(".sqlite.sql") for path in SCRIPTS.glob("*.sqlite.sql")]
        made = [line for name in names for line in statements(context, name)]
        tables = [line for line in made if line.startswith("CREATE TABLE")]
    assert len(tables) == len(METADATA.tables)
    dialect = sa.dialects.postgresql.dialect()
    context = MigrationContext(dialect, None, {"version_table_schema": 'a"b'})
    for name in ("0001_counting", "0003_counting"):
        text = (SCRIPTS / f"{name}.postgresql.sql").read_text(encoding="utf-8")
        made = list(statements(context, name))
        assert len(made) == text.count("\nCREATE ")
        assert all(line.startswith(('CREATE FUNCTION "a""b".', 'CREATE TYPE "a""b".')) for line in made)

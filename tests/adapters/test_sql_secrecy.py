"""Errors of a database reach logs: they say what went wrong, and not whose data it was."""

import sqlite3
import traceback
from pathlib import Path

import pytest

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sql.storage import SqlStorage
from skene.adapters.sqlite import SqliteStorage
from tests.support.postgres import PostgresAddress

WHO = "ada@people.test"


async def what_a_failure_says(storage: SqlStorage) -> str:
    with pytest.raises(Exception, match="not today") as error:
        await storage.link(WHO, "cus_1")
    return "".join(traceback.format_exception(error.value))


async def test_sqlite_names_nobody(tmp_path: Path) -> None:
    storage = SqliteStorage(tmp_path / "skene.db")
    await storage.start()
    fail = "CREATE TRIGGER fail BEFORE INSERT ON skene_customers BEGIN SELECT RAISE(ABORT, 'not today'); END"
    db = sqlite3.connect(tmp_path / "skene.db")
    db.execute(fail)
    db.close()
    said = await what_a_failure_says(storage)
    await storage.aclose()
    assert "INSERT INTO" in said
    assert WHO not in said


async def test_postgres_names_nobody(postgres_server: PostgresAddress, postgres_dsn: str) -> None:
    storage = PostgresStorage(postgres_dsn, migrate=True)
    await storage.start()
    fail = """
        CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not today'; END $$;
        CREATE TRIGGER fail BEFORE INSERT ON skene_customers EXECUTE FUNCTION fail();
    """
    postgres_server.execute(fail, postgres_dsn.partition("?")[0].rpartition("/")[2])
    said = await what_a_failure_says(storage)
    await storage.aclose()
    assert "INSERT INTO" in said
    assert WHO not in said

"""The port `Queries` on PostgreSQL, on SQLite and in memory."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from skene.adapters.postgres.queries import PostgresQueries
from skene.adapters.sqlite.queries import SqliteQueries
from skene.testing.query_conformance import Execute, QueryConformance
from tests.support.postgres import PostgresAddress
from tests.support.sqlite_files import connected


def executor(server: PostgresAddress, dsn: str) -> Execute:
    name = dsn.partition("?")[0].rpartition("/")[2]
    return lambda statement: server.execute(statement, name)


class TestPostgres(QueryConformance):
    @pytest.fixture
    def database(self, postgres_server: PostgresAddress, postgres_dsn: str) -> Execute:
        return executor(postgres_server, postgres_dsn)

    @pytest.fixture
    async def queries(self, postgres_dsn: str) -> AsyncIterator[PostgresQueries]:
        queries = PostgresQueries(postgres_dsn)
        yield queries
        await queries.aclose()


class TestSqlite(QueryConformance):
    @pytest.fixture
    def database(self, tmp_path: Path) -> Execute:
        path = tmp_path / "app.db"
        with connected(path) as db:
            db.execute("PRAGMA journal_mode = WAL")
        db.close()

        def execute(statement: str) -> None:
            with connected(path) as db:
                db.execute(statement)
            db.close()

        return execute

    @pytest.fixture
    def queries(self, tmp_path: Path) -> SqliteQueries:
        return SqliteQueries(tmp_path / "app.db")


@pytest.mark.parametrize("anyio_backend", ["trio"])
class TestSqliteOnTrio(TestSqlite):
    pass

"""A user's database for tests of triggers: a table to write to, and what was set off."""

import json
import sqlite3
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from skene.adapters.postgres import PostgresStorage
from skene.adapters.sqlite import SqliteStorage
from skene.engine.rowtrigger import RowTrigger
from tests.support.postgres import PostgresAddress
from tests.support.sql_stores import PATIENT

USERS = """
CREATE TABLE users (
    id {key}, email TEXT, plan TEXT, seats INTEGER, active BOOLEAN, score DOUBLE PRECISION, bio TEXT,
    photo {bytes}, "passwordHash" TEXT, reset_token TEXT, api_key TEXT, card_number TEXT, pin TEXT
)
"""


def on_insert(step: str = "activation", table: str = "users", **more: Any) -> RowTrigger:
    return RowTrigger(step, "loop", table, "insert", **more)


def on_update(step: str = "upgraded", **more: Any) -> RowTrigger:
    return RowTrigger(step, "loop", "users", "update", **more)


def on_delete(step: str = "gone", **more: Any) -> RowTrigger:
    return RowTrigger(step, "loop", "users", "delete", **more)


class Shop(ABC):
    """The database."""

    storage: PostgresStorage | SqliteStorage

    @abstractmethod
    def again(self) -> PostgresStorage | SqliteStorage:
        """Another storage over the same data."""

    @abstractmethod
    def run(self, statement: str) -> None:
        """One statement, or several, committed."""

    @abstractmethod
    def roll_back(self, statement: str) -> None:
        """One statement, and then a change of mind."""

    @abstractmethod
    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""

    @abstractmethod
    def traces(self) -> int:
        """How many triggers and functions of skene's there are."""

    def fired(self) -> list[tuple[str, str, dict[str, Any]]]:
        """Step, subject and data of what was set off, oldest first."""
        found = self.rows("SELECT step, subject, data FROM skene_firings ORDER BY id")
        return [
            (step, subject, data if isinstance(data, dict) else json.loads(data))
            for step, subject, data in found
        ]

    def subjects(self) -> list[str]:
        return [subject for _, subject, _ in self.fired()]


class PostgresShop(Shop):
    def __init__(self, server: PostgresAddress, dsn: str) -> None:
        self.server = server
        self.dsn = dsn
        self.name = dsn.partition("?")[0].rpartition("/")[2]
        self.storage = PostgresStorage(dsn, timeout=PATIENT)
        self.run(USERS.format(key="BIGINT PRIMARY KEY", bytes="BYTEA"))

    def again(self) -> PostgresStorage:
        return PostgresStorage(self.dsn, timeout=PATIENT)

    def run(self, statement: str) -> None:
        self.server.execute(statement, self.name)

    def roll_back(self, statement: str) -> None:
        self.run(f"BEGIN; {statement}; ROLLBACK")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        found = self.server.execute(f"SELECT coalesce(json_agg(q), '[]') FROM ({query}) AS q", self.name)
        return [tuple(row.values()) for row in json.loads(found)]

    def traces(self) -> int:
        triggers = "SELECT tgname FROM pg_trigger WHERE tgname LIKE 'skene%'"
        functions = "SELECT proname FROM pg_proc WHERE proname ~ '^skene_(insert|update|delete)_'"
        return len(self.rows(f"{triggers} UNION ALL {functions}"))


class SqliteShop(Shop):
    def __init__(self, path: Path) -> None:
        self.path = path
        self.storage = SqliteStorage(path)
        self.run(USERS.format(key="INTEGER PRIMARY KEY", bytes="BLOB"))

    def again(self) -> SqliteStorage:
        return SqliteStorage(self.path)

    def run(self, statement: str) -> None:
        db = sqlite3.connect(self.path)
        db.executescript(statement)
        db.close()

    def roll_back(self, statement: str) -> None:
        self.run(f"BEGIN; {statement}; ROLLBACK")

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        db = sqlite3.connect(self.path)
        found = db.execute(query).fetchall()
        db.close()
        return found

    def traces(self) -> int:
        return len(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'trigger'"))

"""`skene db triggers`, on a configuration with two loops that listen to rows."""

import json
import sqlite3

import anyio
import pytest

from skene.adapters.sqlite import SqliteStorage
from tests.cli.project import Project

CONFIG = """
from skene import Skene, action, define_loop, step, trigger
from skene.adapters.file import FileNotifier
from skene.adapters.sqlite import SqliteStorage

loops = [
    define_loop(
        type="activation",
        steps=[
            step(
                trigger=trigger.database("users", event="insert"),
                action=action.email("activation_welcome", provider="resend"),
            )
        ],
    ),
    define_loop(
        type="retention",
        steps=[
            step(
                trigger=trigger.database("users", event="update", columns=["plan"], where={"plan": "paid"}),
                action=action.email("activation_welcome", provider="resend"),
            )
        ],
    ),
]
skene = Skene(*loops, storage=SqliteStorage("app.db"), notifiers={"resend": FileNotifier("outbox")})
"""


@pytest.fixture
def project(empty: Project) -> Project:
    empty.write("skene_config.py", CONFIG)
    anyio.run(SqliteStorage("app.db").migrate)
    run("CREATE TABLE users (id INTEGER PRIMARY KEY, plan TEXT)")
    return empty


def run(statement: str) -> list[tuple[object, ...]]:
    db = sqlite3.connect("app.db")
    found = db.execute(statement).fetchall()
    db.commit()
    db.close()
    return found


def test_from_missing_to_installed_to_removed(project: Project) -> None:
    shown = project.run("db", "triggers")
    assert shown.exit_code == 1
    assert shown.stdout.splitlines() == [
        "activation: insert on users: missing or outdated",
        "retention: update on users: missing or outdated",
        "run `skene db triggers --install`",
    ]
    installed = project.run("db", "triggers", "--install")
    assert installed.exit_code == 0
    assert installed.stdout.startswith("SqliteStorage('app.db'): created skene_insert_activation_")
    assert project.run("db", "triggers", "--install").stdout == "SqliteStorage('app.db'): nothing to do\n"
    shown = project.run("db", "triggers")
    assert shown.exit_code == 0
    assert "retention: update on users: installed" in shown.stdout
    run("INSERT INTO users VALUES (1, 'free')")
    assert run("SELECT step, subject FROM skene_firings") == [("activation", "1")]
    removed = project.run("db", "triggers", "--remove")
    assert removed.exit_code == 0
    assert "removed skene_insert_activation_" in removed.stdout
    assert project.run("db", "triggers", "--remove").stdout.endswith("there were none\n")


def test_the_sql_can_be_run_by_somebody_else(project: Project) -> None:
    shown = project.run("db", "triggers", "--sql")
    assert shown.exit_code == 0
    db = sqlite3.connect("app.db")
    db.executescript(shown.stdout)
    db.close()
    assert project.run("db", "triggers").exit_code == 0


def test_as_data(project: Project) -> None:
    missing = json.loads(project.run("db", "triggers", "--json").stdout)
    assert missing == {
        "installed": [],
        "missing": [
            {"step": "activation", "table": "users", "event": "insert"},
            {"step": "retention", "table": "users", "event": "update"},
        ],
    }
    assert "CREATE TRIGGER" in json.loads(project.run("db", "triggers", "--sql", "--json").stdout)["sql"]
    changes = json.loads(project.run("db", "triggers", "--install", "--json").stdout)
    assert [len(names) for names in changes.values()] == [2, 0, 0]
    assert sorted(json.loads(project.run("db", "triggers", "--json").stdout)["installed"]) == sorted(
        changes["created"]
    )
    removed = json.loads(project.run("db", "triggers", "--remove", "--json").stdout)
    assert sorted(removed["removed"]) == sorted(changes["created"])


def test_what_does_not_fit_is_one_error(project: Project) -> None:
    run("ALTER TABLE users RENAME TO user")
    for option in ("--install", "--sql"):
        failed = project.run("db", "triggers", option)
        assert failed.exit_code == 1
        assert "did you mean user?" in failed.stderr


@pytest.mark.parametrize(
    ("args", "said"), [(("--sql", "--install"), "one of --sql"), (("--install", "--remove"), "one of")]
)
def test_one_thing_at_a_time(project: Project, args: tuple[str, ...], said: str) -> None:
    failed = project.run("db", "triggers", *args)
    assert failed.exit_code == 1
    assert said in failed.stderr


def test_a_storage_without_tables_says_so(project: Project) -> None:
    text = CONFIG.replace('SqliteStorage("app.db")', "MemoryStorage()")
    project.write(
        "skene_config.py",
        text.replace("adapters.sqlite import SqliteStorage", "adapters.memory import MemoryStorage"),
    )
    failed = project.run("db", "triggers")
    assert failed.exit_code == 1
    assert "no tables that could have triggers" in failed.stderr


def test_a_configuration_without_database_triggers(project: Project) -> None:
    project.write("skene_config.py", CONFIG.replace("Skene(*loops, ", "Skene("))
    assert project.run("db", "triggers").stdout == "no loop has a database trigger\n"

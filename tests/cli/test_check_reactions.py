"""`skene check` on loops that firings drive: in words, as data, and against the database."""

import json
import sqlite3
from datetime import datetime
from typing import Any

import pytest

from tests.cli.project import Project, reacting

EVERYTHING = """
welcome = define_loop(
    type="activation",
    name="everything",
    holdout=0.1,
    goal=condition.query("SELECT 1 FROM projects WHERE owner = $1"),
    attribution="7d",
    steps=[
        step(
            name="row",
            trigger=trigger.database("users", event="insert", where={"status": "active", "bot": False}),
            condition=condition.all_of(
                condition.query("SELECT 1\\n  FROM actions WHERE user_id = $1", timeout="5m"),
                condition.any_of(condition.plan("free", "team"), condition.not_(condition.usage(at=0.07))),
                condition.function(is_ready),
            ),
            action=[
                action.email("activation_welcome", provider="resend", personalization=WORDS),
                action.grant(50, expires="90d"),
                action.function(tell_sales, repeatable=True),
            ],
            then=wait("2d"),
        ),
        step(
            name="later",
            action=action.email("re_engagement", personalization=WORDS, transactional=True),
            max_fires=3,
        ),
        step(
            name="changed",
            trigger=trigger.database("users", event="update", columns=["team"], where={"team": None}),
            action=action.function(tell_sales),
            cooldown="7d",
        ),
    ],
)
watching = define_loop(
    type="retention",
    enforce=False,
    steps=[
        step(
            trigger=trigger.schedule("30 8 * * MON-FRI", timezone="Europe/Helsinki"),
            condition=condition.query("SELECT id, name FROM users"),
            action=action.email("re_engagement", provider="resend", personalization=WORDS),
        ),
        step(
            name="grown",
            trigger=trigger.event("plan.changed"),
            condition=condition.plan(changed_from="free", changed_to="paid"),
            action=action.function(tell_sales),
        ),
        step(name="told", trigger=trigger.event("deal.won"), action=action.function(tell_sales)),
    ],
)
"""
ID = "; its id names the subject"
USERS = """
CREATE TABLE users (id TEXT, name TEXT, status TEXT, team TEXT, bot INTEGER);
CREATE TABLE actions (user_id TEXT);
CREATE TABLE projects (owner TEXT);
"""
TRIGGERS = """
class Triggers:
    async def missing(self, wanted):
        return tuple(one for one in wanted if one.event == "update")


storage = SqliteStorage("app.db")
storage.triggers = Triggers()
"""


@pytest.fixture
def everything(empty: Project) -> Project:
    empty.write("skene_config.py", reacting(EVERYTHING, "make(freemium, welcome, watching)"))
    return empty


def said(project: Project, step: str) -> list[str]:
    """What `check` says of a step, without the heading."""
    lines = project.run("check").stdout.splitlines()
    begin = lines.index(f"  step {step}") + 1
    end = next((i for i, line in enumerate(lines[begin:], begin) if not line.startswith("    ")), len(lines))
    return [line.strip() for line in lines[begin:end]]


def tables(project: Project) -> None:
    database = sqlite3.connect(project.folder / "app.db")
    database.executescript(USERS)
    database.close()


def steps(found: dict[str, Any], loop: str) -> dict[str, dict[str, Any]]:
    (one,) = (each for each in found["loops"] if each["loop"] == loop)
    return {step["step"]: step for step in one["steps"]}


def test_a_step_is_said_in_words(everything: Project) -> None:
    result = everything.run("check")
    assert result.exit_code == 0, result.output
    assert "ok: 3 loops, 7 steps" in result.stdout
    goal = "goal a row in SELECT 1 FROM projects WHERE owner = $1, within 7d of the beginning"
    assert f"loop everything\n  {goal}\n  step everything.row\n" in result.stdout
    assert said(everything, "everything.row") == [
        f"when      a row with status = 'active' and bot = false is inserted into users{ID}",
        "if        all of these hold:",
        "- there is a row in SELECT 1 FROM actions WHERE user_id = $1, now or within 5m",
        "- any of these holds:",
        "- the plan is free or team",
        "- not: at least 7% of the limit of the only meter is used",
        "- your function is_ready says so",
        "then      e-mail activation_welcome through resend, marketing",
        "50 more units of the only meter, for 90d",
        "your function tell_sales, which may be called again",
        "again     every time",
        "holds out 10% of the subjects are left alone, for comparison",
    ]


def test_what_is_inside_a_condition_is_indented(everything: Project) -> None:
    out = everything.run("check").stdout
    assert "\n              - any of these holds:\n                - the plan is free or team\n" in out


def test_a_chain_a_cooldown_and_a_cap_are_said(everything: Project) -> None:
    assert said(everything, "everything.later") == [
        "when      2d after step everything.row",
        "then      e-mail re_engagement, transactional",
        "again     3 times at most",
    ]
    when, then, again, _ = said(everything, "everything.changed")
    assert when.endswith(
        "a row of users is updated and its team changes and it comes to be one with team = NULL;"
        " its id names the subject"
    )
    assert (then, again) == ("then      your function tell_sales", "again     after 7d at the earliest")


def test_a_schedule_is_said_with_its_next_tick(everything: Project) -> None:
    when, rows, _, again, watches = said(everything, "retention.1")
    assert when.startswith(
        'when      at 08:30 on Monday through Friday by "30 8 * * MON-FRI" (Europe/Helsinki), next 20'
    )
    assert rows.startswith(
        "for       each row of SELECT id, name FROM users; its column subject, user_id or id"
    )
    assert again == "again     once per episode: not until the subject has left the result"
    assert "this loop only watches (enforce=False)" in watches


def test_events_are_said(everything: Project) -> None:
    assert said(everything, "retention.grown")[:2] == [
        "when      a subject's plan changes",
        "if        the plan changed from free to paid",
    ]
    assert said(everything, "retention.told")[0] == "when      your code emits deal.won"


def test_the_same_as_data(everything: Project) -> None:
    found = json.loads(everything.run("check", "--json").stdout)
    assert found["ok"] is True
    assert "missing_triggers" not in found
    row, later, changed = steps(found, "everything").values()
    assert row["trigger"]["where"] == {"status": "active", "bot": False}
    assert [one["type"] for one in row["condition"]["conditions"]] == ["query", "any_of", "function"]
    assert row["condition"]["conditions"][0]["timeout"] == 300
    assert [one["type"] for one in row["actions"]] == ["email", "grant", "function"]
    assert row["actions"][2]["function"] == "tell_sales"
    assert (row["goal"]["type"], row["goal"]["within"], row["holdout"]) == ("query", 7 * 86400, 0.1)
    assert later["after"] == {"step": "everything.row", "wait": 2 * 86400}
    assert (later["max_fires"], changed["cooldown"]) == (3, 7 * 86400)
    scan = steps(found, "retention")["retention.1"]
    assert datetime.fromisoformat(scan["trigger"]["next"]).weekday() < 5
    assert (scan["scan"]["query"], scan["once_per_episode"]) == ("SELECT id, name FROM users", True)
    assert scan["enforced"] is False


def test_the_database_is_asked_on_request(everything: Project) -> None:
    tables(everything)
    assert everything.run("check", "--database").exit_code == 1
    assert everything.run("db", "triggers", "--install").exit_code == 0
    found = everything.run("check", "--database")
    assert (found.exit_code, found.stderr) == (0, "")
    database = sqlite3.connect(everything.folder / "app.db")
    database.executescript("DROP TABLE actions; ALTER TABLE users RENAME COLUMN id TO number")
    database.close()
    assert everything.run("check").exit_code == 0
    result = everything.run("check", "--database")
    assert result.exit_code == 1
    first, second, *rest = result.stderr.splitlines()
    assert all("trigger" in line for line in rest)  # of the column that is gone
    assert first.startswith("error: everything.steps[0].condition.query: got a query that cannot be run: ")
    assert "no such table: actions" in first
    assert second.startswith("error: retention.steps[0].condition.query: got a query that cannot be run: ")


def test_missing_triggers_are_named(empty: Project) -> None:
    empty.write(
        "skene_config.py", reacting(EVERYTHING + TRIGGERS, "make(welcome, freemium, storage=storage)")
    )
    tables(empty)
    result = empty.run("check", "--database")
    assert result.exit_code == 1
    (problem,) = result.stderr.splitlines()
    assert problem.startswith(
        "error: everything.changed: the trigger for updates of users is not in the database"
    )
    assert problem.endswith("run `skene db triggers --install`")
    found = json.loads(empty.run("check", "--database", "--json").stdout)
    assert found["missing_triggers"] == [{"step": "everything.changed", "table": "users", "event": "update"}]
    assert found["ok"] is False

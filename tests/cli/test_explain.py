"""`skene explain`: every cause of a decision is told, and looking changes nothing."""

import json
import sqlite3
from contextlib import closing
from typing import Any

import pytest

from tests.cli.project import APP, CONFIG, REACTING, Project

CALL = ("POST", "/api/features/summarise")


def told(project: Project, *args: str) -> dict[str, Any]:
    result = project.run("explain", *args, "--json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def words(project: Project, *args: str) -> str:
    result = project.run("explain", *args)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_stranger(project: Project) -> None:
    said = words(project, "ada", *CALL)
    assert "plan free, the default: billing has said nothing of this subject" in said
    assert "freemium: /api/features/* covers it, with POST" in said
    assert "30d: opens with the next call that counts" in said
    assert "used 0; 2 left limit 2; of the plan free: 2" in said
    assert "let through for 1 unit, then 1 left (within_limit)" in said


def test_who_is_refused_next_and_who_was_refused_already(project: Project) -> None:
    project.use("ada", 2)
    before = told(project, "ada", *CALL)
    assert before["decision"] | {"wall": None} == {
        "allowed": False,
        "reason": "usage_limit_reached",
        "step": "freemium",
        "meter": "calls",
        "cost": 1,
        "status_code": 402,
        "message": "Enough.",
        "wall": None,
    }
    assert "a wall is recorded, and e-mail upgrade_prompt asks to upgrade" in words(project, "ada", *CALL)
    assert before == told(project, "ada", *CALL) | {"counters": before["counters"]}  # nothing was written
    assert project.states() == []
    project.use("ada", 1)
    after = told(project, "ada", *CALL)
    assert [row["outcome"] for row in after["log"]] == ["refused"]
    assert after["decision"]["wall"] == after["log"][0]["firing"]
    said = words(project, "ada", *CALL)
    assert f"its wall {after['decision']['wall']} stands, so nothing is written" in said
    assert "refused" in said.rpartition("outcome")[2]


def test_grants_overrides_and_plans(project: Project) -> None:
    project.grant("ada", 3)
    project.run("override", "set", "ada", "calls", "7", "--reason", "pilot")
    said = words(project, "ada", *CALL)
    assert "limit 10; of the plan free: 2" in said
    assert "instead 7 since 20" in said
    assert "until further notice (pilot)" in said
    assert "granted: 3 of 3 left, until 20" in said
    assert "(invited a friend)" in said
    project.run("plan", "set", "ada", "paid", "--until", "2999-01-01")
    said = words(project, "ada", *CALL)
    assert "plan paid, set by hand, until 2999-01-01 00:00:00 UTC; paying since 20" in said
    assert "of the plan paid: unlimited" in said
    plan = told(project, "ada", *CALL)["plan"]
    assert (plan["name"], plan["source"], plan["paying"]) == ("paid", "hand", True)
    assert plan["paying_since"].startswith("20")
    project.run("plan", "set", "ada", "free")
    assert "set by hand; not paying since 20" in words(project, "ada", *CALL)


@pytest.mark.parametrize(
    ("method", "path", "why"),
    [
        ("GET", "/api/features/x", "/api/features/* covers the path, but POST and not GET"),
        ("POST", "/api/features", "covers what lies below this path, not the path itself"),
        ("post", "/other", "/api/features/* covers other paths"),
    ],
)
def test_why_a_step_is_not_asked(project: Project, method: str, path: str, why: str) -> None:
    said = words(project, "ada", method, path)
    assert f"freemium: not asked: {why}" in said or why in said
    assert "let through uncounted: no step asks about it" in said
    assert "known with --app module:app" in said
    found = told(project, "ada", method, path)
    assert (found["steps"][0]["asked"], found["decision"]) == (False, None)


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/api/features/summarise", "route /api/features/summarise steps freemium: /api/features/*"),
        ("POST", "/translate", "route /translate steps freemium: the route is gated by hand"),
        ("GET", "/free", "let through uncounted: no step asks about it"),
        ("GET", "/translate", "answered 405 by the app, and costs nothing"),
        ("GET", "/nowhere", "answered 404 by the app, and costs nothing"),
    ],
)
def test_the_app_knows_its_routes(project: Project, method: str, path: str, said: str) -> None:
    project.write("app.py", APP)
    shown = words(project, "ada", method, path, "--app", "app:app")
    assert said in shown
    assert "--app module:app" not in shown


def test_a_meter_instead_of_a_call(project: Project) -> None:
    said = words(project, "ada", "--meter", "calls", "--units", "3")
    assert "ada: the meter calls" in said
    assert "freemium: counts on calls" in said
    assert 'refused with 402 by freemium: "Enough." (usage_limit_reached)' in said
    assert told(project, "ada", "--meter", "calls", "--units", "2")["decision"]["allowed"]


def test_a_member_has_a_counter_of_their_own(empty: Project) -> None:
    empty.write("skene_config.py", CONFIG.replace('meter="calls"', 'meter="calls", member_limit={"free": 1}'))
    found = told(empty, "acme", *CALL, "--member", "ada")
    assert [one["meter"] for one in found["counters"]] == ["calls", "calls@ada"]
    assert "calls@ada of freemium window" in words(empty, "acme", *CALL, "--member", "ada")


def test_a_cost_that_a_function_tells_is_not_made_up(empty: Project) -> None:
    written = CONFIG.replace('meter="calls"', 'meter="calls", cost=lambda request: 2')
    empty.write("skene_config.py", written)
    assert "asked for one unit: a function tells the cost of freemium; give --units" in words(
        empty, "a", *CALL
    )
    assert "let through for 2 units, then 0 left" in words(empty, "a", *CALL, "--units", "2")


def test_a_loop_that_only_watches(empty: Project) -> None:
    empty.write("skene_config.py", CONFIG.replace('type="freemium",', 'type="freemium", enforce=False,'))
    empty.use("ada", 2)
    assert "the loop only watches, it would be refused otherwise" in words(empty, "ada", *CALL)


def test_a_feature_has_no_limit(empty: Project) -> None:
    usage = 'condition.usage(limit={"free": 2, "paid": UNLIMITED}, period="30d", meter="calls")'
    empty.write("skene_config.py", CONFIG.replace(usage, 'condition.feature("sso", meter="calls")'))
    said = words(empty, "ada", *CALL)
    assert "none for those who hold the feature sso, 0 for others" in said
    assert "(feature_not_in_plan)" in said


def test_a_plan_that_has_ended_and_one_that_nobody_knows(project: Project) -> None:
    for subject in ("ada", "bob"):
        project.run("plan", "set", subject, "paid", "--until", "2999-01-01")
    with closing(sqlite3.connect("app.db")) as database, database:
        database.execute(
            "UPDATE skene_customers SET until = replace(until, '2999', '2020') WHERE subject = 'ada'"
        )
        database.execute("UPDATE skene_customers SET plan = 'gold' WHERE subject = 'bob'")
    assert "plan free, the default: paid, set by hand, ended at 20" in words(project, "ada", *CALL)
    assert "plan free, the default: no limit knows the plan gold" in words(project, "bob", *CALL)
    assert told(project, "bob", *CALL)["plan"]["source"] == "unknown_plan"


def test_somebody_who_was_merged(project: Project) -> None:
    project.use("visitor", 1)
    project.run("plan", "set", "ada", "free")
    project.run("merge", "visitor", "ada", "--yes")
    said = words(project, "visitor", *CALL)
    assert "counts as ada, whom it was merged into" in said
    assert "used 1; 1 left" in said


def test_steps_that_calls_do_not_set_off_are_named(empty: Project) -> None:
    empty.write("skene_config.py", REACTING)
    said = words(empty, "ada", "GET", "/x")
    assert "freemium: not asked: it has no trigger, only code or a route gated by hand asks it" in said
    assert (
        "set off by events, rows or the clock and not by calls: activation.welcome, activation.again" in said
    )

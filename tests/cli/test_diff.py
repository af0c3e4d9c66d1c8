"""`skene diff`: what differs, in words; exit codes as `diff` has them."""

import json
import subprocess
from typing import Any

import pytest

from skene import load_loop
from tests.cli.project import CONFIG, LOOP, REACTING, Project
from tests.definitions.seeds import SEED, seed_with

SEEDED = SEED.read_text(encoding="utf-8")


def seed(path: str, value: Any) -> str:
    return json.dumps(seed_with(path, value))


@pytest.fixture
def seeds(empty: Project) -> Project:
    empty.write("old.json", SEEDED)
    return empty


def words(project: Project, new: str) -> str:
    project.write("new.json", new)
    result = project.run("diff", "old.json", "new.json")
    assert (result.exit_code, result.stderr) == (1, "")
    return result.stdout


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (
            "steps[0].condition.limit.free",
            1500,
            "freemium, step 1: free: 100 → 1,500 units per 30d from the first use",
        ),
        (
            "steps[0].condition.limit.paid",
            9,
            "freemium, step 1: paid: unlimited → 9 units per 30d from the first use",
        ),
        (
            "steps[0].condition.limit.team",
            9,
            "freemium, step 1: team: nothing → 9 units per 30d from the first use",
        ),
        ("steps[0].condition.period", "7d", "freemium, step 1: condition.period.length: 30d → 7d"),
        ("steps[0].trigger.method", "GET", 'freemium, step 1: trigger.method: ["POST"] → ["GET"]'),
        ("steps[0].action.message", "Pay up.", '→ "Pay up."'),
        ("enforce", False, "freemium: it only watches from now on (enforce: True → False)"),
        ("recovery.retries", 3, "freemium: recovery.retries: 0 → 3"),
        ("name", "other", "other: a loop that is new\nfreemium: a loop that is gone"),
    ],
)
def test_a_difference_in_words(seeds: Project, path: str, value: Any, said: str) -> None:
    assert said in words(seeds, seed(path, value))


def test_nothing_differs_however_it_was_written(seeds: Project) -> None:
    seeds.write("new.json", load_loop(seed("steps[0].condition.period", "720h")).to_json())
    result = seeds.run("diff", "old.json", "new.json")
    assert (result.exit_code, result.output) == (0, "")
    assert json.loads(seeds.run("diff", "old.json", "new.json", "--json").stdout) == {
        "same": True,
        "differences": [],
    }


def test_as_data(seeds: Project) -> None:
    seeds.write("new.json", seed("steps[0].condition.limit.team", 9))
    result = seeds.run("diff", "old.json", "new.json", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "same": False,
        "differences": [
            {
                "loop": "freemium",
                "step": "1",
                "path": ["condition", "limit", "team"],
                "before": None,
                "after": 9,
                "change": "added",
                "words": "freemium, step 1: team: nothing → 9 units per 30d from the first use",
            }
        ],
    }


def test_configurations_in_python(empty: Project) -> None:
    empty.write("old_config.py", CONFIG)
    empty.write("new_config.py", CONFIG.replace('"free": 2', '"free": 5'))
    empty.write("reacting.py", REACTING)
    result = empty.run("diff", "old_config:skene", "new_config:freemium")
    assert result.stdout == "freemium, step 1: free: 2 → 5 units per 30d from the first use\n"
    assert empty.run("diff", "old_config", "old_config:freemium").exit_code == 0
    more = empty.run("diff", "old_config", "reacting").stdout
    assert "activation: a loop that is new" in more


def test_what_is_billed_and_steps_that_come_and_go(seeds: Project) -> None:
    billed = {"billed": {"meter": "calls", "included": 5}}
    seeds.write("old.json", seed("steps[0].condition.limit.paid", billed))
    billed["billed"]["included"] = 7
    new = seed_with("steps[0].condition.limit.paid", billed)
    new["steps"].append(seed_with("steps[0].name", "more")["steps"][0])
    said = words(seeds, json.dumps(new))
    assert "freemium, step 1: paid, included: 5 → 7" in said
    assert "freemium, step more: a step that is new" in said


def test_a_revision_of_git(seeds: Project) -> None:
    seeds.write("loops/freemium.json", SEEDED)
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@acme.test")
    for command in (("init", "-q"), ("add", "."), ("commit", "-qm", "first")):
        subprocess.run([*git, *command], check=True, cwd=seeds.folder)
    seeds.write("loops/freemium.json", seed("steps[0].condition.limit.free", 50))
    result = seeds.run("diff", "HEAD:loops/freemium.json", "loops/freemium.json")
    assert result.stdout == "freemium, step 1: free: 100 → 50 units per 30d from the first use\n"
    assert seeds.run("diff", "HEAD:old.json", "old.json").exit_code == 0
    missing = seeds.run("diff", "HEAD:none.json", "old.json")
    assert (missing.exit_code, "git has none at HEAD" in missing.stderr) == (2, True)


def test_a_failure_is_told_apart_from_a_difference(seeds: Project) -> None:
    seeds.write("broken_config.py", LOOP + "skene = 1 / 0\n")
    result = seeds.run("diff", "old.json", "broken_config:skene")
    assert (result.exit_code, "ZeroDivisionError" in result.stderr) == (2, True)
    seeds.write("new.json", "{}")
    result = seeds.run("diff", "old.json", "new.json", "--json")
    assert (result.exit_code, json.loads(result.stdout)["error"]["code"]) == (2, "definition_invalid")
    assert "NEW, new.json, has 2 faults" in result.stderr

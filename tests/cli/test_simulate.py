"""`skene simulate`: other limits held against what was used."""

import json
from typing import Any

import anyio
import pytest

from tests.cli.project import CONFIG, LOOP, Project

WATCHING = CONFIG.replace('type="freemium",', 'type="freemium", enforce=False,')
SEVERAL = """
from skene import Skene, action, condition, define_loop, step
from skene.adapters.sqlite import SqliteStorage

def limit(name, period="30d", **more):
    usage = condition.usage(limit={"free": 5, "a.b": 9}, period=period, **more)
    return step(name=name, condition=usage, action=action.block("No."))

from skene import rolling

loop = define_loop(type="freemium", steps=[
    limit("one"),
    limit("two.parts"),
    limit("rolls", rolling("7d")),
    step(name="sso", condition=condition.feature("sso"), action=action.block("No.")),
])
skene = Skene(loop, storage=SqliteStorage("app.db"), notifiers={})
"""


def found(project: Project, *args: str) -> list[dict[str, Any]]:
    result = project.run("simulate", *args, "--json")
    assert result.exit_code == 0, result.output
    limits: list[dict[str, Any]] = json.loads(result.stdout)["limits"]
    return limits


def words(project: Project, *args: str) -> str:
    result = project.run("simulate", *args)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_lower_limit(project: Project) -> None:
    for subject in ("ada", "bob", "cy"):
        project.use(subject, 2)
    project.use("dan", 1)
    project.run("plan", "set", "ada", "paid")
    said = words(project, "--set", "freemium.limit.free=1")
    assert "freemium, free: 2 → 1 units per 30d" in said
    assert "4 subjects used calls on this plan, in 4 windows" in said
    assert "this would have stopped 3 subjects; 1 of them paid later anyway" in said
    assert "in 3 windows, before 3 units that they did use" in said
    (one,) = found(project, "--set", "freemium.limit.free=1")
    assert (one["before"], one["after"], one["over_subjects"], one["over_paid"]) == (2, 1, 3, 1)
    assert one["not_stopped"] is None


def test_a_higher_limit_says_what_nobody_knows(project: Project) -> None:
    project.use("ada", 3)
    project.use("bob", 1)
    said = words(project, "--set", "freemium.limit.free=10")
    assert "would not have stopped 1 subject who were, at least not where they were" in said
    assert "how much more they tried is not kept" in said
    assert "would have stopped" not in said.replace("would not have stopped", "")
    (bounded, unbounded) = (
        found(project, "--set", f"freemium.limit.free={limit}")[0] for limit in ("10", "unlimited")
    )
    assert (bounded["walled"], bounded["not_stopped"]) == (1, None)
    assert (unbounded["after"], unbounded["not_stopped"]) == ("Infinity", 1)
    assert "would not have stopped 1 of 1 subject who were" in words(
        project, "--set", "freemium.limit.free=unlimited"
    )


def test_a_loop_that_only_watched_knows_how_far_everybody_went(empty: Project) -> None:
    empty.write("skene_config.py", WATCHING)

    async def use() -> None:
        import skene_config

        async with skene_config.skene as skene:
            for subject, times in (("ada", 3), ("bob", 9), ("cy", 1)):
                for _ in range(times):
                    await skene.consume(subject, "calls")

    empty.run("check")
    anyio.run(use)
    said = words(empty, "--set", "freemium.limit.free=4")
    assert "this would have stopped 1 subject; 0 of them paid later anyway" in said
    assert "would not have stopped 1 of 2 subjects who were" in said
    assert found(empty, "--set", "freemium.limit.free=4")[0]["not_stopped"] == 1
    assert "2 subjects met the limit that stood, 2 of those above" in words(
        empty, "--set", "freemium.limit.free=1"
    )


def test_several_limits_are_tried_each_by_itself(empty: Project) -> None:
    empty.write("skene_config.py", SEVERAL)
    settings = (
        "freemium.one.limit.free=1",
        "freemium.two.parts.limit.a.b=unlimited",
        "freemium.one.limit.a.b=2",
    )
    tried = found(empty, *(part for text in settings for part in ("--set", text)))
    assert {(one["step"], one["plan"]): one["after"] for one in tried} == {
        ("freemium.one", "free"): 1,
        ("freemium.one", "a.b"): 2,
        ("freemium.two.parts", "a.b"): "Infinity",
    }


def test_whoever_has_a_limit_of_their_own_is_left_out(project: Project) -> None:
    project.use("ada", 2)
    project.run("override", "set", "ada", "calls", "7")
    project.use("bob", 2)
    project.grant("bob", 3)
    said = words(project, "--set", "freemium.limit.free=1")
    assert "1 subject used calls" in said
    assert "1 subject besides had a limit of their own" in said
    assert "1 of them had been granted units" in said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("freemium.rolls.limit.free=1", "counts in rolling 7d: such windows roll on"),
        ("freemium.sso.limit.free=1", "asks for a feature and has no limit"),
        (
            "freemium.limit.free=1",
            "freemium has several limits; name one of freemium.one, freemium.two.parts",
        ),
        ("freemium.one.cost=2", "another cost cannot be tried: history keeps the units of each whole window"),
    ],
)
def test_what_history_cannot_tell_is_refused(empty: Project, text: str, said: str) -> None:
    empty.write("skene_config.py", SEVERAL)
    result = empty.run("simulate", "--set", text)
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr


def test_a_storage_that_keeps_only_the_latest_windows_says_so(empty: Project) -> None:
    memory = LOOP + "from skene.adapters.memory import MemoryStorage\n"
    empty.write(
        "skene_config.py", memory + "skene = Skene(freemium, storage=MemoryStorage(), notifiers={})\n"
    )
    assert "only the latest of each subject is kept here" in words(empty, "--set", "freemium.limit.free=1")


def test_a_storage_that_cannot_look_at_all_together(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unknown(*_: object) -> None:
        return None

    monkeypatch.setattr("skene.adapters.sql.storage.SqlStorage.what_if", unknown)
    result = project.run("simulate", "--set", "freemium.limit.free=1")
    assert result.exit_code == 1
    assert "cannot read the counters of all subjects together" in result.stderr

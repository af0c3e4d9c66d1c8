"""`skene prompt`: what it says is run, alone and in three apps; AGENTS.md keeps what is there."""

import shlex
import sys
from pathlib import Path

import pytest

from skene.cli.prompts import agents_md
from tests.cli.project import Project
from tests.cli.starting import ROOTS, copy_of, run
from tests.cli.test_init import APPS, CONFIGS
from tests.docs.markdown import ROOT, Page
from tests.docs.running import NOT_RUN, Run, commands

PROMPT = Page(ROOT / "skene" / "cli" / "texts" / "prompt.md")


def test_it_is_printed(empty: Project) -> None:
    result = empty.run("prompt")
    assert (result.exit_code, result.stdout.strip()) == (0, PROMPT.text.strip())


def test_all_that_it_shows_works(tmp_path: Path) -> None:
    Run(PROMPT, tmp_path).run()
    assert (tmp_path / "app.py").read_text().count("gate.install(app)") == 1


@pytest.mark.parametrize("name", ROOTS)
def test_an_app_is_gated_by_its_commands_alone(name: str, tmp_path: Path) -> None:
    """As an assistant follows them; it names the app, and where imports begin, as `skene init` says."""
    folder = copy_of(name, tmp_path)
    given = [
        command
        for fence in PROMPT.fences()
        if fence.language == "console"
        for command, _ in commands(fence.body)
        if not command.startswith(NOT_RUN)
    ]
    assert len(given) == 4
    for command in given:
        words = shlex.split(command.replace("app:app", APPS[name]))
        if words[:2] == ["skene", "check"]:
            words += ["--config", f"{CONFIGS[name]}:skene"]
        if words[0] == "python":
            words = [sys.executable, *words[1:], "-p", "no:asyncio", "-p", "no:cacheprovider"]
        ended = run(folder, *words, root=ROOTS[name])
        assert ended.code == 0, f"{command}\n{ended.out}{ended.err}"
    assert "gated route" in ended.out


def test_it_names_no_option_that_is_not_there(empty: Project) -> None:
    help_ = empty.run("init", "--help").stdout
    for option in ("--subject", "--route", "--app", "--yes", "--dry-run", "--json"):
        assert option in PROMPT.text
        assert option in help_


def test_agents_md_is_printed_for_a_project(empty: Project) -> None:
    result = empty.run("prompt", "--agents-md", "--config", "shop.growth:skene", "--app", "shop.main:app")
    assert result.exit_code == 0
    assert "skene check --config shop.growth:skene --app shop.main:app" in result.stdout
    assert "{" not in result.stdout


def test_agents_md_is_written_between_two_marks() -> None:
    first = agents_md("# Ours\n", config="a:b", app="c:d")
    again = agents_md(first + "\n# More\n", config="x:y", app="c:d")
    assert again.startswith("# Ours\n")
    assert again.endswith("\n# More\n")
    assert ("a:b" in again, "x:y" in again) == (False, True)
    assert agents_md(again, config="x:y", app="c:d") == again

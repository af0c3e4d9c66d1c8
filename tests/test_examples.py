"""Each example's own tests, run as a reader would run them: in its folder, with its own configuration."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.extent import FULL
from tests.support.readers import READERS_PLUGINS

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
USUALLY = {"custom_storage": ["-k", "line or back or retry or at_once or refund"]}
"""Of its suite of conformance, which skene's own SQLite passes in whole, what its two verbs do."""
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pytest.ini"))


def copy_of(name: str, to: Path) -> Path:
    """Tests leave caches behind, and two runs must not meet."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    return Path(shutil.copytree(EXAMPLES / name, to / name, ignore=ignored))


def run_tests(folder: Path, *more: str) -> None:
    settings = {"COV_CORE_SOURCE", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTHONPATH"}
    options = ["-q", "-W", "error", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *options, *more],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key not in settings} | READERS_PLUGINS,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert re.search(r"\d+ passed(, \d+ deselected)? in ", told), told  # and none was skipped
    written = {path.name for path in folder.iterdir() if path.suffix in (".db", ".env")}
    assert not written, "tests of an example reached its real back-ends"
    assert not (folder / "outbox").exists(), "tests of an example wrote mails"


def run(folder: Path, *words: str, **variables: str) -> str:
    """A command as a reader types it; what it prints."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("COV_", "PYTEST"))}
    tools = Path(sys.executable).parent
    environment = {**kept, **variables, "PATH": f"{tools}{os.pathsep}{kept.get('PATH', '')}"}
    ended = subprocess.run(
        words, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def mails(folder: Path) -> list[str]:
    """The templates of the mails that were written."""
    return sorted(file.name.rpartition("-")[0] for file in (folder / "outbox").glob("*.eml"))


def test_there_are_examples() -> None:
    assert len(NAMES) > 9


@pytest.mark.parametrize("name", NAMES)
def test_an_examples_own_tests_pass(name: str, tmp_path: Path) -> None:
    run_tests(copy_of(name, tmp_path), *([] if FULL else USUALLY.get(name, [])))


@pytest.mark.parametrize("name", ["activation", "freemium"])
def test_the_typescript_configuration_runs_the_same_app(name: str, tmp_path: Path) -> None:
    folder = copy_of(name, tmp_path)
    (folder / "skene_config_json.py").replace(folder / "skene_config.py")
    assert "define_loop" not in (folder / "skene_config.py").read_text()
    run_tests(folder)


def test_a_failing_example_is_noticed(tmp_path: Path) -> None:
    folder = copy_of("freemium", tmp_path)
    config = folder / "skene_config.py"
    config.write_text(config.read_text().replace('"free": 100', '"free": 101'))
    with pytest.raises(AssertionError, match="test_the_101st_call_is_refused_and_prompts_once"):
        run_tests(folder)


# -- the commands of a reader --------------------------------------------------------------------------------

TWO_PEOPLE = """
import anyio, store

async def main():
    for name in ("ada", "bob"):
        user = await store.add_user(f"{name}@acme.test", name.title())
    await store.add_project(1, "Apollo")

anyio.run(main)
"""


@pytest.mark.parametrize("config", ["skene_config", "skene_config_json"])
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_activation_by_its_commands(
    config: str, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder = copy_of("activation", tmp_path)
    given = {"SKENE_CONFIG": f"{config}:skene"}
    if database == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_dsn")
    run(folder, sys.executable, "store.py", **given)
    run(folder, "skene", "db", "upgrade", **given)
    run(folder, "skene", "db", "triggers", "--install", **given)
    assert "ok: 2 loops, 4 steps" in run(folder, "skene", "check", "--database", **given)
    run(folder, sys.executable, "-c", TWO_PEOPLE, **given)
    run(folder, "skene", "worker", "--once", **given)
    assert mails(folder) == ["activation_welcome", "first_steps", "first_steps"]
    assert "activation" in run(folder, "skene", "funnel", **given)


@pytest.mark.parametrize(
    ("config", "database"), [("skene_config", "sqlite"), ("skene_config_json", "postgres")]
)
def test_retention_by_its_commands(
    config: str, database: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Each with the dates of its database; nobody waits for nine o'clock here."""
    folder = copy_of("retention", tmp_path)
    given = {"SKENE_CONFIG": f"{config}:skene"}
    if database == "postgres":
        given["DATABASE_URL"] = request.getfixturevalue("postgres_dsn")
    run(folder, sys.executable, "store.py", **given)
    run(folder, "skene", "db", "upgrade", **given)
    assert "at 09:00 every day" in run(folder, "skene", "check", "--database", **given)
    run(folder, "skene", "worker", "--once", **given)


def test_a_reverse_trial_by_its_commands(tmp_path: Path) -> None:
    folder = copy_of("reverse_trial", tmp_path)
    assert "covers    POST /reports" in run(folder, "skene", "check", "--app", "app:app")
    shown = run(folder, "skene", "mail", "preview", "trial_over")
    assert "upgrade here:" in shown

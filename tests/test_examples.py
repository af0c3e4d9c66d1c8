"""Each example's own tests, run as a reader would run them: in its folder, with its own configuration."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/pytest.ini"))


def copy_of(name: str, to: Path) -> Path:
    """Tests leave caches behind, and two runs must not meet."""
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    return Path(shutil.copytree(EXAMPLES / name, to / name, ignore=ignored))


def run_tests(folder: Path) -> None:
    settings = {"COV_CORE_SOURCE", "PYTEST_ADDOPTS", "PYTEST_CURRENT_TEST", "PYTHONPATH"}
    # Readers rarely have anyio's and asyncio's plugin both; tests/testing/test_plugin.py tries each.
    options = ["-q", "-W", "error", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", *options],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key not in settings},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert re.search(r"\d+ passed in ", told), told  # and none was skipped
    written = {path.name for path in folder.iterdir() if path.suffix in (".db", ".env")}
    assert not written, "tests of an example reached its real back-ends"
    assert not (folder / "outbox").exists(), "tests of an example wrote mails"


def test_there_are_examples() -> None:
    assert "freemium" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_an_examples_own_tests_pass(name: str, tmp_path: Path) -> None:
    run_tests(copy_of(name, tmp_path))


def test_the_typescript_configuration_runs_the_same_app(tmp_path: Path) -> None:
    folder = copy_of("freemium", tmp_path)
    (folder / "skene_config_json.py").replace(folder / "skene_config.py")
    assert "define_loop" not in (folder / "skene_config.py").read_text()
    run_tests(folder)


def test_a_failing_example_is_noticed(tmp_path: Path) -> None:
    folder = copy_of("freemium", tmp_path)
    config = folder / "skene_config.py"
    config.write_text(config.read_text().replace('"free": 100', '"free": 101'))
    with pytest.raises(AssertionError, match="test_the_101st_call_is_refused_and_prompts_once"):
        run_tests(folder)

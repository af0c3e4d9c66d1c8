"""Projects without skene, copied to a folder of their own, and `skene init` run in it as a program."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.cli.project import SKENE, Ended
from tests.support.readers import READERS_PLUGINS

PROJECTS = Path(__file__).with_name("projects")
ROOT = Path(__file__).resolve().parents[2]
ROOTS = {"single": "", "package": "", "tables": "src"}
"""The folder that each project's imports begin in."""


def copy_of(name: str, to: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache")
    return Path(shutil.copytree(PROJECTS / name, to / name, ignore=ignored))


def environment(**more: str) -> dict[str, str]:
    """Nothing that configures skene, and the code under test in front of what is installed."""
    apart = (
        "SKENE_",
        "STRIPE_",
        "RESEND_",
        "COV_",
        "PYTEST",
        "DATABASE_URL",
        "VALKEY_URL",
        "WEB_CONCURRENCY",
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith(apart)}
    path = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    paths = [str(ROOT), *([more.pop("root")] if more.get("root") else [])]
    return {
        **kept,
        "PATH": path,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONDONTWRITEBYTECODE": "1",
        **READERS_PLUGINS,
        **more,
    }


def run(folder: Path, *words: str, **more: str) -> Ended:
    """A program in a folder, to its end."""
    ended = subprocess.run(
        words, cwd=folder, env=environment(**more), capture_output=True, text=True, timeout=300, check=False
    )
    return Ended(ended.returncode, ended.stdout, ended.stderr)


def init(folder: Path, *args: str, **more: str) -> Ended:
    return run(folder, str(SKENE), "init", *args, **more)


def own_tests(folder: Path, *args: str, **more: str) -> Ended:
    """The project's tests, as its owner would run them."""
    plain = ["-q", "-W", "error", "-p", "no:cacheprovider"]
    return run(folder, sys.executable, "-m", "pytest", *plain, *args, **more)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not {"__pycache__", ".pytest_cache", ".mypy_cache"} & set(path.parts)
    }

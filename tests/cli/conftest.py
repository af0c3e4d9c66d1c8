import logging
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.project import CONFIG, Project


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    """An empty folder. What a command imports and sets up in this process is undone."""
    monkeypatch.chdir(tmp_path)
    path, modules = list(sys.path), set(sys.modules)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield Project(tmp_path)
    sys.path[:] = path
    for name in set(sys.modules) - modules:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]
    root.handlers[:], root.level = handlers, level


@pytest.fixture
def project(empty: Project) -> Project:
    """A folder with a configuration."""
    empty.write("skene_config.py", CONFIG)
    return empty


# Apps that tests of the command line work on, with tests of their own.
collect_ignore = ["projects"]
